//! From a message of the broker's to an alert that is on disk, and what its sender is answered.

use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::fields::own_fields;
use super::rules;
use crate::alert::{Alert, RouteName};
use crate::config::SubscribePlan;
use crate::dialect::{self, Parsed, Rejection, Request};
use crate::gateway::relay::{Refusal, Relay};
use crate::mqtt::{Message, Publish, topic};
use crate::util::wall_ms;

/// Between two tries to hand over what there is no room for now. The broker keeps what comes behind it.
const AGAIN: Duration = Duration::from_secs(5);

/// A message that the broker marks as repeated can be the one of an alert that is no older than this. Later it is
/// another, whose number has come round.
const REPEATED_WITHIN_MS: u64 = 15 * 60 * 1000;

/// The codes of MQTT 5 that tell a broker what came of a message.
const TAKEN: u8 = 0;
const NOT_TAKEN: u8 = 0x83;
const NO_SUCH_TOPIC: u8 = 0x90;

/// What has become of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Became {
    /// An alert, which is on disk.
    Accepted,
    /// The same as an alert that there is.
    Duplicate,
    /// No alert, in words.
    Rejected(String),
    /// Nothing that is for this client.
    Ignored,
}

/// A message that is settled.
#[derive(Debug)]
pub(super) struct Taken {
    pub became: Became,
    /// What the broker is told.
    pub code: u8,
    pub answer: Option<Message>,
}

/// Makes alerts of messages.
#[derive(Clone)]
pub(super) struct Taker {
    pub relay: Arc<dyn Relay>,
    /// For messages on others' topics.
    pub rules: Arc<[SubscribePlan]>,
    pub client_id: Arc<str>,
}

impl Taker {
    /// Takes a message for good. While there is no room for it, it waits here.
    pub(super) async fn take(self, publish: Publish) -> Taken {
        let Some(named) = topic::route(&publish.topic) else {
            return self.take_foreign(publish).await;
        };
        let rejected = |why: String, code: u8| {
            let answer = json!({ "error": why });
            Taken {
                answer: answer_to(&publish, &answer),
                became: Became::Rejected(format!("{}: {why}", publish.topic)),
                code,
            }
        };
        let routes = self.relay.routes();
        let Some(route) = routes.iter().find(|route| route.as_str() == named) else {
            let unknown = Refusal::UnknownRoute(named.to_owned());
            return rejected(unknown.to_string(), NO_SUCH_TOPIC);
        };
        let parsed = match parse(&publish, route) {
            Ok(parsed) => parsed.without_files("a message by MQTT carries none"),
            Err(rejection) => return rejected(rejection.to_string(), NOT_TAKEN),
        };
        let click = parsed.alerts.first().and_then(|alert| alert.click.clone());
        match self.hand_over(route, &parsed.alerts, &publish, 0).await {
            Ok(Some(accepted)) => {
                let became = match accepted.duplicate {
                    true => Became::Duplicate,
                    false => Became::Accepted,
                };
                let accepted = match parsed.alerts.first() {
                    Some(mine) => accepted.without_the_first(mine),
                    None => accepted,
                };
                let answer = accepted.published(click, parsed.warnings);
                Taken {
                    became,
                    code: TAKEN,
                    answer: serde_json::to_value(&answer)
                        .ok()
                        .and_then(|answer| answer_to(&publish, &answer)),
                }
            }
            Ok(None) => Taken {
                became: Became::Ignored,
                code: TAKEN,
                answer: None,
            },
            Err(refusal) => rejected(refusal.to_string(), NOT_TAKEN),
        }
    }

    /// Takes a message on somebody else's topic: each rule that is for it makes an alert of its own.
    async fn take_foreign(self, publish: Publish) -> Taken {
        let mut became = Became::Ignored;
        let rules = self.rules.iter().enumerate();
        for (place, rule) in rules.filter(|(_, rule)| topic::matches(&rule.filter, &publish.topic)) {
            let parsed = match rules::apply(rule, &publish) {
                None => continue,
                Some(Ok(parsed)) => parsed.without_files("a message by MQTT carries none"),
                Some(Err(rejection)) => {
                    became = Became::Rejected(format!("{}: {rejection}", publish.topic));
                    continue;
                }
            };
            for warning in &parsed.warnings {
                log::warn!("mqtt: {}: {warning}", publish.topic);
            }
            match self.hand_over(&rule.route, &parsed.alerts, &publish, place).await {
                Ok(Some(accepted)) if accepted.duplicate => became = Became::Duplicate,
                Ok(Some(_)) => became = Became::Accepted,
                Ok(None) => {}
                Err(refusal) => became = Became::Rejected(format!("{}: {refusal}", publish.topic)),
            }
        }
        Taken {
            became,
            code: TAKEN,
            answer: None,
        }
    }

