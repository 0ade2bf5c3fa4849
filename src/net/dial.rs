//! From an endpoint's name to a stream: resolve, dial, proxy, TLS, each under its own deadline.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use smol::net::TcpStream;

use super::policy::Plain;
use super::stream::{Metered, Stream};
use super::suspects::{self, Trial};
use super::{ConnectionStats, DialError, Step, authority, policy, proxy, resolve, tcp, tls, within};
use crate::config::{Endpoint, Proxy};
use crate::line::Schedule;

/// A connection, not yet spoken on.
#[derive(Debug)]
pub struct Link {
    pub stream: Stream,
    /// The same socket once more: shutting it down ends reads and writes that hang on `stream`.
    pub socket: TcpStream,
    pub stats: Arc<ConnectionStats>,
    /// Whether the address works, which the first answer on `stream` shows.
    pub(crate) trial: Trial,
}

/// How far one attempt has come, for whoever gives it up from outside.
#[derive(Debug, Default)]
pub struct Progress {
    step: AtomicU8,
    peer: OnceLock<SocketAddr>,
}

impl Progress {
    const STEPS: [Step; 5] = [Step::Resolve, Step::Dial, Step::Proxy, Step::Tls, Step::Upgrade];

    #[must_use]
    pub fn step(&self) -> Step {
        Self::STEPS[usize::from(self.step.load(Ordering::Relaxed))]
    }

    pub(super) fn enter(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    /// The endpoint as errors name it: with the address that is in use, once there is one.
    #[must_use]
    pub fn place(&self, target: &Endpoint, proxy: Option<&Proxy>) -> String {
        let at = authority(&target.host, target.port);
        match (self.peer.get(), proxy) {
            (None, _) => at,
            (Some(peer), Some(_)) => format!("{at} through the proxy at {peer}"),
            (Some(peer), None) => over(at, *peer),
        }
    }
}

/// `at` with the family and the address that it turned out to have; a literal says it already.
fn over(at: String, peer: SocketAddr) -> String {
    let family = if peer.is_ipv4() { "IPv4" } else { "IPv6" };
    match at == peer.to_string() {
        true => at,
        false => format!("{at} over {family} ({})", peer.ip()),
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
    open_within(Plain::Loopback, target, proxy, schedule, progress).await
}

/// [`open`] to where `plain` allows it without TLS.
///
/// # Errors
/// As for [`open`].
pub async fn open_within(
    plain: Plain,
    target: &Endpoint,
    proxy: Option<&Proxy>,
    schedule: &Schedule,
    progress: &Progress,
) -> Result<Link, DialError> {
    let rule = policy::judge(target, proxy, plain)?;
    let (host, port) = dialled(target, proxy);
    progress.enter(Step::Resolve);
    let addrs = resolve::resolve(host, port, schedule.steps.resolve).await?;
    rule.check(&authority(host, port), &addrs)?;
    open_at(addrs, target, proxy, schedule, progress).await
}

/// The place that TCP leads to: the proxy if there is one, else the endpoint itself.
fn dialled<'a>(target: &'a Endpoint, proxy: Option<&'a Proxy>) -> (&'a str, u16) {
    proxy.map_or((&target.host, target.port), |proxy| (&proxy.host, proxy.port))
}

/// [`open`] from the addresses on that [`dialled`] has.
async fn open_at(
    addrs: Vec<SocketAddr>,
    target: &Endpoint,
    proxy: Option<&Proxy>,
    schedule: &Schedule,
    progress: &Progress,
) -> Result<Link, DialError> {
    let (host, port) = dialled(target, proxy);
    let at = authority(host, port);
    progress.enter(Step::Dial);
    let candidates = suspects::order(host, port, addrs);
    let dialed = tcp::connect_in_turn(&candidates, &at, proxy.is_some(), &schedule.tcp, schedule.steps.dial).await?;
    let _ = progress.peer.set(dialed.peer);
    let stats = Arc::new(ConnectionStats::new(dialed.peer, dialed.tuning));
    let trial = Trial::new(host, port, Arc::clone(&stats));
    let stream = Metered::new(dialed.socket.clone(), Arc::clone(&stats));
    match secure(stream, target, proxy, schedule, progress, dialed.peer).await {
        Ok(stream) => Ok(Link {
            stream,
            socket: dialed.socket,
            stats,
            trial,
        }),
        Err(error) => {
            trial.failed(&error);
            Err(error)
        }
    }
}

/// The steps between TCP and the endpoint's own protocol: the proxy's tunnel and TLS.
async fn secure(
    mut stream: Metered,
    target: &Endpoint,
    proxy: Option<&Proxy>,
    schedule: &Schedule,
    progress: &Progress,
    peer: SocketAddr,
) -> Result<Stream, DialError> {
    if let Some(proxy) = proxy {
        progress.enter(Step::Proxy);
        let at = over(authority(&proxy.host, proxy.port), peer);
        within(Step::Proxy, &at, schedule.steps.proxy, async {
            proxy::tunnel(&mut stream, proxy, &target.host, target.port)
                .await
                .map_err(|error| DialError::Proxy { at: at.clone(), error })
        })
        .await?;
    }
    if !target.tls {
        return Ok(Stream::Plain(stream));
    }
    progress.enter(Step::Tls);
    let at = progress.place(target, proxy);
    let shaken = tls::handshake(stream, &target.host, &at);
    let tls = within(Step::Tls, &at, schedule.steps.tls, shaken).await?;
    Ok(Stream::Tls(Box::new(tls)))
}

#[cfg(test)]
mod tests;
