//! Alertmanager's webhook, version 4: one request is one notification about a group of alerts, and becomes one alert
//! here.
//!
//! | field | from |
//! |---|---|
//! | title | of one alert its `summary` or `alertname`; of several, how many fire and what they have in common |
//! | text | of one alert its `description` and its labels; of several a line each |
//! | priority | the highest `severity` of what fires; default when all is resolved |
//! | tags | a red circle while something fires, a check mark when all is resolved |
//! | link | `dashboardURL`, `panelURL`, `generatorURL` of the only alert, else `externalURL` |
//! | status | resolved when all is |
//! | sequence | the `fingerprint` of the only alert |
//! | labels | those of the only alert, else `commonLabels` |
//! | key | receiver, group and the state of each alert, so that one that is sent again after a power cut is not a second one |
//!
//! Alertmanager repeats a notification on purpose, as a reminder. Since 0.33 `notification_reason` says so, and a
//! repeat has no key. Before it repeats cannot be told apart from what was sent twice: then nothing has a key, because
//! a reminder that is lost is worse than one that comes twice.

use serde_json::{Map, Value};

use super::form::{Form, at, text_of};
use super::{Draft, Parsed, Rejection, Request};
use crate::alert::Status;

/// What is said of a notification with nothing in it.
const TEXT_EMPTY: &str = "(no message)";
/// Alerts that have a line of their own in a notification about several.
const ALERTS_SHOWN_MAX: usize = 20;
/// Labels that are shown in the title, or say nothing to a person.
const LABELS_HIDDEN: &[&str] = &["alertname", "severity", "grafana_folder", "__alert_rule_uid__"];

/// Reads a notification.
///
/// # Errors
/// None at present: the type is that of every dialect.
pub fn parse(request: &Request<'_>) -> Result<Parsed, Rejection> {
    let form = Form::read(request);
    let mut draft = Draft::default();
    draft.sender("Alertmanager");
    let text = notification(&form, &mut draft, None, None);
    if let Some(key) = key(&form) {
        draft.key(&key);
    }
    Ok(draft.finish_form(&form, text, request, TEXT_EMPTY))
}

/// Fills the draft and gives the text. `title` and `text` are what the sender has written itself, which go first.
pub(super) fn notification(form: &Form<'_>, draft: &mut Draft, title: Option<String>, text: Option<String>) -> String {
    let alerts: Vec<Alert<'_>> = form.list("alerts").iter().filter_map(Alert::read).collect();
    for alert in alerts.iter().filter(|alert| alert.fires) {
        if let Some(severity) = alert.label("severity") {
            draft.raise(&severity);
        }
    }
    if !alerts.is_empty() {
        let any_fires = alerts.iter().any(|alert| alert.fires);
        draft.status(if any_fires { Status::Firing } else { Status::Resolved });
        draft.tags([if any_fires { "red_circle" } else { "white_check_mark" }]);
    }
    let labels = match alerts.as_slice() {
        [alert] => at(alert.fields, "labels").and_then(Value::as_object),
        _ => form.value("commonLabels").and_then(Value::as_object),
    };
    for (name, value) in labels.into_iter().flatten() {
        draft.label(name, &text_of(value).unwrap_or_default());
    }
    if let [alert] = alerts.as_slice() {
        draft.sequence(&alert.get("fingerprint").unwrap_or_default());
    }
    let mut link = None;
    let (own_title, own_text) = match alerts.as_slice() {
        [] => (None, form.text(&["commonAnnotations.summary"])),
        [alert] => {
            link = alert.link();
            (Some(alert.title()), Some(alert.text()))
        }
        several => (Some(heading(form, several)), Some(listing(form, several))),
    };
    draft.title(&title.or(own_title).unwrap_or_default());
    draft.click(&link.or_else(|| form.text(&["externalURL"])).unwrap_or_default());
    text.or(own_text).unwrap_or_default()
}

struct Alert<'v> {
    fields: &'v Map<String, Value>,
    fires: bool,
}

