//! Endpoints and proxies: URLs of the few shapes that make sense here, parsed by hand into what is dialled.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// WhatsApp's own endpoint, as its web client uses it.
pub(super) const ENDPOINT_DEFAULT: &str = "wss://web.whatsapp.com/ws/chat";

const ENDPOINT_EXPECTED: &str = "expected wss://host[:port]/path, or ws:// on loopback";
const PROXY_EXPECTED: &str = "expected socks5://[user:password@]host[:port] or http://…";

/// A WebSocket endpoint. `ws://` is accepted on loopback alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl Endpoint {
    /// True for `localhost` and loopback addresses. The dialler still has to look at what `localhost` resolves to.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} {what}; {ENDPOINT_EXPECTED}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "wss" => true,
            "ws" => false,
            other => return Err(wrong(&format!("has the scheme {other:?}"))),
        };
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        if authority.contains('@') {
            return Err(format!("an endpoint takes no user or password; {ENDPOINT_EXPECTED}"));
        }
        let (host, port) = host_and_port(authority).map_err(|what| wrong(&what))?;
        if !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains('#') {
            return Err(wrong("has a path with characters that must be percent-encoded"));
        }
        let endpoint = Self {
            tls,
            host,
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            path: match path.as_bytes().first() {
                Some(b'/') => path.to_owned(),
                _ => format!("/{path}"),
            },
        };
        if !tls && !endpoint.is_loopback() {
            return Err(wrong("would go unencrypted over the network"));
        }
        Ok(endpoint)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls { ("wss", 443) } else { ("ws", 80) };
        write!(f, "{scheme}://{}", bracketed(&self.host))?;
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}

/// A proxy that the line is dialled through. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub kind: ProxyKind,
    pub host: String,
    pub port: u16,
    pub user: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// `http://`: CONNECT.
    Http,
    /// `socks5://`, `socks5h://` and `socks://`; names are resolved by the proxy in all of them.
    Socks5,
}

impl FromStr for Proxy {
    type Err = String;

    /// No error of this ever shows the user part: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{:?} {what}; {PROXY_EXPECTED}", without_user(text));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let (kind, usual) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            // Desktop tools write `socks://` into the environment and mean version 5.
            "socks5" | "socks5h" | "socks" => (ProxyKind::Socks5, 1080),
            "https" => return Err(wrong("asks for TLS to the proxy, which is not supported")),
            "socks4" | "socks4a" => return Err(wrong("asks for SOCKS version 4, which is not supported")),
            _ => return Err(wrong("has another scheme")),
        };
        // The last @ ends the user part: people write passwords with an unencoded @ in them.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let place = place.trim_end_matches('/');
        // `host:` is a host with the usual port.
        let place = place.strip_suffix(':').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err(wrong("has a path"));
        }
        let (host, port) = host_and_port(place).map_err(|what| wrong(&what))?;
        let user = match user {
            None => None,
            Some(user) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                let decode = |part| {
                    percent_decoded(part)
                        .ok_or_else(|| wrong("has a user or password that is not percent-encoded UTF-8"))
                };
                let (name, password) = (decode(name)?, decode(password)?);
                // RFC 1929 gives each a one-byte length; RFC 7617 allows no colon in a name.
                if name.is_empty() || name.len() > 255 || password.len() > 255 {
                    return Err(wrong("has a user or password that is empty or longer than 255 bytes"));
                }
                if kind == ProxyKind::Http && name.contains(':') {
                    return Err(wrong("has a colon in the user's name"));
                }
                Some((name, password))
            }
        };
        Ok(Self {
            kind,
            host,
            port: port.unwrap_or(usual),
            user,
        })
    }
}

impl Proxy {
    /// Reads a proxy as programs write it into the environment: without a scheme it means an HTTP proxy, by custom;
    /// `direct` and its like mean none.
    ///
    /// # Errors
    /// It is none that can be used; never with a user or password in it.
    pub(super) fn from_environment(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        let word = text.trim_end_matches([':', '/']).to_ascii_lowercase();
        if ["", "none", "direct", "no", "off"].contains(&word.as_str()) {
            return Ok(None);
        }
        if text.contains("://") {
            text.parse().map(Some)
        } else {
            format!("http://{}", text.trim_start_matches('/')).parse().map(Some)
        }
    }

