//! Which WhatsApp Web version we say we are.
//!
//! The library would fetch it on every start and fail the connection when that fails. Here the last good one is kept in
//! the store, so that a start depends on nothing but the line itself; a fresh one is fetched while a line is up.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wacore::net::{HttpClient, HttpRequest};

use crate::store::{Batch, Store, StoreError, Tree, record};
use crate::util::within;

/// How long a fetch may take.
pub(super) const FETCH_DEADLINE: Duration = Duration::from_secs(8);

/// How often a fresh one is looked for while a line is up.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(24 * 3600);

const KEY: &[u8] = b"web-version";
const FORMAT: u8 = 1;

/// The page that names the current version, as the library's own fetch reads it.
const SOURCE: &str = "https://web.whatsapp.com/sw.js";
const SOURCE_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WebVersion(pub u32, pub u32, pub u32);

impl WebVersion {
    /// The last good one.
    ///
    /// # Errors
    /// The store could not be read.
    pub(super) fn kept(store: &Store) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = store.view().get(Tree::Meta, KEY)? else {
            return Ok(None);
        };
        record::decode(Tree::Meta, FORMAT, &bytes).map(Some)
    }

    /// What this build was made with: good until the server finds it too old.
    pub(super) fn compiled_in() -> Self {
        let device = wacore::store::Device::new();
        Self(
            device.app_version_primary,
            device.app_version_secondary,
            device.app_version_tertiary,
        )
    }

    pub(super) async fn keep(self, store: &Store) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(Tree::Meta, KEY, record::encode(Tree::Meta, FORMAT, &self)?)?;
        store.commit(batch).await
    }

    /// Asks WhatsApp's site, within [`FETCH_DEADLINE`].
    ///
    /// # Errors
    /// It did not answer in time, or not with a version.
    pub(super) async fn fetch(http: &Arc<dyn HttpClient>) -> anyhow::Result<Self> {
        let request = HttpRequest::get(SOURCE)
            .with_header("sec-fetch-site", "none")
            .with_header(
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
            );
        let late = || anyhow::anyhow!("no answer within {} s", FETCH_DEADLINE.as_secs());
        let response = within(FETCH_DEADLINE, http.execute(request)).await.ok_or_else(late)??;
        anyhow::ensure!(
            response.status_code == 200,
            "{SOURCE} answered {}",
            response.status_code
        );
        anyhow::ensure!(
            response.body.len() <= SOURCE_BYTES_MAX,
            "{SOURCE} answered more than {SOURCE_BYTES_MAX} bytes"
        );
        let (primary, secondary, tertiary) = wacore::version::parse_sw_js(&response.body_string()?)
            .ok_or_else(|| anyhow::anyhow!("{SOURCE} names no version"))?;
        Ok(Self(primary, secondary, tertiary))
    }
}
