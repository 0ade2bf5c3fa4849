//! The file's text into a draft: what stands in it, value by value, each with its line. Every fault is found in one go,
//! so that nobody has to mend a file by trying.

mod attachments;
mod fallback;
mod gateway;
mod heartbeat;
mod hook;
mod mail;
mod mqtt;
mod policy;
mod reader;
mod route;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

use super::{Endpoint, Env, Fault, Place, Proxy, RouteFallback};
use crate::alert::{FallbackName, Recipient, RouteName, SessionName};
use crate::board::Board;
use crate::outbox::{Escalate, Flapping, Group, Pace, Quiet, Repeat};
pub(super) use attachments::DraftAttachments;
pub(super) use fallback::{DraftFallback, DraftTarget, Kind, MailAddress};
pub(super) use gateway::DraftGateway;
pub(super) use heartbeat::DraftHeartbeat;
pub(super) use hook::DraftHook;
pub(super) use mqtt::{ClientId, DraftMqtt};
pub(super) use reader::At;
use reader::{FAULTS_MAX, Reader, Value, sorted};

const KEYS_TOP: &[&str] = &[
    "board",
    "timezone",
    "session",
    "route",
    "gateway",
    "mail",
    "smtp",
    "mqtt",
    "heartbeat",
    "attachments",
    "fallback",
    "health",
    "hook",
];
const KEYS_SESSION: &[&str] = &["name", "endpoint", "proxy"];
const KEYS_MAIL: &[&str] = &["route", "routes"];

#[derive(Debug, Default)]
pub(super) struct Draft {
    /// `None` inside is `auto`.
    pub board: Option<At<Option<String>>>,
    /// `None` inside is `system`.
    pub time_zone: Option<At<Option<String>>>,
    pub sessions: Vec<DraftSession>,
    pub routes: Vec<DraftRoute>,
    pub gateway: DraftGateway,
    /// Where mails are taken by SMTP.
    pub smtp_listen: Option<At<Vec<SocketAddr>>>,
    pub mail_route: Option<At<RouteName>>,
    /// Addresses and where they lead.
    pub mail_routes: Option<At<Vec<(String, RouteName)>>>,
    pub mqtt: Option<DraftMqtt>,
    pub heartbeat: Option<DraftHeartbeat>,
    pub attachments: DraftAttachments,
    pub fallbacks: Vec<DraftFallback>,
    pub health_fallback: Option<At<Vec<FallbackName>>>,
    pub hooks: Vec<DraftHook>,
    /// Whether the file has such sections at all, however broken: then no default stands in for them.
    pub has_sessions: bool,
    pub has_routes: bool,
}

#[derive(Debug)]
pub(super) struct DraftSession {
    pub name: At<SessionName>,
    pub endpoint: Option<At<Endpoint>>,
    /// `None` inside: the file says `none`, which also keeps the environment's proxy away.
    pub proxy: Option<At<Option<Proxy>>>,
}

#[derive(Debug)]
pub(super) struct DraftRoute {
    pub name: At<RouteName>,
    /// `None`: the only one.
    pub session: Option<At<SessionName>>,
    pub to: At<Vec<Recipient>>,
    pub ttl: Option<At<Duration>>,
    /// `None` inside is `off`.
    pub mark_late: Option<At<Option<Duration>>>,
    pub group: Option<At<Group>>,
    pub quiet: Option<At<Quiet>>,
    pub pace: Option<At<Pace>>,
    /// `None` inside is `off`.
    pub flapping: Option<At<Option<Flapping>>>,
    pub fallback: Option<At<RouteFallback>>,
    pub repeat: Option<At<Repeat>>,
    pub escalate: Option<At<Escalate>>,
    pub ack_from: Option<At<Vec<Recipient>>>,
    /// Folded.
    pub ack_words: Option<At<Vec<String>>>,
}

pub(super) struct Parsed {
    pub draft: Draft,
    pub faults: Vec<Fault>,
    /// Keys that mean nothing here: fatal to a check, a warning to a run.
    pub unknown: Vec<Fault>,
    /// Files that are named and cannot be read: likewise.
    pub unreadable: Vec<Fault>,
}

