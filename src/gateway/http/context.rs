//! What all connections share: the relay, the limits, and the places that are given out within them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use smol::lock::Mutex;

use super::answer::Problem;
use super::body_file::BodyFile;
use super::connection::{Received, Request};
use super::limits::Limits;
use super::slot::Slot;
use super::traffic::Traffic;
use crate::access::{Asker, Limiter, Logins};
use crate::alert::RouteName;
use crate::config::{Access, MailPlan};
use crate::gateway::files::Files;
use crate::gateway::idle::Idle;
use crate::gateway::mail_files::MailFiles;
use crate::gateway::refused::Refused;
use crate::gateway::relay::Relay;
use crate::gateway::tls::Certificate;
use crate::util::lock;

/// The share of either kind of connection that may wait for an alert's way. In an outage everybody waits, and
/// publishing must go on.
const WAITERS_SHARE: usize = 2;
/// The same for bodies that come slowly.
const SLOW_SHARE: usize = 2;
/// Refusals being said at once; beyond that a connection is just closed.
const REFUSALS_MAX: usize = 16;

/// Wrong tokens whose answer waits at once; beyond that they are answered without a wait, and without a look at the
/// rest.
const GUESSES_MAX: usize = 16;

/// Where a connection was accepted, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    /// On the address `local` of ours; `secure`: by TLS.
    Tcp {
        local: SocketAddr,
        peer: SocketAddr,
        secure: bool,
    },
    /// On the control socket's file.
    Control,
}

/// What a gateway is told before it serves.
#[derive(Clone)]
pub(super) struct Doors {
    pub limits: Limits,
    pub access: Access,
    pub refused: Arc<Refused>,
    pub tls: Option<Arc<Certificate>>,
    /// Counts for all ways in: whoever is stopped at one does not go on at another.
    pub limiter: Arc<std::sync::Mutex<Limiter>>,
}

/// What every connection shares.
pub(super) struct Context {
    pub relay: Arc<dyn Relay>,
    pub limits: Limits,
    pub access: Access,
    pub refused: Arc<Refused>,
    pub tls: Option<Arc<Certificate>>,
    limiter: Arc<std::sync::Mutex<Limiter>>,
    /// Browsers that have shown a token.
    pub logins: Logins,
    /// Which route a mail is for.
    pub mail: MailPlan,
    /// Where files go, if they are kept.
    pub files: Option<Files>,
    /// Closed when the relay stops: nobody waits for a further request then.
    pub stopping: Receiver<()>,
    /// Never used. Whoever holds its receiver learns that the last connection has ended.
    _open: Sender<()>,
    tcp: Places,
    control: Places,
    subscribers: Arc<AtomicUsize>,
    /// What was answered, in numbers.
    pub traffic: Traffic,
    refusals: Arc<AtomicUsize>,
    guesses: Arc<AtomicUsize>,
    /// Held for as long as a backup is on its way out.
    pub backups: Arc<Mutex<()>>,
}

/// The places of one kind of listener that are taken.
#[derive(Default)]
struct Places {
    connections: Arc<AtomicUsize>,
    /// Those of them that wait for a request.
    idle: Idle<Slot>,
    waiters: Arc<AtomicUsize>,
    slow: Arc<AtomicUsize>,
}

/// Connections that are open, by the places that they take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connections {
    pub tcp: usize,
    pub control: usize,
    /// Beside the others.
    pub subscribers: usize,
}

impl Context {
    pub fn new(
        relay: Arc<dyn Relay>,
        doors: Doors,
        mail: MailPlan,
        files: Option<Files>,
        (stopping, open): (Receiver<()>, Sender<()>),
    ) -> Self {
        let Doors {
            limits,
            access,
            refused,
            tls,
            limiter,
        } = doors;
        Self {
            relay,
            limits,
            mail,
            files,
            access,
            refused,
            tls,
            limiter,
            stopping,
            _open: open,
            tcp: Places::default(),
            control: Places::default(),
            subscribers: Arc::default(),
            traffic: Traffic::default(),
            logins: Logins::default(),
            refusals: Arc::default(),
            guesses: Arc::default(),
            backups: Arc::default(),
        }
    }

