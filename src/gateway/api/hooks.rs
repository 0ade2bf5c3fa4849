//! Hooks: what they are told, and how they stand.

use serde::{Deserialize, Serialize};

use super::{AlertView, EventView};

/// What a hook is told of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The same at every attempt.
    pub id: String,
    /// The hook's name.
    pub hook: String,
    /// `alert`, `message` or `session`.
    pub kind: String,
    /// The entry of the journal, as `GET /v1/events` has it.
    #[serde(flatten)]
    pub event: EventView,
    /// The message that was received; absent where it is kept no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageView>,
    /// The alert as it is while this is told; absent where it is kept no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_now: Option<AlertView>,
}

/// What a hook is told where entries of the journal are gone before it has heard of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapTold {
    /// The same at every attempt.
    pub id: String,
    /// The hook's name.
    pub hook: String,
    /// `gap`.
    pub kind: String,
    /// `gap`.
    pub event: String,
    /// The number of the first entry that is gone.
    pub from: u64,
    /// And of the last.
    pub to: u64,
}

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// WhatsApp's id of it.
    pub id: String,
    /// Who has written it, as a route would name them: a number, `me`, or a hidden id whose number is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// In which chat, likewise: a group, or whose chat it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#in: Option<String>,
    /// WhatsApp's address of the sender.
    pub sender: String,
    /// WhatsApp's address of the chat.
    pub chat: String,
    /// When it was sent, in Unix milliseconds by WhatsApp's clock.
    pub sent_at: u64,
    /// When it came, in Unix milliseconds.
    pub received_at: u64,
    /// The text, or the emoji of a reaction; empty where there is neither.
    pub text: String,
}

/// Where a hook is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HookState {
    /// What there was is told, or is being told.
    Well,
    /// What is to be told is not taken.
    Failing,
    /// It has answered that it wants nothing any more.
    Over,
}

/// How a hook stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HookStatus {
    /// Its name.
    pub name: String,
    /// The host that is asked; the rest of the address may be a secret.
    pub origin: String,
    /// Where it is.
    pub state: HookState,
    /// Entries of the journal that it has not come to, those that it does not want among them.
    pub behind: u64,
    /// What it has taken since the relay started.
    pub taken: u64,
    /// Requests that came to nothing since then.
    pub failed: u64,
    /// What was given up since then, because it was refused again and again.
    pub given_up: u64,
    /// When it has last taken something since then, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<u64>,
    /// Why the last request came to nothing, while it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it is asked again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_in_ms: Option<u64>,
}
