//! The second path: what tells people, and those who watch, when WhatsApp does not.
//!
//! The outbox decides what goes where and when ([`Parcel`](crate::outbox::Parcel)); a [`FallbackClient`] carries it
//! there.

mod client;
mod letter;
mod mail;
mod ntfy;
mod outcome;
mod post;
mod secret;
mod signed;
mod smtp;
mod web;
mod webhook;

pub use client::FallbackClient;
pub use letter::News;
pub use post::post;
pub use secret::read as read_secret;
pub use signed::signed_json;
pub use web::{ANSWER_WITHIN, Answer, Request, WebError, ask};
