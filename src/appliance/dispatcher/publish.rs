//! From a sender's alerts to the answer that they are on disk. The alerts of one turn are written in one transaction.

use super::event::{Event, Publish};
use super::handle::storage_refusal;
use super::state::{Dispatcher, hold_files};
use super::writes::{Part, Taken};
use crate::alert::{Alert, RouteName, SessionName};
use crate::appliance::{clock, ids};
use crate::config::RoutePlan;
use crate::gateway::api::AlertView;
use crate::gateway::{Accepted, Refusal};
use crate::outbox::{self, AcceptRequest, AlertRecord, Follows, Input, KeyRecord, NewAlert};
use crate::store::{StoreError, outbox as outbox_store};

/// Alerts that are written together at the most, but for those of one request, which are never parted. It keeps a
/// transaction small, and one that is refused costs no more than these.
const TOGETHER_MAX: usize = 128;

/// Their records' bytes together. It is what the largest alert takes: where there is room for that, none may be refused
/// for the others' sake.
const TOGETHER_BYTES_MAX: usize = 128 * 1024;

impl Dispatcher {
    pub(super) fn publish(&mut self, publish: Publish) {
        let undecided = publish.parts.iter().find_map(|(route, alerts)| {
            let keys = alerts.iter().filter_map(|alert| alert.key.as_deref());
            self.outbox.undecided(clock::now(), route, keys)
        });
        if let Some(seq) = undecided {
            self.writes.of(seq).undecided.push(publish);
            return;
        }
        let Publish { parts, files, answer } = publish;
        match self.accept(parts) {
            Ok((parts, new)) => {
                let taken = Taken { parts, answer };
                match new {
                    true => self.writes.next.taken.push(taken),
                    false => self.answer(taken),
                }
            }
            Err(refusal) => {
                let _ = answer.try_send(Err(refusal));
            }
        }
        drop(files);
        if self.writes.next.seqs.len() >= TOGETHER_MAX {
            self.write_new();
        }
    }

    /// Accepts an alert that says another one again. Where that cannot be, the outbox asks again.
    pub(super) fn follow_up(&mut self, route: RouteName, alert: Alert, follows: Follows) {
        let of = follows.id.clone();
        // The one that was asked for before is still being written.
        if self
            .outbox
            .undecided(clock::now(), &route, alert.key.as_deref().into_iter())
            .is_some()
        {
            return;
        }
        match self.accept_following(vec![(route, vec![alert])], Some(&follows)) {
            Ok((_, true)) => self.write_new(),
            // It was accepted before a restart.
            Ok((_, false)) => self.outbox.handle(clock::now(), Input::Followed { follows }),
            Err(refusal) => {
                log::warn!("alert {of}, which nobody has acknowledged, cannot be said again for now: {refusal}")
            }
        }
    }

    fn accept(&mut self, parts: Vec<(RouteName, Vec<Alert>)>) -> Result<(Vec<(SessionName, Part)>, bool), Refusal> {
        self.accept_following(parts, None)
    }

    /// Takes alerts into the outbox, and those that are new into the next transaction; all of them, or none. Also says
    /// whether any is new.
    fn accept_following(
        &mut self,
        parts: Vec<(RouteName, Vec<Alert>)>,
        follows: Option<&Follows>,
    ) -> Result<(Vec<(SessionName, Part)>, bool), Refusal> {
        let mut new = Vec::new();
        match self.accept_parts(parts, follows, &mut new) {
            Ok((parts, rows)) => {
                if self.writes.next_rows.bytes() + rows.bytes() > TOGETHER_BYTES_MAX {
                    self.write_new();
                }
                let any = !new.is_empty();
                self.writes.next_rows.append(rows);
                self.writes.next.seqs.extend(new);
                Ok((parts, any))
            }
            Err(refusal) => {
                for seq in new {
                    self.outbox.handle(clock::now(), Input::NotDurable { seq });
                    self.blobs.release(seq);
                }
                Err(refusal)
            }
        }
    }

