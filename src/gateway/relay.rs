//! What the gateway needs of the relay behind it, and what the relay answers.

use std::time::Duration;

use async_trait::async_trait;

use super::api::{
    AlertView, Chat, EventView, HistoryEntry, IssuedToken, PairEvent, Published, RouteTested, RouteView, Status,
    TokenView,
};
use super::feed::Feed;
use super::tallies::Counted;
use crate::access::{Grant, Presented};
use crate::alert::{Alert, RouteName, SessionName};
use crate::blobs::Kept;
use crate::outbox::Step;
use crate::store::journal::Watcher;

/// An accepted alert: durable, and this is what the sender is told.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// As it is in the outbox.
    pub alert: AlertView,
    /// The key was seen before; `alert` is the first one.
    pub duplicate: bool,
    /// Set when nothing will go out until a person acts.
    pub warning: Option<String>,
}

impl Accepted {
    /// The answer to its sender, with the link that it had and what could not be kept.
    pub(super) fn published(self, click: Option<String>, warnings: Vec<String>) -> Published {
        let Self {
            alert,
            duplicate,
            warning,
        } = self;
        let needs_person = warning.is_some();
        let warnings: Vec<String> = warning.into_iter().chain(warnings).collect();
        Published {
            time: alert.due_at() / 1000,
            id: alert.id,
            event: "message".into(),
            topic: alert.route,
            message: alert.text,
            title: alert.title,
            priority: alert.priority,
            tags: alert.tags,
            click,
            state: alert.state,
            warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
            needs_person,
            duplicate,
        }
    }

    /// For a sender who may not read: of a duplicate it says what was handed over now. What stands in the first alert
    /// with that key is no sender's to read, and keys can be guessed.
    pub(super) fn without_the_first(mut self, handed_over: &Alert) -> Self {
        if self.duplicate {
            self.alert.title.clone_from(&handed_over.title);
            self.alert.text.clone_from(&handed_over.text);
            self.alert.priority = handed_over.priority.into();
            self.alert.tags.clone_from(&handed_over.tags);
        }
        self
    }
}

/// What the process takes of its host. What the host does not say is absent.
#[derive(Debug, Clone, Default)]
pub struct ProcessFacts {
    /// Time on a processor, by all threads.
    pub cpu: Duration,
    /// Memory that is there and not swapped out, in bytes.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// How many there may be.
    pub open_files_max: Option<u64>,
}

/// Why the relay would not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No route has this name.
    #[error("unknown route {0:?}")]
    UnknownRoute(String),
    /// No alert has this id.
    #[error("no alert has the id {0:?}")]
    UnknownAlert(String),
    /// It was there: it was settled, and its record is gone.
    #[error("alert {0:?} is forgotten: it was through, and others have taken its place since")]
    ForgottenAlert(String),
    /// No token has this name.
    #[error("no token is named {0:?}")]
    UnknownToken(String),
    /// No session has this name.
    #[error("no session is named {0:?}")]
    UnknownSession(String),
    /// The state does not allow it: a delivered alert cannot be dropped, a paired session cannot be paired.
    #[error("{0}")]
    Conflict(String),
    /// The session cannot answer now: not paired, or no line.
    #[error("{0}")]
    Unavailable(String),
    /// The outbox is full. Nothing was kept.
    #[error("{0}")]
    Full(String),
    /// As many alerts as may wait for their own time do. Nothing was kept; without a delay it would be.
    #[error("{0}")]
    TooManyDelayed(String),
    /// There is no room on the disk. Nothing was acknowledged.
    #[error("{0}")]
    Storage(String),
    /// The disk is read-only or has failed. Nothing was acknowledged.
    #[error("{0}")]
    StorageFailed(String),
}

