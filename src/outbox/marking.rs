//! Reactions of ours on messages that somebody has acknowledged: so the other recipients are told, without a message.
//!
//! They go beside the queues of the recipients, one at a time in a session. No alert waits for one, and whatever
//! becomes of it changes nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::io::{Output, SendFailure};
use super::marks::Session;
use super::message::{Content, Message};
use super::record::{AlertRecord, FollowUp, Mark, MessageId, Step};
use super::session_queue::DeliveryId;
use super::{Now, Outbox};
use crate::alert::{Recipient, SessionName};

/// What the recipient sees beside the message.
const EMOJI: &str = "✅";

/// Attempts that may come to nothing before a mark is given up: it is news that ages.
const ATTEMPTS_MAX: u32 = 8;

impl Outbox {
    /// The alerts `seqs`, which follow each other, are acknowledged, perhaps by somebody in one of `chat`. Whoever else
    /// has them sees it on the newest of them that they have.
    pub(super) fn mark_copies(&mut self, seqs: &BTreeSet<u64>, chat: &[Recipient]) {
        let mut newest: BTreeMap<Recipient, DeliveryId> = BTreeMap::new();
        let mut watched = false;
        for entry in seqs.iter().filter_map(|seq| self.entries.get(seq)) {
            watched |= entry.record.attention.watched;
            for (index, delivery) in entry.record.deliveries.iter().enumerate() {
                let has_it = matches!(delivery.step, Step::Sent | Step::Delivered | Step::Read);
                if delivery.part == 0 && has_it && !chat.contains(&delivery.recipient) {
                    let delivery_id = DeliveryId {
                        seq: entry.record.seq,
                        index,
                    };
                    newest.insert(delivery.recipient.clone(), delivery_id);
                }
            }
        }
        for delivery_id in newest.into_values().filter(|_| watched) {
            self.mark(delivery_id);
        }
    }

    /// The delivery has arrived only after somebody had acknowledged its alert elsewhere.
    pub(super) fn mark_late(&mut self, delivery_id: DeliveryId) {
        let Some(entry) = self.entries.get(&delivery_id.seq) else {
            return;
        };
        let attention = &entry.record.attention;
        let (Some(acked), Some(delivery)) = (&attention.acked, entry.record.deliveries.get(delivery_id.index)) else {
            return;
        };
        // Of what is said again the first is marked.
        let again = attention.follows.as_ref();
        let again = again.is_some_and(|follows| matches!(follows.what, FollowUp::Repeat { .. }));
        let theirs = acked.by == delivery.recipient.to_string();
        if attention.watched && !again && !theirs && delivery.part == 0 {
            self.mark(delivery_id);
        }
    }

    /// Once, and not while something that the message carries still waits for somebody.
    fn mark(&mut self, delivery_id: DeliveryId) {
        let Some(message_id) = self.message_of(delivery_id) else {
            return;
        };
        let carried = self.deliveries_of(message_id);
        let records = || {
            carried.iter().filter_map(|delivery_id| {
                self.entries
                    .get(&delivery_id.seq)
                    .map(|entry| (delivery_id, &entry.record))
            })
        };
        let marked = |(delivery_id, record): (&DeliveryId, &AlertRecord)| {
            let delivery = record.deliveries.get(delivery_id.index);
            delivery.is_some_and(|delivery| delivery.mark.is_some())
        };
        if records().any(|(_, record)| self.open(record).is_some()) || records().any(marked) {
            return;
        }
        let Some(recipient) = self.recipient_of(delivery_id).cloned() else {
            return;
        };
        let id = (self.draw_id.0)(delivery_id.seq, &recipient);
        let Some(entry) = self.entries.get_mut(&delivery_id.seq) else {
            return;
        };
        let Some(delivery) = entry.record.deliveries.get_mut(delivery_id.index) else {
            return;
        };
        delivery.mark = Some(Box::new(Mark {
            id: id.clone(),
            done: false,
        }));
        let session = entry.record.session.clone();
        self.marks.add(session, id.clone(), delivery_id, false);
        self.dirty.entry(delivery_id.seq).or_default().made.push(id);
    }

    /// Takes up those of an alert that the disk holds.
    pub(super) fn restore_marks(&mut self, seq: u64) {
        let Some(entry) = self.entries.get(&seq) else { return };
        for (index, delivery) in entry.record.deliveries.iter().enumerate() {
            if let Some(mark) = delivery.mark.as_ref().filter(|mark| !mark.done) {
                let session = entry.record.session.clone();
                self.marks
                    .add(session, mark.id.clone(), DeliveryId { seq, index }, true);
            }
        }
    }

    /// The alert goes, and nobody is told of it any more.
    pub(super) fn forget_marks(&mut self, seq: u64) {
        let Some(entry) = self.entries.get(&seq) else { return };
        for mark in entry.record.deliveries.iter().filter_map(|it| it.mark.as_ref()) {
            self.marks.remove(&mark.id);
        }
    }

