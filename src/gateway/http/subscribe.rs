//! ntfy's subscribe: the alerts of routes, as they come and those that there were, for its command, its app and
//! scripts.
//!
//! A subscriber's connection leaves its place among the others, which are for publishers, and takes one of its own
//! kind.

mod socket;
mod stream;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;

use super::answer::{Answer, Problem};
use super::call::{Call, Outcome};
use super::context::Context;
use super::slot::Slot;
use crate::alert::{Priority, RouteName};
use crate::dialect::Fields;
use crate::gateway::api::{AlertView, TopicEvent};
use crate::gateway::query;
use crate::outbox::Step;
use crate::util::wall_ms;
pub(super) use socket::ws;
pub(super) use stream::lines;

/// Routes of one subscription.
const TOPICS_MAX: usize = 50;
/// Alerts from before, at the most: the newest.
const BEFORE_MAX: usize = 1000;

/// In which form events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Sse,
    Raw,
}

/// What a subscriber asks for.
struct Wanted {
    /// What there was, and then the end.
    poll: bool,
    since: Since,
    /// With those that wait for their own time.
    scheduled: bool,
    filter: Filter,
}

/// Which alerts from before are told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Since {
    Nothing,
    All,
    Latest,
    /// Those behind the one of this id.
    Alert(String),
    /// Those since this time, in Unix milliseconds.
    Time(u64),
}

/// Which alerts are told at all; all of it has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    id: Option<String>,
    message: Option<String>,
    title: Option<String>,
    /// One of these.
    priorities: Vec<u8>,
    /// Each of these.
    tags: Vec<String>,
}

/// A subscription that has begun.
struct Subscription {
    /// As they were asked for, for ntfy's `topic`.
    topics: String,
    filter: Filter,
    /// Oldest first.
    before: Vec<AlertView>,
    heard: Pin<Box<Receiver<Arc<AlertView>>>>,
}

/// `GET /{topics}/auth`: whether one may subscribe. It is what ntfy's app asks first.
pub(super) fn auth(call: &Call<'_, '_>, topics: &str) -> Outcome {
    routes(call, topics)?;
    Ok(Answer::json(200, &serde_json::json!({ "success": true })))
}

/// `DELETE /{route}/{id}`: what is not yet sent and is called so is given up. What is on a phone stays there, and the
/// answer says so.
pub(super) async fn delete(call: Call<'_, '_>, route: RouteName, name: String) -> Outcome {
    let cancelled = call.context.relay.cancel(&route, &name).await?;
    let warning = "nothing of this name waits to be sent: what is sent stays on the phone";
    let answer = TopicEvent {
        warning: cancelled.is_empty().then(|| warning.to_owned()),
        id: cancelled.into_iter().next().unwrap_or_else(|| name.clone()),
        sequence_id: Some(name),
        ..TopicEvent::of_stream("message_delete", route.as_str(), wall_ms() / 1000)
    };
    Ok(Answer::json(200, &answer))
}

