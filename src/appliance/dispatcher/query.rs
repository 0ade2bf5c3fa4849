//! What the dispatcher tells of the outbox to those who ask.

use std::collections::BTreeMap;
use std::time::Instant;

use super::event::Query;
use super::facts::{FailedRoute, OutboxFacts};
use super::state::Dispatcher;
use crate::alert::{Recipient, SessionName};
use crate::appliance::clock;
use crate::gateway::api::{AlertView, BesideView, HeldBackStatus, HeldBackView};
use crate::outbox::{AlertRecord, Step};
use crate::state::backup::HELD;
use crate::util::millis;

/// Alerts of one message that are told of beside one of them.
const BESIDE_MAX: usize = 1000;

impl Dispatcher {
    pub(super) fn on_query(&self, query: Query) {
        match query {
            Query::Alert { id, answer } => {
                let _ = answer.try_send(self.outbox.get(&id).map(|record| self.seen_alone(record)));
            }
            Query::Alerts { pending, limit, answer } => {
                let alerts = self.outbox.list(pending, limit);
                let mut views = AlertView::list(alerts);
                for view in &mut views {
                    self.say_what_holds(view);
                }
                let _ = answer.try_send(views);
            }
            Query::IsForgotten { id, answer } => {
                let _ = answer.try_send(self.outbox.is_forgotten(&id));
            }
            Query::Facts { answer } => {
                let _ = answer.try_send(self.facts());
            }
        }
    }

    /// One alert with all that is known of it here.
    fn seen_alone(&self, record: &AlertRecord) -> AlertView {
        let mut view = AlertView::from(record);
        self.say_what_holds(&mut view);
        let beside = self.outbox.beside(record.seq);
        if beside.len() > 1 {
            view.beside = beside.into_iter().take(BESIDE_MAX).map(BesideView::from).collect();
        }
        view
    }

    fn say_what_holds(&self, view: &mut AlertView) {
        let held = self.outbox.held_back(view.seq);
        for (delivery, held) in view.deliveries.iter_mut().zip(held) {
            delivery.held_back = held.map(|held| HeldBackView {
                why: held.why.to_string(),
                until_at: held.until.map(wall_at),
            });
        }
    }

    fn facts(&self) -> OutboxFacts {
        let outbox = &self.outbox;
        let mut held: BTreeMap<_, usize> = BTreeMap::new();
        for (session, _, hold) in outbox.held_recipients() {
            *held.entry((session.clone(), hold)).or_default() += 1;
        }
        OutboxFacts {
            counts: Step::ALL.map(|step| outbox.count(step)),
            pending: outbox.pending_len(),
            full: outbox.full(),
            held_back: outbox
                .all_held_back()
                .into_iter()
                .map(|((route, why), (deliveries, until))| HeldBackStatus {
                    route: route.to_string(),
                    why: why.to_string(),
                    deliveries,
                    until_at: until.map(wall_at),
                })
                .collect(),
            oldest: outbox.oldest_pending(),
            oldest_note: outbox.oldest_pending_note().to_owned(),
            held,
            orphaned: self.orphaned(),
            failed: self.failed(),
            fallbacks: outbox.fallback_troubles(),
        }
    }

    /// A line for each session that alerts wait for and that is not configured.
    pub(in crate::appliance) fn orphaned(&self) -> Vec<String> {
        let mut waiting: BTreeMap<&SessionName, usize> = BTreeMap::new();
        for alert in self.outbox.list(true, usize::MAX) {
            if !self.sessions.contains_key(&alert.session) {
                *waiting.entry(&alert.session).or_default() += 1;
            }
        }
        let line = |(session, count): (&SessionName, usize)| {
            format!(
                "{count} alert(s) wait for session {session}, which is not configured: name it so again, or drop them"
            )
        };
        waiting.into_iter().map(line).collect()
    }

    /// The routes on which alerts fail for good. A number that is not on WhatsApp is told of by itself, and what is
    /// held since the state was restored was told to whoever restored it.
    fn failed(&self) -> Vec<FailedRoute> {
        let unknown = self.sessions.iter().flat_map(|(name, handle)| {
            let recipients = handle.directory.not_on_whatsapp();
            recipients.into_iter().map(move |recipient| (name, recipient))
        });
        let unknown: Vec<(&SessionName, Recipient)> = unknown.collect();
        let failures = self.outbox.failures(|session, delivery| {
            let is_it =
                |(name, recipient): &(&SessionName, Recipient)| *name == session && *recipient == delivery.recipient;
            delivery.note == HELD || unknown.iter().any(is_it)
        });
        let failed = failures.into_iter().map(|failures| FailedRoute {
            route: failures.route.clone(),
            session: failures.session.clone(),
            alerts: failures.alerts,
            reason: failures.reason.to_owned(),
        });
        failed.collect()
    }
}

/// What the wall clock shows then, as it stands now.
fn wall_at(at: Instant) -> u64 {
    let now = clock::now();
    now.wall
        .0
        .saturating_add(millis(at.saturating_duration_since(now.mono)))
}
