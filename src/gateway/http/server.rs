//! Accepting connections, and serving each request after request.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_io::Timer;
use futures_lite::future;
use smol::net::TcpListener;
use smol::net::unix::UnixListener;
use smol::{Executor, Task};

use super::answer::{Answer, Body, Problem};
use super::connection::{Connection, Request};
use super::context::{Context, Doors, Listener};
use super::limits::Limits;
use super::listen::{ControlFile, ControlPlaces, Listening};
use super::routes;
use super::slot::Slot;
use crate::access::Limiter;
use crate::alert::RouteName;
use crate::blobs::Blobs;
use crate::config::{Access, MailPlan, Prefix, RoutePlan};
use crate::gateway::api::TOO_MANY_CONNECTIONS;
use crate::gateway::fetch::Fetcher;
use crate::gateway::files::Files;
use crate::gateway::refused::Refused;
use crate::gateway::relay::Relay;
use crate::gateway::smtp::{Setup, Smtp, SmtpLimits, SmtpListening};
use crate::gateway::socket::Socket;
use crate::gateway::spool::{Publisher, SpoolPlace, Spooling, Taker};
use crate::gateway::tls::Certificate;
use crate::line::{Schedule, TcpSchedule};
use crate::{net, util};

/// After an error of `accept`: no file descriptors are left, and asking at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The first and the longest pause between two tries to open what is missing: an address that is taken or has no family
/// here, the control socket. The longest one costs a wake-up a minute.
const REOPEN_FIRST: Duration = Duration::from_secs(2);
const REOPEN_MAX: Duration = Duration::from_secs(60);
/// Between two looks at the control socket, however often its directory changes.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Accepted sockets, until a board says otherwise.
const TCP: TcpSchedule = TcpSchedule {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(10),
    count: 3,
    user_timeout: Duration::from_secs(60),
};

/// The gateway with its sockets open and nobody served yet. Dropped or done, it removes the control socket.
pub struct Gateway {
    tcp: Vec<(TcpListener, SocketAddr)>,
    addresses: Vec<SocketAddr>,
    listening: Arc<Listening>,
    /// `None` where it could be made nowhere yet.
    control: Option<(UnixListener, ControlFile)>,
    places: ControlPlaces,
    doors: Doors,
    keepalive: TcpSchedule,
    spools: Vec<SpoolPlace>,
    spooling: Arc<Spooling>,
    ttls: BTreeMap<RouteName, Duration>,
    mail: MailPlan,
    smtp: Smtp,
    files: Option<Files>,
}

fn limiter_of(access: &Access) -> Arc<Mutex<Limiter>> {
    Arc::new(Mutex::new(Limiter::new(access.rate)))
}

impl Gateway {
    /// Opens the TCP addresses and the control socket at `control` (mode 0600). A port 0 becomes a real one, see
    /// [`addresses`](Self::addresses). An address that cannot be opened is told by [`listening`](Self::listening) and
    /// tried again while it serves. A socket file that nobody answers on is replaced.
    ///
    /// # Errors
    /// An address is not loopback, though [`Access::is_for_the_network`] says no, or none of them can be opened;
    /// another process answers on the control socket; or that cannot be made and there is no address either. The text
    /// names the addresses or the file.
    pub fn bind(listen: &[SocketAddr], control: &Path) -> io::Result<Self> {
        Self::bind_among(listen, &control.into(), Access::default())
    }