/// Reads a file's text. The draft is whole only if there are no faults. `env` says where systemd's credentials are.
pub(super) fn parse(path: &Path, text: &str, env: &Env) -> Parsed {
    // A byte order mark is no character of the first line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(path, text, env);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut lines_broken = HashSet::new();
    let mut header_broken = false;
    for error in errors.iter().take(FAULTS_MAX) {
        let span = error.span().unwrap_or(0..0);
        let (line, _) = reader.position(span.start);
        // One slip often makes the parser stumble several times on a line; the first says most.
        if lines_broken.insert(line) {
            header_broken |= text[reader.lines[line - 1]..]
                .trim_start_matches([' ', '\t'])
                .starts_with('[');
            reader.fault("", span, error.message());
        }
    }
    let mut draft = Draft::default();
    // After a broken section header, what follows stands in the wrong section: what could be said of it would mislead.
    if !header_broken {
        let syntax = std::mem::take(&mut reader.faults);
        draft = reader.top(table.get_ref());
        // The same goes for what is missing or odd because its own line could not be read.
        reader.faults.retain(|fault| !lines_broken.contains(&line_of(fault)));
        if !errors.is_empty() {
            reader.unknown.clear();
            reader.faults.retain(|fault| !fault.text.starts_with("is missing"));
        }
        reader.faults.extend(syntax);
    }
    reader.faults.sort_by_key(place_of);
    reader.unknown.sort_by_key(place_of);
    Parsed {
        draft,
        faults: reader.faults,
        unknown: reader.unknown,
        unreadable: reader.unreadable,
    }
}

fn place_of(fault: &Fault) -> (usize, usize) {
    match fault.place {
        Place::File { at: Some(at), .. } => at,
        _ => (0, 0),
    }
}

fn line_of(fault: &Fault) -> usize {
    place_of(fault).0
}

