//! A gateway over real sockets with a relay behind it that the test holds in its hand.
#![allow(dead_code, reason = "each test uses a part of it")]

mod answer;
mod certificate;
mod files;
mod view;

use std::io::{Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use answer::request;
pub use answer::{Answer, talk};
use async_channel::{Receiver, Sender, unbounded};
use async_io::Timer;
use async_trait::async_trait;
use futures_lite::future;
use smol::Executor;
use tautline::access::{Digest, Grant, Keyring, Presented, Right, Routes, Token};
use tautline::alert::{Alert, RouteName, SessionName};
use tautline::blobs::{Blobs, Kept};
use tautline::board::Board;
use tautline::config::{Access, Prefix};
use tautline::gateway::api::*;
use tautline::gateway::{
    Accepted, Certificate, Counted, Feed, Gateway, Limits, ProcessFacts, Refusal, Refused, Relay, SmtpLimits, Tallies,
};
use tautline::outbox::Step;
use tautline::store::journal::{Updates, Watcher};
use view::{event, view};

pub use certificate::write_certificate;

/// A test that waits longer than this has failed.
/// An alert that was there once.
pub const FORGOTTEN: &str = "AAAAAAAAfrgt";

/// The wall clock of the fake relay.
pub const NOW_MS: u64 = 1_700_000_000_000;

pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Inside {
    alerts: Vec<AlertView>,
    /// What publish takes, in order.
    taken: Vec<(String, Alert)>,
    warning: Option<String>,
    refusal: Option<Refusal>,
    problems: Vec<HealthEntry>,
    pairings: Vec<Option<String>>,
    waiting: usize,
    /// How long each of them was to be, in order.
    waits: Vec<Duration>,
    lines: Vec<HistoryEntry>,
    /// Alerts of which nothing but the key is left.
    forgotten: Vec<String>,
    backup: Option<Vec<u8>>,
    keyring: Keyring,
    /// The journal.
    events: Vec<EventView>,
}

impl Inside {
    fn accept(&mut self, route: &RouteName, alert: Alert) -> Accepted {
        let same = |(_, earlier): &(String, Alert)| alert.key.is_some() && earlier.key == alert.key;
        let first = self.taken.iter().position(same);
        let view = match first {
            Some(index) => self.alerts[index].clone(),
            None => {
                let view = view(self.alerts.len(), route.as_str(), &alert, Step::Accepted);
                self.alerts.push(view.clone());
                self.taken.push((route.to_string(), alert));
                view
            }
        };
        Accepted {
            alert: view,
            duplicate: first.is_some(),
            warning: self.warning.clone(),
        }
    }
}

pub struct FakeRelay {
    routes: Vec<RouteName>,
    /// What alerts mention stays.
    files: Mutex<Vec<Kept>>,
    inside: Mutex<Inside>,
    feed: Feed,
    /// What `GET /metrics` counts.
    pub tallies: Tallies,
    updates: Updates,
    changed: (Sender<()>, Receiver<()>),
    pair_events: (Sender<PairEvent>, Receiver<PairEvent>),
}

impl FakeRelay {
    pub fn new(routes: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            routes: routes.iter().map(|name| name.parse().unwrap()).collect(),
            files: Mutex::default(),
            inside: Mutex::new(Inside {
                events: (1..=5).map(|number| event(number, "offline", None)).collect(),
                ..Inside::default()
            }),
            feed: Feed::default(),
            tallies: Tallies::default(),
            updates: Updates::default(),
            changed: unbounded(),
            pair_events: unbounded(),
        })
    }

    /// Every publish from here on: a warning, or a refusal.
    pub fn warn(&self, warning: &str) {
        self.inside.lock().unwrap().warning = Some(warning.into());
    }
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.inside.lock().unwrap().refusal = refusal;
    }
    pub fn problem(&self, text: &str) {
        self.inside.lock().unwrap().problems.push(HealthEntry {
            code: "session-unpaired".into(),
            severity: "error".into(),
            text: text.into(),
            title: "a session is not linked".into(),
            advice: "run `tautline pair`".into(),
        });
    }

    pub fn warning(&self, text: &str) {
        self.inside.lock().unwrap().problems.push(HealthEntry {
            code: "route-unproven".into(),
            severity: "warning".into(),
            text: text.into(),
            title: "nobody has seen a route work".into(),
            advice: "run `tautline routes test NAME`".into(),
        });
    }

    /// What `GET /v1/lines` tells, the newest last.
    pub fn line(&self, entry: HistoryEntry) {
        self.inside.lock().unwrap().lines.push(entry);
    }

    /// Adds an entry to the journal, which is the next number's; of the alert of this id, if it is one of an alert.
    pub fn happen(&self, what: &str, route: Option<&str>) -> u64 {
        let mut inside = self.inside.lock().unwrap();
        let number = inside.events.last().map_or(1, |last| last.number + 1);
        inside.events.push(event(number, what, route));
        drop(inside);
        self.updates.tell();
        number
    }

    /// The journal lets go of all up to this number, but never of the newest.
    pub fn trim(&self, number: u64) {
        let events = &mut self.inside.lock().unwrap().events;
        let newest = events.last().map_or(0, |event| event.number);
        events.retain(|event| event.number > number || event.number == newest);
    }

    /// Whether anybody subscribes to the journal.
    pub fn is_watched(&self) -> bool {
        self.updates.is_watched()
    }

    pub fn taken(&self) -> Vec<(String, Alert)> {
        self.inside.lock().unwrap().taken.clone()
    }
    pub fn pairings(&self) -> Vec<Option<String>> {
        self.inside.lock().unwrap().pairings.clone()
    }
    pub fn alerts_state(&self, id: &str) -> Step {
        smol::block_on(self.alert(id)).unwrap().state
    }
    /// Long polls under way.
    pub fn waiting(&self) -> usize {
        self.inside.lock().unwrap().waiting
    }

    /// Long polls that there have been.
    pub fn waits(&self) -> usize {
        self.inside.lock().unwrap().waits.len()
    }
    /// How long the latest of them was to be at most.
    pub fn last_wait(&self) -> Duration {
        *self.inside.lock().unwrap().waits.last().expect("nobody has waited")
    }
    pub fn forget(&self, id: &str) {
        self.inside.lock().unwrap().forgotten.push(id.to_owned());
    }
    /// Puts a token there; `routes` without one is all, and `ended` one whose end has come.
    pub fn token(&self, secret: &str, rights: &[Right], routes: &[&str], ended: bool) {
        let token = Token {
            grant: Arc::new(Grant {
                name: secret.parse().unwrap(),
                rights: rights.iter().copied().collect(),
                routes: match routes {
                    [] => Routes::All,
                    some => Routes::Only(some.iter().map(|name| name.parse().unwrap()).collect()),
                },
            }),
            digest: Digest::of(secret),
            created_ms: 1,
            expires_ms: ended.then_some(NOW_MS),
            used_ms: None,
        };
        self.inside.lock().unwrap().keyring.put(token);
    }

    /// Empties what pairing was asked for, and says how often.
    pub fn forget_pairings(&self) -> usize {
        std::mem::take(&mut self.inside.lock().unwrap().pairings).len()
    }

    /// Empties what publish has taken.
    pub fn forget_taken(&self) {
        self.inside.lock().unwrap().taken.clear();
    }

    /// What `GET /v1/backup` gives.
    pub fn back_up(&self, bytes: Vec<u8>) {
        self.inside.lock().unwrap().backup = Some(bytes);
    }

    /// Puts an alert into the outbox without HTTP.
    pub fn put(&self, text: &str, state: Step) -> String {
        let mut inside = self.inside.lock().unwrap();
        let alert = Alert {
            text: text.into(),
            ..Alert::default()
        };
        let view = view(inside.alerts.len(), "family", &alert, state);
        inside.alerts.push(view.clone());
        view.id
    }

    pub fn advance(&self, id: &str, state: Step, note: &str) {
        for alert in &mut self.inside.lock().unwrap().alerts {
            if alert.id == id {
                alert.state = state;
                alert.deliveries[0].state = state;
                alert.deliveries[0].note = note.into();
            }
        }
        let _ = self.changed.0.try_send(());
    }

    pub fn pair_event(&self, event: PairEvent) {
        self.pair_events.0.try_send(event).unwrap();
    }
    /// Pairing streams that the gateway holds.
    pub fn pair_listeners(&self) -> usize {
        self.pair_events.1.receiver_count() - 1
    }
    pub fn pair_ends(&self) {
        self.pair_events.0.close();
    }
}

