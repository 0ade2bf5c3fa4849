//! The shell around the outbox: one task that owns it, makes alerts durable, hands messages to the sessions, and brings back what
//! became of them.
//!
//! Everything comes as an [`Event`], and nothing is shared with those who send them: no sender waits for a lock, and whoever
//! waits for an alert is told of that alert alone. The task takes a bounded number of events in a turn, carries out what the
//! outbox then asks for, and writes the alerts of the turn in one transaction. It never waits for the disk itself.

mod handle;
mod persist;
mod publish;
#[cfg(test)]
mod tests;
mod waiting;

pub(super) use handle::{DispatcherHandle, FailedRoute, OutboxFacts};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::future;
use jiff::tz::TimeZone;
use smol::Executor;

use self::persist::{PutOff, Rounds, Taken};
use self::publish::{Publish, Writes};
use self::waiting::{Wait, Waiting};
use super::clock;
use super::ids;
use crate::alert::{Attachment, Recipient, RouteName, SessionName};
use crate::blobs::Blobs;
use crate::config::RoutePlan;
use crate::fallback::Courier;
use crate::gateway::api::{AlertView, BesideView, HeldBackStatus, HeldBackView};
use crate::gateway::{Feed, Refusal};
use crate::outbox::{
    AlertRecord, CommandError, FallbackRules, Happened, Happening, Input, Limits, Now, Outbox, Output, Parcel,
    RouteRules, Rules, SendFailure, Start, Step,
};
use crate::state::backup::HELD;
use crate::store::journal::Event as Told;
use crate::store::{Store, StoreError, outbox as outbox_store, starts};
use crate::util::millis;
use crate::whatsapp::{Again, Command, Notice, SessionHandle};

/// Requests that wait for the dispatcher at once; whoever sends one more waits. As many as there can be connections.
const REQUESTS_MAX: usize = 256;

/// Events taken in one turn. What they lead to is then done for all of them, and nobody waits longer than for so many.
const TURN_MAX: usize = 128;

/// Alerts of one message that are told of beside one of them.
const BESIDE_MAX: usize = 1000;

/// Whoever asks waits for this. One that has left is not missed.
type Answer<T> = Sender<T>;

/// Everything that can happen to the dispatcher.
pub(super) enum Event {
    /// Alerts of a sender.
    Publish(Publish),
    /// New alerts were written, or refused.
    Written {
        write: u64,
        result: Result<(), StoreError>,
    },
    /// Changes were written, or refused.
    Persisted {
        taken: Taken,
        result: Result<(), StoreError>,
    },
    /// How a fallback has answered.
    HandedOver(Box<Input>),
    /// A session's word.
    Notice(SessionName, Notice),
    /// Somebody wants to know when an alert has come so far.
    Wait(Wait),
    Query(Query),
    /// Send an alert again, or now.
    Retry {
        id: String,
        answer: Answer<Result<AlertView, Refusal>>,
    },
    /// Give up what is not sent of an alert.
    Drop {
        id: String,
        answer: Answer<Result<AlertView, Refusal>>,
    },
    /// Write now what is put off.
    Flush {
        answer: Answer<Result<(), StoreError>>,
    },
    /// The watchdog asks for a turn of the loop.
    Turn {
        answer: Answer<()>,
    },
    /// The wall clock was set.
    ClockStepped,
    /// A deadline has passed.
    Timeout,
}

/// A look at the outbox.
pub(super) enum Query {
    Alert {
        id: String,
        answer: Answer<Option<AlertView>>,
    },
    Alerts {
        pending: bool,
        limit: usize,
        answer: Answer<Vec<AlertView>>,
    },
    IsForgotten {
        id: String,
        answer: Answer<bool>,
    },
    Facts {
        answer: Answer<OutboxFacts>,
    },
}

pub(super) struct Dispatcher {
    outbox: Outbox,
    store: Store,
    blobs: Blobs,
    executor: Arc<Executor<'static>>,
    sessions: Arc<BTreeMap<SessionName, SessionHandle>>,
    routes: Arc<BTreeMap<RouteName, RoutePlan>>,
    sources: Sources,
    /// Where its own writes say how they ended.
    ended: Sender<Event>,
    feed: Arc<Feed>,
    writes: Writes,
    waiting: Waiting,
    put_off: PutOff,
    rounds: Rounds,
    courier: Arc<Courier>,
}

