//! Sockets: resolve, tune, proxy, TLS, WebSocket, and a small HTTP client.
//!
//! Every step has a deadline of its own, and every failure is a [`DialError`] that names its step. Every TCP socket is
//! tuned, whichever way it was opened. Deliberately absent: a switch that turns certificate checks off.

mod deadline;
mod dial;
mod error;
mod host;
pub mod http;
mod offload;
mod policy;
mod proxy;
mod resolve;
mod stats;
mod stream;
mod suspects;
mod tcp;
mod tls;
mod tuning;
mod unstalled;
mod ws;

pub(crate) use deadline::within;
pub use dial::{Link, Progress, open, open_within};
pub use error::{Attempt, AttemptError, DialError, ProxyError, Step};
pub use host::authority;
pub(crate) use host::bare_host;
pub use offload::offload;
pub use policy::Plain;
pub use resolve::resolve;
pub use stats::{ConnectionStats, Ended, StatsSnapshot};
pub use stream::{Metered, Stream};
pub(crate) use suspects::Trial;
pub use tcp::connect;
pub use tls::{Trust, start_tls};
pub use tuning::{TcpSettings, TcpTuning, tune};
pub use unstalled::Unstalled;
pub use ws::{MESSAGE_BYTES_MAX, WsConn, dial, dial_reporting};
