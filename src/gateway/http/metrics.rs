//! `GET /metrics`: the relay in numbers, for Prometheus and what speaks its language.
//!
//! Labels are names of the configuration (sessions, routes, fallbacks, hooks) and words of tables in the program.
//! Deliberately absent: phone numbers, texts, ids of alerts and whatever else a sender can choose, because every new
//! value would be a new series.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::Answer;
use super::auth::Scope;
use super::call::Call;
use super::context::Connections;
use super::openmetrics::{CONTENT_TYPE, Exposition};
use super::status;
use super::traffic::{Numbers, PUBLISH_S};
use crate::alert::RouteName;
use crate::gateway::api::{HookState, MqttState, SessionState, Status};
use crate::gateway::relay::{ProcessFacts, Relay};
use crate::gateway::tallies::{Counted, WAITS_S};
use crate::outbox::TransitionKind;
use crate::util::wall_ms;

/// `GET /metrics`.
pub(super) async fn metrics(call: &Call<'_, '_>) -> Answer {
    let relay = &*call.context.relay;
    let status = status::theirs(call).await;
    let mut routes = relay.routes();
    routes.retain(|route| call.sees(route.as_str()));
    let counted = relay.counted();
    let mut text = Exposition::default();
    about(&mut text, &status);
    health(&mut text, &status);
    sessions(&mut text, &status, &counted);
    alerts(&mut text, &routes, &counted);
    outbox(&mut text, &status, &routes, wall_ms());
    proofs(&mut text, relay, &routes, &counted);
    hooks(&mut text, &status);
    mqtt(&mut text, &status);
    if let Ok((_, newest)) = relay.events_kept() {
        let help = "Entries that the journal has ever had: the number of the newest.";
        text.counter("tautline_journal_entries", help).count(&[], newest);
    }
    // Of other routes' senders, a token for some is told nothing.
    if call.caller.may_everywhere(Scope::Read) {
        http(&mut text, &call.context.traffic.numbers(), call.context.connections());
        process(&mut text, &status, &relay.process());
    }
    Answer::new(200, CONTENT_TYPE, text.finish())
}

fn about(text: &mut Exposition, status: &Status) {
    let lab = if status.lab { "true" } else { "false" };
    let labels = [
        ("version", status.version.as_str()),
        ("board", &status.board.name),
        ("lab", lab),
    ];
    text.gauge("tautline_build_info", "What runs; always 1.")
        .set(&labels, 1);
    text.gauge(
        "tautline_detection_worst_seconds",
        "How long a silent death of a line can go unnoticed.",
    )
    .set(&[], seconds(status.board.detection_worst_ms));
    text.gauge(
        "tautline_tokens",
        "Tokens that there are, those that have ended among them.",
    )
    .set(&[], status.access.tokens);
}

fn health(text: &mut Exposition, status: &Status) {
    text.gauge(
        "tautline_healthy",
        "1 while health has no finding of severity error, else 0.",
    )
    .set(&[], u8::from(status.healthy));
    let mut found: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for entry in &status.health {
        *found.entry((&entry.code, &entry.severity)).or_default() += 1;
    }
    let mut family = text.gauge(
        "tautline_health_findings",
        "Findings of health that hold now, by code and severity; without a sample where none of a code does.",
    );
    for ((code, severity), count) in found {
        family.set(&[("code", code), ("severity", severity)], count);
    }
}

fn sessions(text: &mut Exposition, status: &Status, counted: &Counted) {
    let mut family = text.gauge("tautline_session_online", "1 while the session is online, else 0.");
    for session in &status.sessions {
        let online = u8::from(session.state == SessionState::Online);
        family.set(&[("session", &session.name)], online);
    }
    let mut family = text.gauge(
        "tautline_session_state",
        "1 for the state in which the session is, else 0.",
    );
    for session in &status.sessions {
        for (state, name) in STATES {
            let labels = [("session", session.name.as_str()), ("state", name)];
            family.set(&labels, u8::from(session.state == state));
        }
    }
    let mut family = text.gauge(
        "tautline_session_proof_age_seconds",
        "Since the last proof of life of a layer of the line; without a sample where there was none.",
    );
    for session in &status.sessions {
        for layer in &session.layers {
            let Some(age_ms) = layer.proof_age_ms else { continue };
            family.set(&[("session", &session.name), ("layer", &layer.layer)], seconds(age_ms));
        }
    }
    let mut family = text.counter("tautline_session_lines_opened", "Lines opened since the relay started.");
    for session in &status.sessions {
        family.count(&[("session", &session.name)], session.lines);
    }
    let mut family = text.counter(
        "tautline_session_lines_ended",
        "Ends of lines that were online, by the code of the cause, since the relay started.",
    );
    for ((session, cause), count) in &counted.line_ends {
        family.count(&[("session", session.as_str()), ("cause", cause)], count);
    }
    let mut family = text.counter(
        "tautline_session_messages_received",
        "Messages received and put on disk since the state was made.",
    );
    for session in &status.sessions {
        family.count(&[("session", &session.name)], session.inbound_recorded);
    }
}