/// What the gateway needs of the relay behind it. The appliance is it; tests have their own.
#[async_trait]
pub trait Relay: Send + Sync + 'static {
    /// The configured routes.
    fn routes(&self) -> Vec<RouteName>;

    /// Takes all alerts of a request for all its routes, or none. Returns once they are on disk, with an answer for
    /// each in their order.
    ///
    /// # Errors
    /// There is no such route, no room in the outbox or on the disk, or the disk does not take it. Nothing was kept.
    async fn publish_to_all(&self, parts: Vec<(RouteName, Vec<Alert>)>) -> Result<Vec<Accepted>, Refusal>;

    /// The same for alerts with attachments: `files` are those that they mention, and stay until the records of the
    /// alerts hold them.
    ///
    /// # Errors
    /// As there.
    async fn publish_with_files(
        &self,
        parts: Vec<(RouteName, Vec<Alert>)>,
        files: Vec<Kept>,
    ) -> Result<Vec<Accepted>, Refusal> {
        let accepted = self.publish_to_all(parts).await;
        drop(files);
        accepted
    }

    /// The same for one route.
    ///
    /// # Errors
    /// As there.
    async fn publish(&self, route: RouteName, alerts: Vec<Alert>) -> Result<Vec<Accepted>, Refusal> {
        self.publish_to_all(vec![(route, alerts)]).await
    }

    /// Where it tells of alerts that have become durable.
    fn feed(&self) -> &Feed;

    /// A configured route in words, and when it was last proven.
    ///
    /// # Errors
    /// There is no such route, or the state could not be read.
    fn route(&self, route: &RouteName) -> Result<RouteView, Refusal>;

    /// Sends a marked alert to the route, waits until it is delivered, but no longer than `timeout`, and gives a test
    /// to each of its fallbacks. What that proves is kept.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    async fn test_route(&self, route: RouteName, timeout: Duration) -> Result<RouteTested, Refusal>;

    /// How all of it is now.
    async fn status(&self) -> Status;

    /// What has happened since the start, in numbers.
    fn counted(&self) -> Counted;

    /// What the process takes of its host.
    fn process(&self) -> ProcessFacts;

    /// The newest first, at most `limit`; with `pending` only those not yet sent.
    async fn alerts(&self, pending: bool, limit: usize) -> Vec<AlertView>;

    /// What ended the lines of `session`, or of all, and the relay's own starts: the newest `limit`, the newest last.
    ///
    /// # Errors
    /// No session has this name, or the state could not be read.
    fn lines(&self, session: Option<SessionName>, limit: usize) -> Result<Vec<HistoryEntry>, Refusal>;

    /// The alert of this id, with its history.
    async fn alert(&self, id: &str) -> Option<AlertView>;

    /// Whether `id` was an alert's that is forgotten, as far as that is still known.
    async fn is_forgotten(&self, id: &str) -> bool;

    /// What the journal has after number `since`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The state could not be read.
    fn events(&self, since: u64, limit: usize) -> Result<Vec<EventView>, Refusal>;

    /// The numbers of the oldest and the newest entry of the journal; 1 and 0 where there is none.
    ///
    /// # Errors
    /// The state could not be read.
    fn events_kept(&self) -> Result<(u64, u64), Refusal>;

    /// Watches the journal from now on. While somebody does, entries about sessions are written soon.
    async fn watch_events(&self) -> Watcher;

    /// Returns the alert as soon as its [`state`](AlertView::state) is at least `step` (or failed), and after `timeout`
    /// as it then is.
    async fn wait(&self, id: &str, step: Step, timeout: Duration) -> Option<AlertView>;

    /// Sends a failed alert again under the same message ids; for one that waits, now.
    ///
    /// # Errors
    /// There is no such alert, or it is sent already.
    async fn retry(&self, id: &str) -> Result<AlertView, Refusal>;

    /// Notes that `by`, in words, has seen to an alert: it is not said again.
    ///
    /// # Errors
    /// There is no such alert.
    async fn ack(&self, id: &str, by: &str) -> Result<AlertView, Refusal>;

    /// Gives up what is not yet sent.
    ///
    /// # Errors
    /// There is no such alert, or all of it is sent.
    async fn drop_alert(&self, id: &str) -> Result<AlertView, Refusal>;

    /// Gives up what is not yet sent on `route` and has this id, or this name for what it is about. The ids of
    /// those.
    ///
    /// # Errors
    /// The disk does not take it.
    async fn cancel(&self, route: &RouteName, name: &str) -> Result<Vec<String>, Refusal>;

    /// The chats that a session knows, or all of them do.
    ///
    /// # Errors
    /// No session has this name, or it cannot answer now.
    async fn chats(&self, session: Option<SessionName>) -> Result<Vec<Chat>, Refusal>;

    /// A backup of the state, with keys in it, and its length in bytes. The file is in memory.
    ///
    /// # Errors
    /// The state could not be read.
    async fn backup(&self) -> Result<(std::fs::File, u64), Refusal>;

    /// Whose token this secret is. A use of one that is good is noted.
    fn token(&self, secret: &str) -> Presented;

    /// All tokens, by name.
    fn tokens(&self) -> Vec<TokenView>;

    /// Makes a token, which ends after `expires_in_ms`. Returns once what is kept of it is on disk.
    ///
    /// # Errors
    /// There is one of this name, there are too many, or the disk does not take it.
    async fn new_token(&self, grant: Grant, expires_in_ms: Option<u64>) -> Result<IssuedToken, Refusal>;

    /// Takes a token away: no request that begins after this returns is let in by it, also after a restart.
    ///
    /// # Errors
    /// There is none of this name, or the disk does not take the change; it may be good again after a restart then.
    async fn revoke_token(&self, name: &str) -> Result<(), Refusal>;

    /// Starts pairing, or joins what is under way. With `phone` (digits) by code instead of QR.
    ///
    /// # Errors
    /// No session has this name, it is paired already, or it has ended.
    async fn pair(
        &self,
        session: SessionName,
        phone: Option<String>,
    ) -> Result<async_channel::Receiver<PairEvent>, Refusal>;
}
