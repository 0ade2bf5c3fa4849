//! Is this request from software on this box, or from a web page that a browser on this box happens to show?
//!
//! Loopback is no protection against the second: any page may send a form or an image request to 127.0.0.1, and a name
//! under its owner's control may resolve there (DNS rebinding). Three facts tell them apart, and a browser lets no page
//! forge them: `Host` names us, `Origin` is ours or absent, `Sec-Fetch-Site` is not somebody else's.

use std::net::{IpAddr, SocketAddr};

use super::answer::Problem;
use super::head::{Head, Value};

/// For every request on loopback, by TLS if it is `secure`. The control socket needs none of it: its file's mode is the
/// check.
///
/// # Errors
/// 421 for another `Host`, 403 for another origin; the text says which header was wrong.
pub(super) fn check(head: &Head, listen: SocketAddr, secure: bool) -> Result<(), Problem> {
    let port = listen.port();
    let host = match head.value("host") {
        Value::Text(host) => host,
        Value::Absent | Value::Unreadable => "",
    };
    if !is_ours(host, port) {
        return Err(Problem::new(
            421,
            format!("the host {host:?} is not this relay: use localhost:{port}, 127.0.0.1:{port} or [::1]:{port}"),
        ));
    }
    let scheme: &[&str] = if secure { &["https://"] } else { &["http://"] };
    check_page(head, host, scheme)
}

/// For every request that comes over the network. `host` is what its client calls this relay, with a port or without.
/// Whoever has a token may call it anything: no page from elsewhere can have caused a request with it. Who has none is
/// let in by the address alone, and then a page on a name of its owner's that resolves to this relay must not pass.
///
/// # Errors
/// 421 for a name that may be a stranger's, 403 for another origin.
pub(super) fn check_beyond(head: &Head, host: &str, names: &[String], has_token: bool) -> Result<(), Problem> {
    if !has_token && !is_local_name(host, names) {
        let error = format!(
            "the host {host:?} is not known to be this relay: use its address, give a token, or write the name into \
             `names` of [gateway]"
        );
        return Err(Problem::new(421, error));
    }
    // A proxy may have taken TLS off.
    check_page(head, host, &["http://", "https://"])
}

/// # Errors
/// 403: a page from elsewhere has caused it.
fn check_page(head: &Head, host: &str, schemes: &[&str]) -> Result<(), Problem> {
    let origin = match head.value("origin") {
        Value::Text(origin) => Some(origin),
        Value::Unreadable => Some(""),
        Value::Absent => None,
    };
    if let Some(origin) = origin {
        let authority = schemes.iter().find_map(|scheme| origin.strip_prefix(scheme));
        if !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
            return Err(Problem::new(
                403,
                format!("a web page from {origin:?} may not use this relay"),
            ));
        }
    }
    match site(head) {
        Some("cross-site") => Err(Problem::new(403, "a web page from elsewhere may not use this relay")),
        _ => Ok(()),
    }
}

/// Ends of names that nobody can have on the internet.
const LOCAL_ENDS: [&str; 6] = [".local", ".lan", ".home", ".internal", ".home.arpa", ".localhost"];

/// An address, a name without a dot, one of a local network, or one that the configuration has.
fn is_local_name(host: &str, names: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map_or("", |(address, _)| address);
        return address.parse::<IpAddr>().is_ok();
    }
    let name = host.split_once(':').map_or(host.as_str(), |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && (name.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || LOCAL_ENDS.iter().any(|end| name.ends_with(end))
            || names.iter().any(|known| known == name))
}

/// For a GET that does something (`/<route>/publish`): a page can cause one without an `Origin`, by an image or a link.
///
/// # Errors
/// 403 unless it surely comes from no page, or from ours.
pub(super) fn check_acting_get(head: &Head) -> Result<(), Problem> {
    let refused = |why: &str| Err(Problem::new(403, format!("{why}; publish with POST instead")));
    // A browser fetches ahead what somebody has only begun to type.
    if ["sec-purpose", "purpose", "x-moz"].iter().any(|name| head.has(name)) {
        return refused("a browser fetched this ahead of time");
    }
    match site(head) {
        Some("none" | "same-origin") => Ok(()),
        Some(_) => refused("a web page from elsewhere may not publish"),
        // No browser of today leaves the header out towards loopback; one of yesterday cannot show where it comes from.
        None if matches!(head.value("user-agent"), Value::Text(agent) if agent.starts_with("Mozilla/")) => {
            refused("this browser does not say which page the request comes from")
        }
        None => Ok(()),
    }
}

/// `Sec-Fetch-Site`; a value that cannot be read counts as the worst one.
fn site(head: &Head) -> Option<&str> {
    match head.value("sec-fetch-site") {
        Value::Absent => None,
        Value::Text(site) => Some(site),
        Value::Unreadable => Some("cross-site"),
    }
}

/// A loopback name or address, with our port; without one the port is 80.
fn is_ours(host: &str, port: u16) -> bool {
    let (name, given) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, "")) => (name, None),
            Some((name, tail)) => (name, tail.strip_prefix(':').or(Some(""))),
            None => return false,
        },
        None => match host.split_once(':') {
            Some((name, given)) => (name, Some(given)),
            None => (host, None),
        },
    };
    let loopback =
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let digits = given.is_none_or(|given| given.bytes().all(|byte| byte.is_ascii_digit()));
    loopback && digits && given.map_or(port == 80, |given| given.parse() == Ok(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_stranger_can_have_is_not_local() {
        let names = ["alerts.example.org".to_owned()];
        for host in [
            "192.168.1.5:7373",
            "[fd00::5]:7373",
            "nas",
            "NAS:7373",
            "nas.local",
            "tautline.lan.:7373",
            "box.home.arpa",
            "Alerts.Example.org:7373",
        ] {
            assert!(is_local_name(host, &names), "{host}");
        }
        for host in [
            "",
            ":7373",
            "evil.example",
            "nas.evil.example:7373",
            "[evil]",
            "192.168.1.5.evil.example",
        ] {
            assert!(!is_local_name(host, &names), "{host}");
        }
    }

    #[test]
    fn only_loopback_names_with_our_port_are_ours() {
        for host in [
            "localhost:7373",
            "LocalHost:7373",
            "127.0.0.1:7373",
            "127.1.2.3:7373",
            "[::1]:7373",
        ] {
            assert!(is_ours(host, 7373), "{host}");
        }
        assert!(is_ours("localhost", 80));
        for host in [
            "",
            "localhost",
            "localhost:80",
            "localhost:07373x",
            "localhost:+7373",
            "localhost.:7373",
            "localhost.evil.example:7373",
            "evil.example:7373",
            "192.168.1.2:7373",
            "0.0.0.0:7373",
            "[::1]",
            "[::1]7373",
            "[::1",
            "[::]:7373",
            "127.0.0.1.evil.example:7373",
            "2130706433:7373",
        ] {
            assert!(!is_ours(host, 7373), "{host}");
        }
    }
}