    /// The URL, without its password: `***` stands for it.
    pub fn url_redacted(&self) -> String {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        let user = match &self.user {
            None => String::new(),
            Some((name, password)) if password.is_empty() => format!("{}@", percent_encoded(name)),
            Some((name, _)) => format!("{}:***@", percent_encoded(name)),
        };
        format!("{scheme}://{user}{}:{}", bracketed(&self.host), self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|(name, _)| name);
        write!(f, "Proxy({:?} {}:{} user {user:?})", self.kind, self.host, self.port)
    }
}

/// `text` as it may be shown: whatever could be a user and password is cut out, also from text that is no URL at all.
fn without_user(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(s, r)| (s, r));
    match rest.rsplit_once('@') {
        Some((_, place)) if scheme.is_empty() => format!("…@{place}"),
        Some((_, place)) => format!("{scheme}://…@{place}"),
        // No host was given, then what stands in the port's place may be the password.
        None => match rest.split_once(':') {
            Some((front, back)) if !rest.starts_with('[') && !back.bytes().all(|b| b.is_ascii_digit()) => {
                let scheme = &text[..text.len() - rest.len()];
                format!("{scheme}{front}:…")
            }
            _ => text.to_owned(),
        },
    }
}

pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// Reads `scheme://host[:port]` of a server that is no web server: whether TLS begins at once, host and port. `schemes`
/// are those that it may have, each with that and with its usual port.
///
/// # Errors
/// In words that go on with `expected`.
pub(super) fn server(text: &str, schemes: &[(&str, bool, u16)], expected: &str) -> Result<(bool, String, u16), String> {
    let wrong = |what: &str| format!("{what}; {expected}");
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
    let known = schemes.iter().find(|(name, ..)| scheme.eq_ignore_ascii_case(name));
    let &(_, tls, usual) = known.ok_or_else(|| wrong("has another scheme"))?;
    if rest.contains('@') {
        let text = "has a user in it; `user` and `password_file` are keys of their own";
        return Err(wrong(text));
    }
    let place = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = host_and_port(place).map_err(|what| wrong(&what))?;
    Ok((tls, host, port.unwrap_or(usual)))
}

/// Splits `host[:port]`, `[v6][:port]`. The host comes back without brackets, in lower case.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("has an unclosed [")?;
        host.parse::<std::net::Ipv6Addr>()
            .map_err(|_| "has something else than an IPv6 address in []")?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err("has something else than a port after ]".into()),
        }
    } else if text.matches(':').count() > 1 {
        return Err("has an IPv6 address without [] around it".into());
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return Err("has no host".into());
    }
    if !host.contains(':') && (name.len() > 253 || !name.split('.').all(label)) {
        return Err("has a host that is neither a name nor an address".into());
    }
    let port = match port {
        None => None,
        // `u16::from_str` would take a leading plus.
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse() {
            Ok(0) | Err(_) => return Err("has a port that is not 1 to 65535".into()),
            Ok(port) => Some(port),
        },
        Some(_) => return Err("has a port that is not 1 to 65535".into()),
    };
    Ok((host.to_ascii_lowercase(), port))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Whether `no_proxy` names the endpoint: `*`, a domain with or without leading dot (its subdomains too), an address, a
/// CIDR block; each but `*` and the block optionally with a port. Entries are separated as one tool or the other does
/// it; a scheme, quotes and a slash or dot at the end mean nothing.
pub(super) fn no_proxy_names(no_proxy: &str, endpoint: &Endpoint) -> bool {
    let host = endpoint.host.strip_suffix('.').unwrap_or(&endpoint.host);
    no_proxy
        .split(|c: char| c.is_whitespace() || [',', ';', '|'].contains(&c))
        .map(|entry| entry.trim_matches(['"', '\'']))
        .map(|entry| entry.split_once("://").map_or(entry, |(_, rest)| rest))
        .map(|entry| entry.trim_end_matches('/'))
        .filter(|entry| !entry.is_empty())
        .any(|entry| entry_names(entry, host, endpoint.port))
}

