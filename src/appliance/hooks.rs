//! Tells the hooks of the configuration what happens. What is asked when is decided by `hook::Hook`; here the journal
//! is read, requests are made, and how it stands is kept for status and health.
//!
//! Each hook has a task and a connection of its own: one that hangs holds up nothing but itself.

mod told;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::{FutureExt, future};

use super::clock;
use super::dispatcher::DispatcherHandle;
use crate::alert::HookName;
use crate::config::{Fault, HookPlan};
use crate::fallback::{WebError, post, signed_json};
use crate::gateway::api::{EventView, HookState, HookStatus};
use crate::health::{Code, Finding};
use crate::hook::{EventKind, Hook, Input, Outcome, Output, Post};
use crate::line::Schedule;
use crate::store::journal::{self, Updates};
use crate::store::{Store, StoreError, hooks as places};
use crate::util::{lock, millis};

/// Entries that are read at once.
const PAGE: usize = 32;

/// What a hook answers that wants nothing any more.
const GONE: u16 = 410;

/// How all hooks stand. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Hooks(Arc<Vec<Standing>>);

struct Standing {
    name: HookName,
    origin: String,
    now: Mutex<Now>,
}

#[derive(Default, Clone)]
struct Now {
    done: u64,
    taken: u64,
    failed: u64,
    given_up: u64,
    taken_at: Option<u64>,
    /// `None` while all is well.
    failing_since: Option<Instant>,
    /// When it is asked again, while it fails.
    next: Option<Instant>,
    over: bool,
    /// Why the last request came to nothing.
    error: String,
}

impl Hooks {
    /// All hooks, each at its place in the journal: a new one begins at its end.
    pub(super) async fn open(store: &Store, plans: &[HookPlan]) -> Self {
        let names: Vec<HookName> = plans.iter().map(|plan| plan.name.clone()).collect();
        let (oldest, newest) = journal::bounds(store.view()).unwrap_or((1, 0));
        let found = places::begin(store, names.clone(), newest)
            .await
            .unwrap_or_else(|error| {
                log::error!("the places of new hooks in the journal could not be written: {error}");
                places::places(store.view(), &names, newest)
            });
        let standing = |(plan, place): (&HookPlan, u64)| {
            // A place that the journal never had is of another state.
            let done = if place > newest { oldest - 1 } else { place };
            Standing {
                name: plan.name.clone(),
                origin: plan.target.url.origin(),
                now: Mutex::new(Now { done, ..Now::default() }),
            }
        };
        Self(Arc::new(plans.iter().zip(found).map(standing).collect()))
    }

    /// For status; `newest` is the number of the journal's newest entry.
    pub(super) fn status(&self, newest: u64) -> Vec<HookStatus> {
        let status = |standing: &Standing| {
            let now = lock(&standing.now).clone();
            let state = match (now.over, now.failing_since) {
                (true, _) => HookState::Over,
                (false, Some(_)) => HookState::Failing,
                (false, None) => HookState::Well,
            };
            HookStatus {
                name: standing.name.to_string(),
                origin: standing.origin.clone(),
                state,
                behind: newest.saturating_sub(now.done),
                taken: now.taken,
                failed: now.failed,
                given_up: now.given_up,
                taken_at: now.taken_at,
                error: (state != HookState::Well).then_some(now.error),
                next_in_ms: now.next.map(|at| millis(at.saturating_duration_since(Instant::now()))),
            }
        };
        self.0.iter().map(status).collect()
    }

    /// Those that do not take what they are told, and the files of the configuration that hooks need and that cannot be
    /// read.
    pub(super) fn findings(&self, newest: u64, unreadable: &[Fault]) -> Vec<Finding> {
        let finding = |standing: &Standing| {
            let now = lock(&standing.now).clone();
            let (name, error) = (&standing.name, &now.error);
            let behind = newest.saturating_sub(now.done);
            let text = match now.over {
                true => format!("hook {name} is told nothing more until the next start: {error}"),
                false => format!(
                    "hook {name} does not take what it is told ({error}); the journal has {behind} entries more"
                ),
            };
            let lasts = now.failing_since?.elapsed();
            Some(Finding::new(Code::HookFailing, text).lasting(lasts))
        };
        let mut found: Vec<Finding> = self.0.iter().filter_map(finding).collect();
        let of_hooks = unreadable.iter().filter(|fault| is_of_hook(fault));
        found.extend(of_hooks.map(|fault| Finding::new(Code::HookFailing, fault.to_string()).lasting(Duration::MAX)));
        found
    }

    fn with(&self, at: usize, change: impl FnOnce(&mut Now)) {
        if let Some(standing) = self.0.get(at) {
            change(&mut lock(&standing.now));
        }
    }
}

/// Whether a fault of the configuration stands in a section `[[hook]]`.
pub(super) fn is_of_hook(fault: &Fault) -> bool {
    fault.key.starts_with("hook[")
}

/// What tells one hook.
pub(super) struct Teller {
    pub(super) plan: HookPlan,
    /// Its place among all.
    pub(super) at: usize,
    pub(super) hooks: Hooks,
    pub(super) schedule: Schedule,
    pub(super) store: Store,
    pub(super) dispatcher: DispatcherHandle,
}

