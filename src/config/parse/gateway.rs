//! `[gateway]` and `[smtp]`: where the relay listens, and who may come in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeTable;

use super::reader::{At, Reader, Value};
use crate::access::{Network, Rate};
use crate::config::{Access, Loopback, TlsFiles};

const KEYS: &[&str] = &[
    "listen",
    "loopback",
    "trusted",
    "behind_proxy",
    "proxies",
    "names",
    "limit",
    "tls",
];
const KEYS_LIMIT: &[&str] = &["per_minute", "burst"];
/// A request a millisecond is no limit any more.
const LIMIT_MAX: i64 = 60_000;
const NETWORKS: &str = "a list like [\"192.168.1.0/24\"]";
const KEYS_SMTP: &[&str] = &["listen"];
const KEYS_TLS: &[&str] = &["cert", "key"];

/// Characters of a host's name.
const NAME_CHARS_MAX: usize = 253;

#[derive(Debug, Default)]
pub(in crate::config) struct DraftGateway {
    pub listen: Option<At<Vec<SocketAddr>>>,
    pub loopback: Option<At<Loopback>>,
    pub trusted: Option<At<Vec<Network>>>,
    pub behind_proxy: Option<At<bool>>,
    pub proxies: Option<At<Vec<Network>>>,
    pub names: Option<At<Vec<HostName>>>,
    pub limit: Option<At<Rate>>,
    pub tls: Option<At<TlsFiles>>,
}

