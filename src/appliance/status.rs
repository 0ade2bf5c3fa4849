//! How the relay stands, for `tautline status`, the page and the health check. Every health code here has a paragraph in
//! `docs/operations.md`; a test holds the two together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock;
use super::courier::Courier;
use super::senses::Senses;
use super::watchdog::Withheld;
use crate::alert::{Recipient, SessionName};
use crate::gateway::Listening;
use crate::gateway::api::{
    BoardStatus, Deadline, HealthEntry, LayerStatus, LineEnd, OutboxCounts, SessionState, SessionStatus, Status,
};
use crate::line::{Cause, Schedule, State, Stop};
use crate::outbox::{Hold, Step};
use crate::store::{Store, StoreError, inbound};
use crate::whatsapp::session::masked;
use crate::whatsapp::{SessionHandle, SessionView};

/// After this long without a line a session counts as ill. Long enough for a router's restart or a server's.
const OFFLINE_TOLERATED: Duration = Duration::from_secs(300);

/// An alert that waits this long has a reason, whatever the session says of itself.
const STUCK_AFTER: Duration = Duration::from_secs(900);

/// An alert that was tried and has a reason why it was not sent is told of after this.
const TRIED_LONG_ENOUGH: Duration = Duration::from_secs(2 * 60);

/// A session that is logged in and not ready yet.
const COMING_IN: &str = "logged in; what waited at the server is coming in";

/// A session whose line goes on although the server holds back the end of the offline queue.
const UNDRAINED: &str =
    "the server does not say that what had waited there is through; alerts go out, and something may still come late";

/// All health codes.
pub const HEALTH_CODES: &[&str] = &[
    "ack-owed",
    "clock-unset",
    "config-unknown-key",
    "control-socket",
    "environment-ignored",
    "lab-build",
    "limited",
    "listen-partial",
    "new-chats-capped",
    "not-on-whatsapp",
    "outbox-damaged",
    "outbox-full",
    "outbox-orphaned",
    "outbox-stuck",
    "session-offline",
    "session-stopped",
    "session-trouble",
    "session-undrained",
    "session-unpaired",
    "store-failed",
    "store-full",
    "store-read-only",
    "tcp-setting-refused",
    "watchdog-withheld",
    "write-first",
];

/// What does not change while the relay runs, and where to look for the rest.
pub(super) struct Facts {
    pub(super) started: Instant,
    pub(super) started_at: u64,
    pub(super) board: BoardStatus,
    pub(super) schedule: Schedule,
    pub(super) state: PathBuf,
    pub(super) listening: Arc<Listening>,
    pub(super) store: Store,
    pub(super) senses: Arc<Senses>,
    /// Unknown keys of the config, one line each.
    pub(super) config_warnings: Vec<String>,
    /// Variables of the environment that were left aside, one line each.
    pub(super) environment: Vec<String>,
    /// What was wrong with the alerts on disk at the start.
    pub(super) damaged: Vec<String>,
    pub(super) withheld: Withheld,
}

