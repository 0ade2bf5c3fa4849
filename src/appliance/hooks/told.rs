//! What a hook is told, as JSON.

use serde::Serialize;

use crate::alert::{HookName, Recipient, SessionName};
use crate::appliance::dispatcher::DispatcherHandle;
use crate::gateway::api::{EventView, GapTold, MessageView, Told};
use crate::store::Store;
use crate::store::inbound::{self, InboundRecord};
use crate::store::journal::{Entry, Event};

/// The body of a request, and what its headers say of it.
pub(super) struct Body {
    /// The same at every attempt.
    pub id: String,
    /// The event's name.
    pub event: String,
    pub json: Vec<u8>,
}

/// What became of one entry of the journal; with the message or the alert that it is about, as far as they are there.
pub(super) async fn event(
    hook: &HookName,
    (store, dispatcher): (&Store, &DispatcherHandle),
    (number, entry): (u64, Entry),
) -> Option<Body> {
    let message = match &entry.event {
        Event::Recorded { session, position } => message((store, dispatcher), session, *position),
        Event::Alert { .. }
        | Event::Online { .. }
        | Event::Offline { .. }
        | Event::NeedsPerson { .. }
        | Event::Paired { .. } => None,
    };
    let event = EventView::from((number, entry));
    let alert_now = match &event.alert {
        Some(id) => dispatcher.alert(id).await,
        None => None,
    };
    // A state that was put back from a backup gives a number a second time, and not at the same millisecond.
    let id = format!("{number}-{}", event.at);
    let name = event.event.clone();
    let told = Told {
        id: id.clone(),
        hook: hook.to_string(),
        kind: event.of().name().to_owned(),
        event,
        message,
        alert_now,
    };
    body(id, name, &told)
}

/// That entries are gone before the hook was told of them.
pub(super) fn gap(hook: &HookName, from: u64, to: u64) -> Option<Body> {
    let (id, name) = (format!("gap-{from}-{to}"), "gap".to_owned());
    let told = GapTold {
        id: id.clone(),
        hook: hook.to_string(),
        kind: name.clone(),
        event: name.clone(),
        from,
        to,
    };
    body(id, name, &told)
}

fn body(id: String, event: String, told: &impl Serialize) -> Option<Body> {
    match serde_json::to_vec(told) {
        Ok(json) => Some(Body { id, event, json }),
        Err(error) => {
            log::error!("an event cannot be written as JSON: {error}");
            None
        }
    }
}

fn message(
    (store, dispatcher): (&Store, &DispatcherHandle),
    session: &SessionName,
    position: u64,
) -> Option<MessageView> {
    let found = inbound::at(store.view(), session, position);
    let InboundRecord {
        chat,
        sender,
        id,
        sent_at,
        received_at,
        text,
    } = found.unwrap_or_else(|error| {
        log::warn!("session {session}: message {position} cannot be read: {error}");
        None
    })?;
    let named = |jid: &str| {
        let recipient = recipient_of(jid)?;
        let named = dispatcher.session(session).map(|it| it.directory.one_name(&recipient));
        Some(named.unwrap_or(recipient).to_string())
    };
    Some(MessageView {
        id,
        from: named(&sender),
        r#in: named(&chat),
        sender,
        chat,
        sent_at,
        received_at,
        text,
    })
}

/// Whom a route would name for one of WhatsApp's addresses. `None` where nobody can be named: a channel, a broadcast.
fn recipient_of(jid: &str) -> Option<Recipient> {
    match jid.strip_suffix("@s.whatsapp.net") {
        Some(number) => format!("+{number}").parse().ok(),
        None if jid.contains('@') => jid.parse().ok(),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_named_as_a_route_would() {
        for (jid, name) in [
            ("15550100002@s.whatsapp.net", Some("+15550100002")),
            ("120363000000000000@g.us", Some("120363000000000000@g.us")),
            ("100000000000001@lid", Some("100000000000001@lid")),
            ("status@broadcast", None),
            ("1@newsletter", None),
            ("me", None),
        ] {
            let named = recipient_of(jid).map(|it| it.to_string());
            assert_eq!(named.as_deref(), name, "{jid}");
        }
    }

    #[test]
    fn a_gap_says_from_where_to_where() {
        let body = gap(&"nodered".parse().unwrap(), 5, 9).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&body.json).unwrap();
        let expected = serde_json::json!({
            "id": "gap-5-9", "hook": "nodered", "kind": "gap", "event": "gap", "from": 5, "to": 9,
        });
        assert_eq!((told, body.id.as_str()), (expected, "gap-5-9"));
    }
}