    fn places(&self, listener: Listener) -> (&Places, usize) {
        match listener {
            Listener::Tcp { .. } => (&self.tcp, self.limits.connections),
            Listener::Control => (&self.control, self.limits.control_connections),
        }
    }

    /// Held by every connection.
    pub fn slot(&self, listener: Listener) -> Option<Slot> {
        let (places, max) = self.places(listener);
        Slot::take(&places.connections, max)
    }

    /// The connections that wait for a request.
    pub fn idle(&self, listener: Listener) -> &Idle<Slot> {
        &self.places(listener).0.idle
    }

    /// Held by a connection that waits.
    pub fn waiting_slot(&self, listener: Listener) -> Option<Slot> {
        let (places, max) = self.places(listener);
        Slot::take(&places.waiters, max / WAITERS_SHARE)
    }

    /// Held by a connection whose request comes slowly.
    pub fn slow_slot(&self, listener: Listener) -> Option<Slot> {
        let (places, max) = self.places(listener);
        Slot::take(&places.slow, max / SLOW_SHARE)
    }

    /// Counts a request over the network.
    ///
    /// # Errors
    /// It is one too many; after this long there is room for it.
    pub fn admit(&self, asker: &Asker) -> Result<(), Duration> {
        lock(&self.limiter).admit(asker, Instant::now())
    }

    /// The whole body of a request, within the limits.
    ///
    /// # Errors
    /// As [`Request::body`] has them.
    pub async fn receive(&self, listener: Listener, request: &mut Request<'_>) -> Result<Received, Problem> {
        let file = BodyFile::default();
        request.body(&|| self.slow_slot(listener), file).await
    }

    /// The same for one that may carry files: what is more than is held in memory goes into one.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub async fn receive_files(&self, listener: Listener, request: &mut Request<'_>) -> Result<Received, Problem> {
        let file = self.files.as_ref().map_or_else(BodyFile::default, |files| {
            BodyFile::new(files.blobs.clone(), Arc::clone(&files.bodies))
        });
        request.body(&|| self.slow_slot(listener), file).await
    }

    /// The same for a mail: its files go beside it.
    ///
    /// # Errors
    /// As for [`receive`](Self::receive).
    pub async fn receive_mail(&self, listener: Listener, request: &mut Request<'_>) -> Result<Received, Problem> {
        let file = BodyFile::of_mail(MailFiles::new(self.files.as_ref()));
        request.body(&|| self.slow_slot(listener), file).await
    }

    /// Held by a connection that subscribes.
    pub fn subscriber_slot(&self) -> Option<Slot> {
        Slot::take(&self.subscribers, self.limits.subscribers)
    }

    /// How many places are taken now.
    pub fn connections(&self) -> Connections {
        let taken = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Connections {
            tcp: taken(&self.tcp.connections),
            control: taken(&self.control.connections),
            subscribers: taken(&self.subscribers),
        }
    }

    /// Held by a connection over the limit while it is told so.
    pub fn refusal_slot(&self) -> Option<Slot> {
        Slot::take(&self.refusals, REFUSALS_MAX)
    }

    /// Held by a request with a wrong token while it waits for its answer.
    pub fn guess_slot(&self) -> Option<Slot> {
        Slot::take(&self.guesses, GUESSES_MAX)
    }

    /// The configured route of this name.
    ///
    /// # Errors
    /// 404 with the routes that there are.
    pub fn route(&self, name: &str) -> Result<RouteName, Problem> {
        let routes = self.relay.routes();
        match routes.iter().find(|route| route.as_str() == name) {
            Some(route) => Ok(route.clone()),
            None => Err(Problem::unknown_route(
                name,
                routes.iter().map(ToString::to_string).collect(),
            )),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { local, .. } => local.fmt(f),
            Self::Control => f.write_str("the control socket"),
        }
    }
}