impl Facts {
    pub(super) fn status(&self, courier: &Courier) -> Status {
        let now = Instant::now();
        let views: Vec<(&SessionHandle, SessionView)> =
            courier.sessions().map(|handle| (handle, handle.view())).collect();
        let health = self.health(courier, &views);
        let outbox = courier.outbox();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            uptime_ms: millis(now - self.started),
            board: self.board.clone(),
            state: self.state.display().to_string(),
            listen: self.listening.addresses().iter().map(ToString::to_string).collect(),
            sessions: views
                .iter()
                .map(|(handle, view)| self.session(now, handle, view))
                .collect(),
            outbox: OutboxCounts {
                accepted: outbox.count(Step::Accepted),
                sent: outbox.count(Step::Sent),
                delivered: outbox.count(Step::Delivered),
                read: outbox.count(Step::Read),
                failed: outbox.count(Step::Failed),
            },
            healthy: health.iter().all(|entry| entry.severity != "error"),
            health,
            lab: cfg!(feature = "lab"),
        }
    }

    fn session(&self, now: Instant, handle: &SessionHandle, view: &SessionView) -> SessionStatus {
        SessionStatus {
            name: handle.name.to_string(),
            state: state_of(view),
            detail: detail_of(view),
            account: view.account.as_deref().map(masked),
            online_since: view.online_since,
            lines: view.lines,
            layers: self.layers(now, view),
            next: view.deadline.map(|(at, reason)| Deadline {
                in_ms: millis(at.saturating_duration_since(now)),
                reason: reason.to_string(),
            }),
            last_end: view.last_end.as_ref().map(|end| LineEnd {
                at: end.at_ms,
                cause: end.words.clone(),
                origin: end.origin.to_string(),
                verdict: end.verdict.clone(),
                detail: end.detail.clone(),
            }),
            inbound_recorded: inbound::count(self.store.view(), &handle.name).unwrap_or(0),
        }
    }

    fn layers(&self, now: Instant, view: &SessionView) -> Vec<LayerStatus> {
        let age = |proof: Option<Instant>| proof.map(|at| millis(now.saturating_duration_since(at)));
        let (websocket, application) = (&self.schedule.websocket, &self.schedule.application);
        let layer = |layer: &str, proof, detail: String| LayerStatus {
            layer: layer.to_owned(),
            proof_age_ms: age(proof),
            detail,
        };
        vec![
            layer("tcp", view.tcp_proof, view.tcp_tuning.clone()),
            layer(
                "websocket",
                view.websocket_proof,
                format!(
                    "ping every {} s, answer within {} s",
                    websocket.ping.as_secs(),
                    websocket.pong.as_secs()
                ),
            ),
            layer(
                "application",
                view.application_proof,
                format!(
                    "ping every {} to {} s, answer within {} s",
                    application.ping_min.as_secs(),
                    application.ping_max.as_secs(),
                    application.pong.as_secs()
                ),
            ),
        ]
    }

    fn health(&self, courier: &Courier, views: &[(&SessionHandle, SessionView)]) -> Vec<HealthEntry> {
        let entry = |code: &str, severity: &str, text: String| HealthEntry {
            code: code.to_owned(),
            severity: severity.to_owned(),
            text,
        };
        let mut health = Vec::new();
        if let Some(reason) = self.store.poisoned() {
            health.push(entry(
                "store-failed",
                "error",
                format!("the state cannot be written: {reason}"),
            ));
        }
        match courier.refused_write() {
            // Said above.
            None | Some(StoreError::Poisoned(_)) => {}
            Some(error @ StoreError::ReadOnly(_)) => {
                health.push(entry("store-read-only", "error", error.to_string()));
            }
            Some(error) => health.push(entry("store-full", "error", error.to_string())),
        }
        health.extend(self.clock_health());
        for (name, waited) in self.withheld.all() {
            let text = format!(
                "{name} has made no progress for {} s; systemd will restart the relay",
                waited.as_secs()
            );
            health.push(entry("watchdog-withheld", "error", text));
        }
        for (handle, view) in views {
            health.extend(session_health(handle, view).map(|(code, severity, text)| entry(code, severity, text)));
            if let Some(since) = view.ack_owed_since {
                let text = format!(
                    "session {}: a message waits since {} s to be on disk and acked; the server ends lines for that",
                    handle.name,
                    since.elapsed().as_secs()
                );
                health.push(entry("ack-owed", "warning", text));
            }
            for recipient in handle.directory.not_on_whatsapp() {
                let text = not_on_whatsapp(courier, handle, &recipient);
                health.push(entry("not-on-whatsapp", "warning", text));
            }
            if view.undrained {
                let text = format!("session {}: {UNDRAINED}", handle.name);
                health.push(entry("session-undrained", "warning", text));
            }
            for refused in &view.tcp_refused {
                let text = format!("session {}: the kernel refused a TCP setting: {refused}", handle.name);
                health.push(entry("tcp-setting-refused", "warning", text));
            }
        }
        health.extend(outbox_health(courier));
        health.extend(held_health(courier));
        let damaged = self.damaged.iter().cloned();
        health.extend(damaged.map(|text| entry("outbox-damaged", "error", text)));
        let orphaned = courier.orphaned().into_iter();
        health.extend(orphaned.map(|text| entry("outbox-orphaned", "error", text)));
        health.extend(
            self.config_warnings
                .iter()
                .map(|text| entry("config-unknown-key", "warning", text.clone())),
        );
        let ignored = self.environment.iter().cloned();
        health.extend(ignored.map(|text| entry("environment-ignored", "warning", text)));
        let missing = self.listening.missing().into_iter();
        health.extend(missing.map(|text| entry("listen-partial", "warning", text)));
        health.extend(self.listening.control_trouble().map(|(is_error, text)| match is_error {
            true => entry("control-socket", "error", text),
            false => entry("control-socket", "warning", text),
        }));
        if cfg!(feature = "lab") {
            let text =
                "built with feature `lab`: certificate chains are not checked, only loopback endpoints are dialled";
            health.push(entry("lab-build", "warning", text.to_owned()));
        }
        health
    }

    /// A board without a battery starts like this and gets its time from the network in a minute or two.
    fn clock_health(&self) -> Option<HealthEntry> {
        let (text, lasts) = self.senses.clock_trouble()?;
        let (code, severity) = if lasts < OFFLINE_TOLERATED {
            ("clock-unset", "warning")
        } else {
            ("clock-unset", "error")
        };
        Some(HealthEntry {
            code: code.to_owned(),
            severity: severity.to_owned(),
            text,
        })
    }
}

