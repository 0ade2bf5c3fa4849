//! The host monitor: what a session cannot see from its own socket, namely the network's changes, the host's sleep,
//! steps of the wall clock and a clock that is not set. All sessions are told, and the outbox of the steps.

mod clocks;
mod netlink;
mod path;

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use event_listener::Event;
use futures_lite::future;

use self::clocks::Alarms;
use self::path::Watch;
use crate::line::{ClockMonitor, HostEvent, Unset};
use crate::store::{Store, last_time};
use crate::util::lock;
use crate::whatsapp::{Command, SessionHandle};

/// Unix seconds; `build.rs` says whence.
const BUILT: &str = env!("TAUTLINE_BUILT");

/// How long to leave the network alone after it could not be watched.
const WATCH_AGAIN: Duration = Duration::from_secs(60);

/// The host monitor of one relay.
pub(super) struct HostMonitor {
    store: Store,
    clock: Mutex<ClockMonitor>,
    /// Since when the clock has not been set.
    unset_since: Mutex<Option<Instant>>,
    look_tx: Sender<()>,
    look_rx: Receiver<()>,
    /// The clocks were looked at: the time may be due on disk.
    keep_due: Event,
}

impl HostMonitor {
    /// Looks at the clocks for the first time.
    pub(super) fn open(store: Store) -> Self {
        let kept = last_time::read(&store).unwrap_or_else(|error| {
            // The clock is then believed from the day of the build on.
            log::warn!("the last time on disk: {error}");
            None
        });
        let built_ms = BUILT.parse::<i64>().map_or(0, |seconds| seconds.saturating_mul(1000));
        let clock = ClockMonitor::new(clocks::read(), built_ms, kept);
        let (look_tx, look_rx) = async_channel::bounded(1);
        let host_monitor = Self {
            store,
            clock: Mutex::new(clock),
            unset_since: Mutex::new(None),
            look_tx,
            look_rx,
            keep_due: Event::new(),
        };
        host_monitor.note_unset();
        host_monitor
    }

    /// Whether the clock is not set, for a session that begins.
    pub(super) fn clock_unset(&self) -> bool {
        self.clock().unset().is_some()
    }

    /// Asks for a look at the clocks: a session that waits for the time sends here.
    pub(super) fn look_at_clock(&self) -> Sender<()> {
        self.look_tx.clone()
    }

    /// For health: why the clock cannot be right, in words, and for how long that has been so.
    pub(super) fn clock_trouble(&self) -> Option<(String, Duration)> {
        let since = (*lock(&self.unset_since))?;
        let words = words(self.clock().unset()?);
        Some((words, since.elapsed()))
    }

    /// Watches the host and tells `sessions` what happens; `clock_stepped` is called after each step of the wall clock.
    /// Never ends.
    pub(super) async fn watch(&self, sessions: Vec<SessionHandle>, clock_stepped: impl Fn()) {
        let watching = future::zip(self.watch_clocks(&sessions, &clock_stepped), watch_path(&sessions));
        future::zip(watching, self.record_time_regularly()).await;
    }

    async fn watch_clocks(&self, sessions: &[SessionHandle], clock_stepped: &impl Fn()) {
        let mut alarms = Alarms::new();
        loop {
            let set_from = self.clock().set_from_ms();
            alarms.arm(set_from);
            // After the alarms are armed, so that nothing is missed in between.
            let asked = self.look_rx.try_recv().is_ok();
            self.check_clock(sessions, clock_stepped, asked);
            self.keep_due.notify(1);
            let asked = async {
                if self.look_rx.recv().await.is_ok() {
                    // Told again, because whoever asks may have missed it.
                    self.check_clock(sessions, clock_stepped, true);
                }
            };
            future::or(alarms.next(), asked).await;
        }
    }

    /// Beside the watching: a disk that hangs must not keep anybody from learning that the host slept.
    async fn record_time_regularly(&self) {
        loop {
            let due = self.keep_due.listen();
            self.record_time_if_due().await;
            due.await;
        }
    }

