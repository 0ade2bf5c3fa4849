//! The section `[mqtt]`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;

use super::reader::{At, Reader, Value};
use crate::config::{Broker, NodeName, Secret, SubscribeForm, SubscribePlan, TlsFiles};
use crate::mqtt::{Version, discovery, topic};

const KEYS_MQTT: &[&str] = &[
    "broker",
    "user",
    "password",
    "password_file",
    "ca_file",
    "cert_file",
    "key_file",
    "client_id",
    "node",
    "qos",
    "version",
    "keepalive",
    "session_expiry",
    "discovery",
    "subscribe",
];

const KEYS_SUBSCRIBE: &[&str] = &[
    "topic", "route", "dialect", "when", "key", "title", "message", "priority", "tags", "click", "sequence",
];

/// Keys of a subscription that are templates, and the headers of ntfy's that they stand for.
const TEMPLATES: [(&str, &str); 6] = [
    ("title", "x-title"),
    ("message", "x-message"),
    ("priority", "x-priority"),
    ("tags", "x-tags"),
    ("click", "x-click"),
    ("sequence", "x-sequence-id"),
];

/// What is read where nothing is said.
const DIALECT_DEFAULT: &str = "json";

/// What a broker answers within, and what no router forgets.
const KEEP_ALIVE: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);

/// MQTT allows more; brokers of 3.1.1 need not take more than 23.
const CLIENT_ID_BYTES_MAX: usize = 128;

#[derive(Debug)]
pub(in crate::config) struct DraftMqtt {
    pub broker: At<Broker>,
    pub user: Option<At<String>>,
    pub password: Option<At<Secret>>,
    pub ca: Option<At<PathBuf>>,
    pub identity: Option<At<TlsFiles>>,
    pub client_id: Option<At<ClientId>>,
    pub node: Option<At<NodeName>>,
    pub qos: Option<At<u8>>,
    pub version: Option<At<Version>>,
    pub keep_alive: Option<At<Duration>>,
    pub session_expiry: Option<At<Duration>>,
    /// `None` inside is `false`.
    pub discovery: Option<At<Option<String>>>,
    pub subscribe: Vec<At<SubscribePlan>>,
}

/// What a broker knows a client by.
#[derive(Debug)]
pub(in crate::config) struct ClientId(pub String);