impl<'v> Alert<'v> {
    fn read(value: &'v Value) -> Option<Self> {
        let fields = value.as_object()?;
        let status = fields.get("status").and_then(Value::as_str);
        Some(Self {
            fields,
            fires: status != Some("resolved"),
        })
    }

    fn get(&self, path: &str) -> Option<String> {
        at(self.fields, path).and_then(text_of)
    }

    fn label(&self, name: &str) -> Option<String> {
        self.get(&format!("labels.{name}"))
    }

    /// The name with what became of it.
    fn title(&self) -> String {
        let name = self.get("annotations.summary").or_else(|| self.label("alertname"));
        let name = name.unwrap_or_else(|| "an alert".into());
        if self.fires { name } else { format!("resolved: {name}") }
    }

    fn text(&self) -> String {
        let description = ["annotations.description", "annotations.message", "valueString"];
        let mut lines: Vec<String> = description.iter().find_map(|path| self.get(path)).into_iter().collect();
        let labels = at(self.fields, "labels").and_then(Value::as_object);
        let labels = labels.into_iter().flatten().filter_map(|(name, value)| {
            let is_shown = !LABELS_HIDDEN.contains(&name.as_str());
            is_shown.then(|| Some(format!("{name}: {}", text_of(value)?))).flatten()
        });
        lines.extend(labels);
        if let Some(runbook) = self.get("annotations.runbook_url") {
            lines.push(format!("runbook: {runbook}"));
        }
        // The title has the summary already; without anything else it is the text.
        if lines.is_empty() {
            lines.push(self.title());
        }
        lines.join("\n")
    }

    fn line(&self) -> String {
        let instance = self.label("instance").map(|instance| format!(" ({instance})"));
        format!("- {}{}", self.title(), instance.unwrap_or_default())
    }

    fn link(&self) -> Option<String> {
        ["dashboardURL", "panelURL", "generatorURL"]
            .iter()
            .find_map(|name| self.get(name))
    }
}

/// As in "2 firing, 1 resolved: DiskFull".
fn heading(form: &Form<'_>, alerts: &[Alert<'_>]) -> String {
    let firing = alerts.iter().filter(|alert| alert.fires).count();
    let counts = [(firing, "firing"), (alerts.len() - firing, "resolved")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let name = form
        .text(&["commonLabels.alertname", "commonAnnotations.summary"])
        .or_else(|| {
            let labels = form.value("groupLabels")?.as_object()?;
            let values: Vec<String> = labels.values().filter_map(text_of).collect();
            (!values.is_empty()).then(|| values.join(", "))
        });
    match name {
        Some(name) => format!("{}: {name}", counts.join(", ")),
        None => counts.join(", "),
    }
}

/// A line an alert: what fires first.
fn listing(form: &Form<'_>, alerts: &[Alert<'_>]) -> String {
    let firing = alerts.iter().filter(|alert| alert.fires);
    let resolved = alerts.iter().filter(|alert| !alert.fires);
    let mut lines: Vec<String> = firing.chain(resolved).take(ALERTS_SHOWN_MAX).map(Alert::line).collect();
    let left_out = form
        .value("truncatedAlerts")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let more = (alerts.len().saturating_sub(ALERTS_SHOWN_MAX) as u64).saturating_add(left_out);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}

/// Tells a notification from every other, or is none where a second one like it would be meant.
fn key(form: &Form<'_>) -> Option<String> {
    let reason = form.text(&["notification_reason"])?;
    if reason == "repeat interval elapsed" || reason == "unknown" {
        return None;
    }
    let group = form.text(&["groupKey"])?;
    let receiver = form.text(&["receiver"]).unwrap_or_default();
    let alerts = form.list("alerts").iter().filter_map(Value::as_object);
    let mut states: Vec<String> = alerts
        .map(|fields| {
            let parts = ["fingerprint", "status", "startsAt"];
            let parts: Vec<String> = parts
                .iter()
                .filter_map(|name| at(fields, name).and_then(text_of))
                .collect();
            parts.join(" ")
        })
        .collect();
    states.sort();
    Some(format!("alertmanager {receiver} {group} {} {reason}", states.join(",")))
}
