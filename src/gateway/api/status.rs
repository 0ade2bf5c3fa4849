//! How the relay is: its sessions, its outbox, what is wrong.

use serde::{Deserialize, Serialize};

use super::{Deadline, HeldBackStatus, HookStatus, LoginView, MqttStatus};

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The process's number.
    pub pid: u32,
    /// When this run began, in Unix milliseconds.
    pub started_at: u64,
    /// How long ago that was, in milliseconds, whatever the wall clock has done since.
    pub uptime_ms: u64,
    /// The board that is in force.
    pub board: BoardStatus,
    /// The state directory.
    pub state: String,
    /// The TCP addresses that are served.
    pub listen: Vec<String>,
    /// The addresses at which mails are taken by SMTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smtp: Vec<String>,
    /// Who may come in without a token.
    #[serde(default)]
    pub access: AccessStatus,
    /// The client of the MQTT broker, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<MqttStatus>,
    /// Every configured session.
    pub sessions: Vec<SessionStatus>,
    /// How many deliveries are how far.
    pub outbox: OutboxCounts,
    /// What the rules of routes hold back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<HeldBackStatus>,
    /// The hooks of the configuration; nobody sees them who may not read all routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookStatus>,
    /// False while anything in `health` is of severity `error`.
    pub healthy: bool,
    /// What is wrong or worth knowing.
    pub health: Vec<HealthEntry>,
    /// The login that whoever asks came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginView>,
    /// What whoever asks may, of `publish`, `read`, `admin` and `control`, on some route at least.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<String>,
    /// A build with feature `lab`: certificate chains are not checked, only loopback endpoints are accepted.
    pub lab: bool,
}

/// Who may come in over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AccessStatus {
    /// `open`: whatever runs on this box may publish and read without a token; or `token`.
    pub loopback: String,
    /// How many tokens there are, those that have ended among them.
    pub tokens: usize,
    /// Networks that may publish without a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
}

impl Status {
    /// Where it listens, for people.
    pub fn places(&self) -> String {
        let mails = self.smtp.iter().map(|address| format!("smtp://{address}"));
        let all: Vec<String> = self.listen.iter().cloned().chain(mails).collect();
        all.join(", ")
    }
}

impl AccessStatus {
    /// Who may come in without a token, for people.
    pub fn words(&self) -> String {
        let loopback = match self.loopback.as_str() {
            "token" => None,
            _ => Some("any program on this box may publish and read without a token".to_owned()),
        };
        let trusted = match self.trusted.as_slice() {
            [] => None,
            networks => Some(format!("anybody on {} may publish without one", networks.join(", "))),
        };
        let open: Vec<String> = [loopback, trusted].into_iter().flatten().collect();
        match open.as_slice() {
            [] => "nobody gets in without a token".into(),
            some => some.join("; "),
        }
    }
}

/// The profile of the host that the relay runs by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BoardStatus {
    /// As `tautline boards` lists it.
    pub name: String,
    /// Why this board is in force: named in the config, or what was detected.
    pub why: String,
    /// Longest time a silent death can go unnoticed on this board's schedule, in milliseconds.
    pub detection_worst_ms: u64,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// No credentials: pair with `tautline pair`.
    Unpaired,
    /// Showing QR codes or waiting for a code to be typed.
    Pairing,
    /// Dialling, logging in, or taking in what had waited at the server.
    Connecting,
    /// Logged in.
    Online,
    /// Between two attempts.
    Waiting,
    /// Stopped until a person acts; `SessionStatus::detail` says what to do.
    Stopped,
}

/// One session, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SessionStatus {
    /// As it is configured.
    pub name: String,
    /// Where it is.
    pub state: SessionState,
    /// One line for people: what is going on, or what to do.
    pub detail: String,
    /// The linked number, all but its last two digits hidden.
    pub account: Option<String>,
    /// Since when it is online, in Unix milliseconds; absent while it is not.
    pub online_since: Option<u64>,
    /// Lines opened since the relay started.
    pub lines: u64,
    /// The layers that keep the line alive; empty without a line.
    pub layers: Vec<LayerStatus>,
    /// What it does next by itself; absent where it waits for something from outside.
    pub next: Option<Deadline>,
    /// Why the line before this one ended; absent before the first end.
    pub last_end: Option<LineEnd>,
    /// Messages received and put on disk since the state was made.
    pub inbound_recorded: u64,
}

/// One keepalive layer and how old its last proof of life is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LayerStatus {
    /// `tcp`, `websocket` or `application`.
    pub layer: String,
    /// How old its last proof of life is, in milliseconds; absent where there was none on this line.
    pub proof_age_ms: Option<u64>,
    /// What is in force, in words: `keepalive 15 s + 3 × 5 s, user timeout 30 s`.
    pub detail: String,
}

/// Why the last line ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LineEnd {
    /// When, in Unix milliseconds.
    pub at: u64,
    /// The cause, for people.
    pub cause: String,
    /// `server`, `path` or `us`.
    pub origin: String,
    /// What follows from it, for people.
    pub verdict: String,
    /// The server's words, or the socket's error; may be empty.
    pub detail: String,
}

/// Deliveries by step; one alert to three recipients counts three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OutboxCounts {
    /// On disk, and not acknowledged by WhatsApp's server yet.
    pub accepted: u64,
    /// Acknowledged by WhatsApp's server.
    pub sent: u64,
    /// On a device of the recipient.
    pub delivered: u64,
    /// Read, where the recipient lets others know.
    pub read: u64,
    /// Refused for good.
    pub failed: u64,
    /// Given up by hand before it was sent.
    #[serde(default)]
    pub dropped: u64,
    /// Not sent within its time to live.
    #[serde(default)]
    pub expired: u64,
    /// Handed to a fallback, because WhatsApp had not taken them.
    #[serde(default)]
    pub fallback: u64,
    /// Not sent, because a later alert about the same thing says more.
    #[serde(default)]
    pub superseded: u64,
    /// When the alert was accepted that has waited longest to be sent, in Unix milliseconds; absent where none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_at: Option<u64>,
}

/// One finding of health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HealthEntry {
    /// Stable, kebab-case; `docs/operations.md` has a paragraph for each.
    pub code: String,
    /// `error` or `warning`.
    pub severity: String,
    /// What is found, with the names and numbers of this case.
    pub text: String,
    /// What the code means in general; empty from a relay that does not say it yet.
    #[serde(default)]
    pub title: String,
    /// What a person can do; empty as above.
    #[serde(default)]
    pub advice: String,
}

/// `GET /v1/health`: ntfy's `{"healthy":true}`; when not, with what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Health {
    /// What the HTTP status says too: 200 or 503.
    pub healthy: bool,
    /// The findings of severity `error`; with `strict`, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<HealthEntry>,
}
