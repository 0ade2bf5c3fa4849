//! The ways in: HTTP on loopback and on the control socket, the same code for both.
//!
//! A connection goes `server` (accept) → `connection` (whole heads, bounded bodies, deadlines) → `head` (what
//! HTTP/1.1 means) → `guard` (is this a web page from elsewhere?) → `endpoints` → [`Relay`]. Deliberately absent:
//! TLS, CORS, cookies, and any listen address that is not loopback, until publish tokens exist.

mod answer;
pub mod api;
mod connection;
mod endpoints;
mod guard;
mod head;
mod history;
mod limits;
mod listen;
mod page;
mod publish;
pub mod query;
mod server;
mod socket;

pub use limits::Limits;
pub use listen::{ControlPlaces, Listening};
pub use page::span;
pub use server::Gateway;

use std::time::Duration;

use async_trait::async_trait;

use crate::alert::{Alert, RouteName, SessionName};
use api::{AlertView, Chat, EventView, HistoryEntry, PairEvent, Status};

/// An accepted alert: durable, and this is what the sender is told.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub alert: AlertView,
    /// The key was seen before; `alert` is the first one.
    pub duplicate: bool,
    /// Set when nothing will go out until a person acts.
    pub warning: Option<String>,
}

/// Why the relay would not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("unknown route {0:?}")]
    UnknownRoute(String),
    #[error("no alert has the id {0:?}")]
    UnknownAlert(String),
    /// It was there: it was settled, and its record is gone.
    #[error("alert {0:?} is forgotten: it was through, and others have taken its place since")]
    ForgottenAlert(String),
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
    fn routes(&self) -> Vec<RouteName>;

    /// Takes all alerts of a request, or none. Returns once they are on disk, with an answer for each in their order.
    async fn publish(&self, route: RouteName, alerts: Vec<Alert>) -> Result<Vec<Accepted>, Refusal>;

    fn status(&self) -> Status;

    /// The newest first, at most `limit`; with `pending` only those not yet sent.
    fn alerts(&self, pending: bool, limit: usize) -> Vec<AlertView>;

    /// What ended the lines of `session`, or of all, and the relay's own starts: the newest `limit`, the newest last.
    fn lines(&self, session: Option<SessionName>, limit: usize) -> Result<Vec<HistoryEntry>, Refusal>;

    /// With its history.
    fn alert(&self, id: &str) -> Option<AlertView>;

    /// Whether `id` was an alert's that is forgotten, as far as that is still known.
    fn is_forgotten(&self, id: &str) -> bool;

    /// What the journal has after number `since`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The state could not be read.
    fn events(&self, since: u64, limit: usize) -> Result<Vec<EventView>, Refusal>;

    /// Returns the alert as soon as its [`state`](AlertView::state) is at least `step` (or failed), and after `timeout`
    /// as it then is.
    async fn wait(&self, id: &str, step: crate::outbox::Step, timeout: Duration) -> Option<AlertView>;

    /// Sends a failed alert again under the same message ids; for one that waits, now.
    async fn retry(&self, id: &str) -> Result<AlertView, Refusal>;

    /// Gives up what is not yet sent.
    async fn drop_alert(&self, id: &str) -> Result<AlertView, Refusal>;

    async fn chats(&self, session: Option<SessionName>) -> Result<Vec<Chat>, Refusal>;

    /// A backup of the state, with keys in it, and its length in bytes. The file is in memory.
    async fn backup(&self) -> Result<(std::fs::File, u64), Refusal>;

    /// Starts pairing, or joins what is under way. With `phone` (digits) by code instead of QR.
    async fn pair(
        &self,
        session: SessionName,
        phone: Option<String>,
    ) -> Result<async_channel::Receiver<PairEvent>, Refusal>;
}
