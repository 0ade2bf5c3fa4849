//! A message: one WhatsApp message id, one recipient, the alerts that it carries, its content.
//!
//! A message is made when the [policy](super::policy) decides so, at acceptance or later, and never changes after that:
//! it keeps its id and what it carries, and so its content, however often it is sent and whatever restarts lie between.
//! What carries what stands in the records of the alerts, by the message's id; nothing else is written of a message.

use super::record::MessageId;
use crate::alert::{Attachment, Recipient};

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Text with WhatsApp's marks in it, not empty.
    Text(String),
    /// A file out of the [blobs](crate::alert::BlobHash). The caption is text as above, or empty.
    Media { attachment: Attachment, caption: String },
    /// A reaction on a message of ours. No alert is said by it.
    Reaction { to: MessageId, emoji: String },
}

/// A message as a session is to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub recipient: Recipient,
    pub content: Content,
    /// What it answers in the chat, where it is news of something said before.
    pub quotes: Option<Quote>,
}

/// An earlier message of ours, as the apps show it above one that quotes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    pub id: MessageId,
    /// The beginning of what it says; empty where nobody knows any more.
    pub text: String,
}