impl Reader<'_> {
    fn top(&mut self, table: &DeTable) -> Draft {
        self.look_for_unknown("", table, KEYS_TOP);
        let sessions = table.get("session").map(|value| self.tables("session", value));
        let routes = table.get("route").map(|value| self.tables("route", value));
        let fallbacks = table.get("fallback").map(|value| self.tables("fallback", value));
        // `session = []` is none at all; a broken one is one.
        let has = |key: &str| {
            let value = table.get(key).map(Spanned::get_ref);
            value.is_some_and(|value| value.as_array().is_none_or(|array| !array.is_empty()))
        };
        let mut draft = Draft {
            board: table.get("board").and_then(|value| self.board(value)),
            time_zone: table.get("timezone").and_then(|value| self.time_zone(value)),
            heartbeat: table.get("heartbeat").and_then(|value| self.heartbeat(value)),
            attachments: table
                .get("attachments")
                .map(|value| self.attachments(value))
                .unwrap_or_default(),
            has_sessions: has("session"),
            has_routes: has("route"),
            ..Draft::default()
        };
        // Names as written, valid or not: a route that names a session with a bad name is not a second fault.
        let mut session_names = HashSet::new();
        let mut taken = HashSet::new();
        for (index, (span, table)) in sessions.into_iter().flatten().enumerate() {
            let key = format!("session[{index}]");
            if let Some(name) = table.get("name").and_then(|value| value.get_ref().as_str()) {
                session_names.insert(name.to_owned());
            }
            draft.sessions.extend(self.session(&key, span, table, &mut taken));
        }
        if !draft.has_sessions {
            session_names.insert("default".to_owned());
        }
        let mut taken = HashSet::new();
        let mut fallback_names = HashSet::new();
        for (index, (span, table)) in fallbacks.into_iter().flatten().enumerate() {
            let key = format!("fallback[{index}]");
            if let Some(name) = table.get("name").and_then(|value| value.get_ref().as_str()) {
                fallback_names.insert(name.to_owned());
            }
            draft.fallbacks.extend(self.fallback(&key, span, table, &mut taken));
        }
        let mut taken = HashSet::new();
        let mut route_names = HashSet::new();
        if !draft.has_routes {
            route_names.insert("me".to_owned());
        }
        let mut route_tables = Vec::new();
        for (index, (span, table)) in routes.into_iter().flatten().enumerate() {
            let key = format!("route[{index}]");
            if let Some(name) = table.get("name").and_then(|value| value.get_ref().as_str()) {
                route_names.insert(name.to_owned());
            }
            draft
                .routes
                .extend(self.route(&key, span, table, (&session_names, &fallback_names), &mut taken));
            route_tables.push((key, table));
        }
        if let Some(value) = table.get("health") {
            draft.health_fallback = self.health(value, &fallback_names);
        }
        if let Some(value) = table.get("hook") {
            draft.hooks = self.hooks(value, &session_names, &route_names);
        }
        self.escalations(&route_tables, &route_names);
        if let Some(value) = table.get("gateway") {
            match value.get_ref().as_table() {
                Some(table) => draft.gateway = self.gateway(table),
                None => self.wrong_type("gateway", value, "a section [gateway]"),
            }
        }
        draft.mqtt = table.get("mqtt").and_then(|value| self.mqtt(value, &route_names));
        if let Some(value) = table.get("smtp") {
            let gateway = table.get("gateway").and_then(|value| value.get_ref().as_table());
            draft.smtp_listen = self.smtp(value, gateway);
        }
        if let Some(value) = table.get("mail") {
            self.mail(&mut draft, value, &route_names);
        }
        draft
    }

    /// The tables of `[[session]]` or `[[route]]`, in the order of the file.
    fn tables<'t, 'i>(&mut self, key: &str, value: Value<'t, 'i>) -> Vec<(Range<usize>, &'t DeTable<'i>)> {
        let expected = format!("sections [[{key}]], in double brackets");
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, &expected);
            return Vec::new();
        };
        let mut tables = Vec::new();
        if !self.bounded(key, value) {
            return tables;
        }
        for (index, item) in array.iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => tables.push((item.span(), table)),
                None => self.wrong_type(&format!("{key}[{index}]"), item, &expected),
            }
        }
        tables
    }

    fn board(&mut self, value: Value) -> Option<At<Option<String>>> {
        let Some(name) = value.get_ref().as_str() else {
            self.wrong_type("board", value, "\"auto\" or a board's name");
            return None;
        };
        if name == "auto" {
            return Some(self.at(None, &value.span()));
        }
        if Board::named(name).is_none() {
            let names: Vec<_> = Board::all().iter().map(|board| board.name).collect();
            let text = format!("{name:?} is no board; expected auto, {}", names.join(", "));
            self.fault("board", value.span(), text);
            return None;
        }
        Some(self.at(Some(name.to_owned()), &value.span()))
    }

    fn time_zone(&mut self, value: Value) -> Option<At<Option<String>>> {
        let Some(name) = value.get_ref().as_str() else {
            self.wrong_type("timezone", value, "\"system\" or a name like \"Europe/Berlin\"");
            return None;
        };
        if name == "system" {
            return Some(self.at(None, &value.span()));
        }
        if let Err(error) = jiff::tz::TimeZone::get(name) {
            let text = format!("{error}; expected \"system\", or a name like \"Europe/Berlin\" that this system knows");
            self.fault("timezone", value.span(), text);
            return None;
        }
        Some(self.at(Some(name.to_owned()), &value.span()))
    }

    fn session(
        &mut self,
        key: &str,
        span: Range<usize>,
        table: &DeTable,
        taken: &mut HashSet<String>,
    ) -> Option<DraftSession> {
        self.look_for_unknown(key, table, KEYS_SESSION);
        let name = self.name(key, span, table, taken);
        let endpoint = table
            .get("endpoint")
            .and_then(|value| self.parsed(&format!("{key}.endpoint"), value, "a URL like wss://host/path"));
        let proxy = table
            .get("proxy")
            .and_then(|value| self.proxy(&format!("{key}.proxy"), value));
        Some(DraftSession {
            name: name?,
            endpoint,
            proxy,
        })
    }

    fn proxy(&mut self, key: &str, value: Value) -> Option<At<Option<Proxy>>> {
        if value.get_ref().as_str() == Some("none") {
            return Some(self.at(None, &value.span()));
        }
        let proxy: At<Proxy> = self.parsed(key, value, "a URL like socks5://host:1080, or \"none\"")?;
        Some(At {
            value: Some(proxy.value),
            line: proxy.line,
        })
    }
}
