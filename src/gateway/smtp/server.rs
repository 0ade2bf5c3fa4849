//! Listening for mails, and accepting connections.

use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::{AsyncWriteExt, future};
use smol::lock::Semaphore;
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Task};

use super::connection::converse;
use super::limits::SmtpLimits;
use super::reply::Reply;
use super::shared::{Place, Shared};
use crate::access::Limiter;
use crate::config::{Access, MailPlan};
use crate::gateway::files::Files;
use crate::gateway::idle::Idle;
use crate::gateway::refused::Refused;
use crate::gateway::relay::Relay;
use crate::gateway::tls::Certificate;
use crate::line::TcpSchedule;
use crate::net;
use crate::util::{lock, within};

/// After an error of `accept`: no file descriptors are left, and asking at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The first and the longest pause between two tries to open an address.
const REOPEN_FIRST: Duration = Duration::from_secs(2);
const REOPEN_MAX: Duration = Duration::from_secs(60);
/// Refusals being said at once; beyond that a connection is just closed.
const REFUSALS_MAX: usize = 8;

/// Where mails are taken by SMTP, and what is wrong with the rest; for status and health.
#[derive(Default)]
pub struct SmtpListening(Mutex<Now>);

#[derive(Default)]
struct Now {
    bound: Vec<SocketAddr>,
    missing: BTreeMap<SocketAddr, String>,
}

impl SmtpListening {
    /// The addresses that are served, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        lock(&self.0).bound.clone()
    }

    /// The configured addresses that are not served, each with the reason.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        lock(&self.0).missing.values().cloned().collect()
    }

    /// Opens one of the addresses.
    fn open(&self, address: SocketAddr) -> Option<TcpListener> {
        let opened = StdTcpListener::bind(address).and_then(|listener| {
            let real = listener.local_addr()?;
            Ok((TcpListener::try_from(listener)?, real))
        });
        let mut now = lock(&self.0);
        match opened {
            Ok((listener, real)) => {
                now.missing.remove(&address);
                now.bound.push(real);
                log::info!("taking mails at smtp://{real}");
                Some(listener)
            }
            Err(error) => {
                let why = format!("cannot listen for mails on {address}: {error}");
                if now.missing.insert(address, why.clone()).is_none() {
                    log::warn!("{why}; it is tried again");
                }
                None
            }
        }
    }
}

/// The addresses at which mails are taken, with nobody served yet.
#[derive(Default)]
pub(in crate::gateway) struct Smtp {
    pub listening: Arc<SmtpListening>,
    pub limits: SmtpLimits,
    listeners: Vec<(SocketAddr, Option<TcpListener>)>,
}

/// What serving takes.
pub(in crate::gateway) struct Setup {
    pub relay: Arc<dyn Relay>,
    pub files: Option<Files>,
    pub mail: MailPlan,
    pub access: Access,
    pub refused: Arc<Refused>,
    pub tls: Option<Arc<Certificate>>,
    pub limiter: Arc<Mutex<Limiter>>,
    pub keepalive: TcpSchedule,
    /// Closed when the relay stops.
    pub stopping: Receiver<()>,
    /// Never used. Whoever holds its receiver learns that the last connection has ended.
    pub open: Sender<()>,
}

impl Smtp {
    /// Opens the addresses. One that cannot be opened is tried again while it is served.
    ///
    /// # Errors
    /// One is not loopback, and neither a certificate nor a trusted network makes that safe.
    pub fn open(&mut self, addresses: &[SocketAddr], access: &Access) -> io::Result<()> {
        for address in addresses {
            if !address.ip().is_loopback() && !access.takes_mails_of_the_network() {
                let text = format!(
                    "{address} would take mails of the network, and there is neither tls nor a trusted network"
                );
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
            self.listeners.push((*address, self.listening.open(*address)));
        }
        Ok(())
    }

    /// Serves all addresses for as long as the tasks are held. What a connection is about is told its end by
    /// `stopping`.
    pub fn serve(self, executor: &Arc<Executor<'static>>, setup: Setup) -> Vec<Task<()>> {
        let Setup {
            relay,
            files,
            mail,
            access,
            refused,
            tls,
            limiter,
            keepalive,
            stopping,
            open,
        } = setup;
        let shared = Arc::new(Shared {
            relay,
            files,
            mail: Arc::new(mail),
            access,
            refused,
            tls,
            limiter,
            limits: self.limits,
            stopping,
            _open: open,
            idle: Idle::default(),
            places: Arc::new(Semaphore::new(self.limits.connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            keepalive,
        });
        let task = |(address, listener)| {
            let (listening, shared) = (Arc::clone(&self.listening), Arc::clone(&shared));
            executor.spawn(keep(address, listener, listening, shared, Arc::clone(executor)))
        };
        self.listeners.into_iter().map(task).collect()
    }
}

/// One address: opened, sooner or later, and then served.
async fn keep(
    address: SocketAddr,
    mut listener: Option<TcpListener>,
    listening: Arc<SmtpListening>,
    shared: Arc<Shared>,
    executor: Arc<Executor<'static>>,
) {
    let mut pause = REOPEN_FIRST;
    let listener = loop {
        match listener {
            Some(listener) => break listener,
            None => {
                Timer::after(pause).await;
                pause = (pause * 2).min(REOPEN_MAX);
                listener = listening.open(address);
            }
        }
    };
    let mut failing = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !failing {
                    log::warn!("cannot accept mails on {address}: {error}; trying again every {ACCEPT_PAUSE:?}");
                }
                failing = true;
                Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failing = false;
        let tuning = net::tune(&stream, &shared.keepalive);
        if !tuning.refused.is_empty() {
            log::debug!("a client's socket is not tuned as asked: {tuning}");
        }
        let place = shared.places.try_acquire_arc();
        match place.or_else(|| shared.idle.give_way(Instant::now())) {
            Some(place) => executor
                .spawn(until_stopped(Arc::clone(&shared), stream, peer, place))
                .detach(),
            None => match shared.refusals.try_acquire_arc() {
                Some(place) => executor.spawn(refuse(stream, place, shared.limits)).detach(),
                None => log::debug!("too many connections for mails: one is closed"),
            },
        }
    }
}

/// How long a connection may go on when the relay stops: for an answer that is under way.
const GRACE: Duration = Duration::from_secs(2);

async fn until_stopped(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, place: Place) {
    let stopping = shared.stopping.clone();
    let stopped = async {
        // Nothing is ever sent: this returns when the sender is gone.
        let _ = stopping.recv().await;
        Timer::after(GRACE).await;
    };
    future::or(converse(shared, stream, peer, place), stopped).await;
}

async fn refuse(mut stream: TcpStream, _place: Place, limits: SmtpLimits) {
    let mut out = Vec::new();
    Reply::new(421, "4.3.2 too many connections at once").write(&mut out);
    within(limits.answer, async {
        let _ = stream.write_all(&out).await;
        let _ = stream.close().await;
    })
    .await;
}
