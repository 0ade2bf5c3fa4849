//! What is asked over the network: fallbacks and hooks, their addresses and secrets.

use std::time::Duration;

use serde_json::json;

use super::{Builder, split};
use crate::alert::{FallbackName, HookName, RouteName, SessionName};
use crate::config::parse::{At, DraftFallback, DraftHook, DraftTarget, Kind, MailAddress};
use crate::config::shown::written;
use crate::config::{FallbackKind, FallbackPlan, HookPlan, MailTarget, Proxy, RouteFallback, Secret, Url, WebTarget};
use crate::hook::{EventKind, Of, Wanted};

/// As long as a fallback may take.
const HOOK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const HOOK_EVENTS_DEFAULT: [EventKind; 2] = [EventKind::All(Of::Message), EventKind::All(Of::Alert)];

impl Builder<'_> {
    pub(super) fn fallback(&mut self, index: usize, draft: DraftFallback) -> FallbackPlan {
        let key = |name: &str| format!("fallback[{index}].{name}");
        let source = self.source(Some(draft.name.line));
        self.note(key("name"), json!(draft.name.value.as_str()), source);
        let source = self.source(Some(draft.kind.line));
        self.note(key("kind"), json!(draft.kind.value.name()), source);
        let (ca, line) = split(draft.ca);
        if let Some(path) = &ca {
            let source = self.source(line);
            self.note(key("ca_file"), json!(path.display().to_string()), source);
        }
        let kind = match draft.target {
            DraftTarget::Web { url, token, secret } => {
                let source = self.source(Some(url.line));
                self.note(key("url"), json!(url.value.to_string()), source);
                let target = WebTarget {
                    proxy: self.proxy_for(&url.value),
                    token: self.secret(key("token"), token),
                    url: url.value,
                };
                let secret = self.secret(key("secret"), secret);
                match draft.kind.value {
                    Kind::Webhook => FallbackKind::Webhook { target, secret },
                    Kind::Ntfy | Kind::Smtp => FallbackKind::Ntfy(target),
                }
            }
            DraftTarget::Mail {
                server,
                user,
                password,
                from,
                to,
            } => {
                let source = self.source(Some(server.line));
                self.note(key("url"), json!(server.value.to_string()), source);
                let (user, line) = split(user);
                if let Some(user) = &user {
                    let source = self.source(line);
                    self.note(key("user"), json!(user), source);
                }
                let password = self.secret(key("password"), password);
                let source = self.source(Some(from.line));
                self.note(key("from"), json!(from.value.0), source);
                let (line, to): (_, Vec<String>) =
                    (to.line, to.value.into_iter().map(|MailAddress(text)| text).collect());
                let source = self.source(Some(line));
                self.note(key("to"), json!(to), source);
                FallbackKind::Smtp(MailTarget {
                    server: server.value,
                    login: user.zip(password),
                    from: from.value.0,
                    to,
                })
            }
        };
        FallbackPlan {
            name: draft.name.value,
            kind,
            ca,
        }
    }

    pub(super) fn hook(&mut self, index: usize, draft: DraftHook) -> HookPlan {
        let key = |name: &str| format!("hook[{index}].{name}");
        let (name, line) = split(draft.name);
        let name = name.unwrap_or_else(|| HookName::of_authority(&draft.url.value.authority()));
        let source = self.source(line);
        self.note(key("name"), json!(name.as_str()), source);
        let source = self.source(Some(draft.url.line));
        self.note(key("url"), json!(draft.url.value.to_string()), source);
        let (kinds, line) = split(draft.events);
        let kinds = kinds.unwrap_or_else(|| HOOK_EVENTS_DEFAULT.to_vec());
        let shown: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        let source = self.source(line);
        self.note(key("events"), json!(shown), source);
        let (sessions, line) = split(draft.sessions);
        let shown = sessions
            .as_ref()
            .map(|it| it.iter().map(SessionName::as_str).collect::<Vec<_>>());
        let source = self.source(line);
        self.note(key("sessions"), json!(shown), source);
        let (routes, line) = split(draft.routes);
        let shown = routes
            .as_ref()
            .map(|it| it.iter().map(RouteName::as_str).collect::<Vec<_>>());
        let source = self.source(line);
        self.note(key("routes"), json!(shown), source);
        let (timeout, line) = split(draft.timeout);
        let timeout = timeout.unwrap_or(HOOK_TIMEOUT_DEFAULT);
        let source = self.source(line);
        self.note(key("timeout"), json!(written(timeout)), source);
        let (ca, line) = split(draft.ca);
        if let Some(path) = &ca {
            let source = self.source(line);
            self.note(key("ca_file"), json!(path.display().to_string()), source);
        }
        HookPlan {
            name,
            target: WebTarget {
                proxy: self.proxy_for(&draft.url.value),
                token: self.secret(key("token"), draft.token),
                url: draft.url.value,
            },
            secret: self.secret(key("secret"), draft.secret),
            ca,
            timeout,
            wanted: Wanted {
                kinds,
                sessions: sessions.unwrap_or_default(),
                routes: routes.unwrap_or_default(),
            },
        }
    }

    pub(super) fn secret(&mut self, key: String, draft: Option<At<Secret>>) -> Option<Secret> {
        let At { value, line } = draft?;
        let source = self.source(Some(line));
        match &value {
            Secret::Given(_) => self.note(key, json!("***"), source),
            Secret::File(path) => self.note(format!("{key}_file"), json!(path.display().to_string()), source),
        }
        Some(value)
    }

    pub(super) fn route_fallback(&mut self, key: &str, draft: At<RouteFallback>) -> RouteFallback {
        let At { value, line } = draft;
        let to: Vec<_> = value.to.iter().map(FallbackName::as_str).collect();
        let shown = json!({"after": written(value.after), "to": to, "both": value.both});
        let source = self.source(Some(line));
        self.note(format!("{key}.fallback"), shown, source);
        value
    }

    /// The proxy that the environment names for an address; none where it goes unencrypted, as that stays in the house.
    pub(super) fn proxy_for(&mut self, url: &Url) -> Option<Proxy> {
        let endpoint = url.endpoint();
        let found = endpoint.tls.then(|| self.proxy_of_environment(endpoint)).flatten();
        found.map(|(_, proxy)| proxy)
    }
}
