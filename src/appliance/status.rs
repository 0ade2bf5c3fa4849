//! How the relay stands, for `tautline status`, the page and the health check.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::clock;
use super::dispatcher::{DispatcherHandle, OutboxFacts};
use super::heartbeat::HeartbeatTrouble;
use super::hooks::Hooks;
use super::host_monitor::HostMonitor;
use super::proofs::Proofs;
use super::tokens::Tokens;
use super::watchdog::Withheld;
use crate::config::{Access, Fault};
use crate::gateway::api::{
    AccessStatus, BoardStatus, Deadline, HealthEntry, LayerStatus, LineEnd, OutboxCounts, SessionState, SessionStatus,
    Status,
};
use crate::gateway::{Certificate, Listening, MqttView, Refused, SmtpListening, Spooling};
use crate::health::{self, Finding, Severity, Shown};
use crate::line::{Cause, Schedule, State, Stop};
use crate::outbox::Step;
use crate::store::{Store, inbound, journal};
use crate::util::millis;
use crate::whatsapp::session::masked;
use crate::whatsapp::{SessionHandle, SessionView};

/// A session that is logged in and not ready yet.
pub(super) const COMING_IN: &str = "logged in; what waited at the server is coming in";

/// A session whose line goes on although the server holds back the end of the offline queue.
pub(super) const UNDRAINED: &str =
    "the server does not say that what had waited there is through; alerts go out, and something may still come late";

/// What does not change while the relay runs, and where to look for the rest.
pub(super) struct Facts {
    pub(super) started: Instant,
    pub(super) started_at: u64,
    pub(super) board: BoardStatus,
    pub(super) schedule: Schedule,
    pub(super) state: PathBuf,
    pub(super) listening: Arc<Listening>,
    pub(super) smtp: Arc<SmtpListening>,
    pub(super) spooling: Arc<Spooling>,
    pub(super) store: Store,
    pub(super) host_monitor: Arc<HostMonitor>,
    /// Unknown keys of the config, one line each.
    pub(super) config_warnings: Vec<String>,
    /// Files with secrets of fallbacks and hooks that could not be read at the start.
    pub(super) secrets_unreadable: Vec<Fault>,
    /// Variables of the environment that were left aside, one line each.
    pub(super) environment: Vec<String>,
    /// What was wrong with the alerts on disk at the start.
    pub(super) damaged: Vec<String>,
    pub(super) withheld: Withheld,
    pub(super) heartbeat_trouble: HeartbeatTrouble,
    pub(super) access: Access,
    pub(super) tokens: Arc<Tokens>,
    pub(super) refused: Arc<Refused>,
    pub(super) certificate: Option<Arc<Certificate>>,
    /// `None`: no broker is configured.
    pub(super) mqtt: Option<Arc<MqttView>>,
    /// Tokens that could not be read at the start, a line each.
    pub(super) unreadable: Vec<String>,
    pub(super) proofs: Arc<Proofs>,
    pub(super) hooks: Hooks,
}

impl Facts {
    /// What holds now, mild or hidden as it may be.
    pub(super) fn found(&self, dispatcher: &DispatcherHandle, outbox: &OutboxFacts) -> Vec<Finding> {
        let views: Vec<(&SessionHandle, SessionView)> =
            dispatcher.sessions().map(|handle| (handle, handle.view())).collect();
        self.findings(dispatcher, outbox, &views)
    }

    pub(super) fn status(&self, dispatcher: &DispatcherHandle, outbox: &OutboxFacts) -> Status {
        let now = Instant::now();
        let views: Vec<(&SessionHandle, SessionView)> =
            dispatcher.sessions().map(|handle| (handle, handle.view())).collect();
        let health = health::shown(self.findings(dispatcher, outbox, &views));
        let count = |step: Step| outbox.counts[step as usize];
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            uptime_ms: millis(now - self.started),
            board: self.board.clone(),
            state: self.state.display().to_string(),
            listen: self.listening.addresses().iter().map(ToString::to_string).collect(),
            smtp: self.smtp.addresses().iter().map(ToString::to_string).collect(),
            access: AccessStatus {
                loopback: self.access.loopback_in_force().name().to_owned(),
                tokens: self.tokens.count(),
                trusted: self.access.trusted.iter().map(ToString::to_string).collect(),
            },
            mqtt: self.mqtt.as_ref().map(|mqtt| mqtt.status()),
            sessions: views
                .iter()
                .map(|(handle, view)| self.session(now, handle, view))
                .collect(),
            outbox: OutboxCounts {
                accepted: count(Step::Accepted),
                sent: count(Step::Sent),
                delivered: count(Step::Delivered),
                read: count(Step::Read),
                failed: count(Step::Failed),
                dropped: count(Step::Dropped),
                expired: count(Step::Expired),
                fallback: count(Step::Fallback),
                superseded: count(Step::Superseded),
                oldest_at: outbox.oldest.map(|since| since.0),
            },
            held_back: outbox.held_back.clone(),
            hooks: self.hooks.status(self.newest_event()),
            healthy: health.iter().all(|shown| shown.severity != Severity::Error),
            health: health.into_iter().map(entry).collect(),
            // Whoever answers knows who asks.
            login: None,
            rights: Vec::new(),
            lab: cfg!(feature = "lab"),
        }
    }

    /// The number of the journal's newest entry.
    pub(super) fn newest_event(&self) -> u64 {
        journal::bounds(self.store.view()).map_or(0, |(_, newest)| newest)
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
}

fn entry(shown: Shown) -> HealthEntry {
    let condition = shown.code.condition();
    HealthEntry {
        code: condition.name.to_owned(),
        severity: shown.severity.as_str().to_owned(),
        text: shown.text,
        title: condition.title.to_owned(),
        advice: condition.advice.to_owned(),
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
