//! What the broker is told of the relay: how it is, retained, so that whoever comes later knows too, and what Home
//! Assistant needs to show it.
//!
//! Deliberately absent: the texts of alerts and of findings, which name people.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::gateway::api::{AlertView, SessionState};
use crate::gateway::relay::Relay;
use crate::mqtt::{Message, discovery, topic};
use crate::outbox::Step;
use crate::util::wall_ms;

/// Among how many of the newest alerts the last delivery is looked for.
const LOOKED_AT: usize = 20;

/// Between two looks at how the relay is.
const INTERVAL: Duration = Duration::from_secs(15);

/// How the relay is, in the words of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    state: Vec<u8>,
    health: Vec<u8>,
}

/// Looks at the relay now and then, while there is a connection, and says what has changed.
pub(super) struct Reporter {
    relay: Arc<dyn Relay>,
    node: String,
    /// Where Home Assistant looks for devices; `None`: it is not to show this one.
    prefix: Option<String>,
    /// When the next look is due; `None`: there is no connection.
    next: Option<Instant>,
    looking: Option<Pin<Box<dyn Future<Output = Report> + Send>>>,
    /// What was said last on this connection; `None`: nothing yet.
    last: Option<Report>,
}

impl Reporter {
    pub(super) fn new(relay: Arc<dyn Relay>, node: &str, prefix: Option<String>) -> Self {
        Self {
            relay,
            node: node.to_owned(),
            prefix,
            next: None,
            looking: None,
            last: None,
        }
    }

    /// There is a connection: all is said anew. Returns what is said first.
    pub(super) fn connected(&mut self, now: Instant) -> Message {
        (self.next, self.looking, self.last) = (Some(now), None, None);
        let routes = self.relay.routes();
        let routes: Vec<&str> = routes.iter().map(|route| route.as_str()).collect();
        let (prefix, payload) = match &self.prefix {
            Some(prefix) => {
                let device = discovery::device(&self.node, env!("CARGO_PKG_VERSION"), &routes);
                (prefix.as_str(), device.to_string())
            }
            // Nothing in its place takes away what an earlier run may have said.
            None => (discovery::PREFIX, String::new()),
        };
        retained(discovery::topic(prefix, &self.node), payload.into_bytes())
    }

    pub(super) fn disconnected(&mut self) {
        (self.next, self.looking) = (None, None);
    }

    /// When the next look is due.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.next.filter(|_| self.looking.is_none())
    }

    /// Looks, when that is due. Ready with what has changed, as messages.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Message>> {
        let now = Instant::now();
        if self.timeout().is_some_and(|at| at <= now) {
            self.looking = Some(Box::pin(look(Arc::clone(&self.relay))));
        }
        let Some(looking) = &mut self.looking else {
            return Poll::Pending;
        };
        let Poll::Ready(report) = looking.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.looking = None;
        self.next = Some(now + INTERVAL);
        let last = self.last.replace(report.clone());
        let mut messages = Vec::new();
        if last.as_ref().map(|last| &last.state) != Some(&report.state) {
            messages.push(retained(topic::state(&self.node), report.state));
        }
        if last.as_ref().map(|last| &last.health) != Some(&report.health) {
            messages.push(retained(topic::health(&self.node), report.health));
        }
        Poll::Ready(messages)
    }
}

fn retained(topic: String, payload: Vec<u8>) -> Message {
    Message {
        topic,
        payload,
        retain: true,
        content_type: Some("application/json"),
        correlation: None,
    }
}

async fn look(relay: Arc<dyn Relay>) -> Report {
    let status = relay.status().await;
    let alerts = relay.alerts(false, LOOKED_AT).await;
    let sessions = status.sessions.iter();
    let sessions = sessions.map(|session| (session.name.clone(), json!(session.state)));
    let oldest = status
        .outbox
        .oldest_at
        .map_or(0, |at| wall_ms().saturating_sub(at) / 1000);
    let state = json!({
        "online": status.sessions.iter().all(|session| session.state == SessionState::Online),
        "sessions": sessions.collect::<serde_json::Map<_, _>>(),
        "healthy": status.healthy,
        "waiting": status.outbox.accepted,
        "oldest_waiting_s": oldest,
        "delivered_at": last_delivered(&alerts),
        "version": status.version,
    });
    let problems: Vec<Value> = status
        .health
        .iter()
        .map(|entry| json!({ "code": entry.code, "severity": entry.severity, "title": entry.title }))
        .collect();
    let health = json!({ "healthy": status.healthy, "problems": problems });
    Report {
        state: state.to_string().into_bytes(),
        health: health.to_string().into_bytes(),
    }
}

/// When a device last had a message, as RFC 3339 has it.
fn last_delivered(alerts: &[AlertView]) -> Option<String> {
    let deliveries = alerts.iter().flat_map(|alert| &alert.deliveries);
    let reached = deliveries.filter(|delivery| matches!(delivery.state, Step::Delivered | Step::Read));
    let at = reached.map(|delivery| delivery.since_at).max()?;
    let at = UNIX_EPOCH + Duration::from_millis(at);
    Some(humantime::format_rfc3339_seconds(at).to_string())
}
