//! When each route, and each of its fallbacks, was last seen to work: by an alert that arrived, or by a test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smol::Executor;

use super::clock;
use crate::alert::{FallbackName, RouteName};
use crate::config::RoutePlan;
use crate::gateway::api::words::span;
use crate::outbox::{AlertRecord, CLOCK_UNSET_BEFORE, HandoverState, Step, Transition, TransitionKind};
use crate::store::Store;
use crate::store::proven::{self, Proven};
use crate::util::lock;

/// What worked no longer ago than this is proven. A quarter of a year: a number that was given up, or a token that has
/// ended, shows before the next season's storm.
const PROVEN_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// What alerts prove is written once in this time: a route that is used all day costs no write for each alert.
const WRITTEN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Shared by the dispatcher, which sees what arrives, the tests of routes and health.
pub(super) struct Proofs {
    store: Store,
    executor: Arc<Executor<'static>>,
    routes: Mutex<BTreeMap<RouteName, Route>>,
}

struct Route {
    /// Its fallbacks.
    to: Vec<FallbackName>,
    proven: Proven,
    /// What of it is on disk.
    written: Proven,
}

impl Proofs {
    /// The proofs of these routes. Those that are new are noted with this moment.
    pub(super) fn open(store: Store, executor: Arc<Executor<'static>>, plans: &[RoutePlan]) -> Self {
        let now_ms = clock::wall_ms();
        let mut new = Vec::new();
        let route = |plan: &RoutePlan| {
            // Without it the route counts as new, which is told of a day later.
            let written = proven::read(store.view(), &plan.name).ok().flatten();
            let written = written.unwrap_or_default();
            let mut proven = written.clone();
            if proven.since_at == 0 && is_set(now_ms) {
                proven.since_at = now_ms;
                new.push((plan.name.clone(), proven.clone()));
            }
            let to = plan.fallback.as_ref().map_or_else(Vec::new, |it| it.to.clone());
            (plan.name.clone(), Route { to, proven, written })
        };
        let routes = Mutex::new(plans.iter().map(route).collect());
        let proofs = Self {
            store,
            executor,
            routes,
        };
        if !new.is_empty() {
            proofs.write(new);
        }
        proofs
    }

    pub(super) fn of(&self, route: &RouteName) -> Proven {
        lock(&self.routes)
            .get(route)
            .map(|route| route.proven.clone())
            .unwrap_or_default()
    }

    /// Something has become of an alert.
    pub(super) fn look(&self, record: &AlertRecord, happened: &[Transition]) {
        let arrived = |what| {
            matches!(
                what,
                TransitionKind::Delivered | TransitionKind::Read | TransitionKind::Fallback
            )
        };
        if happened.iter().any(|it| arrived(it.what)) {
            self.learn(&record.route, &shown_by(record, clock::wall_ms()), WRITTEN_EVERY);
        }
    }

    /// A test has shown this.
    pub(super) fn tested(&self, route: &RouteName, proven: &Proven) {
        self.learn(route, proven, Duration::ZERO);
    }

    fn learn(&self, name: &RouteName, shown: &Proven, every: Duration) {
        let mut routes = lock(&self.routes);
        let Some(route) = routes.get_mut(name) else { return };
        route.proven.merge(shown);
        if is_worth_a_write(&route.proven, &route.written, every) {
            route.written = route.proven.clone();
            self.write(vec![(name.clone(), route.proven.clone())]);
        }
    }

    /// Nobody waits for it: what is lost is seen again with the next alert or test.
    fn write(&self, all: Vec<(RouteName, Proven)>) {
        let store = self.store.clone();
        let writing = async move {
            if let Err(error) = proven::note(&store, all).await {
                log::debug!("what is known of routes is not on disk: {error}");
            }
        };
        self.executor.spawn(writing).detach();
    }

    /// A line for each route of which something is unproven, and for how long it has been.
    pub(super) fn unproven(&self) -> Vec<(String, Duration)> {
        let now_ms = clock::wall_ms();
        let routes = lock(&self.routes);
        let unproven = |(name, route): (&RouteName, &Route)| unproven(name, &route.to, &route.proven, now_ms);
        routes.iter().filter_map(unproven).collect()
    }
}

fn is_set(wall_ms: u64) -> bool {
    wall_ms >= CLOCK_UNSET_BEFORE.0
}

/// What the state of an alert shows to work, at this moment.
fn shown_by(record: &AlertRecord, now_ms: u64) -> Proven {
    let arrived = |step| matches!(step, Step::Delivered | Step::Read);
    let delivered = !record.deliveries.is_empty() && record.deliveries.iter().all(|delivery| arrived(delivery.step));
    let done = record
        .handovers
        .iter()
        .filter(|handover| handover.state == HandoverState::Done);
    Proven {
        since_at: 0,
        delivered_at: (delivered && is_set(now_ms)).then_some(now_ms),
        fallbacks: done.map(|handover| (handover.to.to_string(), now_ms)).collect(),
    }
}

