//! What has failed for good, so that somebody is told of it: its sender has long had its answer.

use std::collections::BTreeMap;

use super::Outbox;
use super::record::{AlertRecord, Delivery, Step};
use crate::alert::{RouteName, SessionName};

/// Alerts of one route that have failed since the last one that got through to all of its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures<'a> {
    pub route: &'a RouteName,
    pub session: &'a SessionName,
    pub alerts: usize,
    /// The note of the newest, in words.
    pub reason: &'a str,
}

impl Outbox {
    /// The routes on which alerts fail. What a person gave up does not count, and neither does a delivery that is
    /// `told_of` in another way. It is read from what is kept, so a restart changes nothing; with its alert a failure
    /// is forgotten.
    pub fn failures(&self, told_of: impl Fn(&SessionName, &Delivery) -> bool) -> Vec<Failures<'_>> {
        let mut routes: BTreeMap<&RouteName, Failures<'_>> = BTreeMap::new();
        let settled = self.entries.values().filter(|entry| entry.keep_until.is_some());
        for AlertRecord {
            route,
            session,
            deliveries,
            ..
        } in settled.map(|entry| &entry.record)
        {
            let failed = |delivery: &&Delivery| match delivery.step {
                Step::Failed | Step::Expired => !told_of(session, delivery),
                Step::Accepted
                | Step::Sent
                | Step::Delivered
                | Step::Read
                | Step::Fallback
                | Step::Superseded
                | Step::Dropped => false,
            };
            // What a fallback has was told there, and says nothing of whether the route works.
            if deliveries.iter().all(|delivery| delivery.step < Step::Fallback) {
                routes.remove(route);
            } else if let Some(last) = deliveries.iter().rfind(failed) {
                let failures = routes.entry(route).or_insert(Failures {
                    route,
                    session,
                    alerts: 0,
                    reason: "",
                });
                failures.alerts += 1;
                failures.reason = &last.note;
            }
        }
        routes.into_values().collect()
    }
}
