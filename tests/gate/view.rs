//! What the relay in the test's hand shows of an alert.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tautline::alert::{Alert, RouteName};
use tautline::gateway::api::{
    AccessStatus, AlertView, AttachmentView, BoardStatus, Deadline, DeliveryView, EventView, FallbackTested,
    HealthEntry, HistoryView, HookState, HookStatus, LayerStatus, LineEnd, MqttState, MqttStatus, OutboxCounts,
    RouteFallbackView, RouteTested, RouteView, SessionState, SessionStatus, Status,
};
use tautline::outbox::{Step, TransitionKind};

pub(super) fn view(number: usize, route: &str, alert: &Alert, state: Step) -> AlertView {
    AlertView {
        id: format!("AAAAAAAA{number:04}"),
        seq: number as u64,
        route: route.into(),
        session: "default".into(),
        accepted_at: 1_700_000_000_123,
        title: alert.title.clone(),
        text: alert.text.clone(),
        text_cut: false,
        priority: alert.priority.into(),
        tags: alert.tags.clone(),
        click: alert.click.clone(),
        not_before: alert.delay.map(in_ms),
        attachments: alert.attachments.iter().map(AttachmentView::from).collect(),
        state,
        deliveries: vec![DeliveryView {
            to: "+15550100".into(),
            part: 0,
            message_id: "3EB0AA".into(),
            state,
            since_at: 1_700_000_000_123,
            attempts: 1,
            note: String::new(),
            told: false,
            held_back: None,
        }],
        fallbacks: Vec::new(),
        acknowledged: None,
        repeats: 0,
        escalated_at: None,
        follows: None,
        beside: Vec::new(),
        history: Vec::new(),
    }
}

/// The time this long from now, in Unix milliseconds.
fn in_ms(delay: Duration) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock that is set");
    u64::try_from((now + delay).as_millis()).expect("some time soon")
}

/// Gives up what waits for its own time and has this id.
pub(super) fn cancel(alerts: &mut [AlertView], route: &RouteName, name: &str) -> Vec<String> {
    let waits = |alert: &&mut AlertView| alert.not_before.is_some() && alert.route == route.as_str();
    let found = alerts.iter_mut().filter(waits).find(|alert| alert.id == name);
    let cancel = |alert: &mut AlertView| {
        alert.state = Step::Dropped;
        alert.id.clone()
    };
    found.map(cancel).into_iter().collect()
}

/// How every alert came to where it is.
pub(super) fn history() -> Vec<HistoryView> {
    [
        (1, TransitionKind::Accepted, None),
        (2, TransitionKind::Retried, Some(0)),
    ]
    .map(|(number, what, delivery)| HistoryView {
        number,
        at: 1_700_000_000_123,
        what,
        delivery,
    })
    .to_vec()
}

/// An entry of the journal: of an alert on `route`, or of the session.
pub(super) fn event(number: u64, what: &str, route: Option<&str>) -> EventView {
    EventView {
        number,
        at: 1_700_000_000_123,
        event: what.into(),
        session: "default".into(),
        alert: route.map(|_| "AAAAAAAA0000".into()),
        route: route.map(str::to_owned),
        delivery: None,
        cause: (what == "offline").then(|| "path-broken".into()),
        position: None,
    }
}

/// A route that was never tested, with a fallback that was.
pub(super) fn route(route: &RouteName) -> RouteView {
    RouteView {
        name: route.to_string(),
        session: "default".into(),
        to: vec!["+15550100".into()],
        policies: vec!["an alert waits until it can be sent".into()],
        proven_at: None,
        fallbacks: vec![RouteFallbackView {
            name: "ntfy".into(),
            proven_at: Some(1_700_000_000_123),
        }],
    }
}

/// A test that the fallback has not taken.
pub(super) fn tested(alert: AlertView) -> RouteTested {
    RouteTested {
        alert,
        fallbacks: vec![FallbackTested {
            name: "ntfy".into(),
            taken: false,
            note: "it said no".into(),
        }],
        proven: false,
    }
}

/// A relay that is well but for `health`.
pub(super) fn status(health: Vec<HealthEntry>) -> Status {
    Status {
        version: "0.1.0".into(),
        pid: 4711,
        started_at: 1_700_000_000_000,
        uptime_ms: 90_061_000,
        board: BoardStatus {
            name: "generic".into(),
            why: "nothing else fits".into(),
            detection_worst_ms: 20_000,
        },
        state: "/var/lib/tautline".into(),
        listen: vec!["127.0.0.1:7373".into()],
        smtp: Vec::new(),
        mqtt: Some(MqttStatus {
            broker: "mqtt://127.0.0.1:1883".into(),
            node: "box".into(),
            state: MqttState::Online,
            detail: "online".into(),
            version: Some("5".into()),
            session_present: true,
            online_since: Some(1_700_000_000_000),
            next: None,
            refused: Vec::new(),
            connections: 1,
            open: 0,
            accepted: 2,
            duplicates: 0,
            rejected: 0,
            retained_ignored: 0,
        }),
        access: AccessStatus::default(),
        sessions: vec![SessionStatus {
            name: "default".into(),
            state: SessionState::Online,
            detail: "logged in <b>\u{1b}[31m".into(),
            account: Some("+…00".into()),
            online_since: Some(1_700_000_000_000),
            lines: 3,
            layers: vec![LayerStatus {
                layer: "websocket".into(),
                proof_age_ms: Some(4_200),
                detail: "ping 20 s".into(),
            }],
            next: Some(Deadline {
                in_ms: 8_000,
                reason: "websocket ping".into(),
            }),
            last_end: Some(LineEnd {
                at: 1_700_000_000_000,
                cause: "reset".into(),
                origin: "path".into(),
                verdict: "redial".into(),
                detail: String::new(),
            }),
            inbound_recorded: 2,
        }],
        outbox: OutboxCounts {
            accepted: 1,
            sent: 2,
            delivered: 3,
            read: 4,
            failed: 5,
            dropped: 0,
            expired: 0,
            fallback: 0,
            superseded: 0,
            oldest_at: None,
        },
        held_back: Vec::new(),
        hooks: vec![HookStatus {
            name: "nodered".into(),
            origin: "http://127.0.0.1:1880".into(),
            state: HookState::Well,
            behind: 0,
            taken: 7,
            failed: 1,
            given_up: 0,
            taken_at: Some(1),
            error: None,
            next_in_ms: None,
        }],
        healthy: health.iter().all(|entry| entry.severity != "error"),
        health,
        login: None,
        rights: Vec::new(),
        lab: true,
    }
}
