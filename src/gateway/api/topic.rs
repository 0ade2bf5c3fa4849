//! What a subscriber is told, in ntfy's words.

use serde::{Deserialize, Serialize};

use super::AlertView;

/// The priority that goes without saying.
const PRIORITY_DEFAULT: u8 = 3;

/// One line of `GET /<topics>/json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TopicEvent {
    /// An alert's is that of the alert.
    pub id: String,
    /// Unix seconds. Of an alert that is to go out later, when that is.
    pub time: u64,
    /// `open`, `keepalive` or `message`; `message_delete` in the answer to a `DELETE`.
    pub event: String,
    /// The route; of `open` and `keepalive` all of them, as they were asked for.
    pub topic: String,
    /// Absent where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Absent where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// 1 to 5; absent for the default, 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A link to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click: Option<String>,
    /// What the sender called that which is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_id: Option<String>,
    /// What could not be done; in answers alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl TopicEvent {
    /// One that tells of no alert: `open` or `keepalive`, at `time` in Unix seconds.
    pub fn of_stream(event: &str, topic: &str, time: u64) -> Self {
        Self {
            id: format!("{event:x<12.12}"),
            time,
            event: event.to_owned(),
            topic: topic.to_owned(),
            message: String::new(),
            title: String::new(),
            priority: None,
            tags: Vec::new(),
            click: None,
            sequence_id: None,
            warning: None,
        }
    }
}

impl From<&AlertView> for TopicEvent {
    fn from(alert: &AlertView) -> Self {
        Self {
            message: alert.text.clone(),
            title: alert.title.clone(),
            priority: (alert.priority != PRIORITY_DEFAULT).then_some(alert.priority),
            tags: alert.tags.clone(),
            click: alert.click.clone(),
            id: alert.id.clone(),
            ..Self::of_stream("message", &alert.route, alert.due_at() / 1000)
        }
    }
}