fn mqtt(text: &mut Exposition, status: &Status) {
    let Some(mqtt) = &status.mqtt else { return };
    let online = u8::from(mqtt.state == MqttState::Online);
    text.gauge(
        "tautline_mqtt_online",
        "1 while the broker has taken the connection, else 0.",
    )
    .set(&[], online);
    text.counter(
        "tautline_mqtt_connections",
        "Connections to the broker since the relay started.",
    )
    .count(&[], mqtt.connections);
    text.gauge(
        "tautline_mqtt_open",
        "Messages of the broker's that are not on disk yet.",
    )
    .set(&[], mqtt.open);
    let help = "Messages of the broker's since the relay started, by what became of them.";
    let mut family = text.counter("tautline_mqtt_messages", help);
    for (became, count) in [
        ("accepted", mqtt.accepted),
        ("duplicate", mqtt.duplicates),
        ("rejected", mqtt.rejected),
        ("retained", mqtt.retained_ignored),
    ] {
        family.count(&[("became", became)], count);
    }
}

/// Every state with its name in the API.
const STATES: [(SessionState, &str); 6] = [
    (SessionState::Unpaired, "unpaired"),
    (SessionState::Pairing, "pairing"),
    (SessionState::Connecting, "connecting"),
    (SessionState::Online, "online"),
    (SessionState::Waiting, "waiting"),
    (SessionState::Stopped, "stopped"),
];

fn alerts(text: &mut Exposition, routes: &[RouteName], counted: &Counted) {
    let mut family = text.counter(
        "tautline_alert_events",
        "What has happened to alerts since the relay started: steps once for a delivery, the rest once for an alert.",
    );
    for route in routes {
        for what in TransitionKind::ALL {
            let count = counted.alerts.get(&(route.clone(), what)).copied().unwrap_or_default();
            family.count(&[("route", route.as_str()), ("event", what.name())], count);
        }
    }
    for (name, help, spreads) in [
        (
            "tautline_alert_sent_seconds",
            "From the acceptance of an alert to the ack of WhatsApp's server, by delivery.",
            &counted.sent,
        ),
        (
            "tautline_alert_delivered_seconds",
            "From the acceptance of an alert to the recipient's device, by delivery.",
            &counted.delivered,
        ),
    ] {
        let mut family = text.histogram(name, help);
        for route in routes {
            let spread = spreads.get(route).copied().unwrap_or_default();
            family.spread(&[("route", route.as_str())], &WAITS_S, &spread);
        }
    }
}

fn outbox(text: &mut Exposition, status: &Status, routes: &[RouteName], now_ms: u64) {
    let counts = &status.outbox;
    let mut family = text.gauge(
        "tautline_outbox_deliveries",
        "Deliveries that the outbox still knows, by how far they are; accepted are those that wait.",
    );
    for (state, count) in [
        ("accepted", counts.accepted),
        ("sent", counts.sent),
        ("delivered", counts.delivered),
        ("read", counts.read),
        ("failed", counts.failed),
        ("dropped", counts.dropped),
        ("expired", counts.expired),
        ("fallback", counts.fallback),
        ("superseded", counts.superseded),
    ] {
        family.set(&[("state", state)], count);
    }
    let oldest_ms = counts.oldest_at.map_or(0, |at| now_ms.saturating_sub(at));
    text.gauge(
        "tautline_outbox_oldest_waiting_seconds",
        "How long the alert has waited that has waited longest; 0 where none waits.",
    )
    .set(&[], seconds(oldest_ms));
    let mut family = text.gauge(
        "tautline_outbox_held_back_deliveries",
        "Deliveries that the rules of a route hold back, as for the night.",
    );
    for route in routes.iter().map(RouteName::as_str) {
        let held = status.held_back.iter().filter(|held| held.route == route);
        family.set(&[("route", route)], held.map(|held| held.deliveries).sum::<usize>());
    }
}