impl Teller {
    /// Runs for as long as the relay, or until the hook wants nothing more. That it cannot go on is no reason for the
    /// relay to end.
    pub(super) async fn keep(self) {
        if AssertUnwindSafe(self.tell()).catch_unwind().await.is_err() {
            log::error!("hook {}: its task has panicked", self.plan.name);
            self.hooks.with(self.at, |now| {
                now.failing_since.get_or_insert_with(Instant::now);
                (now.over, now.next, now.error) = (true, None, "its task has panicked".to_owned());
            });
        }
    }

    async fn tell(&self) {
        let updates: Updates = self.store.journal_updates().clone();
        // What happens to sessions is written within a second only while somebody watches.
        let wants_sessions = self.plan.wanted.kinds.iter().any(EventKind::takes_sessions);
        let _watcher = wants_sessions.then(|| updates.watch());
        let mut done = 0;
        self.hooks.with(self.at, |now| done = now.done);
        let mut hook = Hook::new(Instant::now(), done);
        while !hook.is_over() {
            // Asked for before the journal is looked at, so that nothing falls in between.
            let more = updates.more();
            while let Some(output) = hook.poll_output() {
                if let Some(input) = self.execute(output).await {
                    hook.handle(Instant::now(), input);
                }
                self.note(&hook);
            }
            match hook.poll_timeout() {
                Some((until, _)) => {
                    Timer::at(until).await;
                    hook.handle_timeout(Instant::now());
                }
                None if hook.is_over() => return,
                None => {
                    more.await;
                    hook.handle(Instant::now(), Input::More);
                }
            }
        }
    }

    fn note(&self, hook: &Hook) {
        self.hooks.with(self.at, |now| {
            now.done = hook.done();
            now.failing_since = hook.failing_since();
            now.next = hook.poll_timeout().map(|(until, _)| until);
            now.over = hook.is_over();
        });
    }

    async fn execute(&self, output: Output) -> Option<Input> {
        let name = &self.plan.name;
        match output {
            Output::Read { after } => {
                // Ten thousand entries that nobody wants must not hold up others.
                future::yield_now().await;
                Some(Input::Read(self.read(after).unwrap_or_else(|error| {
                    log::warn!("hook {name}: the journal cannot be read: {error}");
                    Vec::new()
                })))
            }
            Output::Post(post) => self.post(post).await,
            Output::Keep { done } => {
                if let Err(error) = places::keep(&self.store, name, done).await {
                    log::debug!("hook {name}: its place is not on disk: {error}");
                }
                None
            }
            Output::GivenUp(post) => {
                self.hooks.with(self.at, |now| now.given_up += 1);
                let what = match post {
                    Post::Event(number) => format!("event {number}"),
                    Post::Gap { from, to } => format!("the gap from {from} to {to}"),
                };
                log::warn!("hook {name}: {what} is given up, it was refused too often");
                None
            }
        }
    }

    fn read(&self, after: u64) -> Result<Vec<(u64, bool)>, StoreError> {
        let found = journal::after(self.store.view(), after, PAGE)?;
        let judged = found.into_iter().map(|(number, entry)| {
            let event = EventView::from((number, entry));
            (number, self.plan.wanted.takes(&event.facts()))
        });
        Ok(judged.collect())
    }

    async fn post(&self, post: Post) -> Option<Input> {
        let told = match post {
            Post::Event(number) => self.event(number).await,
            Post::Gap { from, to } => told::gap(&self.plan.name, from, to),
        };
        let Some(told) = told else {
            return Some(Input::Missing);
        };
        let (outcome, why) = self.request(told).await;
        let name = &self.plan.name;
        self.hooks.with(self.at, |now| match outcome {
            Outcome::Taken => {
                now.taken += 1;
                now.taken_at = Some(clock::wall_ms());
                if now.failing_since.is_some() {
                    log::info!("hook {name}: it takes what it is told again");
                }
            }
            Outcome::Refused | Outcome::Gone | Outcome::Failed { .. } => {
                now.failed += 1;
                match now.failing_since {
                    None => log::warn!("hook {name}: {why}"),
                    Some(_) => log::debug!("hook {name}: {why}"),
                }
                now.error = why;
            }
        });
        Some(Input::Answered(outcome))
    }

    /// One request, and why it came to nothing.
    async fn request(&self, told: told::Body) -> (Outcome, String) {
        let HookPlan {
            target,
            secret,
            ca,
            timeout,
            ..
        } = &self.plan;
        let failed = |why: String| (Outcome::Failed { pause: None }, why);
        let mut request = match signed_json(told.json, &told.id, secret.as_ref(), *timeout).await {
            Ok(request) => request,
            Err(why) => return failed(why),
        };
        request.headers.push(("X-Tautline-Event".to_owned(), told.event));
        match post(target, ca.as_deref(), &self.schedule, request).await {
            Ok(answer) if answer.is_taken() => (Outcome::Taken, String::new()),
            Ok(answer) => {
                let outcome = match answer.status {
                    GONE => Outcome::Gone,
                    _ if answer.is_refusal() => Outcome::Refused,
                    _ => Outcome::Failed {
                        pause: answer.retry_after,
                    },
                };
                (outcome, answer.words(&target.url.origin()))
            }
            Err(WebError::Unreached(why) | WebError::Unanswered(why)) => failed(why),
        }
    }

    /// The entry of this number, told. `None`: it is gone.
    async fn event(&self, number: u64) -> Option<told::Body> {
        let found = journal::after(self.store.view(), number.saturating_sub(1), 1).ok()?;
        let (found, entry) = found.into_iter().next()?;
        if found != number {
            return None;
        }
        told::event(&self.plan.name, (&self.store, &self.dispatcher), (number, entry)).await
    }
}
