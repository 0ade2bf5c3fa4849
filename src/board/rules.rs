//! What a schedule amounts to, and the rules every board keeps. Arithmetic only.
//!
//! `build.rs` compiles this very file: a board that breaks a rule fails the build.

use std::time::Duration;

use super::fields::{FIELDS, Values};
use super::schedule::{Schedule, TcpSchedule};

/// From the end of the dead line to the server's `success` on a path that works: resolve, dial, TLS, upgrade, Noise and
/// login, with the pause before the first attempt not counted. It is the promise "link back, session up within 3 s"; a
/// test against a server has to hold it.
pub const RELOGIN_ALLOWANCE: Duration = Duration::from_secs(3);

/// Idle wake-ups a minute that are not the line's: the systemd watchdog is fed twice, the rest is slack for the clocks.
pub const WAKEUPS_OF_THE_HOUSE: u64 = 4;

/// No board may wake an idle machine more often than this a minute.
pub const WAKEUPS_PER_MINUTE_MAX: u64 = 30;

/// One ping and its answer on the wire, an estimate in bytes: twice IP and TCP headers (52), TLS record (22), WebSocket
/// header (4 to 8), Noise length and tag (19) and about 25 of stanza, and one bare TCP ack.
pub const PING_EXCHANGE_BYTES: u64 = 300;

/// How long a silent death can go unnoticed by each layer on its own, for what that layer can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// A path or host that is gone, on a line without traffic: the kernel's probes.
    pub tcp: Duration,
    /// A path that is gone, also behind a proxy that answers for it; only for a server that answers pings.
    pub websocket: Duration,
    /// Everything, a session that no longer works behind a path that does included.
    pub application: Duration,
}

/// What each layer of `schedule` notices when, in the worst phase: death right after the last proof of life.
pub fn detection(schedule: &Schedule) -> Detection {
    Detection {
        tcp: keepalive_worst(&schedule.tcp),
        websocket: schedule.websocket.ping + schedule.websocket.pong,
        application: schedule.application.ping_max + schedule.application.pong,
    }
}

/// The longest that a silent death of any kind can go unnoticed.
///
/// That is the application's layer, the only one that sees every kind; the others may be earlier with what they see,
/// and are not counted on: a proxy answers TCP's probes, and WhatsApp does not promise to answer WebSocket pings.
pub fn detection_worst(schedule: &Schedule) -> Duration {
    detection(schedule).application
}

/// From a silent death to a session that is logged in again, worst phase, when the path works at once.
pub fn recovery_worst(schedule: &Schedule) -> Duration {
    detection_worst(schedule) + schedule.redial.first + RELOGIN_ALLOWANCE
}

/// Linux looks at `TCP_USER_TIMEOUT` only when a probe is due: the first probe that is due after it ends the
/// connection, never before one has gone unanswered (`tcp_keepalive_timer`).
fn keepalive_worst(tcp: &TcpSchedule) -> Duration {
    let mut due = tcp.idle + tcp.interval;
    while due < tcp.user_timeout && !tcp.interval.is_zero() {
        due += tcp.interval;
    }
    due
}

/// Messages an idle, healthy session sends in an hour, at most. WebSocket pings are not among them: the application's
/// answers come more often and postpone every one.
pub fn messages_per_hour(schedule: &Schedule) -> u64 {
    let every = |interval: Duration| 3600_u64.div_ceil(interval.as_secs().max(1));
    let application = &schedule.application;
    every(application.ping_min) + every(application.presence) + every(application.probe)
}

/// Messages of a usual day, each with its answer: the pings come at the mean of their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daily {
    pub pings: u64,
    pub presences: u64,
    pub probes: u64,
}

/// What an idle, healthy session sends in a day. The kernel's probes and WebSocket pings wait for silence, which the
/// pings leave none of.
pub fn daily(schedule: &Schedule) -> Daily {
    let application = &schedule.application;
    let every = |interval: Duration| 86_400_000 / (interval.as_millis() as u64).max(1);
    Daily {
        pings: every((application.ping_min + application.ping_max) / 2),
        presences: every(application.presence),
        probes: every(application.probe),
    }
}

/// The sum of [`daily`].
pub fn messages_per_day(schedule: &Schedule) -> u64 {
    let Daily {
        pings,
        presences,
        probes,
    } = daily(schedule);
    pings + presences + probes
}

/// Bytes of a usual idle day, both directions; an estimate.
pub fn bytes_per_day(schedule: &Schedule) -> u64 {
    messages_per_day(schedule) * PING_EXCHANGE_BYTES
}

/// Wake-ups a minute, idle and healthy: one for each message's timer, one for its answer, and the house's.
pub fn wakeups_per_minute(schedule: &Schedule) -> u64 {
    (2 * messages_per_day(schedule)).div_ceil(24 * 60) + WAKEUPS_OF_THE_HOUSE
}