/// The routes of a list with commas, each of which is theirs to read.
fn routes(call: &Call<'_, '_>, topics: &str) -> Result<Vec<RouteName>, Problem> {
    let mut routes: Vec<RouteName> = Vec::new();
    for name in topics.split(',').take(TOPICS_MAX) {
        let route = call.route(name)?;
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    Ok(routes)
}

/// Begins to listen, and then looks at what there was: nothing falls in between.
async fn begin(call: &Call<'_, '_>, topics: &str, wanted: Wanted) -> Result<Subscription, Problem> {
    let routes = routes(call, topics)?;
    let relay = &call.context.relay;
    let heard = Box::pin(relay.feed().listen(routes.clone()));
    let before = match wanted.since {
        Since::Nothing => Vec::new(),
        since => {
            let mut all = relay.alerts(false, BEFORE_MAX).await;
            all.retain(|alert| routes.iter().any(|route| route.as_str() == alert.route));
            // What waits for its own time is told of then, unless ntfy's `scheduled` asks for it; what was deleted
            // before never.
            let now_ms = wall_ms();
            all.retain(|alert| match alert.state {
                Step::Accepted => wanted.scheduled || alert.due_at() <= now_ms,
                Step::Dropped => alert.not_before.is_none(),
                Step::Sent | Step::Delivered | Step::Read | Step::Fallback => true,
                Step::Superseded | Step::Expired | Step::Failed => true,
            });
            all.sort_by_key(|alert| alert.seq);
            let mut before = since.of(all);
            before.retain(|alert| wanted.filter.fits(alert));
            before
        }
    };
    Ok(Subscription {
        topics: topics.to_owned(),
        filter: wanted.filter,
        before,
        heard,
    })
}

impl Subscription {
    /// Whether an alert is to be told that has come since: it is none of those before, and it fits.
    fn tells(&self, alert: &AlertView) -> bool {
        self.filter.fits(alert) && !self.before.iter().any(|before| before.id == alert.id)
    }

    fn event(&self, event: &str) -> TopicEvent {
        TopicEvent::of_stream(event, &self.topics, wall_ms() / 1000)
    }
}

impl Since {
    /// Those of `all`, which is in order.
    fn of(self, mut all: Vec<AlertView>) -> Vec<AlertView> {
        match self {
            Self::Nothing => all.clear(),
            Self::All => {}
            Self::Latest => drop(all.drain(..all.len().saturating_sub(1))),
            // Of one that nobody knows, all that is still there comes behind it.
            Self::Alert(id) => {
                let known = all.iter().position(|alert| alert.id == id);
                drop(all.drain(..known.map_or(0, |at| at + 1)));
            }
            Self::Time(ms) => all.retain(|alert| alert.due_at() >= ms),
        }
        all
    }

    /// # Errors
    /// It is none of what ntfy takes.
    fn parse(text: &str, now_ms: u64) -> Result<Self, String> {
        let is_id = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let span = || humantime::parse_duration(text).ok();
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::Nothing),
            "latest" => Ok(Self::Latest),
            _ => match (text.parse::<u64>(), span()) {
                (Ok(seconds), _) if !is_id => Ok(Self::Time(seconds.saturating_mul(1000))),
                (Err(_), Some(span)) => Ok(Self::Time(now_ms.saturating_sub(crate::util::millis(span)))),
                _ if is_id => Ok(Self::Alert(text.to_owned())),
                _ => Err(format!(
                    "since is a time like 10m, Unix seconds, the id of an alert, all, latest or none, not {text:?}"
                )),
            },
        }
    }
}

impl Filter {
    fn fits(&self, alert: &AlertView) -> bool {
        let is = |wanted: &Option<String>, given: &str| wanted.as_ref().is_none_or(|wanted| wanted == given);
        is(&self.id, &alert.id)
            && is(&self.message, &alert.text)
            && is(&self.title, &alert.title)
            && (self.priorities.is_empty() || self.priorities.contains(&alert.priority))
            && self.tags.iter().all(|tag| alert.tags.contains(tag))
    }
}

