//! Sockets: resolve, tune, proxy, TLS, WebSocket, and a small HTTP client.
//!
//! Every step has a deadline of its own, and every failure is a [`DialError`] that names its step. Every TCP socket is
//! tuned, whichever way it was opened. Deliberately absent: a switch that turns certificate checks off.

mod dial;
mod error;
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
mod ws;

pub use dial::{Link, Progress, open};
pub use error::{Attempt, DialError, Fault, ProxyFault, Step};
pub use offload::offload;
pub use resolve::resolve;
pub use stats::{ConnectionStats, Ended, StatsSnapshot};
pub use stream::{Metered, Stream};
pub(crate) use suspects::Trial;
pub use tcp::{TcpSettings, TcpTuning, connect, tune};
pub use ws::{MESSAGE_BYTES_MAX, WsConn, dial, dial_reporting};

use std::future::Future;
use std::time::Duration;

/// `host:port`, with brackets around an IPv6 literal.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    let host = bare_host(host);
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The host without the brackets that URLs put around an IPv6 literal.
pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}

/// Runs one step under its deadline.
pub(crate) async fn within<T>(
    step: Step,
    at: &str,
    after: Duration,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    crate::util::within(after, work).await.unwrap_or_else(|| {
        Err(DialError::Deadline {
            step,
            at: at.to_owned(),
            after,
        })
    })
}