struct Waiting<'a>(&'a FakeRelay);
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.inside.lock().unwrap().waiting -= 1;
    }
}

#[async_trait]
impl Relay for FakeRelay {
    fn routes(&self) -> Vec<RouteName> {
        self.routes.clone()
    }

    fn route(&self, route: &RouteName) -> Result<RouteView, Refusal> {
        Ok(view::route(route))
    }

    async fn test_route(&self, route: RouteName, _: Duration) -> Result<RouteTested, Refusal> {
        let alert = self.publish_to_all(vec![(route, vec![Alert::default()])]).await?;
        Ok(view::tested(alert.into_iter().next().expect("an answer").alert))
    }

    async fn publish_to_all(&self, parts: Vec<(RouteName, Vec<Alert>)>) -> Result<Vec<Accepted>, Refusal> {
        let mut inside = self.inside.lock().unwrap();
        if let Some(refusal) = &inside.refusal {
            return Err(refusal.clone());
        }
        let mut accepted = Vec::new();
        for (route, alerts) in parts {
            accepted.extend(alerts.into_iter().map(|alert| inside.accept(&route, alert)));
        }
        for accepted in accepted.iter().filter(|accepted| !accepted.duplicate) {
            self.feed.tell(accepted.alert.clone());
        }
        Ok(accepted)
    }

