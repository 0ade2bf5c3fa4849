//! Times to live: what is not sent in time is given up, and is told as that.

use std::time::Duration;

use super::history::TransitionKind;
use super::record::Step;
use super::session_queue::DeliveryId;
use super::{Now, Outbox};

impl Outbox {
    /// Gives up the deliveries whose time is over.
    pub(super) fn expire_waiting(&mut self, now: Now) {
        while let Some(&(at, seq)) = self.expiries.first() {
            if at > now.mono {
                return;
            }
            self.expiries.pop_first();
            let under_way = self.expire_alert(now, seq);
            let Some(entry) = self.entries.get_mut(&seq) else {
                continue;
            };
            // Whether it is too late shows when that has ended: nothing is given up that the server may have.
            entry.expires = under_way.then(|| now.mono + self.limits.ack);
            if let Some(again) = entry.expires {
                self.expiries.insert((again, seq));
            }
        }
    }

    /// True where a delivery of it is under way.
    fn expire_alert(&mut self, now: Now, seq: u64) -> bool {
        let Some(entry) = self.entries.get(&seq) else {
            return false;
        };
        // The disk may still refuse it, and then it was never there.
        if !entry.durable {
            return true;
        }
        let ttl = entry.record.ttl.unwrap_or_default();
        let mut under_way = false;
        for delivery_id in self.deliveries_at(seq, Step::Accepted) {
            if self.is_under_way(delivery_id) {
                under_way = true;
            } else {
                self.give_up(now, delivery_id, TransitionKind::Expired, |shared, attempts| {
                    let note = format!("not sent within its {}", words(ttl));
                    match (shared, attempts) {
                        (true, _) => format!("{note}, but a message that carries other alerts too still goes out"),
                        (false, 0) => note,
                        (false, _) => format!("{note}, but it may have gone out before"),
                    }
                });
            }
        }
        self.settle(now, seq);
        under_way
    }

    pub(super) fn is_under_way(&self, delivery_id: DeliveryId) -> bool {
        let message = self.message_of(delivery_id).and_then(|id| self.first_of(id));
        let Some(first) = message else { return false };
        let line = self
            .entries
            .get(&first.seq)
            .and_then(|entry| self.queues.get(&entry.record.session));
        let recipient = self.recipient_of(first);
        line.zip(recipient)
            .is_some_and(|(queue, recipient)| queue.is_in_flight(recipient, first))
    }
}

/// A time to live for people.
fn words(ttl: Duration) -> String {
    format!(
        "time to live of {}",
        humantime::format_duration(Duration::from_secs(ttl.as_secs().max(1)))
    )
}