fn entry_names(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let ip = host.parse::<IpAddr>().ok();
    if let Some((network, bits)) = entry.split_once('/') {
        return match (ip, network.parse(), bits.parse()) {
            (Some(ip), Ok(network), Ok(bits)) => in_block(ip, network, bits),
            _ => false,
        };
    }
    if let (Some(ip), Ok(named)) = (ip, entry.trim_matches(['[', ']']).parse::<IpAddr>()) {
        return ip == named;
    }
    let Ok((name, named_port)) = host_and_port(entry.trim_start_matches("*.").trim_start_matches(['.', '*'])) else {
        return false;
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let same_port = named_port.is_none_or(|named| named == port);
    let subdomain = || {
        host.strip_suffix(name)
            // `*whatsapp.com` asks for no dot.
            .is_some_and(|front| front.ends_with('.') || (entry.starts_with('*') && !entry.starts_with("*.")))
    };
    same_port && (host == name || (ip.is_none() && subdomain()))
}

fn in_block(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_written_back_as_they_were_read() {
        for text in [
            ENDPOINT_DEFAULT,
            "ws://127.0.0.1:7171/ws/chat",
            "ws://[::1]:7171/ws/chat?a=b",
            "ws://localhost/",
            "wss://example.org:8443/x",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!(
            "wss://Example.ORG".parse::<Endpoint>().unwrap().to_string(),
            "wss://example.org/"
        );
    }

    #[test]
    fn endpoints_that_are_refused() {
        for (text, why) in [
            ("web.whatsapp.com", "no scheme"),
            ("https://web.whatsapp.com/", "the scheme"),
            ("ws://web.whatsapp.com/", "unencrypted"),
            ("ws://127.0.0.1.example.org/", "unencrypted"),
            ("ws://192.168.1.2/", "unencrypted"),
            ("wss://user:secret@host/", "no user"),
            ("wss:///ws", "no host"),
            ("wss://host:0/", "port"),
            ("wss://host:99999/", "port"),
            ("wss://::1/", "IPv6"),
            ("wss://[::1/", "unclosed"),
            ("wss://host/a b", "percent-encoded"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn proxies() {
        let proxy = |text: &str| text.parse::<Proxy>().unwrap();
        let full = proxy("socks5h://a%40b:p%3Aw%20%C3%BC@proxy.example:9050/");
        assert_eq!(full.user, Some(("a@b".into(), "p:w ü".into())));
        assert_eq!((full.host.as_str(), full.port), ("proxy.example", 9050));
        assert_eq!(full.url_redacted(), "socks5://a%40b:***@proxy.example:9050");
        assert_eq!(proxy("http://10.0.0.1").port, 80);
        assert_eq!(proxy("socks5://[::1]").port, 1080);
        assert_eq!(proxy("socks5://[::1]").url_redacted(), "socks5://[::1]:1080");
    }

    #[test]
    fn no_proxy_error_shows_a_password() {
        for text in [
            "user:secret@host",
            "ftp://user:secret@host",
            "http://user:secret@host:0",
            "http://user:secret%zz@host",
            "http://user:secret%ff@host",
            "http://:secret@host",
            "https://user:secret@host",
            "http://user:se/cret@secret@host/path",
            "socks5://user:secret@",
            "socks5://user:secret",
            "user:secret",
        ] {
            let error = text.parse::<Proxy>().unwrap_err();
            assert!(!error.contains("secret") && !error.contains("cret@"), "{text}: {error}");
        }
    }

    #[test]
    fn no_proxy_lists() {
        let endpoint: Endpoint = ENDPOINT_DEFAULT.parse().unwrap();
        for list in [
            "*",
            "whatsapp.com",
            ".whatsapp.com",
            "*.whatsapp.com",
            "a, web.whatsapp.com:443",
            "WHATSAPP.com",
            "whatsapp.com.",
            "a;b|.whatsapp.com",
            "a\nwhatsapp.com\n",
            "https://web.whatsapp.com/",
            "\"whatsapp.com\"",
            "*whatsapp.com",
            "*.whatsapp.com:443",
        ] {
            assert!(no_proxy_names(list, &endpoint), "{list}");
        }
        for list in [
            "",
            "app.com",
            "web.whatsapp.com:80",
            "x.web.whatsapp.com",
            "10.0.0.0/8",
            "com.whatsapp",
            ",;|",
            "<local>",
            "*x.com",
            "::1",
            "[",
        ] {
            assert!(!no_proxy_names(list, &endpoint), "{list}");
        }
        let address: Endpoint = "wss://10.1.2.3/".parse().unwrap();
        for list in ["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "10.1.2.3/32"] {
            assert!(no_proxy_names(list, &address), "{list}");
        }
        for list in ["10.1.2.4", "10.0.0.0/33", "11.0.0.0/8", "2.3", "::/0"] {
            assert!(!no_proxy_names(list, &address), "{list}");
        }
    }
}
