//! The shell around the outbox: it makes alerts durable, hands them to the sessions, and brings back what became of them.
//!
//! The outbox is behind a mutex that is held for one decision at a time, never across an await. Every change goes through
//! [`Courier::input`], which carries out what the outbox then asks for.

mod persist;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;
use smol::Executor;

use super::clock;
use super::ids;
use crate::alert::{Alert, Recipient, RouteName, SessionName};
use crate::config::RoutePlan;
use crate::gateway::api::AlertView;
use crate::gateway::{Accepted, Refusal};
use crate::outbox::{
    self, AcceptRequest, AlertRecord, CommandError, Happened, Happening, Input, KeyRecord, Limits, NewAlert, Now,
    Outbox, Output, SendFailure, Start, Step,
};
use crate::store::journal::Event as Told;
use crate::store::{Store, StoreError, outbox as outbox_store, starts};
use crate::util::lock;
use crate::whatsapp::{Again, Command, Notice, SessionHandle};
use persist::PutOff;

pub(super) struct Courier {
    outbox: Mutex<Outbox>,
    store: Store,
    executor: Arc<Executor<'static>>,
    sessions: BTreeMap<SessionName, SessionHandle>,
    routes: BTreeMap<RouteName, RoutePlan>,
    /// Alerts on their way to the disk for the first time, each with the error that will end it if one does.
    writing: Mutex<HashMap<u64, Arc<OnceLock<StoreError>>>>,
    /// Something changed for those who wait on an alert.
    changed: Event,
    /// What is to be written when convenient.
    put_off: Mutex<PutOff>,
    persist_due: Event,
    /// Held over a write of these, so that whoever wants them on disk also waits for the write that is under way.
    persisting: smol::lock::Mutex<()>,
    rearm: Event,
    /// How long changes that are not urgent are collected into one write.
    collect: Duration,
}

/// What a sender is told. No room is the one thing that a person can mend by making some.
pub(super) fn storage_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Full(_) => Refusal::Storage(error.to_string()),
        StoreError::ReadOnly(_)
        | StoreError::Poisoned(_)
        | StoreError::Locked(_)
        | StoreError::Open { .. }
        | StoreError::Unfit { .. }
        | StoreError::Damaged { .. }
        | StoreError::Newer { .. }
        | StoreError::Read(_)
        | StoreError::Record { .. }
        | StoreError::TooLarge { .. } => Refusal::StorageFailed(error.to_string()),
    }
}

/// What a sender is told of an alert whose first is forgotten: that one's name and how far it had come, with the text that was
/// handed over now.
fn forgotten_view(plan: &RoutePlan, first: KeyRecord, alert: Alert) -> AlertView {
    let record = AlertRecord {
        seq: first.seq,
        id: first.id,
        route: plan.name.clone(),
        session: plan.session.clone(),
        accepted_at: first.accepted_at,
        alert,
        deliveries: Vec::new(),
    };
    AlertView {
        state: first.step,
        ..AlertView::from(&record)
    }
}

/// Where it cannot be written, keys count a little longer after the next start.
async fn keep_starts(store: Store, to_keep: Vec<Start>) {
    if let Err(error) = starts::keep(&store, &to_keep).await {
        log::debug!("this start is not noted for the age of keys: {error}");
    }
}

/// The sender of an alert has had its answer long before it fails: the log is one of the places that tell a person.
fn warn_of_failures(record: &AlertRecord, happened: &[Happened]) {
    for failed in happened.iter().filter(|happened| happened.what == Happening::Failed) {
        let delivery = failed.delivery.and_then(|index| record.deliveries.get(index as usize));
        log::warn!(
            "alert {} on route {} failed for a recipient: {}",
            record.id,
            record.route,
            delivery.map_or("", |delivery| &delivery.note)
        );
    }
}

