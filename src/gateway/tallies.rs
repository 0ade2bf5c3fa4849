//! What has happened since the relay started, counted, for `GET /metrics`.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::alert::{FallbackName, RouteName, SessionName};
use crate::outbox::{AlertRecord, Transition, TransitionKind};
use crate::util::lock;

/// Counts of one run. Whoever makes something happen tells it; what is told costs a look into a map.
#[derive(Default)]
pub struct Tallies(Mutex<Counted>);

/// The counts as they are at one moment.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// What has happened to alerts: `accepted`, `repeated` and their like once for an alert, steps once for a delivery.
    pub alerts: BTreeMap<(RouteName, TransitionKind), u64>,
    /// From acceptance to the ack of WhatsApp's server, for each delivery.
    pub sent: BTreeMap<RouteName, Spread<{ WAITS_S.len() }>>,
    /// From acceptance to the recipient's device, for each delivery.
    pub delivered: BTreeMap<RouteName, Spread<{ WAITS_S.len() }>>,
    /// Ends of lines that were online, by the stable code of the cause.
    pub line_ends: BTreeMap<(SessionName, String), u64>,
    /// Requests to fallbacks, by whether they were taken.
    pub handovers: BTreeMap<(FallbackName, bool), u64>,
}

/// Bounds of the waits of alerts, in seconds: a glance, a redial, a restart of a router, a night.
pub const WAITS_S: [f64; 12] = [
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0,
];

/// How durations spread over bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread<const N: usize> {
    /// How many are not above the bound of the same place, and above the one before.
    pub within: [u64; N],
    /// How many there are, those above the last bound among them.
    pub count: u64,
    /// All of them together, in seconds.
    pub sum_s: f64,
}

impl<const N: usize> Default for Spread<N> {
    fn default() -> Self {
        Self {
            within: [0; N],
            count: 0,
            sum_s: 0.0,
        }
    }
}

impl<const N: usize> Spread<N> {
    /// One more of `seconds`, among these bounds.
    pub fn add(&mut self, bounds: &[f64; N], seconds: f64) {
        if let Some(place) = bounds.iter().position(|bound| seconds <= *bound) {
            self.within[place] += 1;
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

impl Tallies {
    /// The counts as they are now.
    #[must_use]
    pub fn counted(&self) -> Counted {
        lock(&self.0).clone()
    }

    /// Something has become of this alert.
    pub fn alert(&self, record: &AlertRecord, happened: &[Transition]) {
        if happened.is_empty() {
            return;
        }
        let counted = &mut *lock(&self.0);
        for happened in happened {
            let waits = match happened.what {
                TransitionKind::Sent => &mut counted.sent,
                TransitionKind::Delivered => &mut counted.delivered,
                TransitionKind::Accepted
                | TransitionKind::Read
                | TransitionKind::Failed
                | TransitionKind::Dropped
                | TransitionKind::Retried
                | TransitionKind::Forgotten
                | TransitionKind::Expired
                | TransitionKind::Handover
                | TransitionKind::Fallback
                | TransitionKind::Superseded
                | TransitionKind::Acknowledged
                | TransitionKind::Repeated
                | TransitionKind::Escalated
                | TransitionKind::Unheeded => continue,
            };
            let seconds = happened.at.0.saturating_sub(record.due_at().0) as f64 / 1000.0;
            waits.entry(happened.route.clone()).or_default().add(&WAITS_S, seconds);
        }
        happened.iter().for_each(|happened| counted.note(happened));
    }

    /// The same where there is no record of it any more.
    pub fn forgotten(&self, happened: &[Transition]) {
        let counted = &mut *lock(&self.0);
        happened.iter().for_each(|happened| counted.note(happened));
    }

    /// An alert is on disk.
    pub fn accepted(&self, route: &RouteName) {
        let counted = &mut *lock(&self.0);
        *counted
            .alerts
            .entry((route.clone(), TransitionKind::Accepted))
            .or_default() += 1;
    }

    /// A line that was online has ended.
    pub fn line_ended(&self, session: &SessionName, cause: &str) {
        let counted = &mut *lock(&self.0);
        *counted
            .line_ends
            .entry((session.clone(), cause.to_owned()))
            .or_default() += 1;
    }

    /// A fallback was asked to take alerts, and has, or has not.
    pub fn handed_over(&self, to: &FallbackName, taken: bool) {
        let counted = &mut *lock(&self.0);
        *counted.handovers.entry((to.clone(), taken)).or_default() += 1;
    }
}

impl Counted {
    fn note(&mut self, happened: &Transition) {
        *self.alerts.entry((happened.route.clone(), happened.what)).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_at_the_first_bound_that_is_not_below_it() {
        let mut spread = Spread::default();
        for seconds in [0.0, 1.0, 1.1, 9.0] {
            spread.add(&[1.0, 5.0], seconds);
        }
        assert_eq!(spread.within, [2, 1]);
        assert_eq!((spread.count, spread.sum_s), (4, 11.1));
    }
}
