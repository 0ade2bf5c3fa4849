//! Deadlines: which is next and why, and what happens when one passes.

use std::time::{Duration, Instant};

use super::io::{Output, Reason};
use super::refusal::{Hold, Refused};
use super::session_queue::{Due, Pause};
use super::{Now, Outbox};

impl Outbox {
    /// The next deadline and why it stands. `None`: nothing will happen by itself.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let queues =
            self.queues
                .values()
                .filter_map(super::SessionQueue::next_deadline)
                .map(|(at, delivery_id, ack)| {
                    let seq = delivery_id.seq;
                    (
                        at,
                        if ack {
                            Reason::Ack { seq }
                        } else {
                            Reason::Retry { seq }
                        },
                    )
                });
        let kept = self.kept.ends.first().map(|&(at, seq)| (at, Reason::KeepEnds { seq }));
        let expiry = self.expiries.first();
        let expiry = expiry.map(|&(at, seq)| (at, Reason::Expires { seq }));
        let delay = self.delayed.first();
        let delay = delay.map(|&(at, seq)| (at, Reason::DelayEnds { seq }));
        let handover = self.handovers.next_deadline().map(|(at, seq, due)| match due {
            true => (at, Reason::FallbackDue { seq }),
            false => (at, Reason::FallbackPause { seq }),
        });
        let attention = self.attention.first();
        let attention = attention.map(|&(at, seq)| (at, Reason::FollowUp { seq }));
        let marks = self.marks.next_deadline();
        let marks = marks.map(|(at, seq)| (at, Reason::Mark { seq }));
        queues
            .chain(handover)
            .chain(kept)
            .chain(attention)
            .chain(marks)
            .chain(expiry)
            .chain(delay)
            .chain(self.policy.poll_timeout())
            .min()
    }

    /// Carries out every deadline that has passed. Early and repeated calls do nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        let sessions: Vec<_> = self.queues.keys().cloned().collect();
        for session in sessions {
            while let Some(due) = self.queues.get_mut(&session).and_then(|queue| queue.pop_due(now.mono)) {
                let Due::Ack {
                    recipient: _,
                    id: delivery_id,
                    leased_at,
                } = due
                else {
                    continue;
                };
                let queue = self.queues.get_mut(&session);
                if queue.is_some_and(|queue| queue.miss_ack(leased_at, now.mono, self.limits.missed_acks_max)) {
                    self.outputs.push_back(Output::Suspect {
                        session: session.clone(),
                    });
                }
                if let Some(message_id) = self.message_of(delivery_id).cloned() {
                    self.pause(now, &message_id, "no ack from the server in time", Pause::Path);
                }
            }
        }
        self.forget_old(now);
        self.end_delays(now);
        self.fill(now);
        self.follow_up(now);
    }

    /// The pause after the `failures`-th failure in a row: doubling up to the longest, with jitter.
    pub(super) fn backoff(&mut self, failures: u32) -> Duration {
        let doubled = self
            .limits
            .retry_first
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        self.jitter(doubled.min(self.limits.retry_max))
    }

    /// The pause after the server has held a recipient `holds` times in a row.
    pub(super) fn hold_pause(&mut self, hold: Hold, refused: Refused, holds: u32) -> Duration {
        let (first, longest) = match (hold, refused) {
            (Hold::RateLimited, Refused::Question) => (self.limits.limited_first, self.limits.limited_max),
            (Hold::RateLimited, Refused::Message) => (self.limits.retry_max, self.limits.limited_max),
            (Hold::NotWritten | Hold::NewChatsCapped, _) => (self.limits.retry_max, self.limits.closed_max),
        };
        let doubled = first.saturating_mul(1 << holds.saturating_sub(1).min(20));
        self.jitter(doubled.min(longest))
    }

    /// ±20 %, so that recipients that failed together do not come back together.
    pub(super) fn jitter(&mut self, pause: Duration) -> Duration {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        pause * (800 + (self.seed >> 32) as u32 % 401) / 1000
    }
}
