//! What a session has beside its client, and what outlives that.

use std::sync::{Arc, Mutex};

use smol::Executor;
use wacore::net::HttpClient;

use super::directory::Directory;
use super::http_client::SmolHttp;
use super::timers::Timers;
use super::version::WebVersion;
use crate::alert::Recipient;
use crate::config::SessionPlan;
use crate::credentials::Credentials;
use crate::line::Schedule;
use crate::store::{Batch, Store, Tree};
use crate::util::lock;

/// What outlives one client.
pub(super) struct ClientParts {
    pub(super) plan: SessionPlan,
    pub(super) schedule: Schedule,
    pub(super) store: Store,
    pub(super) credentials: Credentials,
    pub(super) directory: Arc<Directory>,
    pub(super) timers: Arc<Timers>,
    pub(super) executor: Arc<Executor<'static>>,
    pub(super) http: Arc<dyn HttpClient>,
    version: Mutex<Option<WebVersion>>,
}

impl ClientParts {
    pub(super) fn new(
        plan: SessionPlan,
        schedule: Schedule,
        recipients: Vec<Recipient>,
        store: Store,
        executor: Arc<Executor<'static>>,
    ) -> Self {
        let credentials = Credentials::new(store.clone(), plan.name.clone());
        let directory = Directory::new(store.clone(), credentials.clone(), recipients);
        let timers = Arc::new(Timers::open(store.clone(), plan.name.clone()));
        let http = Arc::new(SmolHttp::new(plan.proxy.clone(), schedule.clone()));
        Self {
            plan,
            schedule,
            store,
            credentials,
            directory,
            timers,
            executor,
            http,
            version: Mutex::new(None),
        }
    }

    fn name_key(&self) -> Vec<u8> {
        crate::store::join(&[b"push-name", self.plan.name.as_str().as_bytes()])
    }

    /// The name that others see of the account, kept because [`PresenceSuppression`] takes it from the device record.
    pub(super) fn kept_name(&self) -> Option<String> {
        let bytes = self.store.view().get(Tree::Meta, &self.name_key()).ok().flatten()?;
        String::from_utf8(bytes.to_vec()).ok()
    }

    pub(super) fn keep_name(&self, name: String) {
        let (store, key) = (self.store.clone(), self.name_key());
        self.executor
            .spawn(async move {
                let mut batch = Batch::new();
                if batch.put(Tree::Meta, &key, name.into_bytes()).is_ok() {
                    // Losing it costs a name that is fetched again with the next resynchronisation.
                    let _ = store.commit(batch).await;
                }
            })
            .detach();
    }

    /// The next account has a name of its own.
    pub(super) async fn forget_name(&self) {
        let mut batch = Batch::new();
        batch.delete(Tree::Meta, &self.name_key());
        if let Err(error) = self.store.commit(batch).await {
            log::debug!("the account's name was not forgotten: {error}");
        }
    }

    /// The last good web version, else a fetched one, else what this build was made with.
    pub(super) async fn version(&self) -> WebVersion {
        let known = *lock(&self.version);
        let kept = known.or_else(|| WebVersion::kept(&self.store).ok().flatten());
        match kept {
            Some(version) => version,
            // A plain ws:// endpoint is a test's: it takes any version, and nothing else may be asked.
            None if !self.plan.endpoint.tls => WebVersion::compiled_in(),
            None => {
                self.fetch_version().await;
                let fetched = *lock(&self.version);
                fetched.unwrap_or_else(WebVersion::compiled_in)
            }
        }
    }

    /// Fetches the current version and keeps it; without success everything stays as it was.
    pub(super) async fn fetch_version(&self) {
        match WebVersion::fetch(&self.http).await {
            Ok(version) => {
                *lock(&self.version) = Some(version);
                if let Err(error) = version.keep(&self.store).await {
                    log::debug!("the web version was not kept: {error}");
                }
            }
            Err(error) => log::info!("the current web version could not be fetched: {error}"),
        }
    }
}