fn session_health(handle: &SessionHandle, view: &SessionView) -> Option<(&'static str, &'static str, String)> {
    let name = &handle.name;
    if let Some(trouble) = &view.trouble {
        return Some(("session-trouble", "error", format!("session {name}: {trouble}")));
    }
    match &view.state {
        State::Stopped(Stop::PairingEnded) => Some((
            "session-unpaired",
            "error",
            format!("session {name} is not paired: run `tautline pair`"),
        )),
        State::Stopped(stop) => Some(("session-stopped", "error", format!("session {name}: {}", stop.advice()))),
        State::Idle | State::Connecting { .. } | State::Waiting { .. } if !view.paired => Some((
            "session-unpaired",
            "error",
            format!("session {name} is not paired: run `tautline pair`"),
        )),
        State::Idle | State::Connecting { .. } => Some(offline(view, format!("session {name} is connecting"))),
        State::Waiting {
            after: after @ (Cause::TemporaryBan(_) | Cause::Outdated),
        } => Some(("session-offline", "error", format!("session {name} waits: {after}"))),
        State::Waiting {
            after: Cause::ClockUnset,
        } => Some(offline(view, format!("session {name} waits for the clock to be set"))),
        State::Waiting { after } => Some(offline(view, format!("session {name} waits to connect again: {after}"))),
        State::Online if view.online_since.is_none() => Some(offline(view, format!("session {name}: {COMING_IN}"))),
        State::Online => None,
    }
}

/// Which route names a number that nobody has. The number is shown as logs show it.
fn not_on_whatsapp(courier: &Courier, handle: &SessionHandle, recipient: &Recipient) -> String {
    let routes: Vec<String> = courier
        .routes_to(&handle.name, recipient)
        .iter()
        .map(ToString::to_string)
        .collect();
    let place = match routes.as_slice() {
        [] => "alerts that wait".to_owned(),
        [route] => format!("route {route}"),
        routes => format!("routes {}", routes.join(", ")),
    };
    format!(
        "session {}: {} in {place} is not on WhatsApp, says the server: alerts to it fail",
        handle.name,
        recipient.redacted()
    )
}

/// Whether alerts get away: how many wait, and since when the oldest does.
fn outbox_health(courier: &Courier) -> Option<HealthEntry> {
    let (pending, full, oldest, note) = {
        let outbox = courier.outbox();
        let note = outbox.oldest_pending_note().to_owned();
        (outbox.pending_len(), outbox.full(), outbox.oldest_pending(), note)
    };
    let entry = |code: &str, severity: &str, text| HealthEntry {
        code: code.to_owned(),
        severity: severity.to_owned(),
        text,
    };
    if let Some(full) = full {
        let text = format!(
            "{} alerts of {} KiB wait to be sent; new ones are refused until some are through",
            full.pending,
            full.pending_bytes / 1024
        );
        return Some(entry("outbox-full", "error", text));
    }
    // By the wall clock, which is good enough for a hint and moves nothing.
    let waited = Duration::from_millis(clock::wall_ms().saturating_sub(oldest?.0));
    let minutes = waited.as_secs() / 60;
    let why = if note.is_empty() {
        String::new()
    } else {
        format!(" ({note})")
    };
    let text = format!("{pending} alert(s) wait to be sent, the oldest for {minutes} min{why}; see `tautline queue`");
    if waited >= STUCK_AFTER {
        Some(entry("outbox-stuck", "error", text))
    } else if waited >= TRIED_LONG_ENOUGH && !note.is_empty() {
        Some(entry("outbox-stuck", "warning", text))
    } else {
        None
    }
}

