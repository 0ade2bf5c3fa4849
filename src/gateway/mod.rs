//! The ways in: HTTP over TCP and on the control socket, the same code for both, mails by SMTP, and files in a spool.
//!
//! - [`Relay`] is what stands behind them: a trait, so that the gateway knows nothing of sessions, the store or the
//!   outbox.
//! - [`api`] has the JSON of both sides: the server writes it, the commands read it.
//! - `http` serves. Its table [`ENDPOINTS`] says at which address what is done, and what right it takes.
//! - `mqtt` takes messages of a broker.
//! - `smtp` takes mails.
//! - `spool` takes what lies as files.
//!
//! `place`, `socket`, `tls`, `idle` and `refused` are what the ways over TCP share.
//!
//! Deliberately absent: CORS, and an answer over the network to whoever has no token, unless their network is
//! trusted.
#![warn(missing_docs)]

pub mod api;
mod feed;
mod fetch;
mod files;
mod http;
mod idle;
mod mail_files;
mod mqtt;
mod place;
mod recipients;
mod refused;
mod relay;
mod smtp;
mod socket;
mod spool;
mod tallies;
mod tls;

pub use crate::dialect::query;
pub use api::words::span;
pub use feed::Feed;
pub use http::{ControlPlaces, ENDPOINTS, Endpoint, Gateway, Limits, Listening, Scope};
pub use mqtt::{Mqtt, MqttView};
pub use refused::Refused;
pub use relay::{Accepted, ProcessFacts, Refusal, Relay};
pub use smtp::{SmtpLimits, SmtpListening, fuzzing};
pub use spool::{SpoolPlace, Spooling};
pub use tallies::{Counted, Tallies};
pub use tls::Certificate;