/// Where events come from, in the order in which they are taken.
struct Sources {
    /// Ends of writes. Not bounded: there are no more than writes under way.
    ended: Receiver<Event>,
    notices: Receiver<(SessionName, Notice)>,
    requests: Receiver<Event>,
}

impl Sources {
    /// What the disk and the sessions say comes before what is asked, and no deadline is starved by any.
    async fn next(&self, deadline: Option<Instant>) -> Event {
        let timeout = async {
            match deadline {
                Some(at) => drop(Timer::at(at).await),
                None => future::pending().await,
            }
            Event::Timeout
        };
        let notice = async {
            match self.notices.recv().await {
                Ok((session, notice)) => Event::Notice(session, notice),
                Err(_) => future::pending().await,
            }
        };
        let asked = future::or(notice, received(&self.requests));
        future::or(timeout, future::or(received(&self.ended), asked)).await
    }

    /// An event that is there already.
    fn try_next(&self) -> Option<Event> {
        let notice = || {
            let (session, notice) = self.notices.try_recv().ok()?;
            Some(Event::Notice(session, notice))
        };
        let ended = self.ended.try_recv().ok();
        ended.or_else(notice).or_else(|| self.requests.try_recv().ok())
    }
}

/// The next event of a channel, and nothing once nobody can send one.
async fn received(events: &Receiver<Event>) -> Event {
    match events.recv().await {
        Ok(event) => event,
        Err(_) => future::pending().await,
    }
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

/// Where it cannot be written, keys count a little longer after the next start.
async fn keep_starts(store: Store, to_keep: Vec<Start>) {
    if let Err(error) = starts::keep(&store, &to_keep).await {
        log::debug!("this start is not noted for the age of keys: {error}");
    }
}

/// The sender of an alert has had its answer long before it fails or expires: the log is one of the places that tell a person.
fn warn_of_failures(record: &AlertRecord, happened: &[Happened]) {
    let is_lost = |happened: &&Happened| matches!(happened.what, Happening::Failed | Happening::Expired);
    for failed in happened.iter().filter(is_lost) {
        let delivery = failed.delivery.and_then(|index| record.deliveries.get(index as usize));
        log::warn!(
            "alert {} on route {} {} for a recipient: {}",
            record.id,
            record.route,
            failed.what.name(),
            delivery.map_or("", |delivery| &delivery.note)
        );
    }
}

/// The files that an alert mentions stay for as long as it does, and give way to others' once it is through.
fn hold_files(blobs: &Blobs, record: &AlertRecord) {
    let files = record.alert.attachments.iter().flat_map(Attachment::blobs);
    let waits = record.deliveries.iter().any(|delivery| delivery.step == Step::Accepted);
    blobs.hold(record.seq, files, waits);
}

/// What a dispatcher is made of.
pub(super) struct Parts {
    pub store: Store,
    pub blobs: Blobs,
    pub executor: Arc<Executor<'static>>,
    pub limits: Limits,
    /// How long changes that are not urgent are collected into one write.
    pub collect: Duration,
    /// Is told of alerts that are on disk.
    pub feed: Arc<Feed>,
    pub sessions: Vec<SessionHandle>,
    pub routes: Vec<RoutePlan>,
    /// In which texts say the time.
    pub time_zone: TimeZone,
    pub notices: Receiver<(SessionName, Notice)>,
    pub courier: Courier,
}

impl Dispatcher {
    /// Reads the outbox from the store. Also returns what was wrong with the alerts there, a line each.
    ///
    /// # Errors
    /// The store could not be read.
    pub(super) fn open(parts: Parts) -> Result<(Self, DispatcherHandle, Vec<String>), StoreError> {
        let Parts {
            store,
            blobs,
            executor,
            limits,
            collect,
            feed,
            sessions,
            routes,
            time_zone,
            notices,
            courier,
        } = parts;
        let loaded = outbox_store::load(store.view())?;
        loaded.alerts.iter().for_each(|record| hold_files(&blobs, record));
        // What cannot be read may mention any file.
        if loaded.damaged.is_empty() {
            let blobs = blobs.clone();
            smol::unblock(move || blobs.sweep()).detach();
        }
        let mut outbox = Outbox::new(limits, ids::seed(), |_, _| ids::message_id());
        outbox.set_rules(rules(&routes, time_zone));
        let earlier = starts::read(store.view())?;
        let starts = outbox.begin(clock::now(), earlier, clock::start(loaded.seq_max.saturating_add(1)));
        executor.spawn(keep_starts(store.clone(), starts)).detach();
        outbox.restore_keys(clock::now(), loaded.keys.into_iter());
        outbox.restore(clock::now(), loaded.alerts.into_iter());
        outbox.skip_to(loaded.seq_max);
        let sessions = sessions.into_iter().map(|session| (session.name.clone(), session));
        let sessions: Arc<BTreeMap<_, _>> = Arc::new(sessions.collect());
        let routes: Arc<BTreeMap<_, _>> =
            Arc::new(routes.into_iter().map(|route| (route.name.clone(), route)).collect());
        let (ended_tx, ended) = async_channel::unbounded();
        let (requests_tx, requests) = async_channel::bounded(REQUESTS_MAX);
        let handle = DispatcherHandle::new(requests_tx, store.clone(), Arc::clone(&sessions), Arc::clone(&routes));
        let dispatcher = Self {
            outbox,
            store,
            blobs,
            executor,
            sessions,
            routes,
            sources: Sources {
                ended,
                notices,
                requests,
            },
            ended: ended_tx,
            feed,
            writes: Writes::default(),
            waiting: Waiting::default(),
            put_off: PutOff::default(),
            rounds: Rounds::new(collect),
            courier: Arc::new(courier),
        };
        let damaged = loaded.damaged.iter().map(ToString::to_string).collect();
        Ok((dispatcher, handle, damaged))
    }

    /// Runs for as long as the relay.
    pub(super) async fn run(mut self) {
        loop {
            self.execute();
            let persist_at = self.persist_if_due(Instant::now());
            let deadline = self.outbox.poll_timeout().map(|(at, _)| at);
            let event = self.sources.next(deadline.into_iter().chain(persist_at).min()).await;
            self.handle(event);
            for _ in 1..TURN_MAX {
                let Some(event) = self.sources.try_next() else { break };
                self.handle(event);
            }
            self.write_new();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Publish(publish) => self.publish(publish),
            Event::Written { write, result } => self.on_written(write, result),
            Event::Persisted { taken, result } => self.on_persisted(taken, result),
            Event::HandedOver(input) => self.outbox.handle(clock::now(), *input),
            Event::Notice(session, notice) => self.on_notice(session, notice),
            Event::Wait(wait) => self.waiting.add(&self.outbox, wait),
            Event::Query(query) => self.on_query(query),
            Event::Retry { id, answer } => {
                let retried = command(&mut self.outbox, |outbox, now| outbox.retry(now, &id));
                let _ = answer.try_send(retried);
            }
            Event::Drop { id, answer } => {
                let dropped = command(&mut self.outbox, |outbox, now| outbox.drop_alert(now, &id));
                let _ = answer.try_send(dropped);
            }
            Event::Flush { answer } => self.rounds.want(answer),
            Event::Turn { answer } => {
                let _ = answer.try_send(());
            }
            Event::ClockStepped => self.outbox.handle(clock::now(), Input::ClockStepped),
            Event::Timeout => self.outbox.handle_timeout(clock::now()),
        }
    }

    fn on_query(&self, query: Query) {
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
        for (session, _, hold) in outbox.held() {
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
    pub(super) fn orphaned(&self) -> Vec<String> {
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

    /// The routes on which alerts fail for good. A number that is not on WhatsApp is told of by itself, and what is held since
    /// the state was restored was told to whoever restored it.
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

    /// Gives alerts to a fallback. It is told how that went whatever happens: the courier has a deadline for all that it does.
    fn hand_over(&self, parcel: Parcel) {
        let (courier, ended) = (Arc::clone(&self.courier), self.ended.clone());
        let handed = async move {
            let (to, key) = (parcel.to.clone(), parcel.key.clone());
            let input = match courier.deliver(&parcel).await {
                Ok(()) => {
                    log::info!(
                        "fallback {to}: {} alert(s) of route {} handed over",
                        parcel.alerts.len(),
                        parcel.route
                    );
                    Input::HandedOver { to, key }
                }
                Err(failure) => {
                    log::warn!("fallback {to}: {}", failure.words);
                    Input::HandoverFailed { to, key, failure }
                }
            };
            let _ = ended.send(Event::HandedOver(Box::new(input))).await;
        };
        self.executor.spawn(handed).detach();
    }

    /// Fetches what the outbox wants done and does it, until it wants nothing more.
    fn execute(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Send {
                    session,
                    seqs: _,
                    message,
                    fresh,
                } => {
                    let message_id = message.id.clone();
                    let handle = self.sessions.get(&session);
                    if !handle.is_some_and(|handle| handle.try_command(Command::Send { message, fresh })) {
                        let failure = SendFailure::Path("the session takes no commands".to_owned());
                        let failed = Input::SendFailed { message_id, failure };
                        self.outbox.handle(clock::now(), failed);
                    }
                }
                Output::SendAgain { session, message, by } => {
                    if let Some(handle) = self.sessions.get(&session) {
                        // With too many commands before it, it is not sent: the device asks again.
                        handle.try_command(Command::SendAgain(Again { message, by }));
                    }
                }
                Output::Persist { record, happened, made } => {
                    warn_of_failures(&record, &happened);
                    hold_files(&self.blobs, &record);
                    self.put_off.change(*record, happened, made);
                }
                Output::Forget { seq, key, happened } => {
                    self.blobs.release(seq);
                    self.put_off.forget(seq, key, happened);
                }
                Output::ForgetKey { seq } => self.put_off.forget_key(seq),
                Output::Changed { id, step } => self.waiting.changed(&self.outbox, &id, step),
                Output::HandOver(parcel) => self.hand_over(parcel),
                Output::Suspect { session } => {
                    log::info!("session {session}: alerts go out and no acks come back; recycling the line");
                    if let Some(handle) = self.sessions.get(&session) {
                        handle.try_command(Command::Suspect);
                    }
                }
            }
        }
    }

    fn on_notice(&mut self, session: SessionName, notice: Notice) {
        let input = match notice {
            Notice::Up => {
                self.tell(Told::Online {
                    session: session.clone(),
                });
                if let Some(handle) = self.sessions.get(&session) {
                    let one_name = |recipient: &Recipient| handle.directory.one_name(recipient);
                    self.outbox.unify(clock::now(), &session, one_name);
                }
                Input::SessionUp(session)
            }
            Notice::Down => Input::SessionDown(session),
            Notice::Offline { cause } => {
                let cause = cause.to_owned();
                return self.tell(Told::Offline { session, cause });
            }
            Notice::NeedsPerson { cause } => {
                let cause = cause.to_owned();
                return self.tell(Told::NeedsPerson { session, cause });
            }
            Notice::Paired => return self.tell(Told::Paired { session }),
            Notice::Asking { message_id } => Input::Asking { message_id },
            Notice::Incomplete { message_id, words } => Input::Incomplete { message_id, words },
            Notice::Written { message_id } => Input::Written { message_id },
            Notice::SendFailed { message_id, failure } => Input::SendFailed { message_id, failure },
            Notice::Uploaded { message_id } => Input::Uploaded { message_id },
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
        };
        self.outbox.handle(clock::now(), input);
    }
}

/// What the wall clock shows then, as it stands now.
fn wall_at(at: Instant) -> u64 {
    let now = clock::now();
    now.wall
        .0
        .saturating_add(millis(at.saturating_duration_since(now.mono)))
}

fn rules(routes: &[RoutePlan], time_zone: TimeZone) -> Rules {
    let of = |plan: &RoutePlan| {
        let fallback = plan.fallback.as_ref().map(|fallback| FallbackRules {
            after: fallback.after,
            to: fallback.to.clone(),
            both: fallback.both,
        });
        let rules = RouteRules {
            ttl: plan.ttl,
            mark_late: plan.mark_late,
            group: plan.group.clone(),
            quiet: plan.quiet.clone(),
            pace: plan.pace,
            fallback,
        };
        (plan.name.clone(), rules)
    };
    Rules {
        routes: routes.iter().map(of).collect(),
        time_zone,
    }
}

fn command<'a>(
    outbox: &'a mut Outbox,
    act: impl FnOnce(&'a mut Outbox, Now) -> Result<&'a AlertRecord, CommandError>,
) -> Result<AlertView, Refusal> {
    act(outbox, clock::now())
        .map(AlertView::from)
        .map_err(|error| match error {
            CommandError::Unknown(id) => Refusal::UnknownAlert(id),
            settled @ CommandError::Settled { .. } => Refusal::Conflict(settled.to_string()),
        })
}