    fn feed(&self) -> &Feed {
        &self.feed
    }

    async fn publish_with_files(
        &self,
        parts: Vec<(RouteName, Vec<Alert>)>,
        files: Vec<Kept>,
    ) -> Result<Vec<Accepted>, Refusal> {
        self.files.lock().unwrap().extend(files);
        self.publish_to_all(parts).await
    }

    async fn status(&self) -> Status {
        let health = self.inside.lock().unwrap().problems.clone();
        view::status(health)
    }

    fn counted(&self) -> Counted {
        self.tallies.counted()
    }

    fn process(&self) -> ProcessFacts {
        ProcessFacts {
            cpu: Duration::from_millis(1500),
            resident_bytes: Some(7 << 20),
            open_files: Some(12),
            open_files_max: Some(1024),
        }
    }

    async fn alerts(&self, pending: bool, limit: usize) -> Vec<AlertView> {
        let inside = self.inside.lock().unwrap();
        let wanted = inside
            .alerts
            .iter()
            .rev()
            .filter(|alert| !pending || alert.state == Step::Accepted);
        wanted.take(limit).cloned().collect()
    }

    fn lines(&self, session: Option<SessionName>, limit: usize) -> Result<Vec<HistoryEntry>, Refusal> {
        match session {
            Some(name) if name.as_str() != "default" => Err(Refusal::UnknownSession(name.to_string())),
            _ => {
                let lines = &self.inside.lock().unwrap().lines;
                Ok(lines[lines.len().saturating_sub(limit)..].to_vec())
            }
        }
    }

    async fn cancel(&self, route: &RouteName, name: &str) -> Result<Vec<String>, Refusal> {
        Ok(view::cancel(&mut self.inside.lock().unwrap().alerts, route, name))
    }

    async fn is_forgotten(&self, id: &str) -> bool {
        id == FORGOTTEN || self.inside.lock().unwrap().forgotten.iter().any(|gone| gone == id)
    }

    async fn alert(&self, id: &str) -> Option<AlertView> {
        let inside = self.inside.lock().unwrap();
        let there = |alert: &&AlertView| alert.id == id && !inside.forgotten.contains(&alert.id);
        let mut alert = inside.alerts.iter().find(there).cloned()?;
        alert.history = view::history();
        Some(alert)
    }

    fn events(&self, since: u64, limit: usize) -> Result<Vec<EventView>, Refusal> {
        if let Some(refusal) = &self.inside.lock().unwrap().refusal {
            return Err(refusal.clone());
        }
        let events = &self.inside.lock().unwrap().events;
        let after = events.iter().filter(|event| event.number > since);
        Ok(after.take(limit).cloned().collect())
    }