/// When what was last seen to work, and what fallbacks have answered.
fn proofs(text: &mut Exposition, relay: &dyn Relay, routes: &[RouteName], counted: &Counted) {
    let views: Vec<_> = routes.iter().filter_map(|route| relay.route(route).ok()).collect();
    let mut family = text.gauge(
        "tautline_route_proven_timestamp_seconds",
        "When WhatsApp last delivered an alert or a test of the route to all its recipients, in Unix time; 0: never.",
    );
    for view in &views {
        family.set(&[("route", &view.name)], seconds(view.proven_at.unwrap_or_default()));
    }
    let mut family = text.gauge(
        "tautline_fallback_proven_timestamp_seconds",
        "When the fallback last took an alert or a test of the route, in Unix time; 0: never.",
    );
    for view in &views {
        for fallback in &view.fallbacks {
            let labels = [("route", view.name.as_str()), ("fallback", &fallback.name)];
            family.set(&labels, seconds(fallback.proven_at.unwrap_or_default()));
        }
    }
    let named = views.iter().flat_map(|view| &view.fallbacks);
    let fallbacks: BTreeSet<&str> = named.map(|fallback| fallback.name.as_str()).collect();
    let mut family = text.counter(
        "tautline_fallback_requests",
        "Requests to fallbacks since the relay started, by outcome: taken or failed.",
    );
    for fallback in fallbacks {
        for (taken, outcome) in [(true, "taken"), (false, "failed")] {
            let mut all = counted.handovers.iter();
            let count = all.find(|((name, how), _)| name.as_str() == fallback && *how == taken);
            let count = count.map_or(0, |(_, count)| *count);
            family.count(&[("fallback", fallback), ("outcome", outcome)], count);
        }
    }
}

fn hooks(text: &mut Exposition, status: &Status) {
    let mut family = text.gauge(
        "tautline_hook_failing",
        "1 while the hook does not take what it is told, or wants nothing any more, else 0.",
    );
    for hook in &status.hooks {
        family.set(&[("hook", &hook.name)], u8::from(hook.state != HookState::Well));
    }
    let mut family = text.gauge(
        "tautline_hook_behind_entries",
        "Entries of the journal that the hook has not come to, those that it does not want among them.",
    );
    for hook in &status.hooks {
        family.set(&[("hook", &hook.name)], hook.behind);
    }
    let mut family = text.counter(
        "tautline_hook_requests",
        "Requests to hooks since the relay started, by outcome: taken or failed.",
    );
    for hook in &status.hooks {
        for (outcome, count) in [("taken", hook.taken), ("failed", hook.failed)] {
            family.count(&[("hook", &hook.name), ("outcome", outcome)], count);
        }
    }
    let mut family = text.counter(
        "tautline_hook_given_up",
        "What hooks have refused until it was given up, since the relay started.",
    );
    for hook in &status.hooks {
        family.count(&[("hook", &hook.name)], hook.given_up);
    }
}

fn http(text: &mut Exposition, numbers: &Numbers, connections: Connections) {
    let mut family = text.counter(
        "tautline_http_answers",
        "Answers over HTTP since the relay started, by status.",
    );
    for (status, count) in &numbers.answers {
        family.count(&[("code", &status.to_string())], count);
    }
    text.histogram(
        "tautline_http_publish_seconds",
        "From the head of a publish request to the answer that its alerts are on disk.",
    )
    .spread(&[], &PUBLISH_S, &numbers.published);
    let mut family = text.gauge(
        "tautline_http_connections",
        "Connections that are open, by where they came in.",
    );
    family.set(&[("listener", "tcp")], connections.tcp);
    family.set(&[("listener", "control")], connections.control);
    text.gauge("tautline_http_subscribers", "Who follows events or routes now.")
        .set(&[], connections.subscribers);
}

fn process(text: &mut Exposition, status: &Status, process: &ProcessFacts) {
    text.counter("process_cpu_seconds", "Time on a processor, by all threads.")
        .count(&[], process.cpu.as_secs_f64());
    let start = seconds(status.started_at);
    text.gauge("process_start_time_seconds", "When the process started, in Unix time.")
        .set(&[], start);
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Memory that is there and not swapped out.",
            process.resident_bytes,
        ),
        ("process_open_fds", "Open file descriptors.", process.open_files),
        (
            "process_max_fds",
            "How many file descriptors may be open.",
            process.open_files_max,
        ),
    ] {
        if let Some(value) = value {
            text.gauge(name, help).set(&[], value);
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
