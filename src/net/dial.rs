//! From an endpoint's name to a stream: resolve, dial, proxy, TLS, each under its own deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use smol::net::TcpStream;

use super::policy::{self, Rule};
use super::stream::{Metered, Stream};
use super::{DialError, LineTap, Step, authority, proxy, resolve, tcp, tls, within};
use crate::config::{Endpoint, Proxy};
use crate::line::Schedule;

/// A connection, not yet spoken on.
#[derive(Debug)]
pub struct Link {
    pub stream: Stream,
    /// The same socket once more: shutting it down ends reads and writes that hang on `stream`.
    pub socket: TcpStream,
    pub tap: Arc<LineTap>,
}

/// The step an attempt is at, for whoever gives it up from outside.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

impl Progress {
    const STEPS: [Step; 5] = [Step::Resolve, Step::Dial, Step::Proxy, Step::Tls, Step::Upgrade];

    #[must_use]
    pub fn step(&self) -> Step {
        Self::STEPS[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub(super) fn enter(&self, step: Step) {
        self.0.store(step as u8, Ordering::Relaxed);
    }
}

/// Opens a tuned connection to `target`, through `proxy` if there is one, with TLS if the endpoint wants it.
///
/// # Errors
/// The first step that failed. See [`DialError`].
pub async fn open(
    target: &Endpoint,
    proxy: Option<&Proxy>,
    schedule: &Schedule,
    progress: &Progress,
) -> Result<Link, DialError> {
    let rule = policy::judge(target, proxy)?;
    let dialed = dial_tcp(target, proxy, rule, schedule, progress).await?;
    let tap = Arc::new(LineTap::new(dialed.peer, dialed.tuning));
    let mut stream = Metered::new(dialed.socket.clone(), Arc::clone(&tap));

    if let Some(proxy) = proxy {
        progress.enter(Step::Proxy);
        let at = authority(&proxy.host, proxy.port);
        within(Step::Proxy, &at, schedule.steps.proxy, async {
            proxy::tunnel(&mut stream, proxy, &target.host, target.port)
                .await
                .map_err(|fault| DialError::Proxy { at: at.clone(), fault })
        })
        .await?;
    }

    let stream = if target.tls {
        progress.enter(Step::Tls);
        let at = authority(&target.host, target.port);
        let tls = within(
            Step::Tls,
            &at,
            schedule.steps.tls,
            tls::handshake(stream, &target.host, &at),
        )
        .await?;
        Stream::Tls(Box::new(tls))
    } else {
        Stream::Plain(stream)
    };
    Ok(Link {
        stream,
        socket: dialed.socket,
        tap,
    })
}

/// To the proxy if there is one, else to the endpoint itself.
async fn dial_tcp(
    target: &Endpoint,
    proxy: Option<&Proxy>,
    rule: Rule,
    schedule: &Schedule,
    progress: &Progress,
) -> Result<tcp::Dialed, DialError> {
    let (host, port) = proxy.map_or((&target.host, target.port), |proxy| (&proxy.host, proxy.port));
    let at = authority(host, port);
    progress.enter(Step::Resolve);
    let addrs = resolve::resolve(host, port, schedule.steps.resolve).await?;
    rule.check(&at, &addrs)?;
    progress.enter(Step::Dial);
    tcp::connect(&addrs, &at, proxy.is_some(), &schedule.tcp, schedule.steps.dial).await
}