impl Courier {
    /// Reads the outbox from the store. Also returns what was wrong with the alerts there, a line each.
    ///
    /// # Errors
    /// The store could not be read.
    pub(super) fn open(
        store: Store,
        executor: Arc<Executor<'static>>,
        limits: Limits,
        collect: Duration,
        sessions: Vec<SessionHandle>,
        routes: Vec<RoutePlan>,
    ) -> Result<(Arc<Self>, Vec<String>), StoreError> {
        let loaded = outbox_store::load(store.view())?;
        let mut outbox = Outbox::new(limits, ids::seed(), |_, _| ids::message_id());
        let earlier = starts::read(store.view())?;
        let starts = outbox.begin(clock::now(), earlier, clock::start(loaded.seq_max.saturating_add(1)));
        executor.spawn(keep_starts(store.clone(), starts)).detach();
        outbox.restore_keys(clock::now(), loaded.keys.into_iter());
        outbox.restore(clock::now(), loaded.alerts.into_iter());
        outbox.skip_to(loaded.seq_max);
        let courier = Self {
            outbox: Mutex::new(outbox),
            store,
            executor,
            sessions: sessions
                .into_iter()
                .map(|session| (session.name.clone(), session))
                .collect(),
            routes: routes.into_iter().map(|route| (route.name.clone(), route)).collect(),
            writing: Mutex::default(),
            changed: Event::new(),
            put_off: Mutex::default(),
            persist_due: Event::new(),
            persisting: smol::lock::Mutex::new(()),
            rearm: Event::new(),
            collect,
        };
        let damaged = loaded.damaged.iter().map(ToString::to_string).collect();
        Ok((Arc::new(courier), damaged))
    }