impl FromStr for ClientId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.is_empty() || text.len() > CLIENT_ID_BYTES_MAX || text.chars().any(char::is_control) {
            true => Err(format!("expected 1 to {CLIENT_ID_BYTES_MAX} bytes on one line")),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl Reader<'_> {
    pub(super) fn mqtt(&mut self, value: Value, routes: &HashSet<String>) -> Option<DraftMqtt> {
        let key = "mqtt";
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a section [mqtt]");
            return None;
        };
        self.look_for_unknown(key, table, KEYS_MQTT);
        let expected = "a broker like \"mqtts://homeassistant.local:8883\"";
        let broker = self.wanted(key, value.span(), table, "broker", expected);
        let user = self.optional(table, "user", "a name");
        let password = self.secret(key, table, "password");
        if let (Some(password), None) = (&password, table.get("user")) {
            let At { line, .. } = password;
            let text = format!("is missing; the password on line {line} is nobody's without it");
            self.fault("mqtt.user", value.span(), text);
        }
        let keep_alive = table.get("keepalive").and_then(|value| {
            let span = self.span_in("mqtt.keepalive", value, KEEP_ALIVE)?;
            Some(self.at(span, &value.span()))
        });
        let mut subscribe = Vec::new();
        if let Some(value) = table.get("subscribe") {
            for (index, (span, table)) in self.tables("mqtt.subscribe", value).into_iter().enumerate() {
                let key = format!("mqtt.subscribe[{index}]");
                let plan = self.subscription(&key, span.clone(), table, routes);
                subscribe.extend(plan.map(|plan| self.at(plan, &span)));
            }
        }
        Some(DraftMqtt {
            subscribe,
            user,
            password,
            ca: self.ca(key, table),
            identity: self.identity(table),
            client_id: self.optional(table, "client_id", "what the broker is to know this client by"),
            node: self.optional(table, "node", "a name of letters, digits, '-' or '_'"),
            qos: table.get("qos").and_then(|value| self.qos(value)),
            version: self.optional(table, "version", "\"5\" or \"3.1.1\""),
            keep_alive,
            session_expiry: table
                .get("session_expiry")
                .and_then(|value| self.span("mqtt.session_expiry", value)),
            discovery: table.get("discovery").and_then(|value| self.discovery(value)),
            broker: broker?,
        })
    }

    fn subscription(
        &mut self,
        key: &str,
        span: std::ops::Range<usize>,
        table: &DeTable,
        routes: &HashSet<String>,
    ) -> Option<SubscribePlan> {
        self.look_for_unknown(key, table, KEYS_SUBSCRIBE);
        let mut texts = [None; 4];
        for (text, name) in texts.iter_mut().zip(["topic", "dialect", "when", "key"]) {
            *text = self.text(key, table, name);
        }
        let [filter, dialect, when, named] = texts;
        let route = match table.get("route") {
            Some(value) => self.mail_route(&format!("{key}.route"), value, routes),
            None => {
                self.fault(
                    &format!("{key}.route"),
                    span.clone(),
                    "is missing; expected the name of a route",
                );
                None
            }
        };
        let filter = filter.filter(|filter| topic::is_filter(filter));
        if filter.is_none() {
            let text = "is missing, or no topic; expected one like \"zigbee2mqtt/+/availability\"";
            self.fault(&format!("{key}.topic"), span.clone(), text);
        }
        let mut fields = Vec::new();
        for (name, header) in TEMPLATES {
            fields.extend(self.text(key, table, name).map(|text| (header, text.to_owned())));
        }
        if let (Some(_), false) = (dialect, fields.is_empty()) {
            let text = "stands beside templates; expected one of the two";
            self.fault(&format!("{key}.dialect"), span, text);
            return None;
        }
        let form = match fields.is_empty() {
            true => SubscribeForm::Dialect(dialect.unwrap_or(DIALECT_DEFAULT).to_owned()),
            false => SubscribeForm::Template(fields),
        };
        Some(SubscribePlan {
            filter: filter?.to_owned(),
            route: route?.value,
            when: when.map(str::to_owned),
            key: named.map(str::to_owned),
            form,
        })
    }

    fn text<'t>(&mut self, key: &str, table: &'t DeTable, name: &str) -> Option<&'t str> {
        let value = table.get(name)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(&format!("{key}.{name}"), value, "a string");
        }
        text
    }

    fn optional<T>(&mut self, table: &DeTable, name: &str, expected: &str) -> Option<At<T>>
    where
        T: FromStr,
        T::Err: ToString,
    {
        let value = table.get(name)?;
        self.parsed(&format!("mqtt.{name}"), value, expected)
    }

    fn discovery(&mut self, value: Value) -> Option<At<Option<String>>> {
        let key = "mqtt.discovery";
        let expected = "true, false, or the prefix that Home Assistant was given, as \"homeassistant\"";
        if let Some(is_on) = value.get_ref().as_bool() {
            return Some(self.at(is_on.then(|| discovery::PREFIX.to_owned()), &value.span()));
        }
        match value.get_ref().as_str() {
            Some(prefix) if topic::is_name(prefix) => Some(self.at(Some(prefix.to_owned()), &value.span())),
            Some(_) => {
                self.fault(key, value.span(), format!("is no topic; expected {expected}"));
                None
            }
            None => {
                self.wrong_type(key, value, expected);
                None
            }
        }
    }

    fn qos(&mut self, value: Value) -> Option<At<u8>> {
        let given = value.get_ref().as_integer().map(|given| given.as_str());
        match given {
            Some("0") => Some(self.at(0, &value.span())),
            Some("1") => Some(self.at(1, &value.span())),
            Some("2") => {
                let text = "is 2; expected 1: what comes twice is one alert by its key, which is what 2 is for";
                self.fault("mqtt.qos", value.span(), text);
                None
            }
            Some(_) | None => {
                self.wrong_type("mqtt.qos", value, "0 or 1");
                None
            }
        }
    }

    /// The client's own certificate and its key.
    fn identity(&mut self, table: &DeTable) -> Option<At<TlsFiles>> {
        let [cert, key] = ["cert_file", "key_file"].map(|name| {
            let value = table.get(name)?;
            let key = format!("mqtt.{name}");
            self.pem_file(&key, value)
        });
        match (cert, key) {
            (Some(cert), Some(key)) => {
                let files = TlsFiles {
                    cert: cert.value,
                    key: key.value,
                };
                Some(At {
                    value: files,
                    line: cert.line,
                })
            }
            (None, None) => None,
            (cert, _) => {
                let (there, missing) = match cert {
                    Some(_) => ("cert_file", "key_file"),
                    None => ("key_file", "cert_file"),
                };
                if let (Some(value), None) = (table.get(there), table.get(missing)) {
                    let text = format!("is missing; expected it beside {there}");
                    self.fault(&format!("mqtt.{missing}"), value.span(), text);
                }
                None
            }
        }
    }
}
