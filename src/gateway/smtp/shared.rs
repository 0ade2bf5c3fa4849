//! What all connections share.

use std::sync::{Arc, Mutex};

use async_channel::{Receiver, Sender};
use smol::lock::{Semaphore, SemaphoreGuardArc};

use super::limits::SmtpLimits;
use crate::access::Limiter;
use crate::config::{Access, MailPlan};
use crate::gateway::files::Files;
use crate::gateway::idle::Idle;
use crate::gateway::refused::Refused;
use crate::gateway::relay::Relay;
use crate::gateway::tls::Certificate;
use crate::line::TcpSchedule;

/// One of a bounded number of connections.
pub(super) type Place = SemaphoreGuardArc;

/// What all connections share.
pub(super) struct Shared {
    pub relay: Arc<dyn Relay>,
    /// Where the files of mails go, if they are kept.
    pub files: Option<Files>,
    pub mail: Arc<MailPlan>,
    pub access: Access,
    pub refused: Arc<Refused>,
    pub tls: Option<Arc<Certificate>>,
    pub limiter: Arc<Mutex<Limiter>>,
    pub limits: SmtpLimits,
    pub stopping: Receiver<()>,
    /// Never used. Whoever holds its receiver learns that the last connection has ended.
    pub _open: Sender<()>,
    pub idle: Idle<Place>,
    pub places: Arc<Semaphore>,
    /// Refusals that are being said.
    pub refusals: Arc<Semaphore>,
    pub keepalive: TcpSchedule,
}