/// The rules that `values` breaks, each as the key it is about and a sentence. Empty: a valid board.
pub fn faults(values: &Values) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    for (field, value) in FIELDS.iter().zip(values.list()) {
        if !(field.min..=field.max).contains(&value) {
            let key = format!("{}.{}", field.section, field.key);
            faults.push((key, format!("{value} is not in {} to {}", field.min, field.max)));
        }
    }
    // Out of range, the arithmetic below says nothing worth reading.
    if faults.is_empty() {
        for (key, kept, rule) in rules(values) {
            if !kept {
                faults.push((key.to_owned(), rule));
            }
        }
    }
    faults
}

/// Key, whether the rule is kept, and the rule as a sentence that helps whoever broke it.
fn rules(v: &Values) -> Vec<(&'static str, bool, String)> {
    let schedule = v.schedule();
    let seen = detection(&schedule);
    let recovery = recovery_worst(&schedule);
    let limit = Duration::from_secs(v.path_recovery_s);
    let rule = |key, kept, text: &str| (key, kept, text.to_owned());
    vec![
        // The path is kept.
        rule(
            "tcp.idle_s",
            v.tcp_idle_s + v.tcp_interval_s < v.path_nat_s,
            "must leave time for a second probe before path.nat_s forgets the flow",
        ),
        rule(
            "application.ping_max_s",
            2 * v.application_ping_max_s < v.path_nat_s,
            "must be under half of path.nat_s, so that one lost ping does not lose the flow",
        ),
        rule(
            "events.ping_s",
            2 * v.events_ping_s < v.path_nat_s,
            "must be under half of path.nat_s, so that a quiet subscriber's flow is never forgotten",
        ),
        // The layers are ordered.
        rule(
            "application.ping_min_s",
            v.application_ping_min_s < v.application_ping_max_s,
            "must be less than application.ping_max_s: without phase noise a fleet pulses",
        ),
        rule(
            "application.pong_s",
            v.application_pong_s < v.application_ping_max_s,
            "must be less than application.ping_max_s, so that pings do not overlap",
        ),
        rule(
            "websocket.ping_s",
            v.websocket_ping_s >= v.application_ping_max_s,
            "must be at least application.ping_max_s, so that a healthy line never needs one",
        ),
        rule(
            "websocket.pong_s",
            seen.websocket <= seen.application,
            "must name a dead path no later than the application suspects the session",
        ),
        rule(
            "tcp.user_timeout_s",
            v.tcp_user_timeout_s > v.application_pong_s,
            "must be more than application.pong_s: the kernel is the backstop, not the judge",
        ),
        rule(
            "tcp.user_timeout_s",
            seen.tcp <= limit,
            "must end an idle dead connection within path.recovery_s",
        ),
        rule(
            "tcp.count",
            v.tcp_idle_s + v.tcp_interval_s * v.tcp_count <= v.path_recovery_s,
            "must end an idle dead connection within path.recovery_s where no user timeout is supported",
        ),
        rule(
            "steps.write_s",
            Duration::from_secs(v.steps_write_s) <= seen.application,
            "must not hold longer than a silent death goes unnoticed",
        ),
        rule(
            "application.presence_s",
            v.application_presence_s > v.application_ping_max_s,
            "must be more than application.ping_max_s",
        ),
        rule(
            "application.probe_s",
            v.application_probe_s > v.application_ping_max_s,
            "must be more than application.ping_max_s",
        ),
        // The promises are kept.
        (
            "path.recovery_s",
            recovery <= limit,
            format!("the schedule takes {recovery:?} from a silent death to the next login in the worst phase"),
        ),
        (
            "path.messages_per_hour",
            messages_per_hour(&schedule) <= v.path_messages_per_hour,
            format!("the schedule sends up to {} an hour", messages_per_hour(&schedule)),
        ),
        (
            "application.ping_min_s",
            wakeups_per_minute(&schedule) <= WAKEUPS_PER_MINUTE_MAX,
            format!(
                "the schedule wakes the machine {} times a minute; at most {WAKEUPS_PER_MINUTE_MAX}",
                wakeups_per_minute(&schedule)
            ),
        ),
        // Redialling neither hammers nor gives up.
        rule(
            "redial.max_s",
            v.redial_first_ms < v.redial_max_s * 1000,
            "must be more than redial.first_ms",
        ),
        rule(
            "redial.per_hour",
            v.redial_per_hour * v.redial_max_s >= 2 * 3600,
            "must allow twice the attempts that an hour at redial.max_s takes, or a plain outage trips the brake",
        ),
    ]
}
