//! Routes in words, and the test of one.

use std::time::Duration;

use futures_lite::future;

use super::relay::Appliance;
use super::{clock, ids};
use crate::alert::{Alert, FallbackName, Priority, RouteName};
use crate::config::{RouteFallback, RoutePlan};
use crate::gateway::Refusal;
use crate::gateway::api::words::span;
use crate::gateway::api::{FallbackTested, RouteFallbackView, RouteTested, RouteView};
use crate::outbox::{Escalate, Flapping, Group, Pace, Quiet, Repeat, Step, Then};
use crate::store::proven::Proven;
use crate::util::millis;

/// A test that nobody gives up, because the relay ends before, expires so long after its time.
const LEFT_OVER: Duration = Duration::from_secs(60);

impl Appliance {
    pub(super) fn route_view(&self, route: &RouteName) -> Result<RouteView, Refusal> {
        let plan = self.plan(route)?;
        let proven = self.proofs.of(route);
        let fallbacks = plan.fallback.iter().flat_map(|fallback| &fallback.to);
        let fallbacks = fallbacks.map(|name| RouteFallbackView {
            name: name.to_string(),
            proven_at: proven.taken_at(name.as_str()),
        });
        Ok(RouteView {
            name: plan.name.to_string(),
            session: plan.session.to_string(),
            to: plan.to.iter().map(ToString::to_string).collect(),
            policies: policies(plan),
            proven_at: proven.delivered_at,
            fallbacks: fallbacks.collect(),
        })
    }

    pub(super) async fn route_tested(&self, route: RouteName, timeout: Duration) -> Result<RouteTested, Refusal> {
        let fallbacks = self
            .plan(&route)?
            .fallback
            .as_ref()
            .map_or_else(Vec::new, |it| it.to.clone());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let text = format!("This is a test of route {route} on {host}. Nothing is wrong.");
        let alert = Alert {
            title: "Test".to_owned(),
            text: text.clone(),
            // Quiet hours let it through, as they do an alert that matters. The most urgent would be repeated and
            // escalated.
            priority: Priority::High,
            tags: vec!["test_tube".to_owned()],
            // Should the relay end meanwhile: nobody wants it tomorrow.
            ttl: Some(timeout + LEFT_OVER),
            ..Alert::default()
        };
        let published = self.dispatcher.publish(vec![(route.clone(), vec![alert])], Vec::new());
        let first = published.await?.into_iter().next().map(|accepted| accepted.alert);
        let accepted = first.ok_or_else(|| Refusal::Unavailable("the test was not accepted".to_owned()))?;
        let waiting = self.dispatcher.wait(&accepted.id, Step::Delivered, timeout);
        let (waited, tested) = future::zip(waiting, self.fallbacks_tested(&route, &fallbacks, &text)).await;
        let alert = waited.unwrap_or(accepted);
        if alert.state == Step::Accepted {
            // It proves nothing when it comes later. What is under way by now may still arrive.
            let _ = self.dispatcher.drop_alert(&alert.id).await;
        }
        let delivered = matches!(alert.state, Step::Delivered | Step::Read);
        let taken = tested.iter().filter(|fallback| fallback.taken);
        let now_ms = clock::wall_ms();
        let shown = Proven {
            since_at: 0,
            delivered_at: delivered.then_some(now_ms),
            fallbacks: taken.map(|fallback| (fallback.name.clone(), now_ms)).collect(),
        };
        self.proofs.tested(&route, &shown);
        Ok(RouteTested {
            proven: delivered && tested.iter().all(|fallback| fallback.taken),
            alert,
            fallbacks: tested,
        })
    }

    async fn fallbacks_tested(&self, route: &RouteName, to: &[FallbackName], text: &str) -> Vec<FallbackTested> {
        let key = ids::alert_id();
        let mut tested = Vec::new();
        for name in to {
            let result = self.fallback_client.test(name, &key, route, text).await;
            tested.push(FallbackTested {
                name: name.to_string(),
                taken: result.is_ok(),
                note: result.err().map_or_else(String::new, |failure| failure.words),
            });
        }
        tested
    }

    fn plan(&self, route: &RouteName) -> Result<&RoutePlan, Refusal> {
        let unknown = || Refusal::UnknownRoute(route.to_string());
        self.dispatcher.plan(route).ok_or_else(unknown)
    }
}