    /// Takes alerts into the outbox, the numbers of the new ones into `new`, and makes the rows that are to be written.
    fn accept_parts(
        &mut self,
        parts: Vec<(RouteName, Vec<Alert>)>,
        follows: Option<&Follows>,
        new: &mut Vec<u64>,
    ) -> Result<(Vec<(SessionName, Part)>, outbox_store::New), Refusal> {
        let mut rows = outbox_store::New::default();
        let mut taken = Vec::new();
        for (route, alerts) in parts {
            let Some(plan) = self.routes.get(&route).cloned() else {
                return Err(Refusal::UnknownRoute(route.to_string()));
            };
            let accepted = self.accept_on(&plan, alerts, follows)?;
            let here: Vec<u64> = accepted.iter().filter_map(outbox::Accepted::new_seq).collect();
            new.extend(&here);
            let records = here.iter().filter_map(|seq| self.outbox.record(*seq));
            records.clone().for_each(|record| hold_files(&self.blobs, record));
            let mut records = records;
            if let Err(error) = records.try_for_each(|record| rows.add(record)) {
                log::error!("an alert was refused because it could not be written: {error}");
                return Err(storage_refusal(&error));
            }
            let parts = self.parts(&plan, accepted).into_iter();
            taken.extend(parts.map(|part| (plan.session.clone(), part)));
        }
        Ok((taken, rows))
    }

    fn accept_on(
        &mut self,
        plan: &RoutePlan,
        alerts: Vec<Alert>,
        follows: Option<&Follows>,
    ) -> Result<Vec<outbox::Accepted>, Refusal> {
        if let Some(reason) = self.store.poisoned() {
            return Err(storage_refusal(&StoreError::Poisoned(reason)));
        }
        // One whom a route names twice, such as the account by its number and as `me`, counts once.
        let to = match self.sessions.get(&plan.session) {
            Some(handle) => handle.directory.each_once(&plan.to),
            None => plan.to.clone(),
        };
        let mut alerts = alerts;
        alerts.iter_mut().for_each(|alert| bound_parts(alert, to.len()));
        let named = |alert| NewAlert {
            id: ids::alert_id(),
            alert,
            follows: follows.cloned(),
        };
        let request = AcceptRequest {
            route: plan.name.clone(),
            session: plan.session.clone(),
            to,
            alerts: alerts.into_iter().map(named).collect(),
        };
        let accepted = self.outbox.accept(clock::now(), request);
        accepted.map_err(|full| match full.delayed {
            true => Refusal::TooManyDelayed(full.to_string()),
            false => Refusal::Full(full.to_string()),
        })
    }

    /// Starts to write the new alerts of this turn.
    pub(super) fn write_new(&mut self) {
        if self.writes.next.seqs.is_empty() {
            return;
        }
        self.writes.started += 1;
        let write = self.writes.started;
        let under_way = std::mem::take(&mut self.writes.next);
        self.writes.under_way.insert(write, under_way);
        let rows = std::mem::take(&mut self.writes.next_rows);
        let (store, ended) = (self.store.clone(), self.ended.clone());
        let written = async move {
            let result = rows.write(&store).await;
            let _ = ended.send(Event::Written { write, result }).await;
        };
        self.executor.spawn(written).detach();
    }

    pub(super) fn on_written(&mut self, write: u64, result: Result<(), StoreError>) {
        let Some(write) = self.writes.under_way.remove(&write) else {
            return;
        };
        if let Err(error) = &result {
            log::error!("alerts were refused because they could not be written: {error}");
        }
        for seq in write.seqs {
            let input = match result {
                Ok(()) => Input::Durable { seq },
                Err(_) => {
                    self.blobs.release(seq);
                    Input::NotDurable { seq }
                }
            };
            self.outbox.handle(clock::now(), input);
            if result.is_ok()
                && let Some(record) = self.outbox.record(seq)
            {
                self.tallies.accepted(&record.route);
            }
            // What waits for its own time is told of then.
            if result.is_ok() && !self.outbox.is_delayed(seq) {
                self.tell_listeners(seq);
            }
        }
        for taken in write.taken {
            match &result {
                Ok(()) => self.answer(taken),
                Err(error) => {
                    let _ = taken.answer.try_send(Err(storage_refusal(error)));
                }
            }
        }
        if let Err(StoreError::Full(_)) = result {
            // Alerts that are over go earlier than they would, so that the next new one may find room.
            self.outbox.make_room(clock::now());
            self.blobs.make_room();
            self.rounds.hurry();
        }
        for publish in write.undecided {
            self.publish(publish);
        }
    }

