//! The section `[mqtt]` of a plan: the broker that alerts come from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::address::{bracketed, server};
use super::{Endpoint, Secret, TlsFiles};
use crate::alert::RouteName;
use crate::mqtt::Version;

/// A client of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttPlan {
    pub broker: Broker,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Certificates, in PEM, that are trusted for the broker in place of the web's.
    pub ca: Option<PathBuf>,
    /// What shows the broker who this is.
    pub identity: Option<TlsFiles>,
    /// `None`: `tautline-` and the node.
    pub client_id: Option<String>,
    /// `None`: the host's name.
    pub node: Option<NodeName>,
    /// The QoS of what is published and of what is asked for: 0 or 1.
    pub qos: u8,
    /// `None`: 5, or 3.1.1 where the broker knows nothing later.
    pub version: Option<Version>,
    pub keep_alive: Duration,
    /// Where Home Assistant looks for devices; `None`: it is not told of this one.
    pub discovery: Option<String>,
    /// How long the broker is asked to keep what comes while this client is away.
    pub session_expiry: Duration,
    /// What is made of messages on others' topics.
    pub subscribe: Vec<SubscribePlan>,
}

/// What is made of messages on a topic that is somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribePlan {
    /// With wildcards.
    pub filter: String,
    pub route: RouteName,
    /// A template that says `true` of those that are meant; `None`: all are.
    pub when: Option<String>,
    /// A template of the alert's key.
    pub key: Option<String>,
    pub form: SubscribeForm,
}

/// How such a message is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscribeForm {
    /// The name of a dialect.
    Dialect(String),
    /// ntfy's headers, each with its template.
    Template(Vec<(&'static str, String)>),
}

/// A broker's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// `mqtts`: encrypted.
    pub tls: bool,
    pub host: String,
    pub port: u16,
}

impl Broker {
    /// What is dialled.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            // With certificates of the configuration's own TLS is begun by whoever has them.
            tls: false,
            host: self.host.clone(),
            port: self.port,
            path: "/".to_owned(),
        }
    }
}

impl FromStr for Broker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected mqtts://host[:port] for TLS, or mqtt://host[:port]";
        const SCHEMES: [(&str, bool, u16); 5] = [
            ("mqtts", true, 8883),
            ("ssl", true, 8883),
            ("tls", true, 8883),
            ("mqtt", false, 1883),
            ("tcp", false, 1883),
        ];
        let (tls, host, port) = server(text, &SCHEMES, EXPECTED)?;
        Ok(Self { tls, host, port })
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", bracketed(&self.host), self.port)
    }
}

/// What a box is called in its topics: 1 to 64 of `[-_A-Za-z0-9]`, as Home Assistant wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName(String);

impl NodeName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes one of a name that may have other characters in it, such as a host's.
    pub fn from_host(host: &str) -> Self {
        let first = host.split('.').next().unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name: String = first.chars().take(64).map(|c| if fits(c) { c } else { '-' }).collect();
        match name.is_empty() {
            true => Self("box".to_owned()),
            false => Self(name),
        }
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match Self::from_host(text).0 == text {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "a node's name has 1 to 64 letters, digits, '-' or '_', not {text:?}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_a_scheme_and_a_port_of_its_own() {
        for (text, shown) in [
            ("mqtt://127.0.0.1", "mqtt://127.0.0.1:1883"),
            ("mqtts://HomeAssistant.local/", "mqtts://homeassistant.local:8883"),
            ("tcp://[::1]:1884", "mqtt://[::1]:1884"),
        ] {
            assert_eq!(text.parse::<Broker>().unwrap().to_string(), shown);
        }
        for text in [
            "broker",
            "http://broker",
            "mqtt://u:p@broker",
            "mqtt://",
            "mqtt://a/b",
            "mqtt://a:0",
        ] {
            let error = text.parse::<Broker>().unwrap_err();
            assert!(error.contains("expected mqtts://") && !error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn a_host_of_any_name_is_a_node() {
        for (host, node) in [("pi.lan", "pi"), ("my box", "my-box"), ("", "box"), ("größe", "gr--e")] {
            assert_eq!(NodeName::from_host(host).as_str(), node);
        }
        assert!("pi-4_b".parse::<NodeName>().is_ok() && "pi/4".parse::<NodeName>().is_err());
    }
}
