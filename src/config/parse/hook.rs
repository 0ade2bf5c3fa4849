//! The sections `[[hook]]`.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;

use super::reader::{At, Reader, Value, sorted};
use crate::alert::{HookName, RouteName, SessionName};
use crate::config::{Secret, Url};
use crate::hook::EventKind;

const KEYS_HOOK: &[&str] = &[
    "name",
    "url",
    "events",
    "sessions",
    "routes",
    "timeout",
    "ca_file",
    "token",
    "token_file",
    "secret",
    "secret_file",
];

/// Each is a task and a connection.
const HOOKS_MAX: usize = 16;

/// The longest that one request may hold up the next.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(in crate::config) struct DraftHook {
    /// `None`: by its address.
    pub name: Option<At<HookName>>,
    pub url: At<Url>,
    pub events: Option<At<Vec<EventKind>>>,
    pub sessions: Option<At<Vec<SessionName>>>,
    pub routes: Option<At<Vec<RouteName>>>,
    pub timeout: Option<At<Duration>>,
    pub ca: Option<At<PathBuf>>,
    pub token: Option<At<Secret>>,
    pub secret: Option<At<Secret>>,
}

impl Reader<'_> {
    /// All of them. `sessions` and `routes` are the names of all that there are, as they were written.
    pub(super) fn hooks(
        &mut self,
        value: Value,
        sessions: &HashSet<String>,
        routes: &HashSet<String>,
    ) -> Vec<DraftHook> {
        let tables = self.tables("hook", value);
        if tables.len() > HOOKS_MAX {
            let text = format!("has {} sections; expected at most {HOOKS_MAX}", tables.len());
            self.fault("hook", value.span(), text);
            return Vec::new();
        }
        let mut taken = HashSet::new();
        let mut hooks = Vec::new();
        for (index, (span, table)) in tables.into_iter().enumerate() {
            let key = format!("hook[{index}]");
            hooks.extend(self.hook(&key, span, table, (sessions, routes), &mut taken));
        }
        hooks
    }

    fn hook(
        &mut self,
        key: &str,
        span: Range<usize>,
        table: &DeTable,
        (sessions, routes): (&HashSet<String>, &HashSet<String>),
        taken: &mut HashSet<String>,
    ) -> Option<DraftHook> {
        self.look_for_unknown(key, table, KEYS_HOOK);
        let expected = "a URL like \"http://127.0.0.1:1880/whatsapp\"";
        let url = self.wanted::<Url>(key, span.clone(), table, "url", expected);
        let name = match (table.get("name"), &url) {
            (Some(_), _) => Some(Some(self.name(key, span, table, taken)?)),
            (None, Some(url)) => {
                let name = HookName::of_authority(&url.value.authority());
                let is_new = taken.insert(name.to_string());
                if !is_new {
                    let text = format!(
                        "is missing, and {:?}, which its address makes, is another hook's; expected a name of its own",
                        name.as_str()
                    );
                    self.fault(&format!("{key}.name"), span, text);
                }
                is_new.then_some(None)
            }
            (None, None) => None,
        };
        let events = self.hook_list(key, table, "events", &mut |reader, key, item| {
            let expected = "alert, message, session, or the name of an event";
            Some(reader.parsed::<EventKind>(key, item, expected)?.value)
        });
        let sessions = self.hook_list(key, table, "sessions", &mut |reader, key, item| {
            reader.known(key, item, sessions, "session")
        });
        let routes = self.hook_list(key, table, "routes", &mut |reader, key, item| {
            reader.known(key, item, routes, "route")
        });
        let timeout = match table.get("timeout") {
            Some(value) => Some(self.timeout(&format!("{key}.timeout"), value)?),
            None => None,
        };
        let ca = self.ca(key, table);
        let token = self.secret(key, table, "token");
        let secret = self.secret(key, table, "secret");
        Some(DraftHook {
            name: name?,
            url: url?,
            events,
            sessions,
            routes,
            timeout,
            ca,
            token,
            secret,
        })
    }

    fn timeout(&mut self, key: &str, value: Value) -> Option<At<Duration>> {
        let timeout = self.span(key, value)?;
        if timeout.value > TIMEOUT_MAX {
            self.fault(key, value.span(), "is too long; expected a second to five minutes");
            return None;
        }
        Some(timeout)
    }

    /// A list with something in it, each once.
    fn hook_list<T: PartialEq>(
        &mut self,
        key: &str,
        table: &DeTable,
        name: &str,
        read: &mut dyn FnMut(&mut Self, &str, Value) -> Option<T>,
    ) -> Option<At<Vec<T>>> {
        let value = table.get(name)?;
        let key = format!("{key}.{name}");
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(&key, value, "a list");
            return None;
        };
        if array.is_empty() {
            self.fault(
                &key,
                value.span(),
                "is empty; expected at least one, or the key left out",
            );
            return None;
        }
        if !self.bounded(&key, value) {
            return None;
        }
        let mut items = Vec::new();
        for (index, item) in array.iter().enumerate() {
            if let Some(found) = read(self, &format!("{key}[{index}]"), item)
                && !items.contains(&found)
            {
                items.push(found);
            }
        }
        Some(self.at(items, &value.span()))
    }

    /// The name of something that the file has.
    fn known<T: FromStr>(&mut self, key: &str, item: Value, known: &HashSet<String>, what: &str) -> Option<T> {
        let Some(text) = item.get_ref().as_str() else {
            self.wrong_type(key, item, &format!("the name of a {what}"));
            return None;
        };
        if !known.contains(text) {
            let text = format!("no {what} is named {text:?}; expected {}", sorted(known));
            self.fault(key, item.span(), text);
            return None;
        }
        // One that is no name is a fault where it stands as the name.
        text.parse().ok()
    }
}
