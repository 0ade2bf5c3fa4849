//! HTTP/1.1 over TCP, with TLS or without, and on the control socket.
//!
//! A connection goes `server` (accept) → `connection` (whole heads, bounded bodies, deadlines) → `head` (what HTTP/1.1
//! means) → `routes`, which asks `auth` who it is and finds the endpoint in its table → one file a group of endpoints
//! (`publish`, `mail`, `alerts`, `sessions`, `status`, `login`, `metrics`, `openapi`, `probes`, `subscribe`,
//! `lines`, `events`, `backup`, `page`) → the [`Relay`](super::Relay).
//!
//! `auth` finds the token of a request by `credentials`, asks `guard` whether a web page is behind a request, and is
//! the one place where a right is checked. `context` is what all connections share; `limits` has every bound.

mod alerts;
mod answer;
mod auth;
mod backup;
mod body_file;
mod call;
mod connection;
mod context;
mod credentials;
mod events;
mod guard;
mod head;
mod limits;
mod lines;
mod listen;
mod login;
mod mail;
mod metrics;
mod openapi;
mod openmetrics;
mod page;
mod probes;
mod publish;
mod route_detail;
mod routes;
mod server;
mod sessions;
mod slot;
mod status;
mod subscribe;
mod tokens;
mod traffic;
mod websocket;

pub use auth::Scope;
pub use limits::Limits;
pub use listen::{ControlPlaces, Listening};
pub use routes::{ENDPOINTS, Endpoint};
pub use server::Gateway;
