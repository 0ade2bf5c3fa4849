//! `[gateway]`: where the relay listens, and who may come in.

use std::net::SocketAddr;
use std::str::FromStr;

use toml::de::DeTable;

use super::{At, Reader, Value};
use crate::config::Loopback;

const KEYS: &[&str] = &["listen", "loopback"];

#[derive(Debug, Default)]
pub(in crate::config) struct DraftGateway {
    pub listen: Option<At<Vec<SocketAddr>>>,
    pub loopback: Option<At<Loopback>>,
}

impl Reader<'_> {
    pub(super) fn gateway(&mut self, table: &DeTable) -> DraftGateway {
        self.look_for_unknown("gateway", table, KEYS);
        DraftGateway {
            listen: table.get("listen").and_then(|value| self.listen(value)),
            loopback: table
                .get("loopback")
                .and_then(|value| self.parsed("gateway.loopback", value, "\"open\" or \"token\"")),
        }
    }

    fn listen(&mut self, value: Value) -> Option<At<Vec<SocketAddr>>> {
        let key = "gateway.listen";
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list like [\"127.0.0.1:7373\"]");
            return None;
        };
        if !self.bounded(key, value) {
            return None;
        }
        let faults_before = self.faults.len();
        let mut listen: Vec<SocketAddr> = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let key = format!("{key}[{index}]");
            match self.parsed::<ListenAddress>(&key, item, "a string like \"127.0.0.1:7373\"") {
                None => {}
                // Port 0 is a fresh port each time.
                Some(address) if address.value.0.port() != 0 && listen.contains(&address.value.0) => {
                    self.fault(&key, item.span(), "is the same address again; expected each once");
                }
                Some(address) => listen.push(address.value.0),
            }
        }
        (self.faults.len() == faults_before).then(|| self.at(listen, &value.span()))
    }
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
        if !address.ip().is_loopback() {
            return Err(format!(
                "{text:?} is reachable from the network, and there are no publish tokens yet to keep strangers out; \
                 expected 127.0.0.1 or [::1]"
            ));
        }
        Ok(Self(address))
    }
}
