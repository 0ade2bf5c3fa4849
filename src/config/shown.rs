//! The rules of routes as `config print` shows them, and as they may stand in a file.

use std::time::Duration;

use serde_json::{Value, json};

use crate::outbox::{Escalate, Flapping, Group, Quiet, Repeat, Then};

pub(super) fn group_shown(group: &Group) -> Value {
    let (wait, interval) = (written(group.wait), written(group.interval));
    json!({"by": group.by, "wait": wait, "interval": interval, "max": group.max})
}

pub(super) fn quiet_shown(quiet: &Quiet) -> Value {
    let time = |time: jiff::civil::Time| time.strftime("%H:%M").to_string();
    let then = match quiet.then {
        Then::Digest => "digest",
        Then::Drop => "drop",
    };
    json!({"from": time(quiet.from), "to": time(quiet.to), "below": quiet.below.word(), "then": then})
}

pub(super) fn flapping_shown(flapping: Option<Flapping>) -> Value {
    match flapping {
        Some(Flapping { turns, within }) => json!({"turns": turns, "within": written(within)}),
        None => json!("off"),
    }
}

pub(super) fn repeat_shown(repeat: &Repeat) -> Value {
    json!({"every": written(repeat.every), "times": repeat.times, "from": repeat.from.word()})
}

pub(super) fn escalate_shown(escalate: &Escalate) -> Value {
    json!({"after": written(escalate.after), "to": escalate.to.as_str(), "from": escalate.from.word()})
}

pub(super) fn written(span: Duration) -> String {
    humantime::format_duration(span).to_string()
}
