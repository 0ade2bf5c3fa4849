//! The way to WhatsApp's server, step by step, as the relay would go it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use super::seen::{Seen, Site};
use crate::appliance::board_in_force;
use crate::board::Board;
use crate::config::{Endpoint, Loaded, Proxy, SessionPlan};
use crate::net::{DialError, dial, resolve};

/// The sessions that go the same way, under the first of their names.
fn ways(loaded: &Loaded) -> Vec<&SessionPlan> {
    let mut ways: BTreeMap<String, &SessionPlan> = BTreeMap::new();
    for session in &loaded.plan.sessions {
        let proxy = session.proxy.as_ref().map(Proxy::url_redacted).unwrap_or_default();
        ways.entry(format!("{} {proxy}", session.endpoint)).or_insert(session);
    }
    ways.into_values().collect()
}

fn board(loaded: &Loaded) -> &'static Board {
    board_in_force(loaded.plan.board.as_deref(), Path::new("/")).0
}

fn not_valid() -> Vec<Seen> {
    vec![Seen::skipped("the configuration is not valid")]
}

pub(super) async fn dns(site: &Site) -> Vec<Seen> {
    let Ok(loaded) = &site.config else { return not_valid() };
    let deadline = board(loaded).schedule().steps.resolve;
    let mut seen = Vec::new();
    for session in ways(loaded) {
        // With a proxy it is the proxy that is looked up.
        let (host, port) = match &session.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&session.endpoint.host, session.endpoint.port),
        };
        let found = resolve(host, port, deadline).await;
        seen.push(match found {
            Ok(addresses) => judge_addresses(host, &session.endpoint, &addresses),
            Err(error) => Seen::fault(
                error.to_string(),
                "look at /etc/resolv.conf, and whether its servers can be reached",
            ),
        });
    }
    seen
}

fn judge_addresses(host: &str, endpoint: &Endpoint, addresses: &[SocketAddr]) -> Seen {
    let listed: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let text = format!("{host}: {}", listed.join(", "));
    // A filter answers so for what it blocks.
    let is_nowhere = |ip: IpAddr| ip.is_unspecified() || ip.is_loopback();
    if !endpoint.is_loopback() && addresses.iter().any(|address| is_nowhere(address.ip())) {
        let next = "a filter answers in the name server's place (Pi-hole, AdGuard): allow this name there";
        return Seen::fault(text, next);
    }
    Seen::good(text)
}

pub(super) fn proxy(site: &Site) -> Vec<Seen> {
    let Ok(loaded) = &site.config else { return not_valid() };
    let of = |(place, session): (usize, &SessionPlan)| {
        let proxy = session.proxy.as_ref()?;
        let key = format!("session[{place}].proxy");
        let setting = loaded.provenance.iter().find(|setting| setting.key == key);
        let from = setting.map_or_else(String::new, |setting| format!(", from {}", setting.from));
        Some(Seen::good(format!(
            "session {} goes through {}{from}",
            session.name,
            proxy.url_redacted()
        )))
    };
    let seen: Vec<Seen> = loaded.plan.sessions.iter().enumerate().filter_map(of).collect();
    match seen.is_empty() {
        true => vec![Seen::good("none")],
        false => seen,
    }
}

pub(super) async fn line(site: &Site) -> Vec<Seen> {
    let Ok(loaded) = &site.config else { return not_valid() };
    let schedule = board(loaded).schedule();
    let mut seen = Vec::new();
    for session in ways(loaded) {
        let began = Instant::now();
        let opened = dial(&session.endpoint, session.proxy.as_ref(), &schedule).await;
        seen.push(match opened {
            Ok(opened) => {
                let peer = opened.socket.peer_addr();
                let peer = peer.map_or_else(|_| String::new(), |peer| format!(" at {}", peer.ip()));
                Seen::good(format!(
                    "{}{peer}, up to the WebSocket in {} ms",
                    session.endpoint,
                    began.elapsed().as_millis()
                ))
            }
            Err(error) => Seen::fault(error.to_string(), next_step(&error)),
        });
    }
    seen
}

/// What a person can do about a line that does not come up.
fn next_step(error: &DialError) -> &'static str {
    match error {
        DialError::Forbidden { .. } => "name an endpoint that this build may dial",
        DialError::Dns { .. } => "look at /etc/resolv.conf, and whether its servers can be reached",
        DialError::Unreachable { proxy: true, .. } | DialError::Proxy { .. } => {
            "look whether the proxy runs, and whether it lets port 443 through (`session.proxy`)"
        }
        DialError::Unreachable { .. } => "look at the router and the firewall: port 443 must be open to the outside",
        DialError::CertificateTime { .. } => "set the clock",
        DialError::Certificate { .. } => {
            "something between here and WhatsApp opens TLS (a company's firewall, a virus scanner): take this host out of it"
        }
        DialError::Tls { .. } | DialError::Upgrade { .. } => {
            "something between here and WhatsApp does not let it through: try another network"
        }
        DialError::Status { .. } => "the server or a proxy refuses for now: wait some minutes, then try again",
        DialError::Deadline { .. } | DialError::Abandoned { .. } => {
            "look at the network: packets are lost, or a firewall swallows them"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::Verdict;
    use super::*;

    #[test]
    fn a_filter_that_answers_for_a_name_is_found() {
        let endpoint: Endpoint = "wss://web.example.net/ws".parse().unwrap();
        let judged = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            judge_addresses("web.example.net", &endpoint, &[SocketAddr::new(address, 443)])
        };
        for filtered in ["0.0.0.0", "::", "127.0.0.1", "::1"] {
            assert_eq!(judged(filtered).verdict, Verdict::Fault, "{filtered}");
        }
        for right in ["192.0.2.7", "2001:db8::7"] {
            assert_eq!(judged(right).verdict, Verdict::Good, "{right}");
        }
        let own: Endpoint = "ws://127.0.0.1:8080/ws".parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        assert_eq!(judge_addresses("127.0.0.1", &own, &[address]).verdict, Verdict::Good);
    }
}
