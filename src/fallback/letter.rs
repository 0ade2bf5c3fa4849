//! What all fallbacks say of a parcel: a title, a text with the mark of why it comes this way, how urgent it is.

use serde_json::{Map, Value, json};

use crate::alert::{Alert, FallbackName, Priority, RouteName, SessionName};
use crate::outbox::Parcel;

/// A title is one line, and notifications show some fifty characters of it.
const TITLE_CHARS_MAX: usize = 200;

/// How much is told of each of several alerts.
const LINE_CHARS_MAX: usize = 200;

/// What a fallback is told, in the words that all kinds share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letter {
    /// The fallback's name.
    pub to: String,
    /// The same at every attempt.
    pub key: String,
    pub route: Option<String>,
    /// May be empty where the alert has none.
    pub title: String,
    /// Without the mark.
    pub text: String,
    /// Why it comes this way.
    pub mark: Option<String>,
    /// The most urgent one's.
    pub priority: Priority,
    pub tags: Vec<String>,
    pub click: Option<String>,
    /// What a webhook is told beside the words.
    pub facts: Map<String, Value>,
}

/// News of the relay itself: something is wrong, or is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub to: FallbackName,
    /// Names the request, as [`Parcel::key`] does.
    pub key: String,
    /// The code of health.
    pub code: String,
    pub session: Option<SessionName>,
    /// It is over.
    pub ended: bool,
    /// Unix milliseconds.
    pub since_at: u64,
    pub title: String,
    pub text: String,
}

impl Letter {
    pub fn of_news(news: &News) -> Self {
        let facts = json!({
            "event": "health",
            "state": if news.ended { "ended" } else { "began" },
            "code": news.code,
            "session": news.session,
            "since_at": news.since_at,
        });
        let (priority, tag) = match news.ended {
            true => (Priority::Default, "white_check_mark"),
            false => (Priority::High, "warning"),
        };
        Self {
            to: news.to.to_string(),
            key: news.key.clone(),
            route: None,
            title: news.title.clone(),
            text: news.text.clone(),
            mark: None,
            priority,
            tags: vec![tag.to_owned()],
            click: None,
            facts: object(facts),
        }
    }

    /// A test that a person has asked for.
    pub fn of_test(to: &FallbackName, key: &str, route: &RouteName, text: &str) -> Self {
        Self {
            to: to.to_string(),
            key: key.to_owned(),
            route: Some(route.to_string()),
            title: "Test".to_owned(),
            text: text.to_owned(),
            mark: Some(format!("by {to}, which is a fallback of route {route}")),
            priority: Priority::Default,
            tags: vec!["test_tube".to_owned()],
            click: None,
            facts: object(json!({"event": "test", "route": route})),
        }
    }

    pub fn of(parcel: &Parcel) -> Self {
        let alerts = parcel.alerts.iter().map(|handed| {
            let alert = &handed.alert;
            let priority = u8::from(alert.priority);
            let mut one = json!({
                "id": handed.id,
                "accepted_at": handed.accepted_at.0,
                "title": alert.title,
                "text": alert.text,
                "priority": priority,
                "tags": alert.tags,
            });
            if let (Some(click), Some(one)) = (&alert.click, one.as_object_mut()) {
                one.insert("click".to_owned(), json!(click));
            }
            one
        });
        let facts = json!({
            "event": "alerts",
            "route": parcel.route,
            "session": parcel.session,
            "reason": parcel.why,
            "alerts": alerts.collect::<Vec<_>>(),
        });
        let priority = parcel.alerts.iter().map(|handed| handed.alert.priority).max();
        let letter = Self {
            to: parcel.to.to_string(),
            key: parcel.key.clone(),
            route: Some(parcel.route.to_string()),
            title: format!("{} alerts on {}", parcel.alerts.len(), parcel.route),
            text: String::new(),
            mark: Some(format!("by {}, because {}", parcel.to, parcel.why)),
            priority: priority.unwrap_or_default(),
            tags: Vec::new(),
            click: None,
            facts: object(facts),
        };
        if let [only] = parcel.alerts.as_slice() {
            let remark = only
                .remark
                .as_ref()
                .map_or(String::new(), |remark| format!("{remark}\n"));
            return Self {
                title: one_line(&only.alert.title, TITLE_CHARS_MAX),
                text: format!("{remark}{}{}", only.alert.text, beside(&only.alert)),
                tags: only.alert.tags.clone(),
                click: only.alert.click.clone(),
                ..letter
            };
        }
        let lines = parcel.alerts.iter().map(|handed| {
            let alert = &handed.alert;
            let said = match alert.title.as_str() {
                "" => alert.text.clone(),
                title => format!("{title}: {}", alert.text),
            };
            let remark = handed
                .remark
                .as_ref()
                .map_or(String::new(), |remark| format!(" ({remark})"));
            format!("- {}{remark}", one_line(&said, LINE_CHARS_MAX))
        });
        Self {
            text: lines.collect::<Vec<_>>().join("\n"),
            ..letter
        }
    }

