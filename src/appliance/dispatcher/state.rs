//! What the dispatcher holds, and how it is read from the store at a start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use jiff::tz::TimeZone;
use smol::Executor;

use super::event::Event;
use super::handle::DispatcherHandle;
use super::put_off::PutOff;
use super::rounds::Rounds;
use super::sources::Sources;
use super::waiting::Waiting;
use super::writes::Writes;
use crate::alert::{Attachment, RouteName, SessionName};
use crate::appliance::proofs::Proofs;
use crate::appliance::{clock, ids};
use crate::blobs::Blobs;
use crate::config::RoutePlan;
use crate::fallback::FallbackClient;
use crate::gateway::{Feed, Tallies};
use crate::outbox::{AlertRecord, FallbackRules, Limits, Outbox, RouteRules, Rules, Start, Step};
use crate::store::{Store, StoreError, outbox as outbox_store, starts};
use crate::whatsapp::{Notice, SessionHandle};

/// Requests that wait for the dispatcher at once; whoever sends one more waits. As many as there can be connections.
const REQUESTS_MAX: usize = 256;

/// The outbox with all that serves it. What it does is said in the files beside this one.
pub(in crate::appliance) struct Dispatcher {
    pub(super) outbox: Outbox,
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) executor: Arc<Executor<'static>>,
    pub(super) sessions: Arc<BTreeMap<SessionName, SessionHandle>>,
    pub(super) routes: Arc<BTreeMap<RouteName, RoutePlan>>,
    pub(super) sources: Sources,
    /// Where its own writes say how they ended.
    pub(super) ended: Sender<Event>,
    pub(super) feed: Arc<Feed>,
    pub(super) writes: Writes,
    pub(super) waiting: Waiting,
    pub(super) put_off: PutOff,
    pub(super) rounds: Rounds,
    pub(super) fallback_client: Arc<FallbackClient>,
    pub(super) proofs: Arc<Proofs>,
    pub(super) tallies: Arc<Tallies>,
}

/// What a dispatcher is made of.
pub(in crate::appliance) struct Parts {
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
    pub fallback_client: Arc<FallbackClient>,
    pub proofs: Arc<Proofs>,
    /// Is told of what happens, for `GET /metrics`.
    pub tallies: Arc<Tallies>,
}

impl Dispatcher {
    /// Reads the outbox from the store. Also returns what was wrong with the alerts there, a line each.
    ///
    /// # Errors
    /// The store could not be read.
    pub(in crate::appliance) fn open(parts: Parts) -> Result<(Self, DispatcherHandle, Vec<String>), StoreError> {
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
            fallback_client,
            proofs,
            tallies,
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
            fallback_client,
            proofs,
            tallies,
        };
        let damaged = loaded.damaged.iter().map(ToString::to_string).collect();
        Ok((dispatcher, handle, damaged))
    }
}

/// Where it cannot be written, keys count a little longer after the next start.
async fn keep_starts(store: Store, to_keep: Vec<Start>) {
    if let Err(error) = starts::keep(&store, &to_keep).await {
        log::debug!("this start is not noted for the age of keys: {error}");
    }
}

/// The files that an alert mentions stay for as long as it does, and give way to others' once it is through.
pub(super) fn hold_files(blobs: &Blobs, record: &AlertRecord) {
    let files = record.alert.attachments.iter().flat_map(Attachment::blobs);
    let waits = record.deliveries.iter().any(|delivery| delivery.step == Step::Accepted);
    blobs.hold(record.seq, files, waits);
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
            flapping: plan.flapping,
            fallback,
            repeat: plan.repeat.clone(),
            escalate: plan.escalate.clone(),
            acks: plan.acks.clone(),
        };
        (plan.name.clone(), rules)
    };
    Rules {
        routes: routes.iter().map(of).collect(),
        time_zone,
    }
}
