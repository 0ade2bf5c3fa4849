//! From what lies in a file to alerts that are accepted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::alert::hygiene::{TEXT_BYTES_MAX, one_line};
use crate::alert::{Alert, LATE_AFTER, RouteName};
use crate::config::MailPlan;
use crate::dialect::{Dialect, Request};
use crate::gateway::api::utc;
use crate::gateway::recipients;
use crate::gateway::relay::{Refusal, Relay};
use crate::outbox::CLOCK_UNSET_BEFORE;
use crate::spool::{Name, Spooled};
use crate::util::{millis, wall_ms};

/// What is left of a time to live that is over: the alert is accepted, expires, and is told as that.
const TTL_MIN: Duration = Duration::from_secs(1);

/// What makes alerts of spooled files, and hands them to the relay.
pub(in crate::gateway) struct Publisher {
    pub relay: Arc<dyn Relay>,
    /// Which route a mail is for.
    pub mail: MailPlan,
    /// How long alerts of a route may wait, where that is limited: what they lay here counts.
    pub ttls: BTreeMap<RouteName, Duration>,
    /// A text that is longer than this is none, in bytes.
    pub text_bytes_max: u64,
}

/// What became of one file.
pub(super) enum Outcome {
    /// It is through, and its file can go.
    Done,
    /// Its file stays as it is until the next start.
    Held(String),
    /// Its file stays as it is, and is tried again.
    Waits(String),
    /// It is no alert.
    Aside(String),
    /// Nothing can be taken now.
    Later(String),
}

impl Publisher {
    pub(super) async fn publish(&self, name: &Name, spooled: &Spooled) -> Outcome {
        let Spooled { entry, body_bytes } = spooled;
        let Some(dialect) = Dialect::named(&entry.dialect) else {
            return Outcome::Held(format!("this version knows no dialect {:?}", one_line(&entry.dialect)));
        };
        let routes = match entry.dialect.as_str() {
            "mail" => recipients::routes(&self.mail, &self.relay.routes(), &entry.to),
            _ => self.routes(&entry.to),
        };
        let routes = match routes {
            Ok(routes) => routes,
            Err(why) => return Outcome::Held(why),
        };
        let fields = entry.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = Request {
            route: routes.first().map(RouteName::as_str),
            query: fields.collect(),
            body: &entry.body,
            body_bytes: *body_bytes,
            text_bytes_max: self.text_bytes_max,
            ..Request::default()
        };
        let mut parsed = match (dialect.parse)(&request) {
            Ok(parsed) => parsed.without_files("a spooled alert carries none"),
            Err(rejection) => return Outcome::Aside(rejection.to_string()),
        };
        for (index, alert) in parsed.alerts.iter_mut().enumerate() {
            if alert.key.is_none() {
                alert.key = Some(match index {
                    0 => name.to_string(),
                    later => format!("{name}-{later}"),
                });
            }
        }
        for warning in &parsed.warnings {
            log::info!("spooled alert {name}: {warning}");
        }
        if parsed.alerts.is_empty() {
            return Outcome::Done;
        }
        let parts = routes.into_iter().map(|route| {
            let mut alerts = parsed.alerts.clone();
            for alert in &mut alerts {
                alert.ttl = self.ttls.get(&route).copied().into_iter().chain(alert.ttl).min();
                mark_late(alert, entry.at, wall_ms());
            }
            (route, alerts)
        });
        match self.relay.publish_to_all(parts.collect()).await {
            Ok(accepted) => {
                for accepted in accepted {
                    log::info!("spooled alert {name} is accepted as {}", accepted.alert.id);
                }
                Outcome::Done
            }
            Err(Refusal::UnknownRoute(route)) => Outcome::Held(format!("no route is named {route:?}")),
            Err(refusal) => Outcome::Later(refusal.to_string()),
        }
    }

    /// The routes for those whom the sender named, each once; the only one where it named none.
    fn routes(&self, to: &[String]) -> Result<Vec<RouteName>, String> {
        let all = self.relay.routes();
        if to.is_empty() {
            return match all.as_slice() {
                [only] => Ok(vec![only.clone()]),
                _ => Err("its sender named no route, and there are several".into()),
            };
        }
        let mut routes: Vec<RouteName> = Vec::new();
        for name in to {
            match all.iter().find(|route| route.as_str() == name) {
                Some(route) if routes.contains(route) => {}
                Some(route) => routes.push(route.clone()),
                None => return Err(format!("no route is named {:?}", one_line(name))),
            }
        }
        Ok(routes)
    }
}

/// Says when an alert was written that has lain for long, where the clock tells and there is room; and takes from its
/// time to live what is over.
fn mark_late(alert: &mut Alert, at_ms: u64, now_ms: u64) {
    if at_ms < CLOCK_UNSET_BEFORE.0 || now_ms < at_ms.saturating_add(millis(LATE_AFTER)) {
        return;
    }
    let lain = Duration::from_millis(now_ms - at_ms);
    alert.ttl = alert.ttl.map(|ttl| ttl.saturating_sub(lain).max(TTL_MIN));
    let mark = format!("\n[written {} UTC]", utc(at_ms));
    if alert.text.len() + mark.len() <= TEXT_BYTES_MAX {
        alert.text.push_str(&mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lay_for_long_says_when_it_was_written() {
        let at = 1_764_000_000_000;
        let marked = |at_ms, now_ms, text: String| {
            let mut alert = Alert {
                text,
                ..Alert::default()
            };
            mark_late(&mut alert, at_ms, now_ms);
            alert.text
        };
        let late = marked(at, at + 120_000, "disk full".into());
        assert_eq!(late, "disk full\n[written 2025-11-24 16:00:00 UTC]");
        for (at_ms, now_ms) in [(at, at + 119_000), (at, at - 1), (0, at), (1000, 500_000)] {
            assert_eq!(marked(at_ms, now_ms, "disk full".into()), "disk full");
        }
        for (lain_s, left_s) in [(60, 600), (120, 480), (7200, 1)] {
            let mut alert = Alert {
                ttl: Some(Duration::from_secs(600)),
                ..Alert::default()
            };
            mark_late(&mut alert, at, at + lain_s * 1000);
            assert_eq!(alert.ttl, Some(Duration::from_secs(left_s)), "{lain_s}");
        }
        let full = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(marked(at, at + 120_000, full.clone()), full);
    }
}