    /// Text and mark in at most `bytes_max`; of a long text the end is left out, and that is said.
    pub fn body(&self, bytes_max: usize) -> String {
        const CUT: &str = "… (cut; `tautline queue show` has all of it)";
        let mark = self.mark.as_ref().map_or(String::new(), |mark| format!("\n\n({mark})"));
        if self.text.len() + mark.len() <= bytes_max {
            return format!("{}{mark}", self.text);
        }
        let room = bytes_max.saturating_sub(mark.len() + CUT.len());
        let start = &self.text[..self.text.floor_char_boundary(room)];
        format!("{start}{CUT}{mark}")
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What of an alert cannot be carried.
fn beside(alert: &Alert) -> String {
    let names: Vec<&str> = alert
        .attachments
        .iter()
        .map(|attachment| attachment.name.as_str())
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!("\n[not carried: {}]", one_line(&names.join(", "), LINE_CHARS_MAX)),
    }
}

/// The first characters, in one line.
pub(super) fn one_line(text: &str, chars_max: usize) -> String {
    let line: String = text.trim().chars().take(chars_max).collect();
    let cut = text.trim().chars().nth(chars_max).is_some();
    let line = line.replace(char::is_control, " ");
    match cut {
        true => format!("{line}…"),
        false => line,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::outbox::{Handed, Timestamp};

    /// A parcel of alerts with these titles and texts.
    pub fn parcel(alerts: &[(&str, &str)]) -> Parcel {
        let handed = |(index, (title, text)): (usize, &(&str, &str))| Handed {
            id: format!("AAAAAAAAAAA{index}"),
            accepted_at: Timestamp(1_767_225_600_000),
            alert: Alert {
                title: (*title).to_owned(),
                text: (*text).to_owned(),
                ..Alert::default()
            },
            remark: None,
        };
        Parcel {
            to: "ntfy".parse().unwrap(),
            key: "AAAAAAAAAAA0".into(),
            route: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            why: "WhatsApp has been down since 14:02".into(),
            alerts: alerts.iter().enumerate().map(handed).collect(),
        }
    }

    #[test]
    fn one_alert_is_told_whole_and_several_by_a_line_each() {
        let letter = Letter::of(&parcel(&[("NAS", "disk full\nsecond line")]));
        assert_eq!(letter.title, "NAS");
        let mark = "(by ntfy, because WhatsApp has been down since 14:02)";
        assert_eq!(letter.body(4096), format!("disk full\nsecond line\n\n{mark}"));
        let letter = Letter::of(&parcel(&[("NAS", "disk full\nsecond line"), ("", "two")]));
        assert_eq!(letter.title, "2 alerts on family");
        assert_eq!(
            letter.body(4096),
            format!("- NAS: disk full second line\n- two\n\n{mark}")
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_mark_is_kept() {
        let letter = Letter::of(&parcel(&[("", &"ü".repeat(5000))]));
        let body = letter.body(4000);
        assert!(body.len() <= 4000 && body.len() > 3990, "{}", body.len());
        assert!(body.contains("… (cut") && body.ends_with("since 14:02)"), "{body}");
    }
}
