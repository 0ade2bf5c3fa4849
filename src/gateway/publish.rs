//! `POST /<route>` and its kin: a sender's words become an [`Alert`], the relay keeps it, the sender is told.

use crate::alert::{Alert, RouteName, ntfy};

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