/// What is done between an alert and a message, a sentence each.
fn policies(plan: &RoutePlan) -> Vec<String> {
    let RoutePlan {
        name: _,
        session: _,
        to: _,
        ttl,
        mark_late,
        group,
        quiet,
        pace,
        flapping,
        repeat,
        escalate,
        acks,
        fallback,
    } = plan;
    let time = |time: Duration| span(millis(time));
    let mut words = vec![match ttl {
        Some(ttl) => format!("what is not sent within {} expires", time(*ttl)),
        None => "an alert waits until it can be sent".to_owned(),
    }];
    words.push(match mark_late {
        Some(late) => format!("what goes out more than {} late says when it was raised", time(*late)),
        None => "what goes out late does not say so".to_owned(),
    });
    if let Some(Group {
        by,
        wait,
        interval,
        max: _,
    }) = group
    {
        let same = match by.as_slice() {
            [] => "alerts of the route".to_owned(),
            by => format!("alerts with the same {}", by.join(" and ")),
        };
        let at_first = match wait.is_zero() {
            true => "at once".to_owned(),
            false => format!("after {}", time(*wait)),
        };
        words.push(format!(
            "{same} go together, {at_first} and then every {}",
            time(*interval)
        ));
    }
    if let Some(Quiet { from, to, below, then }) = quiet {
        let (from, to) = (from.strftime("%H:%M"), to.strftime("%H:%M"));
        let then = match then {
            Then::Digest => "waits and goes out together",
            Then::Drop => "is dropped",
        };
        words.push(format!(
            "from {from} to {to} what is less urgent than {} {then}",
            below.word()
        ));
    }
    if let Some(Pace { per_minute, burst }) = pace {
        words.push(format!(
            "at most {per_minute} messages a minute go out, {burst} at once"
        ));
    }
    words.push(match flapping {
        Some(Flapping { turns, within }) => format!(
            "what turns {turns} times within {0} is told of once, and then when it has been steady for {0}",
            time(*within)
        ),
        None => "whatever turns is told of each time".to_owned(),
    });
    if let Some(Repeat { every, times, from }) = repeat {
        words.push(format!(
            "from priority {} on it is said again every {}, {times} times, until somebody acknowledges it",
            from.word(),
            time(*every)
        ));
    }
    if let Some(Escalate { after, to, from }) = escalate {
        words.push(format!(
            "from priority {} on {to} is told of what nobody has acknowledged within {}",
            from.word(),
            time(*after)
        ));
    }
    if let Some(from) = &acks.from {
        let names: Vec<String> = from.iter().map(ToString::to_string).collect();
        words.push(format!("only answers of {} acknowledge", names.join(" and of ")));
    }
    if let Some(RouteFallback { after, to, both }) = fallback {
        let names: Vec<&str> = to.iter().map(|name| name.as_str()).collect();
        let by_whatsapp = if *both { ", and by WhatsApp when it can" } else { "" };
        words.push(format!(
            "what WhatsApp has not taken within {} goes to {}, once{by_whatsapp}",
            time(*after),
            names.join(" and to ")
        ));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::AckRules;

    #[test]
    fn a_route_is_told_in_words() {
        let plan = RoutePlan {
            name: "family".parse().unwrap(),
            session: "default".parse().unwrap(),
            to: vec!["me".parse().unwrap()],
            ttl: Some(Duration::from_secs(86_400)),
            mark_late: None,
            flapping: None,
            group: Some(Group {
                by: vec!["alertname".into()],
                wait: Duration::ZERO,
                interval: Duration::from_secs(300),
                max: 20,
            }),
            quiet: None,
            pace: Some(Pace {
                per_minute: 20,
                burst: 10,
            }),
            repeat: Some(Repeat {
                every: Duration::from_secs(600),
                times: 3,
                from: Priority::Max,
            }),
            escalate: Some(Escalate {
                after: Duration::from_secs(1800),
                to: "oncall".parse().unwrap(),
                from: Priority::High,
            }),
            acks: AckRules {
                from: Some(vec!["me".parse().unwrap(), "+15550100002".parse().unwrap()]),
                ..AckRules::default()
            },
            fallback: Some(RouteFallback {
                after: Duration::from_secs(300),
                to: vec!["ntfy".parse().unwrap(), "mail".parse().unwrap()],
                both: true,
            }),
        };
        let wanted = [
            "what is not sent within 1day expires",
            "what goes out late does not say so",
            "alerts with the same alertname go together, at once and then every 5m",
            "at most 20 messages a minute go out, 10 at once",
            "whatever turns is told of each time",
            "from priority max on it is said again every 10m, 3 times, until somebody acknowledges it",
            "from priority high on oncall is told of what nobody has acknowledged within 30m",
            "only answers of me and of +15550100002 acknowledge",
            "what WhatsApp has not taken within 5m goes to ntfy and to mail, once, and by WhatsApp when it can",
        ];
        assert_eq!(policies(&plan), wanted);
    }
}
