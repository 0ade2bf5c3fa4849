//! The way of a delivery: what each input makes of its step.

use std::time::Duration;

use super::history::{Transition, TransitionKind};
use super::io::{CommandError, Input, Output, ReceiptKind, SendFailure};
use super::making;
use super::message::Message;
use super::record::{AlertRecord, NOTE_CHARS_MAX, Step};
use super::refusal::{self, Hold, Judgement, Refused};
use super::session_queue::{DeliveryId, Pause, Place};
use super::{MessageId, Now, Outbox, policy};
use crate::alert::{Recipient, SessionName};

/// The longest pause that the server can ask for by name. A wrong number of its must not silence a recipient for days.
const BACKOFF_MAX: Duration = Duration::from_secs(60 * 60);

/// What was said of an attempt that came to nothing.
struct Refusal {
    note: String,
    judgement: Judgement,
    refused: Refused,
    /// What the server asks for.
    backoff: Duration,
}

impl Outbox {
    /// Takes one input in. What it leads to is fetched with [`poll_output`](Self::poll_output).
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Durable { seq } => self.on_durable(now, seq),
            Input::NotDurable { seq } => self.on_not_durable(now, seq),
            Input::MessageDurable { message_id, seq } => {
                self.on_message_durable(&message_id, seq);
                self.on_mark_durable(&message_id);
            }
            Input::IntentDurable { seq, to } => self.on_intent_durable(seq, &to),
            Input::HandedOver { to, key } => self.on_handed_over(now, &to, &key),
            Input::HandoverFailed { to, key, failure } => self.on_handover_failed(now, &to, &key, failure),
            Input::SessionUp(session) => {
                self.handovers.start(now.mono, now.wall);
                self.handovers.session_up(session.clone());
                self.marks_up(&session, true);
                self.queues.entry(session).or_default().up();
            }
            Input::SessionDown(session) => {
                self.on_down(&session);
                self.marks_up(&session, false);
                self.handovers.session_down(session, now.mono, now.wall);
            }
            // The ack's time runs from the lease, so that a write that never ends is seen too; what asks first, and
            // gets answers, has more of it.
            Input::Asking { message_id } => {
                self.on_asking(now, &message_id);
                self.on_mark_goes_on(now, &message_id);
            }
            Input::Written { message_id } => {
                self.on_written(now, &message_id);
                self.on_mark_goes_on(now, &message_id);
            }
            Input::Incomplete { message_id, words } => {
                for delivery_id in self.deliveries_of(&message_id) {
                    self.note(delivery_id, &words);
                }
            }
            Input::SendFailed { message_id, failure } => {
                self.on_mark_failed(now, &message_id, &failure);
                self.on_send_failed(now, &message_id, failure);
            }
            Input::Uploaded { message_id } => self.on_uploaded(&message_id),
            Input::Heard { session, from } => {
                if let Some(queue) = self.queues.get_mut(&session) {
                    from.iter().for_each(|name| queue.heard(name, now.mono));
                }
            }
            Input::ServerAck {
                session,
                message_id,
                error,
            } => {
                self.on_mark_answered(&session, &message_id, error.is_none());
                self.on_ack(now, &session, &message_id, error);
            }
            Input::Receipt {
                session,
                message_id,
                kind,
                from,
            } => self.on_receipt(now, &session, &message_id, kind, &from),
            Input::AskedAgain {
                session,
                message_id,
                from,
                by,
            } => self.on_asked_again(&session, &message_id, &from, by),
            Input::Followed { follows } => self.on_followed(now, &follows, now.wall),
            Input::ClockStepped => self.policy.handle(now, policy::Input::ClockStepped),
        }
        self.fill(now);
    }

    fn on_receipt(
        &mut self,
        now: Now,
        session: &SessionName,
        message_id: &MessageId,
        kind: ReceiptKind,
        from: &[Recipient],
    ) {
        if !self.is_to_any(message_id, from) {
            return;
        }
        let proof = match kind {
            // Where it is not to the account itself, an own device is not among the recipients.
            ReceiptKind::Delivered | ReceiptKind::OwnDevice => TransitionKind::Delivered,
            ReceiptKind::Read => TransitionKind::Read,
        };
        self.on_proof(now, session, message_id, proof);
    }

    /// What is not sent yet, or failed, has its own way.
    fn on_asked_again(&mut self, session: &SessionName, message_id: &MessageId, from: &[Recipient], by: String) {
        let may_ask = self.is_to_any(message_id, from) || from.contains(&Recipient::Me);
        if !may_ask || self.leg_of(session, message_id).is_none() {
            return;
        }
        let carried = self.deliveries_of(message_id);
        let has_gone_out = carried.iter().any(|delivery_id| match self.step_of(*delivery_id) {
            Some(Step::Sent | Step::Delivered | Step::Read) => true,
            Some(Step::Accepted | Step::Fallback | Step::Superseded | Step::Dropped | Step::Expired | Step::Failed)
            | None => false,
        });
        let recipient = carried.first().and_then(|first| self.recipient_of(*first));
        let Some(recipient) = recipient.filter(|_| has_gone_out) else {
            return;
        };
        let message = Message {
            id: message_id.clone(),
            recipient: recipient.clone(),
            content: making::content(&self.entries, &*self.policy, &self.rules, &carried),
            quotes: making::quote(&self.entries, &self.messages, &*self.policy, &self.rules, &carried),
        };
        self.outputs.push_back(Output::SendAgain {
            session: session.clone(),
            message,
            by,
        });
    }

    fn on_asking(&mut self, now: Now, message_id: &MessageId) {
        let (ack_by, asking_max) = (now.mono + self.limits.ack, self.limits.asking_max);
        if let Some(delivery_id) = self.first_of(message_id) {
            self.on_queue(delivery_id, |queue, recipient| {
                queue.asking(recipient, delivery_id, ack_by, asking_max)
            });
        }
    }

    fn on_written(&mut self, now: Now, message_id: &MessageId) {
        let ack_by = now.mono + self.limits.ack;
        if let Some(delivery_id) = self.first_of(message_id) {
            self.on_queue(delivery_id, |queue, recipient| {
                queue.written(recipient, delivery_id, now.mono, ack_by)
            });
        }
    }

    /// Whether the message goes to one of `names`. A route may name the account itself by its number.
    fn is_to_any(&self, message_id: &MessageId, names: &[Recipient]) -> bool {
        let recipient = self
            .first_of(message_id)
            .and_then(|delivery_id| self.recipient_of(delivery_id));
        recipient.is_some_and(|recipient| names.contains(recipient))
    }

    /// Sends an alert that was given up again, under the same message ids and with all that the messages carry; for one
    /// that waits out a pause, or for its own time, now. Its time to live counts no more: a person wants it sent. What
    /// is under way, or held back by a policy, is left alone.
    ///
    /// # Errors
    /// The id is not known, or everything is sent.
    pub fn retry(&mut self, now: Now, id: &str) -> Result<&AlertRecord, CommandError> {
        let seq = self.seq_for(id, "retry", |step| step == Step::Accepted || step.is_given_up())?;
        let given_up = Step::ALL.into_iter().filter(|step| step.is_given_up());
        let given_up: Vec<DeliveryId> = given_up.flat_map(|step| self.deliveries_at(seq, step)).collect();
        if !given_up.is_empty()
            && let Some(entry) = self.entries.get_mut(&seq)
        {
            entry.record.ttl = None;
            self.watch_ages(now, seq);
        }
        for delivery_id in given_up {
            match self.message_of(delivery_id).cloned() {
                Some(message_id) => {
                    for delivery_id in self.deliveries_of(&message_id) {
                        if self.step_of(delivery_id).is_some_and(Step::is_given_up) {
                            self.set_step(now, delivery_id, TransitionKind::Retried, "");
                            self.settle(now, delivery_id.seq);
                        }
                    }
                    self.enqueue(&message_id, Place::ByHand);
                }
                None => {
                    self.set_step(now, delivery_id, TransitionKind::Retried, "");
                    self.settle(now, seq);
                    self.wait(now, delivery_id, true);
                }
            }
        }
        self.end_delay(now, seq, true);
        for delivery_id in self.deliveries_at(seq, Step::Accepted) {
            if let Some(first) = self.message_of(delivery_id).and_then(|id| self.first_of(id)) {
                self.on_queue(first, |queue, recipient| queue.end_pause(recipient, first));
            }
        }
        self.fill(now);
        self.get(id).ok_or_else(|| CommandError::Unknown(id.to_owned()))
    }

    /// Gives up what is not yet acked. A message that is under way may arrive all the same, and is then shown as sent;
    /// one that carries other alerts too goes out as it is.
    ///
    /// # Errors
    /// The id is not known, or nothing of it waits.
    pub fn drop_alert(&mut self, now: Now, id: &str) -> Result<&AlertRecord, CommandError> {
        let seq = self.seq_for(id, "drop", |step| step == Step::Accepted)?;
        for delivery_id in self.deliveries_at(seq, Step::Accepted) {
            self.give_up(now, delivery_id, TransitionKind::Dropped, |shared, attempts| {
                let note = match (shared, attempts) {
                    (true, _) => "dropped by hand, but a message that carries other alerts too still goes out",
                    (false, 0) => "dropped by hand",
                    (false, _) => "dropped by hand, but it may have gone out before",
                };
                note.to_owned()
            });
        }
        self.settle(now, seq);
        self.fill(now);
        // It was settled just now at the earliest, so only the byte limit could have forgotten it already.
        self.get(id).ok_or_else(|| CommandError::Unknown(id.to_owned()))
    }

    /// Takes a delivery that waits out of the line, or from the policy. `note` says so, from whether its message goes
    /// out all the same for the others that it carries, and from how often that was tried. The caller settles the
    /// alert.
    pub(super) fn give_up(
        &mut self,
        now: Now,
        delivery_id: DeliveryId,
        what: TransitionKind,
        note: impl Fn(bool, u32) -> String,
    ) {
        let message_id = self.message_of(delivery_id).cloned();
        let carried = message_id.as_ref().map_or_else(Vec::new, |id| self.deliveries_of(id));
        let is_shared = |other: &DeliveryId| *other != delivery_id && self.step_of(*other) == Some(Step::Accepted);
        let shared = carried.iter().any(is_shared);
        let note = note(shared, self.attempts(delivery_id));
        self.set_step(now, delivery_id, what, &note);
        match (message_id, carried.first()) {
            (Some(message_id), Some(&first)) if !shared => {
                self.on_queue(first, |queue, recipient| queue.give_up(recipient, first));
                self.settle_message(now, &message_id);
                self.cancel_sends(|output| matches!(output, Output::Send { message, .. } if message.id == message_id));
            }
            (Some(_), _) => {}
            (None, _) => self.policy.handle(now, policy::Input::Gone { delivery: delivery_id }),
        }
    }

    pub(super) fn attempts(&self, delivery_id: DeliveryId) -> u32 {
        let delivery = self
            .entries
            .get(&delivery_id.seq)
            .and_then(|entry| entry.record.deliveries.get(delivery_id.index));
        delivery.map_or(0, |delivery| delivery.attempts)
    }

    fn on_durable(&mut self, now: Now, seq: u64) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        if std::mem::replace(&mut entry.durable, true) {
            return;
        }
        for delivery_id in self.deliveries_at(seq, Step::Accepted) {
            match self.message_of(delivery_id).cloned() {
                Some(message_id) => self.enqueue(&message_id, Place::InTurn),
                None => self.wait(now, delivery_id, false),
            }
        }
        self.supersede(now, seq);
        self.schedule_follow_up(now, seq);
        self.on_follow_up_durable(now, seq);
    }

    fn on_not_durable(&mut self, now: Now, seq: u64) {
        if self.entries.get(&seq).is_some_and(|entry| !entry.durable) {
            self.remove(now, seq);
        }
    }

    fn on_down(&mut self, session: &SessionName) {
        if let Some(queue) = self.queues.get_mut(session) {
            queue.down();
        }
        // Not fetched yet: it would go into the dead line.
        self.cancel_sends(|output| matches!(output, Output::Send { session: queued, .. } if queued == session));
    }

    fn on_ack(&mut self, now: Now, session: &SessionName, message_id: &MessageId, error: Option<String>) {
        let Some(code) = error else {
            return self.on_proof(now, session, message_id, TransitionKind::Sent);
        };
        if self.leg_of(session, message_id).is_none() {
            return;
        }
        // A refusal is an answer too: the line works.
        if let Some(queue) = self.queues.get_mut(session) {
            queue.forgive_missed_acks();
        }
        let refusal = Refusal {
            note: refusal::note(&code, Refused::Message),
            judgement: refusal::judge(&code, Refused::Message),
            refused: Refused::Message,
            backoff: Duration::ZERO,
        };
        self.on_refused(now, message_id, refusal);
    }

    fn on_send_failed(&mut self, now: Now, message_id: &MessageId, failure: SendFailure) {
        match failure {
            SendFailure::Path(words) => self.pause(now, message_id, &words, Pause::Path),
            SendFailure::Uploading => self.on_uploading(now, message_id),
            SendFailure::Permanent(words) => {
                if self.waiting_delivery(message_id).is_some() {
                    self.fail(now, message_id, &words);
                }
            }
            SendFailure::Refused { code, backoff } => {
                let code = code.to_string();
                let refusal = Refusal {
                    note: refusal::note(&code, Refused::Question),
                    judgement: refusal::judge(&code, Refused::Question),
                    refused: Refused::Question,
                    backoff: backoff.unwrap_or_default().min(BACKOFF_MAX),
                };
                self.on_refused(now, message_id, refusal);
            }
        }
    }

    /// No failure and no attempt: nothing was written.
    fn on_uploading(&mut self, now: Now, message_id: &MessageId) {
        let Some(delivery_id) = self.first_of(message_id) else {
            return;
        };
        let until = now.mono + self.limits.upload_look;
        let paused = self.on_queue(delivery_id, |queue, recipient| {
            let in_flight = queue.is_in_flight(recipient, delivery_id);
            queue.pause(recipient, delivery_id, until, Pause::Upload);
            in_flight
        });
        if paused != Some(true) {
            return;
        }
        for delivery_id in self.deliveries_of(message_id) {
            let entry = self.entries.get_mut(&delivery_id.seq);
            if let Some(delivery) = entry.and_then(|entry| entry.record.deliveries.get_mut(delivery_id.index)) {
                delivery.attempts = delivery.attempts.saturating_sub(1);
            }
        }
        self.note_waiting(message_id, "its attachment is being uploaded");
    }

    fn on_uploaded(&mut self, message_id: &MessageId) {
        if let Some(delivery_id) = self.first_of(message_id) {
            self.on_queue(delivery_id, |queue, recipient| queue.end_pause(recipient, delivery_id));
        }
    }

    /// An ack or a receipt: the message has come at least as far as `proof` says, whatever was thought of it before.
    fn on_proof(&mut self, now: Now, session: &SessionName, message_id: &MessageId, proof: TransitionKind) {
        let Some(first) = self.leg_of(session, message_id) else {
            return;
        };
        if let Some(queue) = self.queues.get_mut(session) {
            queue.forgive_missed_acks();
        }
        for delivery_id in self.deliveries_of(message_id) {
            let known = self.step_of(delivery_id);
            if known.is_some_and(|known| Some(known) < proof.step() || known.is_given_up()) {
                self.set_step(now, delivery_id, proof, "");
            }
        }
        self.on_queue(first, |queue, recipient| queue.remove(recipient, first));
        self.settle_message(now, message_id);
    }

    fn on_refused(&mut self, now: Now, message_id: &MessageId, refusal: Refusal) {
        let Some(delivery_id) = self.waiting_delivery(message_id) else {
            return;
        };
        // A fallback may have it: what the server thought of an earlier attempt decides nothing now.
        if self
            .deliveries_of(message_id)
            .iter()
            .any(|delivery_id| self.handovers.holds(delivery_id.seq))
        {
            return self.note_waiting(message_id, &refusal.note);
        }
        let Refusal {
            note,
            judgement,
            refused,
            backoff,
        } = refusal;
        // A message that is refused says nothing against the line; a question that is refused may.
        let pause = match refused {
            Refused::Message => Pause::Server,
            // What the server asks for by name it asks for on any line.
            Refused::Question if !backoff.is_zero() => Pause::Server,
            Refused::Question => Pause::Path,
        };
        if !matches!(judgement, Judgement::Hold(_)) {
            self.on_queue(delivery_id, |queue, recipient| queue.end_hold(recipient));
        }
        match judgement {
            Judgement::Final => {
                if self.on_queue(delivery_id, |queue, recipient| queue.note_final(recipient, delivery_id)) == Some(true)
                {
                    self.fail(now, message_id, &note);
                } else {
                    self.pause_for(now, message_id, &note, pause, backoff);
                }
            }
            Judgement::Passing => self.pause_for(now, message_id, &note, pause, backoff),
            Judgement::Unknown => {
                self.on_queue(delivery_id, |queue, recipient| {
                    queue.try_fresh_once(recipient, delivery_id)
                });
                self.pause_for(now, message_id, &note, pause, backoff);
            }
            Judgement::Hold(hold) => self.hold(now, message_id, &note, hold, (refused, backoff)),
        }
    }

    fn fail(&mut self, now: Now, message_id: &MessageId, note: &str) {
        for delivery_id in self.deliveries_of(message_id) {
            if self.step_of(delivery_id) == Some(Step::Accepted) {
                self.set_step(now, delivery_id, TransitionKind::Failed, note);
            }
        }
        if let Some(first) = self.first_of(message_id) {
            self.on_queue(first, |queue, recipient| queue.remove(recipient, first));
        }
        self.settle_message(now, message_id);
    }

    pub(super) fn settle_message(&mut self, now: Now, message_id: &MessageId) {
        for delivery_id in self.deliveries_of(message_id) {
            self.settle(now, delivery_id.seq);
        }
    }

    /// Ends a lease with a pause. Late words about a lease that is over change nothing.
    pub(super) fn pause(&mut self, now: Now, message_id: &MessageId, note: &str, pause: Pause) {
        self.pause_for(now, message_id, note, pause, Duration::ZERO);
    }

    /// [`pause`](Self::pause) that is no shorter than `least`, which the server asks for.
    fn pause_for(&mut self, now: Now, message_id: &MessageId, note: &str, pause: Pause, least: Duration) {
        let Some(delivery_id) = self.first_of(message_id) else {
            return;
        };
        let in_flight = self.on_queue(delivery_id, |queue, recipient| {
            queue
                .is_in_flight(recipient, delivery_id)
                .then(|| queue.count_failure(recipient))
        });
        let Some(Some(failures)) = in_flight else { return };
        let until = now.mono + self.backoff(failures).max(least);
        self.on_queue(delivery_id, |queue, recipient| {
            queue.pause(recipient, delivery_id, until, pause)
        });
        self.note_waiting(message_id, note);
    }

    /// Ends a lease with the long pause that the server's word asks for.
    fn hold(
        &mut self,
        now: Now,
        message_id: &MessageId,
        note: &str,
        hold: Hold,
        (refused, backoff): (Refused, Duration),
    ) {
        let Some(delivery_id) = self.first_of(message_id) else {
            return;
        };
        let opened = self.limits.opened;
        let counted = self.on_queue(delivery_id, |queue, recipient| {
            let opened = hold.ends_when_they_write() && queue.has_heard(recipient, now.mono, opened);
            let in_flight = queue.is_in_flight(recipient, delivery_id);
            in_flight.then(|| (!opened).then(|| queue.count_hold(recipient, hold)))
        });
        match counted.flatten() {
            Some(Some(holds)) => {
                let until = now.mono + self.hold_pause(hold, refused, holds).max(backoff);
                self.on_queue(delivery_id, |queue, recipient| {
                    queue.pause(recipient, delivery_id, until, Pause::Hold(hold))
                });
                self.note_waiting(message_id, note);
            }
            Some(None) => self.pause_for(now, message_id, note, Pause::Server, backoff),
            None => {}
        }
    }

    /// Leases what may go now.
    pub(super) fn fill(&mut self, now: Now) {
        self.expire_waiting(now);
        self.hand_over(now);
        self.make_messages(now);
        let (in_flight_max, ack_by) = (self.limits.in_flight_max, now.mono + self.limits.ack);
        for (session, queue) in &mut self.queues {
            while let Some((recipient, first, fresh)) = queue.lease(in_flight_max, now.mono, ack_by) {
                let delivery = self.entries.get(&first.seq);
                let delivery = delivery.and_then(|entry| entry.record.deliveries.get(first.index));
                let Some(id) = delivery.and_then(|delivery| delivery.message_id.clone()) else {
                    continue;
                };
                let carried: Vec<DeliveryId> = making::carried(&self.entries, &self.messages, &id).collect();
                let told = making::told(&self.entries, &carried);
                for delivery_id in &told {
                    let Some(entry) = self.entries.get_mut(&delivery_id.seq) else {
                        continue;
                    };
                    let late = entry.late_at.is_some_and(|at| at <= now.mono);
                    if let Some(delivery) = entry.record.deliveries.get_mut(delivery_id.index) {
                        // Not worth a write of its own: it goes to the disk with the next step.
                        delivery.attempts = delivery.attempts.saturating_add(1);
                        delivery.late |= late;
                    }
                }
                self.outputs.push_back(Output::Send {
                    session: session.clone(),
                    seqs: told.iter().map(|delivery_id| delivery_id.seq).collect(),
                    message: Message {
                        content: making::content(&self.entries, &*self.policy, &self.rules, &carried),
                        quotes: making::quote(&self.entries, &self.messages, &*self.policy, &self.rules, &carried),
                        id,
                        recipient,
                    },
                    fresh,
                });
            }
        }
        self.send_marks(now);
    }

    /// The one place where a step changes. The caller puts the message in line or takes it out, and settles the alert
    /// afterwards.
    pub(super) fn set_step(&mut self, now: Now, delivery_id: DeliveryId, what: TransitionKind, note: &str) {
        let Some(step) = what.step() else { return };
        let Some(entry) = self.entries.get_mut(&delivery_id.seq) else {
            return;
        };
        let Some(delivery) = entry.record.deliveries.get_mut(delivery_id.index) else {
            return;
        };
        let before = delivery.step;
        self.counts[before as usize] -= 1;
        self.counts[step as usize] += 1;
        // A receipt of one device does not take back that another could not be given it.
        let keeps_note = note.is_empty() && matches!(delivery.step, Step::Sent | Step::Delivered);
        delivery.step = step;
        delivery.since = now.wall;
        let is_text = delivery.part == 0;
        if !keeps_note {
            delivery.note = note.chars().take(NOTE_CHARS_MAX).collect();
        }
        let happened = Transition::to_one(&entry.record, now.wall, what, delivery_id.index);
        self.dirty.entry(delivery_id.seq).or_default().happened.push(happened);
        self.changed.insert(delivery_id.seq);
        if is_text && matches!(step, Step::Failed | Step::Expired) {
            self.want_fallback(now, delivery_id.seq);
        }
        self.schedule_follow_up(now, delivery_id.seq);
        let is_there = |step| matches!(step, Step::Sent | Step::Delivered | Step::Read);
        if is_there(step) && !is_there(before) {
            self.mark_late(delivery_id);
        }
    }

    /// [`note`](Self::note) for all that the message carries and that waits.
    fn note_waiting(&mut self, message_id: &MessageId, note: &str) {
        for delivery_id in self.deliveries_of(message_id) {
            if self.step_of(delivery_id) == Some(Step::Accepted) {
                self.note(delivery_id, note);
            }
        }
    }

    /// Keeps the last refusal. The same words again are not worth a write.
    fn note(&mut self, delivery_id: DeliveryId, note: &str) {
        let Some(entry) = self.entries.get_mut(&delivery_id.seq) else {
            return;
        };
        let Some(delivery) = entry.record.deliveries.get_mut(delivery_id.index) else {
            return;
        };
        let note: String = note.chars().take(NOTE_CHARS_MAX).collect();
        if delivery.note != note {
            delivery.note = note;
            self.dirty.entry(delivery_id.seq).or_default();
        }
    }

    fn cancel_sends(&mut self, which: impl Fn(&Output) -> bool) {
        self.outputs.retain(|output| !which(output));
    }

    fn seq_for(&self, id: &str, verb: &'static str, fits: impl Fn(Step) -> bool) -> Result<u64, CommandError> {
        let record = self.get(id).ok_or_else(|| CommandError::Unknown(id.to_owned()))?;
        if record.deliveries.iter().any(|delivery| fits(delivery.step)) {
            Ok(record.seq)
        } else {
            Err(CommandError::Settled {
                id: id.to_owned(),
                step: record.step(),
                verb,
            })
        }
    }

    pub(super) fn deliveries_at(&self, seq: u64, step: Step) -> Vec<DeliveryId> {
        let deliveries = self.entries.get(&seq).map_or(&[][..], |entry| &entry.record.deliveries);
        let at = deliveries
            .iter()
            .enumerate()
            .filter(|(_, delivery)| delivery.step == step);
        at.map(|(index, _)| DeliveryId { seq, index }).collect()
    }

    pub(super) fn step_of(&self, delivery_id: DeliveryId) -> Option<Step> {
        Some(
            self.entries
                .get(&delivery_id.seq)?
                .record
                .deliveries
                .get(delivery_id.index)?
                .step,
        )
    }

    /// The first delivery of this message, which stands for it in the queue.
    pub(super) fn first_of(&self, message_id: &MessageId) -> Option<DeliveryId> {
        making::carried(&self.entries, &self.messages, message_id).next()
    }

    /// The first delivery of this message, while it still has to be sent.
    pub(super) fn waiting_delivery(&self, message_id: &MessageId) -> Option<DeliveryId> {
        let carried = self.deliveries_of(message_id);
        let waits = carried
            .iter()
            .any(|delivery_id| self.step_of(*delivery_id) == Some(Step::Accepted));
        carried.first().copied().filter(|_| waits)
    }

    /// The first delivery of this message, if it belongs to this session: two accounts must not ack for each other.
    fn leg_of(&self, session: &SessionName, message_id: &MessageId) -> Option<DeliveryId> {
        let delivery_id = self.first_of(message_id)?;
        (self.entries.get(&delivery_id.seq)?.record.session == *session).then_some(delivery_id)
    }

    pub(super) fn on_queue<T>(
        &mut self,
        delivery_id: DeliveryId,
        act: impl FnOnce(&mut super::SessionQueue, &crate::alert::Recipient) -> T,
    ) -> Option<T> {
        let record = &self.entries.get(&delivery_id.seq)?.record;
        let recipient = &record.deliveries.get(delivery_id.index)?.recipient;
        Some(act(self.queues.get_mut(&record.session)?, recipient))
    }
}
