//! How the client of the MQTT broker is.

use serde::{Deserialize, Serialize};

use super::Deadline;

/// Where the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum MqttState {
    /// There is an attempt at a connection.
    Connecting,
    /// The broker has taken the connection.
    Online,
    /// Between two attempts.
    Waiting,
}

/// The client of the broker that `[mqtt]` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MqttStatus {
    /// The broker's address.
    pub broker: String,
    /// What this box is called in its topics.
    pub node: String,
    /// Where it is.
    pub state: MqttState,
    /// One line for people: what is going on.
    pub detail: String,
    /// What is spoken, `5` or `3.1.1`; absent without a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The broker had kept what came while this client was away.
    #[serde(default)]
    pub session_present: bool,
    /// Since when there is a connection, in Unix milliseconds; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online_since: Option<u64>,
    /// What it does next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Deadline>,
    /// Topics that the broker does not deliver, each with its words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// Connections since the relay started.
    pub connections: u64,
    /// Messages that are not on disk yet.
    pub open: u64,
    /// Messages since the start that became alerts.
    pub accepted: u64,
    /// Messages since the start that were the same as an alert that there was.
    pub duplicates: u64,
    /// Messages since the start that could not become alerts.
    pub rejected: u64,
    /// Messages since the start that the broker had kept (retained), and that are no news.
    pub retained_ignored: u64,
}