    fn events_kept(&self) -> Result<(u64, u64), Refusal> {
        let inside = self.inside.lock().unwrap();
        if let Some(refusal) = &inside.refusal {
            return Err(refusal.clone());
        }
        let number = |event: &EventView| event.number;
        Ok((
            inside.events.first().map_or(1, number),
            inside.events.last().map_or(0, number),
        ))
    }

    async fn watch_events(&self) -> Watcher {
        self.updates.watch()
    }

    async fn wait(&self, id: &str, step: Step, timeout: Duration) -> Option<AlertView> {
        {
            let mut inside = self.inside.lock().unwrap();
            inside.waiting += 1;
            inside.waits.push(timeout);
        }
        let _waiting = Waiting(self);
        let done = async {
            while self.alert(id).await.is_some_and(|alert| alert.state < step) {
                let _ = self.changed.1.recv().await;
            }
        };
        let late = async {
            Timer::after(timeout).await;
        };
        future::or(done, late).await;
        self.alert(id).await
    }

    async fn ack(&self, id: &str, _by: &str) -> Result<AlertView, Refusal> {
        self.alert(id).await.ok_or_else(|| Refusal::UnknownAlert(id.into()))
    }

    async fn retry(&self, id: &str) -> Result<AlertView, Refusal> {
        self.alert(id).await.ok_or_else(|| Refusal::UnknownAlert(id.into()))
    }

    async fn drop_alert(&self, id: &str) -> Result<AlertView, Refusal> {
        let alert = self.alert(id).await.ok_or_else(|| Refusal::UnknownAlert(id.into()))?;
        if alert.state != Step::Accepted {
            return Err(Refusal::Conflict(format!("alert {id} is sent already")));
        }
        self.advance(id, Step::Failed, "dropped by hand");
        Ok(self.alert(id).await.unwrap())
    }

    async fn chats(&self, session: Option<SessionName>) -> Result<Vec<Chat>, Refusal> {
        let session = session.map_or("default".into(), String::from);
        if session != "default" {
            return Err(Refusal::UnknownSession(session));
        }
        Ok(vec![Chat {
            to: "120363000000000001@g.us".into(),
            name: "Family \u{1b}[2J".into(),
            kind: "group".into(),
            session,
            lid: None,
            writable: false,
            note: "only admins may write".into(),
        }])
    }

    fn token(&self, secret: &str) -> Presented {
        self.inside.lock().unwrap().keyring.presented(secret, NOW_MS)
    }

    fn tokens(&self) -> Vec<TokenView> {
        let inside = self.inside.lock().unwrap();
        let tokens = inside.keyring.tokens().iter();
        tokens.map(|token| TokenView::new(token, NOW_MS)).collect()
    }

    async fn new_token(&self, grant: Grant, expires_in_ms: Option<u64>) -> Result<IssuedToken, Refusal> {
        let keyring = &mut self.inside.lock().unwrap().keyring;
        if keyring.get(grant.name.as_str()).is_some() {
            return Err(Refusal::Conflict(format!("there is a token {} already", grant.name)));
        }
        let secret = format!("tk_{:0>29}", keyring.tokens().len());
        let token = Token {
            grant: Arc::new(grant),
            digest: Digest::of(&secret),
            created_ms: NOW_MS,
            expires_ms: expires_in_ms.map(|after| NOW_MS + after),
            used_ms: None,
        };
        let kept = TokenView::new(&token, NOW_MS);
        keyring.put(token);
        Ok(IssuedToken { token: secret, kept })
    }

    async fn revoke_token(&self, name: &str) -> Result<(), Refusal> {
        match self.inside.lock().unwrap().keyring.remove(name) {
            Some(_) => Ok(()),
            None => Err(Refusal::UnknownToken(name.into())),
        }
    }

    async fn backup(&self) -> Result<(std::fs::File, u64), Refusal> {
        let Some(bytes) = self.inside.lock().unwrap().backup.clone() else {
            return Err(Refusal::Storage("this relay has no disk".into()));
        };
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).and_then(|()| file.rewind()).unwrap();
        Ok((file, bytes.len() as u64))
    }

    async fn pair(&self, session: SessionName, phone: Option<String>) -> Result<Receiver<PairEvent>, Refusal> {
        if session.as_str() != "default" {
            return Err(Refusal::UnknownSession(session.to_string()));
        }
        self.inside.lock().unwrap().pairings.push(phone);
        Ok(self.pair_events.1.clone())
    }
}