    /// [`bind`](Self::bind) with several places for the control socket, and with who may come in.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub fn bind_among(listen: &[SocketAddr], places: &ControlPlaces, access: Access) -> io::Result<Self> {
        let listening = Arc::new(Listening::default());
        let mut tcp = Vec::new();
        for (listener, address) in listening.open(listen, access.is_for_the_network())? {
            tcp.push((TcpListener::try_from(listener)?, address));
        }
        let control = match listening.open_control(places) {
            Ok((listener, file)) => Some((UnixListener::try_from(listener)?, file)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse || tcp.is_empty() => return Err(error),
            // Alerts come in and go out without.
            Err(error) => {
                listening.control_gone(&error);
                None
            }
        };
        let limiter = limiter_of(&access);
        Ok(Self {
            tcp,
            addresses: listening.addresses(),
            listening,
            control,
            places: places.clone(),
            doors: Doors {
                limits: Limits::default(),
                access,
                refused: Arc::default(),
                tls: None,
                limiter,
            },
            keepalive: TCP,
            spools: Vec::new(),
            spooling: Arc::default(),
            ttls: BTreeMap::new(),
            mail: MailPlan::default(),
            smtp: Smtp::default(),
            files: None,
        })
    }

    /// Other bounds than the usual ones.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.doors.limits = limits;
        self
    }

    /// Who may come in without a token; without this, whoever is on this box.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.doors.limiter = limiter_of(&access);
        self.doors.access = access;
        self
    }

    /// With this certificate for what comes over the network by TLS.
    #[must_use]
    pub fn with_certificate(mut self, certificate: Arc<Certificate>) -> Self {
        self.doors.tls = Some(certificate);
        self
    }

    /// The wrong tokens that come; it goes on telling while the gateway serves.
    pub fn refused(&self) -> Arc<Refused> {
        Arc::clone(&self.doors.refused)
    }

    /// The board's keepalive for accepted sockets.
    #[must_use]
    pub fn with_tcp(mut self, tcp: TcpSchedule) -> Self {
        self.keepalive = tcp;
        self
    }

    /// The board's time between two signs of life to who subscribes to the journal.
    #[must_use]
    pub fn with_ping(mut self, ping: Duration) -> Self {
        self.doors.limits.ping = ping;
        self
    }

    /// Where the files of alerts are kept, and from which addresses they are fetched; without this they are left out.
    #[must_use]
    pub fn with_blobs(mut self, blobs: Blobs, fetch: Vec<Prefix>, schedule: Schedule) -> Self {
        self.files = Some(Files::new(blobs, Fetcher::new(fetch, schedule)));
        self
    }

    /// Which route a mail is for.
    #[must_use]
    pub fn with_mail(mut self, plan: MailPlan) -> Self {
        self.mail = plan;
        self
    }

    /// The addresses at which mails are taken by SMTP while it serves, after who may come in is known. They are opened
    /// at once; one that cannot be is told by [`smtp_listening`](Self::smtp_listening) and tried again.
    ///
    /// # Errors
    /// One is not loopback, and nothing makes that safe.
    pub fn with_smtp(mut self, listen: &[SocketAddr], limits: SmtpLimits) -> io::Result<Self> {
        self.smtp.limits = limits;
        self.smtp.open(listen, &self.doors.access)?;
        Ok(self)
    }

    /// Where mails are taken, and what is wrong with the rest; it goes on telling while the gateway serves.
    pub fn smtp_listening(&self) -> Arc<SmtpListening> {
        Arc::clone(&self.smtp.listening)
    }

    /// The spools to take alerts from while it serves, for these routes. Those that are to be made are made at once.
    #[must_use]
    pub fn with_spools(mut self, places: Vec<SpoolPlace>, routes: &[RoutePlan]) -> Self {
        places.iter().for_each(SpoolPlace::prepare);
        self.spools = places;
        let limited = routes.iter().filter_map(|route| Some((route.name.clone(), route.ttl?)));
        self.ttls = limited.collect();
        self
    }

    /// What is wrong with the spools; it goes on telling while the gateway serves.
    pub fn spooling(&self) -> Arc<Spooling> {
        Arc::clone(&self.spooling)
    }

    /// Where it listened at once, with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens now, and what is wrong with the rest; it goes on telling while the gateway serves.
    pub fn listening(&self) -> Arc<Listening> {
        Arc::clone(&self.listening)
    }

    /// Serves `relay` until `stop` is ready, then lets what is under way end (2 s at most), closes every connection and
    /// removes the control socket. Dropping the future does the same at once. Nothing that a client does ends it.
    pub async fn serve(self, executor: Arc<Executor<'static>>, relay: Arc<dyn Relay>, stop: impl Future<Output = ()>) {
        // Every task below ends when this sender is dropped.
        let (_open, closed) = async_channel::bounded::<()>(1);
        let (going_on, stopping) = async_channel::bounded::<()>(1);
        let (open, ended) = async_channel::bounded::<()>(1);
        let taker = Taker {
            publisher: Publisher {
                relay: Arc::clone(&relay),
                mail: self.mail.clone(),
                ttls: self.ttls,
                text_bytes_max: self.doors.limits.body_bytes,
            },
            spooling: self.spooling,
            body_kept_bytes: self.doors.limits.kept_bytes,
        };
        let taking = (!self.spools.is_empty()).then(|| executor.spawn(taker.run(self.spools)));
        let smtp = Setup {
            relay: Arc::clone(&relay),
            files: self.files.clone(),
            mail: self.mail.clone(),
            access: self.doors.access.clone(),
            refused: Arc::clone(&self.doors.refused),
            tls: self.doors.tls.clone(),
            limiter: Arc::clone(&self.doors.limiter),
            keepalive: self.keepalive,
            stopping: stopping.clone(),
            open: open.clone(),
        };
        let mails = self.smtp.serve(&executor, smtp);
        let context = Arc::new(Context::new(
            relay,
            self.doors.clone(),
            self.mail,
            self.files,
            (stopping, open),
        ));
        let accepting = Accepting {
            executor,
            context,
            closed,
            keepalive: self.keepalive,
        };
        let opened = self.tcp.into_iter();
        let tcp = opened
            .map(|(listener, address)| accepting.tcp(listener, address))
            .collect();
        let control = self
            .control
            .map(|(listener, file)| (accepting.start(Acceptor::Control(listener)), file));
        let keeping = keep_open(&accepting, &self.listening, tcp, control, self.places);
        // Ends the listeners too, and takes the control socket away.
        future::or(stop, keeping).await;
        drop((accepting, going_on, taking, mails));
        let ended = async {
            // Nothing is ever sent: this returns when the last connection has ended.
            let _ = ended.recv().await;
        };
        let grace = async {
            Timer::after(self.doors.limits.grace).await;
        };
        future::or(ended, grace).await;
    }
}