    pub(super) fn on_mark_durable(&mut self, id: &MessageId) {
        if let Some(waiting) = self.marks.by_id.get_mut(id) {
            waiting.durable = true;
        }
    }

    pub(super) fn marks_up(&mut self, session: &SessionName, up: bool) {
        let queue = self.marks.sessions.entry(session.clone()).or_default();
        queue.up = up;
        queue.under_way = None;
        queue.pause_until = None;
        self.outputs
            .retain(|output| !matches!(output, Output::Mark { session: queued, .. } if queued == session));
    }

    /// The send goes on: the server's ack has its time from now.
    pub(super) fn on_mark_goes_on(&mut self, now: Now, id: &MessageId) {
        let until = now.mono + self.limits.ack;
        if let Some(waiting) = self.marks.by_id.get(id)
            && let Some(session) = self.marks.sessions.get_mut(&waiting.session)
            && let Some(under_way) = session.under_way.as_mut().filter(|(under_way, _)| under_way == id)
        {
            under_way.1 = until;
        }
    }

    /// The server has it, or refuses it; then it is given up.
    pub(super) fn on_mark_answered(&mut self, session: &SessionName, id: &MessageId, taken: bool) {
        let waiting = self.marks.by_id.get(id);
        if waiting.is_some_and(|waiting| waiting.session == *session) {
            self.end_mark(id, taken);
        }
    }

    pub(super) fn on_mark_failed(&mut self, now: Now, id: &MessageId, failure: &SendFailure) {
        let (passing, asked) = match failure {
            SendFailure::Refused { backoff, .. } => (true, backoff.unwrap_or_default()),
            SendFailure::Path(_) | SendFailure::Uploading => (true, Duration::ZERO),
            SendFailure::Permanent(_) => (false, Duration::ZERO),
        };
        let Some(waiting) = self.marks.by_id.get_mut(id) else {
            return;
        };
        let session = waiting.session.clone();
        let under_way = self
            .marks
            .sessions
            .get(&session)
            .and_then(|queue| queue.under_way.as_ref());
        // Word of an earlier attempt may come late.
        if under_way.is_none_or(|(under_way, _)| under_way != id) {
            return;
        }
        waiting.attempts += 1;
        let attempts = waiting.attempts;
        if !passing || attempts >= ATTEMPTS_MAX {
            return self.end_mark(id, false);
        }
        let pause = self.backoff(attempts).max(asked);
        if let Some(session) = self.marks.sessions.get_mut(&session) {
            session.under_way = None;
            session.pause_until = Some(now.mono + pause);
            // One that cannot go holds up no other.
            session.queue.retain(|queued| queued != id);
            session.queue.push_back(id.clone());
        }
    }

    /// Whether the server lets nothing through to its recipient. What ends that is an answer to a message, or a word of
    /// the recipient's; a mark must not be what asks.
    fn is_held(&self, delivery_id: DeliveryId) -> bool {
        let session = self.entries.get(&delivery_id.seq).map(|entry| &entry.record.session);
        let queue = session.and_then(|session| self.queues.get(session));
        let recipient = self.recipient_of(delivery_id);
        queue
            .zip(recipient)
            .is_some_and(|(queue, recipient)| queue.is_held(recipient))
    }

    fn end_mark(&mut self, id: &MessageId, taken: bool) {
        let Some(delivery_id) = self.marks.remove(id) else {
            return;
        };
        let entry = self.entries.get_mut(&delivery_id.seq);
        let delivery = entry.and_then(|entry| entry.record.deliveries.get_mut(delivery_id.index));
        let Some(delivery) = delivery else { return };
        match &mut delivery.mark {
            Some(mark) if taken => mark.done = true,
            mark => *mark = None,
        }
        self.dirty.entry(delivery_id.seq).or_default();
    }

    /// Hands out what can go, and looks after what got no answer.
    pub(super) fn send_marks(&mut self, now: Now) {
        let late = |session: &Session| {
            let (id, until) = session.under_way.as_ref()?;
            (*until <= now.mono).then(|| id.clone())
        };
        let late: Vec<MessageId> = self.marks.sessions.values().filter_map(late).collect();
        for id in late {
            self.on_mark_failed(now, &id, &SendFailure::Path(String::new()));
        }
        for session in self.marks.sessions.values_mut() {
            session.pause_until = session.pause_until.filter(|until| *until > now.mono);
        }
        while let Some((session, id, delivery_id)) = self.marks.next(now.mono, |of| self.is_held(of)) {
            let (Some(to), Some(recipient)) = (
                self.message_of(delivery_id).cloned(),
                self.recipient_of(delivery_id).cloned(),
            ) else {
                self.marks.remove(&id);
                continue;
            };
            if let Some(queue) = self.marks.sessions.get_mut(&session) {
                queue.under_way = Some((id.clone(), now.mono + self.limits.ack));
            }
            let emoji = EMOJI.to_owned();
            let content = Content::Reaction { to, emoji };
            let message = Message {
                id,
                recipient,
                content,
                quotes: None,
            };
            self.outputs.push_back(Output::Mark { session, message });
        }
    }
}