/// A served gateway; dropped, it stops and its thread ends.
pub struct Bench {
    pub relay: Arc<FakeRelay>,
    pub address: SocketAddr,
    /// Where it takes mails by SMTP.
    pub mails: SocketAddr,
    pub refused: Arc<Refused>,
    pub control: PathBuf,
    /// Holds the control socket: `--state` for the command line.
    pub state: tempfile::TempDir,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(FakeRelay::new(&["family", "ops"]), Limits::default())
    }

    pub fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::with(FakeRelay::new(&["family", "ops"]), limits)
    }

    /// One that lets nobody in over TCP without a token, and answers a wrong one at once.
    pub fn closed() -> Self {
        Self::closed_with(|_| {})
    }

    /// The same with other bounds.
    pub fn closed_with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            wrong_token: Duration::ZERO,
            ..Limits::default()
        };
        change(&mut limits);
        let access = Access {
            loopback: tautline::config::Loopback::Token,
            ..Access::default()
        };
        Self::with_access(FakeRelay::new(&["family", "ops"]), limits, access)
    }

    pub fn with(relay: Arc<FakeRelay>, limits: Limits) -> Self {
        Self::with_access(relay, limits, Access::default())
    }

    pub fn with_access(relay: Arc<FakeRelay>, limits: Limits, access: Access) -> Self {
        Self::with_certificate(relay, limits, access, None)
    }

    pub fn with_certificate(
        relay: Arc<FakeRelay>,
        limits: Limits,
        access: Access,
        certificate: Option<Arc<Certificate>>,
    ) -> Self {
        Self::open(relay, limits, access, certificate, SmtpLimits::default(), None)
    }

    pub fn with_mails(
        relay: Arc<FakeRelay>,
        access: Access,
        certificate: Option<Arc<Certificate>>,
        limits: SmtpLimits,
    ) -> Self {
        Self::open(relay, Limits::default(), access, certificate, limits, None)
    }

    fn open(
        relay: Arc<FakeRelay>,
        limits: Limits,
        access: Access,
        certificate: Option<Arc<Certificate>>,
        smtp_limits: SmtpLimits,
        files: Option<Vec<Prefix>>,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let control = state.path().join("control.sock");
        let listen = "127.0.0.1:0".parse().unwrap();
        let gateway = Gateway::bind(&[listen], &control)
            .unwrap()
            .with_limits(limits)
            .with_access(access);
        let gateway = match certificate {
            Some(certificate) => gateway.with_certificate(certificate),
            None => gateway,
        };
        let gateway = gateway.with_smtp(&[listen], smtp_limits).unwrap();
        let (address, mails) = (gateway.addresses()[0], gateway.smtp_listening().addresses()[0]);
        let refused = gateway.refused();
        let gateway = match files {
            Some(allowed) => {
                let blobs = Blobs::open(state.path(), tautline::blobs::Limits::default());
                gateway.with_blobs(blobs, allowed, Board::named("generic").unwrap().schedule())
            }
            None => gateway,
        };
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let behind: Arc<dyn Relay> = relay.clone();
        let thread = std::thread::spawn(move || {
            let executor = Arc::new(Executor::new());
            let stop = async move {
                let _ = stopped.recv().await;
            };
            smol::block_on(executor.run(gateway.serve(executor.clone(), behind, stop)));
        });
        Self {
            relay,
            address,
            mails,
            refused,
            control,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Stops it and waits until it has ended.
    pub fn stop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on TCP as curl would send it; `extra` are whole header lines.
    pub fn tcp(&self, method: &str, target: &str, extra: &str, body: &str) -> Answer {
        let host = format!("Host: {}\r\n", self.address);
        talk(
            self.connect(),
            &request(method, target, &format!("{host}{extra}"), body),
        )
    }

    /// The same on the control socket.
    pub fn local(&self, method: &str, target: &str, body: &str) -> Answer {
        let stream = UnixStream::connect(&self.control).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        talk(stream, &request(method, target, "Host: localhost\r\n", body))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what} never came");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