    /// Publishes alerts until they are on disk, or refused for good. What came with QoS 0 is tried once.
    async fn hand_over(
        &self,
        route: &RouteName,
        alerts: &[Alert],
        publish: &Publish,
        rule: usize,
    ) -> Result<Option<crate::gateway::Accepted>, Refusal> {
        let mut alerts = alerts.to_vec();
        // A crash between the disk and the acknowledgement brings a message again: this is how it is known then. The
        // broker's number alone comes again for others.
        let derived = publish
            .packet
            .map(|packet| derived_key(&self.client_id, packet, publish, rule));
        let is_keyed = alerts.iter().any(|alert| alert.key.is_some());
        if let (Some(key), Some(first), false) = (&derived, alerts.first_mut(), is_keyed) {
            first.key = Some(key.clone());
        }
        let mut told = false;
        loop {
            let answer = self.relay.publish(route.clone(), alerts.clone()).await;
            match next(&answer, publish, is_keyed, wall_ms()) {
                Next::Done => return answer.map(|accepted| accepted.into_iter().next()),
                Next::AsAnother => {
                    if let Some(first) = alerts.first_mut() {
                        let number = fastrand::u64(..);
                        first.key = derived.as_ref().map(|derived| format!("{derived}-{number:016x}"));
                    }
                }
                Next::WithoutDelay => {
                    log::warn!("mqtt: a message is taken without its delay: too many wait for their own time");
                    alerts.iter_mut().for_each(|alert| alert.delay = None);
                }
                Next::Later => {
                    if !told && let Err(refusal) = &answer {
                        log::warn!("mqtt: a message waits at the door, and is tried again: {refusal}");
                        told = true;
                    }
                    Timer::after(AGAIN).await;
                }
            }
        }
    }
}

/// What follows from an answer of the relay's.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The message is settled, one way or the other.
    Done,
    /// It is to be published under a key of its own.
    AsAnother,
    /// It is to be published as one that goes out now.
    WithoutDelay,
    /// It is to be published again after a pause.
    Later,
}

/// `is_keyed`: its sender has given it a key. `now_ms` is the wall clock.
fn next(
    answer: &Result<Vec<crate::gateway::Accepted>, Refusal>,
    publish: &Publish,
    is_keyed: bool,
    now_ms: u64,
) -> Next {
    match answer {
        // An earlier message was the same, and this one is not that: the broker says that it is new, or that one is so
        // long ago that the number has come round. Rather twice than never.
        Ok(accepted) if !is_keyed => {
            let is_other = accepted.iter().any(|accepted| {
                let age = now_ms.saturating_sub(accepted.alert.accepted_at);
                accepted.duplicate && (!publish.repeated || age > REPEATED_WITHIN_MS)
            });
            if is_other { Next::AsAnother } else { Next::Done }
        }
        Ok(_) => Next::Done,
        // Else it would hold up all that come behind it, perhaps for days.
        Err(Refusal::TooManyDelayed(_)) => Next::WithoutDelay,
        // That the relay stops is no refusal: the broker sends it again.
        Err(Refusal::Full(_) | Refusal::Storage(_) | Refusal::StorageFailed(_) | Refusal::Unavailable(_))
            if publish.packet.is_some() =>
        {
            Next::Later
        }
        Err(_) => Next::Done,
    }
}

/// Reads the alert out of a message. What MQTT 5 has beside it stands in for ntfy's headers.
fn parse(publish: &Publish, route: &RouteName) -> Result<Parsed, Rejection> {
    let properties = &publish.properties;
    let request = Request {
        route: Some(route.as_str()),
        headers: own_fields(publish, properties.correlation.as_deref().map(key_of)),
        content_type: properties.content_type.as_deref(),
        body: &publish.payload,
        body_bytes: publish.payload_bytes,
        // Nobody would hear that it is too long: it is cut, and says so.
        text_bytes_max: u64::MAX,
        now_ms: wall_ms(),
        ..Request::default()
    };
    match is_json(&request) {
        true => dialect::ntfy_json::parse(&request),
        false => dialect::ntfy::parse(&request),
    }
}

