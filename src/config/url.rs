//! Addresses that are asked over HTTP.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::Endpoint;

const EXPECTED: &str = "expected https://host[:port]/path, or http:// on loopback or in a private network";

/// An address that is asked over HTTP. Its path may be a secret: logs and health tell its [`origin`](Self::origin)
/// alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Endpoint);

impl Url {
    /// What is dialled, with path and query.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    /// Scheme, host and port, which are no secret.
    pub fn origin(&self) -> String {
        let scheme = if self.0.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Host and port as a request names them: without the port where it is the usual one.
    pub fn authority(&self) -> String {
        let host = match self.0.host.contains(':') {
            true => format!("[{}]", self.0.host),
            false => self.0.host.clone(),
        };
        let usual = if self.0.tls { 443 } else { 80 };
        match self.0.port {
            port if port == usual => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}; {EXPECTED}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("has another scheme")),
        };
        // Its rules for hosts, ports and paths are those of a session's endpoint; that is encrypted wherever it goes.
        let endpoint: Result<Endpoint, String> = format!("wss://{rest}").parse();
        let Ok(mut endpoint) = endpoint else {
            return Err(wrong("has a user, a host, a port or a path that cannot be used"));
        };
        if !tls {
            endpoint.tls = false;
            let (authority, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if endpoint.port == 443 && !authority.ends_with(":443") {
                endpoint.port = 80;
            }
            // What a name leads to is looked at when it is dialled.
            let address = endpoint.host.parse::<IpAddr>();
            if address.is_ok_and(|address| !is_private(address)) {
                return Err(wrong("would go unencrypted over the internet"));
            }
        }
        Ok(Self(endpoint))
    }
}

impl fmt::Display for Url {
    /// All of it, also what may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.0.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({}/…)", self.origin())
    }
}

/// Whether an address is of this host or of a network that the internet does not lead to.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            // 100.64.0.0/10 is what carriers use behind their NAT, and overlay networks among their members.
            let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            address.is_loopback() || address.is_private() || address.is_link_local() || is_shared
        }
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn urls_are_written_back_as_they_were_read() {
        for text in [
            "https://hc-ping.com/8f1c",
            "https://ntfy.example/alerts?auth=x",
            "https://ntfy.example:8443/",
            "http://127.0.0.1:7171/a/b",
            "http://192.168.1.5/alerts",
            "http://nas.lan:8080/alerts",
            "http://[::1]:7171/",
            "http://[fd00::1]:443/",
        ] {
            assert_eq!(url(text).to_string(), text);
        }
        assert_eq!(url("http://nas").to_string(), "http://nas/");
        assert_eq!(url("http://NAS:443").endpoint().port, 443);
    }

    #[test]
    fn what_may_be_a_secret_is_in_no_error_and_no_debug_output() {
        for text in [
            "https://user:secret@host/",
            "http://8.8.8.8/secret",
            "ftp://host/secret",
            "secret",
            "https://host/secret secret",
            "https://host:0/secret",
            "https:///secret",
        ] {
            let error = text.parse::<Url>().unwrap_err();
            assert!(!error.contains("secret") && error.contains("expected"), "{error}");
        }
        assert!(!format!("{:?}", url("https://host/secret")).contains("secret"));
    }

    #[test]
    fn unencrypted_goes_to_private_networks_alone() {
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.9.9",
            "169.254.1.1",
            "100.64.0.1",
        ] {
            url(&format!("http://{address}/"));
        }
        for address in [
            "8.8.8.8",
            "100.128.0.1",
            "172.32.0.1",
            "[2001:db8::1]",
            "[::ffff:8.8.8.8]",
        ] {
            assert!(format!("http://{address}/").parse::<Url>().is_err(), "{address}");
            url(&format!("https://{address}/"));
        }
    }
}