    /// A line for each session that alerts wait for and that is not configured.
    pub(super) fn orphaned(&self) -> Vec<String> {
        let outbox = self.outbox();
        let mut waiting: BTreeMap<&SessionName, usize> = BTreeMap::new();
        for alert in outbox.list(true, usize::MAX) {
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

    pub(super) fn sessions(&self) -> impl Iterator<Item = &SessionHandle> {
        self.sessions.values()
    }

    pub(super) fn session(&self, name: &SessionName) -> Option<&SessionHandle> {
        self.sessions.get(name)
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &RouteName> {
        self.routes.keys()
    }

    /// The routes on `session` that name `recipient`.
    pub(super) fn routes_to(&self, session: &SessionName, recipient: &Recipient) -> Vec<&RouteName> {
        let names = |plan: &&RoutePlan| plan.session == *session && plan.to.contains(recipient);
        self.routes.values().filter(names).map(|plan| &plan.name).collect()
    }

    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.outbox)
    }

    /// Accepts the alerts of one request, all or none, and returns once they are on disk, with an answer for each. Dropping
    /// the future does not take them back.
    pub(super) async fn publish(
        self: &Arc<Self>,
        route: &RouteName,
        alerts: Vec<Alert>,
    ) -> Result<Vec<Accepted>, Refusal> {
        let plan = self
            .routes
            .get(route)
            .ok_or_else(|| Refusal::UnknownRoute(route.to_string()))?;
        if let Some(reason) = self.store.poisoned() {
            return Err(storage_refusal(&StoreError::Poisoned(reason)));
        }
        let named = |alert| NewAlert {
            id: ids::alert_id(),
            alert,
        };
        let request = AcceptRequest {
            route: route.clone(),
            session: plan.session.clone(),
            to: self.each_once(plan),
            alerts: alerts.into_iter().map(named).collect(),
        };
        let mut answers = Vec::new();
        for accepted in self.accept(request)? {
            let (alert, duplicate) = match accepted {
                outbox::Accepted::New { seq } => (self.on_disk(seq).await?, false),
                outbox::Accepted::Duplicate { seq, durable: _ } => (self.on_disk(seq).await?, true),
                outbox::Accepted::Forgotten { first, alert } => (forgotten_view(plan, first, alert), true),
            };
            answers.push(Accepted {
                alert,
                duplicate,
                warning: self.warning_for(&plan.session),
            });
        }
        Ok(answers)
    }

    /// Takes alerts into the outbox and has those that are new written, in one transaction.
    fn accept(self: &Arc<Self>, request: AcceptRequest) -> Result<Vec<outbox::Accepted>, Refusal> {
        let mut outbox = self.outbox();
        let accepted = outbox
            .accept(clock::now(), request)
            .map_err(|full| Refusal::Full(full.to_string()))?;
        let new: Vec<u64> = accepted.iter().filter_map(outbox::Accepted::new_seq).collect();
        let mut to_write = outbox_store::New::default();
        let added = new
            .iter()
            .filter_map(|seq| outbox.record(*seq))
            .try_for_each(|record| to_write.add(record));
        if let Err(error) = added {
            log::error!("an alert was refused because it could not be written: {error}");
            for seq in new {
                outbox.handle(clock::now(), Input::NotDurable { seq });
            }
            return Err(storage_refusal(&error));
        }
        if !new.is_empty() {
            self.writing().extend(new.iter().map(|seq| (*seq, Arc::default())));
            self.write_first(new, to_write);
        }
        Ok(accepted)
    }

    /// The alert numbered `seq` once its first write has ended well.
    async fn on_disk(&self, seq: u64) -> Result<AlertView, Refusal> {
        let refused = self.writing().get(&seq).cloned();
        loop {
            let change = self.changed.listen();
            {
                let outbox = self.outbox();
                if let Some(record) = outbox.record(seq).and_then(|record| outbox.get(&record.id)) {
                    return Ok(record.into());
                }
            }
            if !self.writing().contains_key(&seq) {
                return Err(match refused.as_ref().and_then(|refused| refused.get()) {
                    Some(error) => storage_refusal(error),
                    None => Refusal::StorageFailed("the alert could not be written".into()),
                });
            }
            change.await;
        }
    }

    /// The recipients of a route. One whom it names twice, such as the account by its number and as `me`, counts once.
    fn each_once(&self, plan: &RoutePlan) -> Vec<Recipient> {
        match self.sessions.get(&plan.session) {
            Some(handle) => handle.directory.each_once(&plan.to),
            None => plan.to.clone(),
        }
    }

    /// On a task of its own: a sender that hangs up must not leave its alerts half accepted.
    fn write_first(self: &Arc<Self>, seqs: Vec<u64>, new: outbox_store::New) {
        let courier = Arc::clone(self);
        self.executor
            .spawn(async move {
                let written = new.write(&courier.store).await;
                if let Err(error) = &written {
                    log::error!("alerts were refused because they could not be written: {error}");
                }
                for &seq in &seqs {
                    courier.outbox().handle(
                        clock::now(),
                        match written {
                            Ok(()) => Input::Durable { seq },
                            Err(_) => Input::NotDurable { seq },
                        },
                    );
                }
                courier.carry_out();
                for seq in &seqs {
                    let mut writing = courier.writing();
                    if let (Some(refused), Err(error)) = (writing.get(seq), &written) {
                        let _ = refused.set(error.clone());
                    }
                    writing.remove(seq);
                }
                courier.changed.notify(usize::MAX);
                if let Err(StoreError::Full(_)) = &written {
                    courier.make_room().await;
                }
            })
            .detach();
    }

    /// Forgets alerts that are over earlier than they would be, so that the next new one may find room.
    async fn make_room(&self) {
        self.outbox().make_room(clock::now());
        self.carry_out();
        if let Err(error) = self.persist_now().await {
            log::warn!("alerts that are over keep their room on the disk: {error}");
        }
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

    /// The alert once it has come as far as `step`, or failed, or when `timeout` is over.
    pub(super) async fn wait(&self, id: &str, step: Step, timeout: Duration) -> Option<AlertRecord> {
        let mut late = Timer::after(timeout);
        loop {
            let change = self.changed.listen();
            let record = self.outbox().get(id).cloned()?;
            // `Failed` is the greatest step: it ends every wait.
            if record.step() >= step {
                return Some(record);
            }
            let timed_out = future::or(
                async {
                    change.await;
                    false
                },
                async {
                    (&mut late).await;
                    true
                },
            )
            .await;
            if timed_out {
                return self.outbox().get(id).cloned();
            }
        }
    }

    /// A backup of the state as of now: what was put off is written first, so that no alert that was sent is in it as one
    /// that waits.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(super) async fn backup(&self) -> Result<(std::fs::File, u64), StoreError> {
        if let Err(error) = self.persist_now().await {
            // A full disk is a reason more to want one; what waits in it is held when it is restored.
            log::info!("a backup is made without the last changes: {error}");
        }
        self.store.backup(clock::now().wall.0).await
    }

    pub(super) fn retry(&self, id: &str) -> Result<AlertRecord, Refusal> {
        self.command(|outbox, now| outbox.retry(now, id).cloned())
    }

    /// Returns once the drop is on disk: what a person gave up must not come back.
    pub(super) async fn drop_alert(&self, id: &str) -> Result<AlertRecord, Refusal> {
        let record = self.command(|outbox, now| outbox.drop_alert(now, id).cloned())?;
        self.persist_now().await.map_err(|error| storage_refusal(&error))?;
        Ok(record)
    }

    fn command(
        &self,
        act: impl FnOnce(&mut Outbox, Now) -> Result<AlertRecord, CommandError>,
    ) -> Result<AlertRecord, Refusal> {
        let result = act(&mut self.outbox(), clock::now());
        self.carry_out();
        result.map_err(|error| match error {
            CommandError::Unknown(id) => Refusal::UnknownAlert(id),
            settled @ CommandError::Settled { .. } => Refusal::Conflict(settled.to_string()),
        })
    }

    pub(super) fn input(&self, input: Input) {
        self.outbox().handle(clock::now(), input);
        self.carry_out();
    }

    /// Fetches what the outbox wants done and does it, until it wants nothing more.
    fn carry_out(&self) {
        loop {
            let next = self.outbox().poll_output();
            match next {
                Some(Output::Send {
                    session,
                    seqs: _,
                    message,
                    fresh,
                }) => {
                    let message_id = message.id.clone();
                    let command = Command::Send { message, fresh };
                    let handed = self
                        .sessions
                        .get(&session)
                        .is_some_and(|handle| handle.try_command(command));
                    if !handed {
                        let failure = SendFailure::Path("the session takes no commands".to_owned());
                        let failed = Input::SendFailed { message_id, failure };
                        self.outbox().handle(clock::now(), failed);
                    }
                }
                Some(Output::SendAgain { session, message, by }) => {
                    let again = Again { message, by };
                    if let Some(handle) = self.sessions.get(&session) {
                        // With too many commands before it, it is not sent: the device asks again.
                        handle.try_command(Command::SendAgain(again));
                    }
                }
                Some(Output::Persist { record, happened, made }) => {
                    warn_of_failures(&record, &happened);
                    self.persist_later(record, happened, made);
                }
                Some(Output::Forget { seq, key, happened }) => self.forget_later(seq, key, happened),
                Some(Output::ForgetKey { seq }) => self.forget_key_later(seq),
                Some(Output::Changed { .. }) => {
                    self.changed.notify(usize::MAX);
                }
                Some(Output::Suspect { session }) => {
                    log::info!("session {session}: alerts go out and no acks come back; recycling the line");
                    if let Some(handle) = self.sessions.get(&session) {
                        handle.try_command(Command::Suspect);
                    }
                }
                None => break,
            }
        }
        self.rearm.notify(usize::MAX);
    }

    /// Fires the outbox's deadlines. Runs for as long as the relay.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            let rearm = self.rearm.listen();
            let deadline = self.outbox().poll_timeout();
            let sleep = async {
                match deadline {
                    Some((at, _)) => drop(Timer::at(at).await),
                    None => future::pending().await,
                }
                true
            };
            let woken = async {
                rearm.await;
                false
            };
            if future::or(sleep, woken).await {
                self.outbox().handle_timeout(clock::now());
                self.carry_out();
            }
        }
    }

    /// Takes in what the sessions say. Runs for as long as the relay.
    pub(super) async fn listen(self: Arc<Self>, notices: async_channel::Receiver<(SessionName, Notice)>) {
        while let Ok((session, notice)) = notices.recv().await {
            self.hear(session, notice);
        }
    }

    /// Takes in one word of a session.
    pub(super) fn hear(&self, session: SessionName, notice: Notice) {
        self.input(match notice {
            Notice::Up => {
                self.tell(Told::Online {
                    session: session.clone(),
                });
                if let Some(handle) = self.sessions.get(&session) {
                    let one_name = |recipient: &Recipient| handle.directory.one_name(recipient);
                    self.outbox().unify(clock::now(), &session, one_name);
                }
                Input::SessionUp(session)
            }
            Notice::Down => Input::SessionDown(session),
            Notice::Offline { cause } => {
                self.tell(Told::Offline {
                    session,
                    cause: cause.to_owned(),
                });
                return;
            }
            Notice::NeedsPerson { cause } => {
                self.tell(Told::NeedsPerson {
                    session,
                    cause: cause.to_owned(),
                });
                return;
            }
            Notice::Paired => {
                self.tell(Told::Paired { session });
                return;
            }
            Notice::Asking { message_id } => Input::Asking { message_id },
            Notice::Incomplete { message_id, words } => Input::Incomplete { message_id, words },
            Notice::Written { message_id } => Input::Written { message_id },
            Notice::SendFailed { message_id, failure } => Input::SendFailed { message_id, failure },
            Notice::Heard { from } => Input::Heard { session, from },
            Notice::Ack { message_id, error } => Input::ServerAck {
                session,
                message_id,
                error,
            },
            Notice::AskedAgain { message_id, from, by } => Input::AskedAgain {
                session,
                message_id,
                from,
                by,
            },
            Notice::Receipt { message_id, kind, from } => Input::Receipt {
                session,
                message_id,
                kind,
                from,
            },
        });
    }

    fn writing(&self) -> MutexGuard<'_, HashMap<u64, Arc<OnceLock<StoreError>>>> {
        lock(&self.writing)
    }
}