    fn check_clock(&self, sessions: &[SessionHandle], clock_stepped: &impl Fn(), asked: bool) {
        let (mut news, state) = {
            let mut clock = self.clock();
            (clock.observe(clocks::read()), clock.state())
        };
        if news.contains(&state) {
            self.note_unset();
        } else if asked {
            news.push(state);
        }
        for event in news {
            log_event(event);
            notify(sessions, event);
            match event {
                HostEvent::ClockStepped { .. } => clock_stepped(),
                HostEvent::PathChanged | HostEvent::Resumed { .. } | HostEvent::ClockUnset | HostEvent::ClockSet => {}
            }
        }
    }

    fn note_unset(&self) {
        let unset = self.clock().unset();
        *lock(&self.unset_since) = unset.map(|_| Instant::now());
        if let Some(unset) = unset {
            log::warn!("{}", words(unset));
        }
    }

    async fn record_time_if_due(&self) {
        let due = self.clock().to_keep();
        if let Some(wall_ms) = due {
            self.record_time(wall_ms).await;
        }
    }

    /// At the end of a run.
    pub(super) async fn keep_last_time(&self) {
        let wall_ms = clocks::read().wall_ms;
        if !self.clock_unset() {
            self.record_time(wall_ms).await;
        }
    }

    async fn record_time(&self, wall_ms: i64) {
        match last_time::keep(&self.store, wall_ms).await {
            Ok(()) => self.clock().kept(wall_ms),
            // The store says itself what is wrong with it.
            Err(error) => log::debug!("the time was not kept: {error}"),
        }
    }

    fn clock(&self) -> MutexGuard<'_, ClockMonitor> {
        lock(&self.clock)
    }
}

/// Tells `sessions` of every change of the path. Where there is no netlink, the pings find what it would have told.
async fn watch_path(sessions: &[SessionHandle]) {
    // Of the trouble, and whether what happened meanwhile is not known.
    let (mut told, mut missed) = (false, false);
    loop {
        let watching = async {
            let mut watch = Watch::open().await?;
            told = false;
            if std::mem::take(&mut missed) {
                notify(sessions, HostEvent::PathChanged);
            }
            loop {
                watch.changed().await?;
                log_event(HostEvent::PathChanged);
                notify(sessions, HostEvent::PathChanged);
            }
        };
        let ended: std::io::Result<()> = watching.await;
        if let Err(error) = ended
            && !std::mem::replace(&mut told, true)
        {
            log::warn!("the network cannot be watched, its changes are noticed late: {error}");
        }
        missed = true;
        async_io::Timer::after(WATCH_AGAIN).await;
    }
}

fn notify(sessions: &[SessionHandle], event: HostEvent) {
    for session in sessions {
        // One that reads its commands has room; one that does not must not hold up the others.
        if !session.try_command(Command::Host(event)) {
            log::debug!("session {} was not told: {event:?}", session.name);
        }
    }
}

fn log_event(event: HostEvent) {
    match event {
        HostEvent::PathChanged => log::info!("the network changed"),
        HostEvent::Resumed { slept } => log::info!("the host slept for {} s", slept.as_secs()),
        HostEvent::ClockStepped { by_ms } => {
            let sign = if by_ms < 0 { '-' } else { '+' };
            let (seconds, millis) = (by_ms.unsigned_abs() / 1000, by_ms.unsigned_abs() % 1000);
            log::info!("the wall clock was set by {sign}{seconds}.{millis:03} s");
        }
        // The warning is said where it begins.
        HostEvent::ClockUnset => {}
        HostEvent::ClockSet => log::debug!("the clock can be right"),
    }
}

fn words(unset: Unset) -> String {
    let shows = clocks::shown();
    let why = match unset {
        Unset::BeforeBuild => "before this program was built",
        Unset::BeforeDisk => "far before the last time on disk, which is believed for ten minutes",
    };
    format!("the clock is not set: it shows {shows}, {why}; nothing is dialled meanwhile")
}
