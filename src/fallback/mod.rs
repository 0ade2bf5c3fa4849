//! The second path: what tells people, and those who watch, when WhatsApp does not.
//!
//! The outbox decides what goes where and when ([`Parcel`](crate::outbox::Parcel)); a [`Courier`] carries it there.

mod courier;
mod letter;
mod mail;
mod ntfy;
mod outcome;
mod secret;
mod smtp;
mod web;
mod webhook;

pub use courier::Courier;
pub use letter::News;
pub use web::{Answer, Request, WebError, ask};
