//! Files that a sender names by an address: fetched when the alert comes, because a snapshot ages.
//!
//! Only from addresses that the configuration allows: whoever may publish must not make this box ask what it likes. No
//! redirect is followed, for the same reason.

use std::time::Duration;

use smol::lock::Semaphore;

use crate::config::{Prefix, Url};
use crate::line::Schedule;
use crate::media;
use crate::net::{self, Plain, Progress, http};
use crate::util::within;

/// From the first look-up to the last byte. The sender waits for its answer meanwhile.
const WITHIN: Duration = Duration::from_secs(15);

/// Files that are fetched at once; each is in memory.
const AT_ONCE_MAX: usize = 2;

/// Fetches files.
pub(super) struct Fetcher {
    allowed: Vec<Prefix>,
    schedule: Schedule,
    places: Semaphore,
}

impl Fetcher {
    pub fn new(allowed: Vec<Prefix>, schedule: Schedule) -> Self {
        Self {
            allowed,
            schedule,
            places: Semaphore::new(AT_ONCE_MAX),
        }
    }

    /// The file at `link`, of at most `bytes_max`. What goes wrong is told in words for the sender.
    pub async fn fetch(&self, link: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
        let url: Url = link
            .trim()
            .parse()
            .map_err(|_| "it is no address that can be fetched".to_owned())?;
        if !self.allowed.iter().any(|prefix| prefix.holds(&url)) {
            return Err("the configuration allows no such address ([attachments] fetch)".to_owned());
        }
        let Some(_place) = self.places.try_acquire() else {
            return Err("too many files are fetched at once".to_owned());
        };
        let late = || format!("{} did not give it within {} s", url.origin(), WITHIN.as_secs());
        let bytes = within(WITHIN, self.ask(&url, bytes_max)).await.ok_or_else(late)??;
        // A page that says what is wrong comes with 200 from many a camera.
        match media::file_type(&bytes).mime {
            "text/plain" => Err(format!(
                "what {} gave is no picture, video, audio or document",
                url.origin()
            )),
            _ => Ok(bytes),
        }
    }

    async fn ask(&self, url: &Url, bytes_max: u64) -> Result<Vec<u8>, String> {
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", url.origin());
        let link = net::open_within(
            Plain::Private,
            url.endpoint(),
            None,
            &self.schedule,
            &Progress::default(),
        )
        .await;
        let link = link.map_err(|error| said(&error))?;
        let request = http::Request {
            method: "GET".to_owned(),
            authority: url.authority(),
            target: url.endpoint().path.clone(),
            headers: Vec::new(),
            body: bytes::Bytes::new(),
        };
        let mut answer = http::open(link.stream, &request).await.map_err(|error| said(&error))?;
        if answer.status != 200 {
            return Err(format!("{} answers with {}", url.origin(), answer.status));
        }
        let most = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let bytes = answer.body(most).await.map_err(|error| said(&error))?;
        link.trial.worked();
        Ok(bytes)
    }
}