impl Wanted {
    /// ntfy's names, in headers or in the query.
    ///
    /// # Errors
    /// What it asks for cannot be read.
    fn read(headers: &Fields<'_>, query: &Fields<'_>, now_ms: u64) -> Result<Self, Problem> {
        let named = |names: &[&str]| headers.first(names).or_else(|| query.first(names)).map(str::to_owned);
        let yes = |text: &str| ["1", "yes", "true"].contains(&text.to_ascii_lowercase().as_str());
        let poll = named(&["x-poll", "poll", "po"]).is_some_and(|text| yes(&text));
        let since = match named(&["x-since", "since", "si"]) {
            Some(text) => Since::parse(&text, now_ms).map_err(|why| Problem::new(400, why).at("since"))?,
            None if poll => Since::All,
            None => Since::Nothing,
        };
        let list = |names: &[&str]| -> Vec<String> {
            let text = named(names).unwrap_or_default();
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect()
        };
        let mut priorities = Vec::new();
        // In a header, `Priority` is a browser's word about the transfer (RFC 9218).
        let words = headers.first(&["x-priority", "prio", "p"]);
        let words = words
            .or_else(|| query.first(&["x-priority", "priority", "prio", "p"]))
            .unwrap_or_default();
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let priority: Priority = word.parse().map_err(|_| {
                Problem::new(400, format!("priority is 1 to 5, or min to max, not {word:?}")).at("priority")
            })?;
            priorities.push(priority.into());
        }
        Ok(Self {
            poll,
            since,
            scheduled: named(&["x-scheduled", "scheduled", "sched"]).is_some_and(|text| yes(&text)),
            filter: Filter {
                id: named(&["x-id", "id"]),
                message: named(&["x-message", "message", "m"]),
                title: named(&["x-title", "title", "t"]),
                priorities,
                tags: list(&["x-tags", "tags", "tag", "ta"]),
            },
        })
    }

    fn of(call: &Call<'_, '_>) -> Result<Self, Problem> {
        let head = &call.request.head;
        let headers = Fields::from_headers(head.headers());
        let query: Fields<'_> = query::decode(&head.query).pairs.into_iter().collect();
        Self::read(&headers, &query, wall_ms())
    }
}

/// A place among the subscribers.
///
/// # Errors
/// There are too many. Never a 4xx: ntfy's command and app come again.
pub(super) fn place(context: &Context) -> Result<Slot, Problem> {
    let busy =
        || Problem::new(503, "too many subscribe at once, come again later").retry_after(Duration::from_secs(60));
    context.subscriber_slot().ok_or_else(busy)
}

/// One event in its form.
fn encode(form: Form, event: &TopicEvent) -> Vec<u8> {
    // Strings and numbers always are JSON.
    let json = || serde_json::to_string(event).unwrap_or_default();
    let is_message = event.event == "message";
    let text = match form {
        Form::Json => json() + "\n",
        Form::Sse if is_message => format!("data: {}\n\n", json()),
        Form::Sse => format!("event: {}\ndata: {}\n\n", event.event, json()),
        Form::Raw => event.message.replace('\n', " ") + "\n",
    };
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_read_as_ntfy_reads_it() {
        let now = 1_764_000_000_000;
        for (text, expected) in [
            ("all", Some(Since::All)),
            ("none", Some(Since::Nothing)),
            ("latest", Some(Since::Latest)),
            ("10m", Some(Since::Time(now - 600_000))),
            ("1d", Some(Since::Time(now - 86_400_000))),
            ("1763999999", Some(Since::Time(1_763_999_999_000))),
            ("AbCdEf012345", Some(Since::Alert("AbCdEf012345".into()))),
            ("012345678901", Some(Since::Alert("012345678901".into()))),
            ("yesterday", None),
            ("-5m", None),
        ] {
            assert_eq!(Since::parse(text, now).ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wanted_stands_in_headers_or_in_the_query() {
        let wanted = |headers: &[(&str, &str)], query: &[(&str, &str)]| {
            let fields = |pairs: &[(&str, &str)]| -> Fields<'static> {
                pairs
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect()
            };
            Wanted::read(&fields(headers), &fields(query), 0)
        };
        let read = wanted(
            &[],
            &[
                ("poll", "1"),
                ("priority", "high,5"),
                ("tags", "a, b"),
                ("title", "NAS"),
            ],
        )
        .ok()
        .unwrap();
        let filter = Filter {
            title: Some("NAS".into()),
            priorities: vec![4, 5],
            tags: vec!["a".into(), "b".into()],
            ..Filter::default()
        };
        assert_eq!((read.poll, read.since, read.filter), (true, Since::All, filter));
        let read = wanted(&[("X-Since", "latest"), ("Poll", "0")], &[("since", "all")])
            .ok()
            .unwrap();
        assert_eq!((read.poll, read.since), (false, Since::Latest));
        assert_eq!(wanted(&[], &[]).ok().unwrap().since, Since::Nothing);
        assert!(wanted(&[], &[("since", "x")]).is_err() && wanted(&[], &[("p", "x")]).is_err());
    }
}
