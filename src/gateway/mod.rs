//! The ways in: HTTP over TCP and on the control socket, the same code for both, and files in a spool.
//!
//! - [`Relay`] is what stands behind them: a trait, so that the gateway knows nothing of sessions, the store or the outbox.
//! - [`api`] has the JSON of both sides: the server writes it, the commands read it.
//! - `http` serves. Its table [`ENDPOINTS`] says at which address what is done, and what right it takes.
//! - `spool` takes what lies as files.
//!
//! Deliberately absent: CORS, cookies, and an answer over the network to whoever has no token, unless their network is trusted.
#![warn(missing_docs)]

pub mod api;
mod http;
mod recipients;
mod relay;
mod spool;

pub use crate::dialect::query;
pub use api::words::span;
pub use http::{Certificate, ControlPlaces, ENDPOINTS, Endpoint, Gateway, Limits, Listening, Refused, Scope};
pub use relay::{Accepted, Refusal, Relay};
pub use spool::{SpoolPlace, Spooling};
