//! The ways in: HTTP on loopback and on the control socket, the same code for both.
//!
//! - [`Relay`] is what stands behind them: a trait, so that the gateway knows nothing of sessions, the store or the outbox.
//! - [`api`] has the JSON of both sides: the server writes it, the commands read it.
//! - `http` serves. Its table [`ENDPOINTS`] says at which address what is done, and what right it takes.
//!
//! Deliberately absent: TLS, CORS, cookies, and any listen address that is not loopback, until publish tokens exist.
#![warn(missing_docs)]

pub mod api;
mod http;
mod relay;

pub use crate::dialect::query;
pub use api::words::span;
pub use http::{ControlPlaces, ENDPOINTS, Endpoint, Gateway, Limits, Listening, Refused, Scope};
pub use relay::{Accepted, Refusal, Relay};