/// Whether a message is ntfy's JSON: it says so, or says nothing and has the fields.
fn is_json(request: &Request<'_>) -> bool {
    match request.content_type {
        Some(_) => request.is_media("application/json"),
        None if request.body.trim_ascii_start().first() == Some(&b'{') => {
            let value: Option<serde_json::Value> = serde_json::from_slice(request.body).ok();
            value.is_some_and(|value| value.get("message").or_else(|| value.get("title")).is_some())
        }
        None => false,
    }
}

/// Correlation data as a key: as it is where that is a word, else in digits.
fn key_of(correlation: &[u8]) -> String {
    match std::str::from_utf8(correlation) {
        Ok(text) if !text.trim().is_empty() && !text.chars().any(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => hex(correlation),
    }
}

fn derived_key(client_id: &str, packet: u16, publish: &Publish, rule: usize) -> String {
    let mut hash = Sha256::new();
    let properties = &publish.properties;
    for part in [client_id.as_bytes(), publish.topic.as_bytes(), &publish.payload] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    for (name, value) in &properties.user {
        hash.update(name);
        hash.update([0]);
        hash.update(value);
        hash.update([0]);
    }
    hash.update(packet.to_be_bytes());
    hash.update((rule as u64).to_be_bytes());
    format!("mqtt-{}", hex(&hash.finalize()[..16]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer for whoever asked for one. Not where alerts are published: it would be one.
fn answer_to(publish: &Publish, answer: &serde_json::Value) -> Option<Message> {
    let to = publish.properties.response_topic.clone()?;
    if topic::route(&to).is_some() {
        return None;
    }
    Some(Message {
        topic: to,
        payload: answer.to_string().into_bytes(),
        retain: false,
        content_type: Some("application/json"),
        correlation: publish.properties.correlation.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Accepted;

    const NOW_MS: u64 = 1_767_225_600_000;

    fn publish(packet: Option<u16>, repeated: bool) -> Publish {
        Publish {
            topic: "tautline/family/publish".into(),
            packet,
            repeated,
            retained: false,
            payload: b"x".to_vec(),
            payload_bytes: 1,
            properties: Default::default(),
        }
    }

    fn accepted(duplicate: bool, age_ms: u64) -> Result<Vec<Accepted>, Refusal> {
        let alert = json!({
            "id": "AAAAAAAAAAAA", "seq": 1, "route": "family", "session": "default", "title": "", "text": "x",
            "priority": 3, "tags": [], "state": "accepted", "deliveries": [], "accepted_at": NOW_MS - age_ms,
        });
        let alert = serde_json::from_value(alert).unwrap();
        let warning = None;
        Ok(vec![Accepted {
            alert,
            duplicate,
            warning,
        }])
    }

    #[test]
    fn a_repeated_message_is_known_again_for_a_while_and_a_new_one_never() {
        let next = |answer, repeated, is_keyed| next(&answer, &publish(Some(1), repeated), is_keyed, NOW_MS);
        let hour = 3_600_000;
        assert_eq!(next(accepted(false, 0), false, false), Next::Done);
        assert_eq!(next(accepted(true, 1000), true, false), Next::Done, "it is the same");
        assert_eq!(
            next(accepted(true, hour), true, false),
            Next::AsAnother,
            "its number came round"
        );
        assert_eq!(next(accepted(true, 1000), false, false), Next::AsAnother, "it is new");
        // Its sender says what is the same.
        assert_eq!(next(accepted(true, hour), false, true), Next::Done);
    }

    #[test]
    fn what_finds_no_room_waits_and_a_delay_holds_up_nothing() {
        let words = String::new;
        for refusal in [
            Refusal::Full(words()),
            Refusal::Storage(words()),
            Refusal::StorageFailed(words()),
            Refusal::Unavailable(words()),
        ] {
            let answer = Err(refusal);
            assert_eq!(next(&answer, &publish(Some(1), false), false, NOW_MS), Next::Later);
            // Nobody sends what came with QoS 0 again, and nothing is gained by keeping it here.
            assert_eq!(next(&answer, &publish(None, false), false, NOW_MS), Next::Done);
        }
        let answer = Err(Refusal::TooManyDelayed(words()));
        assert_eq!(
            next(&answer, &publish(Some(1), false), false, NOW_MS),
            Next::WithoutDelay
        );
        let answer = Err(Refusal::UnknownRoute(words()));
        assert_eq!(next(&answer, &publish(Some(1), false), false, NOW_MS), Next::Done);
    }
}