/// What every listener's loop is made of.
struct Accepting {
    executor: Arc<Executor<'static>>,
    context: Arc<Context>,
    closed: async_channel::Receiver<()>,
    keepalive: TcpSchedule,
}

impl Accepting {
    fn tcp(&self, listener: TcpListener, address: SocketAddr) -> Task<()> {
        self.start(Acceptor::Tcp(listener, address, self.keepalive))
    }

    fn start(&self, acceptor: Acceptor) -> Task<()> {
        let (executor, context, closed) = (self.executor.clone(), self.context.clone(), self.closed.clone());
        self.executor.spawn(accept(acceptor, executor, context, closed))
    }
}

/// Holds the listeners, opens those that are missing as soon as that can be done, and makes the control socket again
/// when its file has gone. Never ends.
async fn keep_open(
    accepting: &Accepting,
    listening: &Arc<Listening>,
    mut tcp: Vec<Task<()>>,
    mut control: Option<(Task<()>, ControlFile)>,
    places: ControlPlaces,
) {
    let mut pause = REOPEN_FIRST;
    loop {
        match &control {
            Some((_, file)) if !listening.is_in_trouble() => {
                pause = REOPEN_FIRST;
                file.changed().await;
                Timer::after(LOOK_PAUSE).await;
            }
            Some(_) | None => {
                Timer::after(pause).await;
                pause = (pause * 2).min(REOPEN_MAX);
            }
        }
        for (listener, address) in listening.open_missing() {
            match TcpListener::try_from(listener) {
                Ok(listener) => tcp.push(accepting.tcp(listener, address)),
                Err(error) => log::error!("{address} is not served: {error}"),
            }
        }
        let Some((task, file)) = &mut control else {
            let (asked, places) = (Arc::clone(listening), places.clone());
            // Whoever has the name may not answer.
            let opened = smol::unblock(move || asked.open_control(&places)).await;
            match opened.and_then(|(listener, file)| Ok((UnixListener::try_from(listener)?, file))) {
                Ok((listener, file)) => {
                    control = Some((accepting.start(Acceptor::Control(listener)), file));
                    listening.control_is_there();
                    log::info!("commands reach this relay now");
                }
                Err(error) => listening.control_gone(&error),
            }
            continue;
        };
        match file.make_again().await {
            None => listening.control_is_there(),
            Some(made) => match made.and_then(UnixListener::try_from) {
                Ok(listener) => {
                    listening.control_made_again();
                    drop(std::mem::replace(task, accepting.start(Acceptor::Control(listener))));
                }
                Err(error) => listening.control_gone(&error),
            },
        }
    }
}

