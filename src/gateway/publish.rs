//! `POST /<route>` and its kin: a sender's words become an [`Alert`], the relay keeps it, the sender is told.

use crate::alert::{Alert, RouteName};

use super::Accepted;
use super::answer::{Answer, Problem};
use super::api::Published;
use super::server::Shared;

/// What a sender gave, as ntfy's plain form has it. Header names are in lower case; query names as sent.
pub(super) struct Form {
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The one place where the ntfy dialect is called.
fn parse(form: &Form) -> Result<Alert, Problem> {
    fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
        pairs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
    let request = ntfy::NtfyRequest {
        headers: borrowed(&form.headers),
        query: borrowed(&form.query),
        body: &form.body,
    };
    ntfy::parse(&request).map_err(|error| Problem::with_code(error.code(), error.http(), error.to_string()))
}

/// Parses, keeps, answers exactly 200: the ntfy clients take no other 2xx for success.
pub(super) async fn publish(shared: &Shared, route: RouteName, form: &Form) -> Result<Answer, Problem> {
    let alert = parse(form)?;
    let click = alert.click.clone();
    let accepted = shared.relay.publish(route, alert).await?;
    Ok(Answer::json(200, &published(accepted, click)))
}

fn published(accepted: Accepted, click: Option<String>) -> Published {
    let Accepted {
        alert,
        duplicate,
        warning,
    } = accepted;
    Published {
        id: alert.id,
        time: alert.accepted_at / 1000,
        event: "message".into(),
        topic: alert.route,
        message: alert.text,
        title: alert.title,
        priority: alert.priority,
        tags: alert.tags,
        click,
        state: alert.state,
        warning,
        duplicate,
    }
}

/// Stands in for `alert::ntfy` until that is merged: body, title, priority, tags, click, key.
mod ntfy {
    use crate::alert::{Alert, Priority};

    pub struct NtfyRequest<'a> {
        pub headers: Vec<(&'a str, &'a str)>,
        pub query: Vec<(&'a str, &'a str)>,
        pub body: &'a [u8],
    }

    #[derive(Debug, thiserror::Error)]
    pub enum NtfyError {
        #[error("invalid request: priority invalid")]
        Priority,
        #[error("invalid message: the body must be UTF-8 text")]
        NotUtf8,
    }

    impl NtfyError {
        pub fn code(&self) -> u32 {
            match self {
                Self::Priority => 40007,
                Self::NotUtf8 => 40011,
            }
        }
        pub fn http(&self) -> u16 {
            400
        }
    }

    pub fn parse(request: &NtfyRequest<'_>) -> Result<Alert, NtfyError> {
        let field = |names: &[&str]| {
            let all = || request.headers.iter().chain(&request.query);
            names
                .iter()
                .find_map(|name| all().find(|(given, _)| given.eq_ignore_ascii_case(name)))
                .map(|(_, value)| (*value).to_owned())
        };
        let body = std::str::from_utf8(request.body).map_err(|_| NtfyError::NotUtf8)?;
        let text = match field(&["x-message", "message", "m"]) {
            Some(message) => message.replace("\\n", "\n"),
            None => body.trim_end().to_owned(),
        };
        let priority = match field(&["x-priority", "priority", "prio", "p"]) {
            None => Priority::default(),
            Some(number) => number
                .parse::<u8>()
                .ok()
                .and_then(|number| Priority::try_from(number).ok())
                .ok_or(NtfyError::Priority)?,
        };
        let tags = field(&["x-tags", "tags", "tag", "ta"]).unwrap_or_default();
        Ok(Alert {
            title: field(&["x-title", "title", "t"]).unwrap_or_default(),
            text: if text.is_empty() { "triggered".into() } else { text },
            priority,
            tags: tags
                .split(',')
                .map(str::trim)
                .filter(|tag| !tag.is_empty())
                .map(Into::into)
                .collect(),
            click: field(&["x-click", "click"]),
            key: field(&["x-key", "key"]),
        })
    }
}