impl Reader<'_> {
    pub(super) fn gateway(&mut self, table: &DeTable) -> DraftGateway {
        self.look_for_unknown("gateway", table, KEYS);
        let safe = ["tls", "trusted", "behind_proxy"]
            .iter()
            .any(|key| is_meant(table, key));
        let draft = DraftGateway {
            listen: table.get("listen").and_then(|value| {
                let instead = (!safe).then_some("beside it one of tls, behind_proxy = true and trusted");
                self.listen("gateway.listen", value, "127.0.0.1:7373", instead)
            }),
            loopback: table
                .get("loopback")
                .and_then(|value| self.parsed("gateway.loopback", value, "\"open\" or \"token\"")),
            trusted: table
                .get("trusted")
                .and_then(|value| self.list("gateway.trusted", value, NETWORKS)),
            behind_proxy: table.get("behind_proxy").and_then(|value| self.behind_proxy(value)),
            proxies: table
                .get("proxies")
                .and_then(|value| self.list("gateway.proxies", value, NETWORKS)),
            names: table
                .get("names")
                .and_then(|value| self.list("gateway.names", value, "a list like [\"nas.example\"]")),
            limit: table.get("limit").and_then(|value| self.limit(value)),
            tls: table.get("tls").and_then(|value| self.tls(value)),
        };
        let mut beyond = draft
            .listen
            .iter()
            .flat_map(|listen| &listen.value)
            .filter(|address| !address.ip().is_loopback());
        let behind = draft.behind_proxy.as_ref().is_some_and(|behind| behind.value);
        if behind && beyond.next().is_some() && draft.proxies.is_none() && !table.contains_key("proxies") {
            let span = table.get("behind_proxy").map_or(0..0, Spanned::span);
            let text =
                "proxies is missing beside it; expected the addresses of the proxy, as proxies = [\"192.168.1.2\"]";
            self.fault("gateway.behind_proxy", span, text);
        }
        draft
    }

    fn behind_proxy(&mut self, value: Value) -> Option<At<bool>> {
        match value.get_ref().as_bool() {
            Some(given) => Some(self.at(given, &value.span())),
            None => {
                self.wrong_type("gateway.behind_proxy", value, "true or false");
                None
            }
        }
    }

    fn limit(&mut self, value: Value) -> Option<At<Rate>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type("gateway.limit", value, "a table like { per_minute = 60, burst = 300 }");
            return None;
        };
        self.look_for_unknown("gateway.limit", table, KEYS_LIMIT);
        let default = Access::default().rate;
        let [per_minute, burst] =
            [("per_minute", default.per_minute), ("burst", default.burst)].map(|(name, default)| {
                let Some(value) = table.get(name) else {
                    return Some(default);
                };
                let key = format!("gateway.limit.{name}");
                let Some(integer) = value.get_ref().as_integer() else {
                    self.wrong_type(&key, value, "a number");
                    return None;
                };
                let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                match number.filter(|number| (1..=LIMIT_MAX).contains(number)) {
                    Some(number) => u32::try_from(number).ok(),
                    None => {
                        self.fault(&key, value.span(), format!("is not 1 to {LIMIT_MAX}"));
                        None
                    }
                }
            });
        let rate = Rate {
            per_minute: per_minute?,
            burst: burst?,
        };
        Some(self.at(rate, &value.span()))
    }

    pub(super) fn list<T>(&mut self, key: &str, value: Value, expected: &str) -> Option<At<Vec<T>>>
    where
        T: FromStr,
        T::Err: ToString,
    {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        if !self.bounded(key, value) {
            return None;
        }
        let mut items = Vec::new();
        for (index, item) in array.iter().enumerate() {
            items.push(self.parsed::<T>(&format!("{key}[{index}]"), item, expected)?.value);
        }
        Some(self.at(items, &value.span()))
    }

    /// Paths that are not absolute begin at the configuration's own directory.
    fn tls(&mut self, value: Value) -> Option<At<TlsFiles>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type("gateway.tls", value, "a table like { cert = \"…\", key = \"…\" }");
            return None;
        };
        self.look_for_unknown("gateway.tls", table, KEYS_TLS);
        let directory = self.path.parent().unwrap_or(Path::new("")).to_owned();
        let [cert, key] = ["cert", "key"].map(|name| {
            let key = format!("gateway.tls.{name}");
            match table.get(name) {
                Some(path) => {
                    let path = self.parsed::<PathBuf>(&key, path, "the path of a PEM file")?;
                    Some(directory.join(path.value))
                }
                None => {
                    self.fault(&key, value.span(), "is missing; expected the path of a PEM file");
                    None
                }
            }
        });
        let files = TlsFiles { cert: cert?, key: key? };
        Some(self.at(files, &value.span()))
    }

    /// `[smtp]`, which takes from `[gateway]` what makes it safe to listen on the network.
    pub(super) fn smtp(&mut self, value: Value, gateway: Option<&DeTable>) -> Option<At<Vec<SocketAddr>>> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type("smtp", value, "a section [smtp]");
            return None;
        };
        self.look_for_unknown("smtp", table, KEYS_SMTP);
        let safe = gateway.is_some_and(|gateway| ["tls", "trusted"].iter().any(|key| is_meant(gateway, key)));
        let instead = (!safe).then_some("in [gateway] one of tls and trusted");
        let listen = table.get("listen")?;
        self.listen("smtp.listen", listen, "127.0.0.1:2525", instead)
    }

    /// Addresses; `instead` says what would have to be there for one on the network, where it is not.
    fn listen(&mut self, key: &str, value: Value, example: &str, instead: Option<&str>) -> Option<At<Vec<SocketAddr>>> {
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, &format!("a list like [\"{example}\"]"));
            return None;
        };
        if !self.bounded(key, value) {
            return None;
        }
        let faults_before = self.faults.len();
        let mut listen: Vec<SocketAddr> = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let Some(address) = self.parsed::<ListenAddress>(&key, item, &format!("a string like \"{example}\""))
            else {
                continue;
            };
            let address = address.value.0;
            match instead {
                Some(instead) if !address.ip().is_loopback() => {
                    let text = format!(
                        "{address} is reachable from the network; expected 127.0.0.1 or [::1], or {instead} \
                         (docs/tokens.md says what each means)"
                    );
                    self.fault(&key, item.span(), text);
                }
                // Port 0 is a fresh port each time.
                _ if address.port() != 0 && listen.contains(&address) => {
                    self.fault(&key, item.span(), "is the same address again; expected each once");
                }
                _ => listen.push(address),
            }
        }
        (self.faults.len() == faults_before).then(|| self.at(listen, &value.span()))
    }
}

/// Whether a key is there. Whatever is wrong with its value: that it stands there says what was meant.
fn is_meant(table: &DeTable, key: &str) -> bool {
    let value = table.get(key).map(Spanned::get_ref);
    value.is_some_and(|value| value.as_bool() != Some(false) && value.as_array().is_none_or(|list| !list.is_empty()))
}

impl FromStr for Loopback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::Open),
            "token" => Ok(Self::Token),
            other => Err(format!("{other:?} is neither; expected \"open\" or \"token\"")),
        }
    }
}

struct ListenAddress(SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Ok(address) = text.parse::<SocketAddr>() else {
            return Err(format!(
                "{text:?} is no address and port; expected one like 127.0.0.1:7373 or [::1]:7373"
            ));
        };
        // `[::ffff:127.0.0.1]` is 127.0.0.1 in other words, and a zone says nothing about a loopback address.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Ok(Self(address))
    }
}

/// A name by which the relay is reached, in lower case.
#[derive(Debug)]
pub(in crate::config) struct HostName(pub String);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(fits) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!(
                "{text:?} is no name of a host; expected one like \"nas.example\", without a port"
            )),
        }
    }
}