/// An open socket that takes connections.
enum Acceptor {
    Tcp(TcpListener, SocketAddr, TcpSchedule),
    Control(UnixListener),
}

impl Acceptor {
    async fn accept(&self) -> io::Result<(Socket, Listener)> {
        match self {
            Self::Tcp(listener, local, tcp) => {
                let (stream, peer) = listener.accept().await?;
                let tuning = net::tune(&stream, tcp);
                if !tuning.refused.is_empty() {
                    log::debug!("a client's socket is not tuned as asked: {tuning}");
                }
                let local = *local;
                Ok((
                    Socket::Tcp(stream),
                    Listener::Tcp {
                        local,
                        peer,
                        secure: false,
                    },
                ))
            }
            Self::Control(listener) => Ok((Socket::Unix(listener.accept().await?.0), Listener::Control)),
        }
    }

    /// Where it listens, in words.
    fn place(&self) -> String {
        match self {
            Self::Tcp(_, address, _) => address.to_string(),
            Self::Control(_) => Listener::Control.to_string(),
        }
    }
}

/// One listener's loop. An error is never its end: descriptors come back, and a relay that does not accept is deaf.
async fn accept(acceptor: Acceptor, executor: Arc<Executor<'static>>, context: Arc<Context>, closed: Receiver<()>) {
    let place = acceptor.place();
    let mut failing = false;
    loop {
        let (socket, listener) = match acceptor.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !failing {
                    log::warn!("cannot accept on {place}: {error}; trying again every {ACCEPT_PAUSE:?}");
                }
                failing = true;
                Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if std::mem::take(&mut failing) {
            log::info!("accepting on {place} again");
        }
        let slot = context.slot(listener);
        let task = match slot.or_else(|| context.idle(listener).give_way(Instant::now())) {
            Some(slot) => converse(context.clone(), listener, socket, slot),
            None => {
                log::debug!("too many connections on {listener}: one is refused");
                let Some(slot) = context.refusal_slot() else {
                    continue;
                };
                executor
                    .spawn(until_closed(refuse(socket, context.limits, slot), closed.clone()))
                    .detach();
                continue;
            }
        };
        executor.spawn(until_closed(task, closed.clone())).detach();
    }
}

async fn until_closed(task: impl Future<Output = ()>, closed: Receiver<()>) {
    let closed = async {
        // Nothing is ever sent: this returns when the sender is gone.
        let _ = closed.recv().await;
    };
    future::or(task, closed).await;
}