fn is_worth_a_write(proven: &Proven, written: &Proven, every: Duration) -> bool {
    let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
    let newer = |now: Option<u64>, then: Option<u64>| match (now, then) {
        (Some(now), Some(then)) => now > then && now - then >= every,
        (Some(_), None) => true,
        (None, _) => false,
    };
    newer(proven.delivered_at, written.delivered_at)
        || proven
            .fallbacks
            .iter()
            .any(|(name, at)| newer(Some(*at), written.taken_at(name)))
}

/// What of a route nobody has seen work of late, in words, and for how long that is so.
fn unproven(name: &RouteName, to: &[FallbackName], proven: &Proven, now_ms: u64) -> Option<(String, Duration)> {
    if proven.since_at == 0 || !is_set(now_ms) {
        return None;
    }
    let fresh_ms = u64::try_from(PROVEN_FOR.as_millis()).unwrap_or(u64::MAX);
    let mut lasts_ms = 0;
    let mut look = |what: String, at: Option<u64>| {
        let age_ms = now_ms.saturating_sub(at.unwrap_or(proven.since_at));
        match at {
            Some(_) if age_ms <= fresh_ms => None,
            Some(_) => {
                lasts_ms = lasts_ms.max(age_ms - fresh_ms);
                Some(format!("{what} worked last {} ago", span(age_ms)))
            }
            None => {
                lasts_ms = lasts_ms.max(age_ms);
                Some(format!("{what} was never seen to work"))
            }
        }
    };
    let mut parts: Vec<String> = look("WhatsApp".to_owned(), proven.delivered_at).into_iter().collect();
    for fallback in to {
        parts.extend(look(format!("fallback {fallback}"), proven.taken_at(fallback.as_str())));
    }
    let text = format!("route {name}: {}; run `tautline routes test {name}`", parts.join(", "));
    (!parts.is_empty()).then(|| (text, Duration::from_millis(lasts_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    const NOW: u64 = 1_767_225_600_000;

    fn found(delivered_days: Option<u64>, taken_days: Option<u64>) -> Option<(String, u64)> {
        let ago = |days: u64| NOW - days * DAY_MS;
        let proven = Proven {
            since_at: ago(200),
            delivered_at: delivered_days.map(ago),
            fallbacks: taken_days
                .map(|days| ("ntfy".to_owned(), ago(days)))
                .into_iter()
                .collect(),
        };
        let name = "family".parse().unwrap();
        let found = unproven(&name, &["ntfy".parse().unwrap()], &proven, NOW);
        found.map(|(text, lasts)| (text, lasts.as_secs() / (24 * 60 * 60)))
    }

    #[test]
    fn a_route_is_proven_when_all_of_it_worked_of_late() {
        assert_eq!(found(Some(90), Some(1)), None);
        let (text, days) = found(Some(91), Some(1)).unwrap();
        assert_eq!(
            text,
            "route family: WhatsApp worked last 2months 30days ago; run `tautline routes test family`"
        );
        assert_eq!(days, 1);
        let (text, days) = found(Some(1), None).unwrap();
        assert!(text.contains("family: fallback ntfy was never seen to work;"), "{text}");
        assert_eq!(days, 200);
        assert!(
            found(None, Some(100))
                .unwrap()
                .0
                .contains("WhatsApp was never seen to work, fallback ntfy worked")
        );
    }

    #[test]
    fn nothing_is_said_by_a_clock_that_is_not_set() {
        let name = "family".parse().unwrap();
        assert_eq!(unproven(&name, &[], &Proven::default(), NOW), None);
        let proven = Proven {
            since_at: NOW,
            ..Proven::default()
        };
        assert_eq!(unproven(&name, &[], &proven, 1000), None);
    }

    #[test]
    fn a_route_that_is_used_all_day_is_written_once_a_day() {
        let at = |delivered_at| Proven {
            delivered_at,
            ..Proven::default()
        };
        let written = at(Some(NOW));
        assert!(is_worth_a_write(&written, &at(None), WRITTEN_EVERY));
        assert!(!is_worth_a_write(&at(Some(NOW + DAY_MS - 1)), &written, WRITTEN_EVERY));
        assert!(is_worth_a_write(&at(Some(NOW + DAY_MS)), &written, WRITTEN_EVERY));
        assert!(is_worth_a_write(&at(Some(NOW + 1)), &written, Duration::ZERO));
        assert!(!is_worth_a_write(&written, &written, Duration::ZERO));
    }
}