/// Whom the server lets nothing through to for now, an entry for each session and reason. Numbers are for `tautline queue`.
fn held_health(courier: &Courier) -> Vec<HealthEntry> {
    let mut held: BTreeMap<(SessionName, Hold), usize> = BTreeMap::new();
    for (session, _, hold) in courier.outbox().held() {
        *held.entry((session.clone(), hold)).or_default() += 1;
    }
    let entry = |((session, hold), count): ((SessionName, Hold), usize)| {
        let (code, severity, words) = match hold {
            Hold::RateLimited => (
                "limited",
                "warning",
                "WhatsApp is limiting us; they are tried again after pauses that grow",
            ),
            Hold::NotWritten => (
                "write-first",
                "warning",
                "they must write to this account first; what waits goes out at once when they do",
            ),
            Hold::NewChatsCapped => (
                "new-chats-capped",
                "warning",
                "WhatsApp lets this account begin no more new chats; it goes out when they write, or the cap ends",
            ),
        };
        HealthEntry {
            code: code.to_owned(),
            severity: severity.to_owned(),
            text: format!("session {session}: alerts to {count} recipient(s) wait: {words}; see `tautline queue`"),
        }
    };
    held.into_iter().map(entry).collect()
}

/// A short absence is routine; a long one is what a monitor is for.
fn offline(view: &SessionView, text: String) -> (&'static str, &'static str, String) {
    match view.offline_since {
        Some(at) if at.elapsed() >= OFFLINE_TOLERATED => ("session-offline", "error", text),
        _ => ("session-offline", "warning", text),
    }
}

/// One session in a few words, for `systemctl status`.
pub(super) fn in_short(handle: &SessionHandle) -> String {
    let word = match state_of(&handle.view()) {
        SessionState::Unpaired => "not paired",
        SessionState::Pairing => "waits to be linked",
        SessionState::Connecting => "connecting",
        SessionState::Online => "online",
        SessionState::Waiting => "waits to connect again",
        SessionState::Stopped => "stopped until a person acts",
    };
    format!("{} {word}", handle.name)
}

fn state_of(view: &SessionView) -> SessionState {
    match &view.state {
        // Alerts still wait.
        State::Online if view.online_since.is_none() => SessionState::Connecting,
        State::Online => SessionState::Online,
        State::Stopped(Stop::PairingEnded) => SessionState::Unpaired,
        State::Stopped(_) => SessionState::Stopped,
        State::Connecting { pairing: true } if view.pairing.is_some() => SessionState::Pairing,
        State::Idle | State::Connecting { .. } => SessionState::Connecting,
        State::Waiting { .. } => SessionState::Waiting,
    }
}

fn detail_of(view: &SessionView) -> String {
    match &view.state {
        State::Idle => "starting".to_owned(),
        State::Connecting { pairing: true } if view.pairing.is_some() => {
            "waiting to be linked: scan the QR code, or run `tautline pair`".to_owned()
        }
        State::Connecting { .. } => "connecting".to_owned(),
        State::Online if view.online_since.is_none() => COMING_IN.to_owned(),
        State::Online if view.undrained => format!("online; {UNDRAINED}"),
        State::Online => "online".to_owned(),
        State::Waiting {
            after: Cause::ClockUnset,
        } => "waiting for the clock to be set".to_owned(),
        State::Waiting { after } => format!("waiting to connect again: {after}"),
        State::Stopped(stop) => stop.advice().to_owned(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn started() -> (Instant, u64) {
    (Instant::now(), clock::wall_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_online_when_what_waited_for_it_is_through() {
        let mut view = SessionView {
            state: State::Online,
            paired: true,
            ..SessionView::default()
        };
        assert_eq!(state_of(&view), SessionState::Connecting);
        assert_eq!(detail_of(&view), COMING_IN);
        view.online_since = Some(1);
        assert_eq!(
            (state_of(&view), detail_of(&view).as_str()),
            (SessionState::Online, "online")
        );
    }
}