/// All requests of one connection.
async fn converse(context: Arc<Context>, listener: Listener, socket: Socket, mut slot: Slot) {
    let Some((socket, listener)) = greet(&context, listener, socket).await else {
        return;
    };
    let mut connection = Connection::new(socket, context.limits);
    loop {
        let rest = context.idle(listener).rest(slot, Instant::now());
        let head = connection.head([&context.stopping, rest.evicted()]).await;
        let kept = rest.end();
        let gives_way = kept.is_none();
        let Some(kept) = kept.or_else(|| context.slot(listener)) else {
            // A request may have come just then.
            if let (Ok(Some(head)), Some(_held)) = (head, context.refusal_slot()) {
                let problem = Problem::new(503, TOO_MANY_CONNECTIONS);
                let _ = connection.answer(problem.into(), Some(&head), true).await;
                connection.leave().await;
            }
            return;
        };
        slot = kept;
        let head = match head {
            Ok(Some(head)) => head,
            // Nothing was under way: there is nothing to read off.
            Ok(None) if gives_way => return,
            Ok(None) => break,
            Err(problem) => {
                log::debug!("{listener}: {} {}", problem.body().http, problem.body().error);
                let _ = connection.answer(problem.into(), None, true).await;
                break;
            }
        };
        let mut request = Request::new(head, &mut connection);
        let mut answer = routes::handle(&context, listener, &mut request).await;
        // What is left of a body that no endpoint asked for would be taken for the next request.
        let close = answer.close || request.head.close || !request.whole || context.stopping.is_closed();
        let Request { head, .. } = request;
        let subscriber = answer.subscriber.take();
        if let Some(_place) = subscriber {
            drop(slot);
            let told = match answer.body {
                Body::Upgrade(_) => return drop(connection.hand_over(answer, &head).await),
                Body::Bytes(_) | Body::Stream { .. } => connection.answer(answer, Some(&head), true).await,
            };
            if told.is_ok() {
                connection.leave().await;
            }
            return;
        }
        if let Err(error) = connection.answer(answer, Some(&head), close).await {
            log::debug!("a connection on {listener} ended: {error}");
            break;
        }
        if close {
            break;
        }
    }
    connection.leave().await;
    drop(slot);
}

/// How long a connection may be silent before it is taken for one of plain HTTP. A client of TLS speaks at once.
const FIRST_BYTE: Duration = Duration::from_secs(5);

/// The first byte of a TLS handshake; no request begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Answers a TLS handshake, if the client begins one and there is a certificate. `None`: it came to nothing.
async fn greet(context: &Context, listener: Listener, socket: Socket) -> Option<(Socket, Listener)> {
    let (Some(certificate), Socket::Tcp(stream), Listener::Tcp { local, peer, .. }) = (&context.tls, &socket, listener)
    else {
        return Some((socket, listener));
    };
    let mut first = [0];
    // Whoever says nothing is left to the deadline of a request, and to those who need the place.
    let begun = util::within(FIRST_BYTE.min(context.limits.request), stream.peek(&mut first)).await;
    if !matches!(begun, Some(Ok(1))) || first[0] != TLS_HANDSHAKE {
        return Some((socket, listener));
    }
    let Socket::Tcp(stream) = socket else { return None };
    let Some(acceptor) = certificate.acceptor() else {
        log::debug!("{peer} begins TLS, and there is no certificate that can be used");
        return None;
    };
    match util::within(context.limits.request, acceptor.accept(stream)).await {
        Some(Ok(stream)) => {
            let listener = Listener::Tcp {
                local,
                peer,
                secure: true,
            };
            Some((Socket::Tls(Box::new(stream)), listener))
        }
        Some(Err(error)) => {
            log::debug!("the TLS handshake with {peer} came to nothing: {error}");
            None
        }
        None => None,
    }
}

async fn refuse(socket: Socket, limits: Limits, slot: Slot) {
    let mut connection = Connection::new(socket, limits);
    let answer = Answer::from(Problem::new(503, TOO_MANY_CONNECTIONS));
    let _ = connection.answer(answer, None, true).await;
    connection.leave().await;
    drop(slot);
}