    /// Tells whoever subscribes of an alert that is on disk.
    pub(super) fn tell_listeners(&self, seq: u64) {
        if self.feed.is_heard()
            && let Some(record) = self.outbox.record(seq)
        {
            self.feed.tell(AlertView::from(record));
        }
    }

    /// Tells a sender of alerts that are on disk.
    fn answer(&self, taken: Taken) {
        let Taken { parts, answer } = taken;
        // Nobody waits for it any more: then the views are not made either.
        if answer.is_closed() {
            return;
        }
        let accepted = parts.into_iter().filter_map(|(session, part)| {
            let (alert, duplicate) = match part {
                // It waits to be sent, so it is there.
                Part::New { seq } => (self.outbox.record(seq)?.into(), false),
                Part::Duplicate(first) => (*first, true),
            };
            let warning = self.warning_for(&session);
            Some(Accepted {
                alert,
                duplicate,
                warning,
            })
        });
        let _ = answer.try_send(Ok(accepted.collect()));
    }

    /// A duplicate is told of as it stands now: until the new ones beside it are on disk, its first may be forgotten.
    fn parts(&self, plan: &RoutePlan, accepted: Vec<outbox::Accepted>) -> Vec<Part> {
        let part = |accepted| match accepted {
            outbox::Accepted::New { seq } => Some(Part::New { seq }),
            outbox::Accepted::Duplicate { seq, durable: _ } => {
                let first = AlertView::from(self.outbox.record(seq)?);
                Some(Part::Duplicate(Box::new(first)))
            }
            outbox::Accepted::Forgotten { first, alert } => {
                Some(Part::Duplicate(Box::new(forgotten_view(plan, first, *alert))))
            }
        };
        accepted.into_iter().filter_map(part).collect()
    }

    /// What a sender should know although the alert is accepted.
    fn warning_for(&self, session: &SessionName) -> Option<String> {
        let view = self.sessions.get(session)?.view();
        if let Some(trouble) = view.trouble {
            return Some(format!("nothing goes out on session {session}: {trouble}"));
        }
        if let crate::line::State::Stopped(stop) = view.state {
            return Some(format!(
                "nothing goes out on session {session} until a person acts: {}",
                stop.advice()
            ));
        }
        let unpaired = format!("session {session} is not paired; nothing goes out until `tautline pair` has linked it");
        (!view.paired).then_some(unpaired)
    }
}

/// Deliveries that attachments may make of one alert: its record has to hold all of them.
const DELIVERIES_MAX: usize = 400;

/// Leaves attachments out that would make too many messages. The text says how many.
fn bound_parts(alert: &mut Alert, recipients: usize) {
    let most = (DELIVERIES_MAX / recipients.max(1)).max(1);
    let over = alert.attachments.len().saturating_sub(most);
    if over > 0 {
        alert.attachments.truncate(most);
        alert.text.push_str(&format!("\n[left out: {over} more files]"));
    }
}

/// What a sender is told of an alert whose first is forgotten: that one's name and how far it had come, with the text
/// that was handed over now.
fn forgotten_view(plan: &RoutePlan, first: KeyRecord, alert: Alert) -> AlertView {
    let record = AlertRecord {
        seq: first.seq,
        id: first.id,
        route: plan.name.clone(),
        session: plan.session.clone(),
        accepted_at: first.accepted_at,
        ttl: None,
        delay: None,
        lasted: None,
        attention: crate::outbox::Attention::default(),
        alert,
        deliveries: Vec::new(),
        handovers: Vec::new(),
        flap: None,
    };
    AlertView {
        state: first.step,
        ..AlertView::from(&record)
    }
}
