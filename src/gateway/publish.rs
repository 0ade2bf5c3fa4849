//! `POST /<route>` and its kin: a sender's words become an [`Alert`], the relay keeps it, the sender is told.

use crate::alert::{Parsed, RouteName, charset, ntfy};

use super::Accepted;
use super::answer::{Answer, Problem};
use super::api::Published;
use super::connection::Received;
use super::head::Head;
use super::query;
use super::server::Shared;

/// What a sender gave, as ntfy's plain form has it. Header names are in lower case; query names as sent.
pub(super) struct Form {
    headers: Vec<(String, String)>,
    query: query::Decoded,
    body: Received,
}

impl Form {
    pub fn new(head: &Head, body: Received) -> Self {
        let decoded = |(name, value): (&str, &[u8])| (name.to_owned(), charset::value(value).into_owned());
        Self {
            headers: head.headers().map(decoded).collect(),
            query: query::decode(&head.query),
            body,
        }
    }

    /// The one place where the ntfy dialect is called.
    fn parse(&self, text_bytes_max: u64) -> Result<Parsed, Problem> {
        fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
            pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect()
        }
        let request = ntfy::NtfyRequest {
            headers: borrowed(&self.headers),
            query: borrowed(&self.query.pairs),
            body: &self.body.kept,
            body_bytes: self.body.bytes,
            text_bytes_max,
        };
        let mut parsed =
            ntfy::parse(&request).map_err(|error| Problem::with_code(error.code(), error.http(), error.to_string()))?;
        parsed.warnings.extend(self.query.faults.iter().cloned());
        Ok(parsed)
    }
}

/// Parses, keeps, answers exactly 200: the ntfy clients take no other 2xx for success.
pub(super) async fn publish(shared: &Shared, route: RouteName, form: &Form) -> Result<Answer, Problem> {
    let Parsed { alert, warnings } = form.parse(shared.limits.body_bytes)?;
    let click = alert.click.clone();
    let mut accepted = shared.relay.publish(route, vec![alert]).await?;
    let Some(accepted) = accepted.pop() else {
        return Err(Problem::new(500, "the relay says nothing about the alert"));
    };
    Ok(Answer::json(200, &published(accepted, click, warnings)))
}

fn published(accepted: Accepted, click: Option<String>, warnings: Vec<String>) -> Published {
    let Accepted {
        alert,
        duplicate,
        warning,
    } = accepted;
    let needs_person = warning.is_some();
    let warnings: Vec<String> = warning.into_iter().chain(warnings).collect();
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
        warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
        needs_person,
        duplicate,
    }
}
