//! What others see of the client: status, health, metrics.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::inbound::Became;
use crate::config::{MqttPlan, NodeName};
use crate::gateway::api::{Deadline, MqttState, MqttStatus};
use crate::mqtt::{Client, State};
use crate::util::{lock, millis, wall_ms};

/// The client as it is now. Whoever drives it writes it down here.
pub struct MqttView {
    broker: String,
    node: String,
    /// A password that can be read on the way.
    in_the_clear: bool,
    now: Mutex<Now>,
}

struct Now {
    state: State,
    next: Option<(Instant, String)>,
    /// In Unix milliseconds; `None` while there is no connection.
    online_since: Option<u64>,
    /// `None` while there is one.
    offline_since: Option<Instant>,
    counts: Counts,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    connections: u64,
    accepted: u64,
    duplicates: u64,
    rejected: u64,
    ignored: u64,
    open: u64,
}

impl MqttView {
    pub(super) fn new(plan: &MqttPlan, node: &NodeName) -> Self {
        let now = Instant::now();
        Self {
            broker: plan.broker.to_string(),
            node: node.as_str().to_owned(),
            in_the_clear: !plan.broker.tls && plan.password.is_some() && !plan.broker.endpoint().is_loopback(),
            now: Mutex::new(Now {
                state: State::Waiting {
                    until: now,
                    after: None,
                },
                next: None,
                online_since: None,
                offline_since: Some(now),
                counts: Counts::default(),
            }),
        }
    }

    /// Writes down how the client is.
    pub(super) fn note(&self, client: &Client) {
        let now = &mut *lock(&self.now);
        let state = client.state();
        let (was, is) = (now.online_since.is_some(), matches!(state, State::Online { .. }));
        match (was, is) {
            (false, true) => {
                now.online_since = Some(wall_ms());
                now.offline_since = None;
                now.counts.connections += 1;
            }
            (true, false) => {
                now.online_since = None;
                now.offline_since = Some(Instant::now());
            }
            (true, true) | (false, false) => {}
        }
        now.state = state;
        now.next = client.poll_timeout().map(|(at, reason)| (at, reason.to_string()));
        now.counts.open = client.open() as u64;
        now.counts.ignored = client.retained_ignored();
    }

    /// Counts what has become of a message.
    pub(super) fn count(&self, became: &Became) {
        let counts = &mut lock(&self.now).counts;
        *match became {
            Became::Accepted => &mut counts.accepted,
            Became::Duplicate => &mut counts.duplicates,
            Became::Rejected(_) => &mut counts.rejected,
            Became::Ignored => return,
        } += 1;
    }

    /// How it is, for the API.
    pub fn status(&self) -> MqttStatus {
        let now = lock(&self.now);
        let (state, detail) = words(&now.state);
        let (version, session_present, refused) = match &now.state {
            State::Online {
                version,
                session_present,
                refused,
                ..
            } => (Some(version.to_string()), *session_present, refused.clone()),
            State::Waiting { .. } | State::Connecting | State::Stopped => (None, false, Vec::new()),
        };
        MqttStatus {
            broker: self.broker.clone(),
            node: self.node.clone(),
            state,
            detail,
            version,
            session_present,
            online_since: now.online_since,
            next: now.next.as_ref().map(|(at, reason)| Deadline {
                in_ms: millis(at.saturating_duration_since(Instant::now())),
                reason: reason.clone(),
            }),
            refused,
            connections: now.counts.connections,
            open: now.counts.open,
            accepted: now.counts.accepted,
            duplicates: now.counts.duplicates,
            rejected: now.counts.rejected,
            retained_ignored: now.counts.ignored,
        }
    }

    /// Why no messages come, in words, and how long that has been so.
    pub fn offline(&self) -> Option<(String, Duration)> {
        let now = lock(&self.now);
        let lasts = now.offline_since?.elapsed();
        let (_, detail) = words(&now.state);
        Some((format!("{}: {detail}", self.broker), lasts))
    }

    /// Topics that the broker does not deliver, a line each.
    pub fn refused(&self) -> Vec<String> {
        match &lock(&self.now).state {
            State::Online { refused, .. } => refused
                .iter()
                .map(|words| format!("{} does not deliver {words}", self.broker))
                .collect(),
            State::Waiting { .. } | State::Connecting | State::Stopped => Vec::new(),
        }
    }

    /// That the password can be read on the way, in words.
    pub fn in_the_clear(&self) -> Option<String> {
        let text = || format!("the password for {} goes over the network unencrypted", self.broker);
        self.in_the_clear.then(text)
    }
}

fn words(state: &State) -> (MqttState, String) {
    match state {
        State::Waiting { after: None, .. } => (MqttState::Connecting, "starting".to_owned()),
        State::Waiting { after: Some(cause), .. } => (MqttState::Waiting, format!("waiting to connect again: {cause}")),
        State::Connecting => (MqttState::Connecting, "connecting".to_owned()),
        State::Online { .. } => (MqttState::Online, "online".to_owned()),
        State::Stopped => (MqttState::Waiting, "stopping".to_owned()),
    }
}
