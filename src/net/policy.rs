//! Where a build may dial at all. A lab build (certificate chains of the session not checked) goes to loopback alone,
//! and so does plain `ws://` in every build.

use std::net::{IpAddr, SocketAddr};

use super::{DialError, authority, bare_host};
use crate::config::{Endpoint, Proxy, is_private};

/// Where a connection may go that is not encrypted from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// To this host alone. So it is for everything that speaks for an account.
    Loopback,
    /// Also to networks that the internet does not lead to.
    Private,
    /// Anywhere, because nothing that matters is said before [TLS](super::start_tls).
    UntilTls,
}

/// What must hold for the addresses that the names turn out to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule(Option<Bounds>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    within: Plain,
    why: &'static str,
}

/// Judges the names, before anything is looked up: a name that can only be elsewhere costs not even a DNS query. Behind
/// a proxy the endpoint's name is resolved out of our sight, so there the name itself must say loopback, and the proxy
/// must be on loopback too.
pub(super) fn judge(target: &Endpoint, proxy: Option<&Proxy>, plain: Plain) -> Result<Rule, DialError> {
    let bounds = if cfg!(feature = "lab") {
        Some((Plain::Loopback, "a lab build goes to loopback only"))
    } else if target.tls || plain == Plain::UntilTls {
        None
    } else if plain == Plain::Private && proxy.is_none() {
        Some((
            Plain::Private,
            "without tls only a private network will do; use https:// or mqtts://",
        ))
    } else {
        Some((Plain::Loopback, "without tls only loopback will do; use wss://"))
    };
    let bounds = bounds.map(|(within, why)| Bounds { within, why });
    for (host, port) in [Some((&target.host, target.port)), proxy.map(|p| (&p.host, p.port))]
        .into_iter()
        .flatten()
    {
        let at = authority(host, port);
        if !is_plausible(bare_host(host)) {
            return Err(DialError::Forbidden {
                at: at.escape_debug().to_string(),
                why: "not a host name".into(),
            });
        }
        if let Some(Bounds {
            within: Plain::Loopback,
            why,
        }) = bounds
            && !names_loopback(bare_host(host))
        {
            return Err(DialError::Forbidden { at, why: why.into() });
        }
    }
    Ok(Rule(bounds))
}

impl Rule {
    /// Judges what a name resolved to: `localhost` is only a word in a hosts file.
    pub(super) fn check(self, at: &str, addrs: &[SocketAddr]) -> Result<(), DialError> {
        let Some(Bounds { within, why }) = self.0 else {
            return Ok(());
        };
        let is_within = |addr: &&SocketAddr| match within {
            Plain::Loopback => addr.ip().to_canonical().is_loopback(),
            Plain::Private => is_private(addr.ip()),
            Plain::UntilTls => true,
        };
        match addrs.iter().find(|addr| !is_within(addr)) {
            Some(addr) => Err(DialError::Forbidden {
                at: at.to_owned(),
                why: format!("it resolves to {addr}, and {why}"),
            }),
            None => Ok(()),
        }
    }
}

/// Nothing that could break out of a header or a proxy's request.
fn is_plausible(host: &str) -> bool {
    (1..=253).contains(&host.len())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/?#@\\\"".contains(&byte))
}

fn names_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        // RFC 6761, section 6.3.
        Err(_) => {
            let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProxyKind;

    fn endpoint(tls: bool, host: &str) -> Endpoint {
        Endpoint {
            tls,
            host: host.into(),
            port: 443,
            path: "/ws/chat".into(),
        }
    }

    fn proxy(host: &str) -> Proxy {
        Proxy {
            kind: ProxyKind::Http,
            host: host.into(),
            port: 3128,
            user: None,
        }
    }

    #[test]
    fn plain_websockets_stay_on_loopback_in_every_build() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "::ffff:127.0.0.1",
        ] {
            assert!(judge(&endpoint(false, host), None, Plain::Loopback).is_ok(), "{host}");
        }
        for host in [
            "192.0.2.1",
            "::",
            "0.0.0.0",
            "example.org",
            "localhost.example.org",
            "mylocalhost",
        ] {
            assert!(judge(&endpoint(false, host), None, Plain::Loopback).is_err(), "{host}");
        }
    }

    #[test]
    fn what_stays_in_the_house_may_go_unencrypted_where_that_is_asked_for() {
        let rule = judge(&endpoint(false, "localhost"), None, Plain::Private).unwrap();
        let check = |addr: &str| rule.check("nas:80", &[addr.parse().unwrap()]).is_ok();
        assert!(check("127.0.0.1:80"));
        assert!(!check("8.8.8.8:80"));
        // A lab build goes nowhere else.
        assert_eq!(check("192.168.1.5:80"), !cfg!(feature = "lab"));
        let nas = endpoint(false, "nas.lan");
        assert_eq!(judge(&nas, None, Plain::Private).is_ok(), !cfg!(feature = "lab"));
        assert!(judge(&nas, Some(&proxy("127.0.0.1")), Plain::Private).is_err());
    }

    #[test]
    fn a_proxy_does_not_lead_out() {
        assert!(
            judge(
                &endpoint(false, "127.0.0.1"),
                Some(&proxy("127.0.0.1")),
                Plain::Loopback
            )
            .is_ok()
        );
        assert!(
            judge(
                &endpoint(false, "127.0.0.1"),
                Some(&proxy("192.0.2.1")),
                Plain::Loopback
            )
            .is_err()
        );
        assert!(
            judge(
                &endpoint(false, "192.0.2.1"),
                Some(&proxy("127.0.0.1")),
                Plain::Loopback
            )
            .is_err()
        );
    }

    #[test]
    fn a_name_that_resolves_elsewhere_is_caught() {
        let rule = judge(&endpoint(false, "localhost"), None, Plain::Loopback).unwrap();
        assert!(rule.check("localhost:1", &["127.0.0.1:1".parse().unwrap()]).is_ok());
        let error = rule
            .check(
                "localhost:1",
                &["127.0.0.1:1".parse().unwrap(), "192.0.2.1:1".parse().unwrap()],
            )
            .unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }

    #[test]
    fn names_cannot_carry_a_second_line() {
        for host in ["", "a b", "a\r\nX: y", "a/b", "user@host"] {
            let error = judge(&endpoint(true, host), None, Plain::Loopback).unwrap_err();
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn tls_goes_anywhere_but_from_a_lab_build() {
        assert_eq!(
            judge(&endpoint(true, "192.0.2.1"), None, Plain::Loopback).is_ok(),
            !cfg!(feature = "lab")
        );
    }
}
