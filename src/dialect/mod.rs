//! Dialects: the forms in which senders speak, each a pure function from a [`Request`] to alerts.
//!
//! A dialect picks the fields out of what it was given and hands them to a [`Draft`], which does to all of them what
//! every alert needs: no unseen characters, nothing too long, a warning for what was left out. So the rules about text
//! stand once (in [`alert`](crate::alert)), and a new dialect cannot forget them.
//!
//! A fault beside the text never costs the text: the alert goes out with what could be kept, and the sender is warned.
//! A [`Rejection`] is for what cannot be an alert at all. Deliberately absent: HTTP. Which status a rejection becomes,
//! and at which address a dialect is spoken, is the gateway's.
//!
//! To add one: its file beside this one, its line in [`DIALECTS`], and a folder `tests/fixtures/dialects/NAME` with
//! captured requests and the alerts that they must give. A test holds the three together, and another asks for
//! `docs/openapi.json`, which names all dialects, to be written anew.
#![warn(missing_docs)]

pub mod alertmanager;
pub mod apprise;
pub mod cloudevents;
pub mod discord;
mod draft;
mod file;
mod form;
pub mod fuzzing;
pub mod github;
pub mod gotify;
pub mod grafana;
pub mod json;
pub mod mail;
mod markdown;
pub mod ntfy;
pub mod ntfy_json;
pub mod pushover;
pub mod query;
mod request;
pub mod slack;
pub mod template;
pub mod uptime_kuma;
pub mod waha;

pub use draft::{Draft, Parsed};
pub use file::{File, Source};
pub use request::{Body, Fields, Rejection, RejectionKind, Request};

/// One form of speaking.
pub struct Dialect {
    /// In addresses; the folder of its fixtures has this name too.
    pub name: &'static str,
    /// Who speaks it, in a few words.
    pub summary: &'static str,
    /// Reads the alerts out of a request.
    pub parse: fn(&Request<'_>) -> Result<Parsed, Rejection>,
    /// Finds the sender's token, where its place is in the body.
    pub token: Option<fn(&Request<'_>) -> Option<String>>,
    /// Its senders throw an alert away after a 4xx, and come again after a 5xx: one who asks too often is told 503.
    pub gives_up_on_4xx: bool,
}

impl Dialect {
    /// The dialect of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        DIALECTS.iter().find(|dialect| dialect.name == name)
    }
}

/// Every dialect there is. In the name of a file `-` is `_`.
pub const DIALECTS: &[Dialect] = &[
    Dialect {
        name: "ntfy",
        summary: "ntfy's plain form: the body is the message",
        parse: ntfy::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "ntfy-json",
        summary: "ntfy's JSON, with the topic in it",
        parse: ntfy_json::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "gotify",
        summary: "Gotify's messages",
        parse: gotify::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "pushover",
        summary: "Pushover's messages",
        parse: pushover::parse,
        token: Some(pushover::token),
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "apprise",
        summary: "Apprise's json://, form:// and API",
        parse: apprise::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "alertmanager",
        summary: "Alertmanager's webhook, version 4",
        parse: alertmanager::parse,
        token: None,
        gives_up_on_4xx: true,
    },
    Dialect {
        name: "grafana",
        summary: "Grafana's webhook contact point",
        parse: grafana::parse,
        token: None,
        gives_up_on_4xx: true,
    },
    Dialect {
        name: "uptime-kuma",
        summary: "Uptime Kuma's webhook",
        parse: uptime_kuma::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "slack",
        summary: "Slack's incoming webhook",
        parse: slack::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "discord",
        summary: "Discord's webhook",
        parse: discord::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "github",
        summary: "webhooks of GitHub, Gitea, Forgejo and Gogs",
        parse: github::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "cloudevents",
        summary: "CloudEvents 1.0",
        parse: cloudevents::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "waha",
        summary: "WAHA's sendText, sendImage and sendFile",
        parse: waha::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "mail",
        summary: "a mail, as programs hand it to sendmail",
        parse: mail::parse,
        token: None,
        gives_up_on_4xx: false,
    },
    Dialect {
        name: "json",
        summary: "any JSON, form or text, by the usual names",
        parse: json::parse,
        token: None,
        gives_up_on_4xx: false,
    },
];
