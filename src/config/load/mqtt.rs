//! The section `[mqtt]` of the plan.

use std::time::Duration;

use serde_json::json;

use super::{Builder, split};
use crate::config::parse::{ClientId, DraftMqtt};
use crate::config::shown::written;
use crate::config::{MqttPlan, SubscribeForm};
use crate::mqtt::discovery::PREFIX;

/// Half of what routers forget first.
const KEEP_ALIVE_DEFAULT: Duration = Duration::from_secs(30);

/// A night, and the morning after it. What is older is seldom worth a message.
const SESSION_EXPIRY_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

const QOS_DEFAULT: u8 = 1;

impl Builder<'_> {
    pub(super) fn mqtt(&mut self, draft: DraftMqtt) -> MqttPlan {
        let key = |name: &str| format!("mqtt.{name}");
        let source = self.source(Some(draft.broker.line));
        self.note(key("broker"), json!(draft.broker.value.to_string()), source);
        let (user, line) = split(draft.user);
        let source = self.source(line);
        self.note(key("user"), json!(user), source);
        let password = self.secret(key("password"), draft.password);
        let (ca, line) = split(draft.ca);
        if let Some(path) = &ca {
            let source = self.source(line);
            self.note(key("ca_file"), json!(path.display().to_string()), source);
        }
        let (identity, line) = split(draft.identity);
        if let Some(files) = &identity {
            for (name, path) in [("cert_file", &files.cert), ("key_file", &files.key)] {
                let source = self.source(line);
                self.note(key(name), json!(path.display().to_string()), source);
            }
        }
        let (client_id, line) = split(draft.client_id);
        let client_id = client_id.map(|ClientId(text)| text);
        let source = self.source(line);
        self.note(key("client_id"), json!(client_id), source);
        let (node, line) = split(draft.node);
        let source = self.source(line);
        self.note(key("node"), json!(node.as_ref().map(|node| node.as_str())), source);
        let (qos, line) = split(draft.qos);
        let qos = qos.unwrap_or(QOS_DEFAULT);
        let source = self.source(line);
        self.note(key("qos"), json!(qos), source);
        let (version, line) = split(draft.version);
        let source = self.source(line);
        self.note(
            key("version"),
            json!(version.map(|version| version.to_string())),
            source,
        );
        let (keep_alive, line) = split(draft.keep_alive);
        let keep_alive = keep_alive.unwrap_or(KEEP_ALIVE_DEFAULT);
        let source = self.source(line);
        self.note(key("keepalive"), json!(written(keep_alive)), source);
        let (session_expiry, line) = split(draft.session_expiry);
        let session_expiry = session_expiry.unwrap_or(SESSION_EXPIRY_DEFAULT);
        let source = self.source(line);
        self.note(key("session_expiry"), json!(written(session_expiry)), source);
        let (discovery, line) = split(draft.discovery);
        let discovery = discovery.unwrap_or_else(|| Some(PREFIX.to_owned()));
        let source = self.source(line);
        let shown = discovery.as_ref().map_or(json!(false), |prefix| json!(prefix));
        self.note(key("discovery"), shown, source);
        let mut subscribe = Vec::new();
        for (index, draft) in draft.subscribe.into_iter().enumerate() {
            let source = self.source(Some(draft.line));
            let plan = draft.value;
            let mut shown = vec![
                ("topic", json!(plan.filter)),
                ("route", json!(plan.route.as_str())),
                ("when", json!(plan.when)),
                ("key", json!(plan.key)),
            ];
            match &plan.form {
                SubscribeForm::Dialect(name) => shown.push(("dialect", json!(name))),
                SubscribeForm::Template(fields) => shown.extend(fields.iter().map(|(header, text)| {
                    let name = header.strip_prefix("x-").unwrap_or(header);
                    (name.strip_suffix("-id").unwrap_or(name), json!(text))
                })),
            }
            for (name, value) in shown {
                self.note(format!("mqtt.subscribe[{index}].{name}"), value, source.clone());
            }
            subscribe.push(plan);
        }
        MqttPlan {
            broker: draft.broker.value,
            user,
            password,
            ca,
            identity,
            client_id,
            node,
            qos,
            version,
            keep_alive,
            session_expiry,
            discovery,
            subscribe,
        }
    }
}
