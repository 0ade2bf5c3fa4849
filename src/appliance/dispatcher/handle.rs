//! What others hold of the dispatcher: each call is an event, and most wait for their answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;

use super::event::{Answer, Event, Publish, Query, Wait};
use super::facts::OutboxFacts;
use crate::alert::{Alert, Recipient, RouteName, SessionName};
use crate::appliance::clock;
use crate::blobs::Kept;
use crate::config::RoutePlan;
use crate::gateway::api::AlertView;
use crate::gateway::{Accepted, Refusal};
use crate::outbox::Step;
use crate::store::{Store, StoreError};
use crate::util::within;
use crate::whatsapp::SessionHandle;

#[derive(Clone)]
pub(in crate::appliance) struct DispatcherHandle {
    events: Sender<Event>,
    store: Store,
    sessions: Arc<BTreeMap<SessionName, SessionHandle>>,
    routes: Arc<BTreeMap<RouteName, RoutePlan>>,
}

impl DispatcherHandle {
    pub(super) fn new(
        events: Sender<Event>,
        store: Store,
        sessions: Arc<BTreeMap<SessionName, SessionHandle>>,
        routes: Arc<BTreeMap<RouteName, RoutePlan>>,
    ) -> Self {
        Self {
            events,
            store,
            sessions,
            routes,
        }
    }

    pub(in crate::appliance) fn sessions(&self) -> impl Iterator<Item = &SessionHandle> {
        self.sessions.values()
    }

    pub(in crate::appliance) fn session(&self, name: &SessionName) -> Option<&SessionHandle> {
        self.sessions.get(name)
    }

    pub(in crate::appliance) fn routes(&self) -> impl Iterator<Item = &RouteName> {
        self.routes.keys()
    }

    pub(in crate::appliance) fn plan(&self, route: &RouteName) -> Option<&RoutePlan> {
        self.routes.get(route)
    }

    /// The routes on `session` that name `recipient`.
    pub(in crate::appliance) fn routes_to(&self, session: &SessionName, recipient: &Recipient) -> Vec<&RouteName> {
        let names = |plan: &&RoutePlan| plan.session == *session && plan.to.contains(recipient);
        self.routes.values().filter(names).map(|plan| &plan.name).collect()
    }

    /// The answer to an event. `None` when the dispatcher has ended, or has nothing to answer.
    async fn ask<T>(&self, event: impl FnOnce(Answer<T>) -> Event) -> Option<T> {
        let (answer, answered) = async_channel::bounded(1);
        self.events.send(event(answer)).await.ok()?;
        answered.recv().await.ok()
    }

    /// Accepts the alerts of one request, all or none, and returns once they are on disk, with an answer for each.
    /// Dropping the future does not take them back. `files` are those that they mention.
    pub(in crate::appliance) async fn publish(
        &self,
        parts: Vec<(RouteName, Vec<Alert>)>,
        files: Vec<Kept>,
    ) -> Result<Vec<Accepted>, Refusal> {
        let published = self.ask(|answer| Event::Publish(Publish { parts, files, answer }));
        published.await.unwrap_or_else(|| Err(ended()))
    }

    /// The alert once it has come as far as `step`, or failed, or when `timeout` is over.
    pub(in crate::appliance) async fn wait(&self, id: &str, step: Step, timeout: Duration) -> Option<AlertView> {
        let waited = self.ask(|answer| {
            Event::Wait(Wait {
                id: id.to_owned(),
                step,
                answer,
            })
        });
        match within(timeout, waited).await {
            Some(found) => found,
            None => self.alert(id).await,
        }
    }

    pub(in crate::appliance) async fn alert(&self, id: &str) -> Option<AlertView> {
        let id = id.to_owned();
        self.ask(|answer| Event::Query(Query::Alert { id, answer })).await?
    }

    /// The newest first, at most `limit`.
    pub(in crate::appliance) async fn alerts(&self, pending: bool, limit: usize) -> Vec<AlertView> {
        let listed = self.ask(|answer| Event::Query(Query::Alerts { pending, limit, answer }));
        listed.await.unwrap_or_default()
    }

    pub(in crate::appliance) async fn is_forgotten(&self, id: &str) -> bool {
        let id = id.to_owned();
        let asked = self.ask(|answer| Event::Query(Query::IsForgotten { id, answer }));
        asked.await.unwrap_or_default()
    }

    pub(in crate::appliance) async fn facts(&self) -> OutboxFacts {
        let asked = self.ask(|answer| Event::Query(Query::Facts { answer }));
        asked.await.unwrap_or_default()
    }

    pub(in crate::appliance) async fn retry(&self, id: &str) -> Result<AlertView, Refusal> {
        let id = id.to_owned();
        let retried = self.ask(|answer| Event::Retry { id, answer });
        retried.await.unwrap_or_else(|| Err(ended()))
    }

    /// Returns once the drop is on disk: what a person gave up must not come back.
    pub(in crate::appliance) async fn drop_alert(&self, id: &str) -> Result<AlertView, Refusal> {
        let id = id.to_owned();
        let dropped = self.ask(|answer| Event::Drop { id, answer });
        let dropped = dropped.await.unwrap_or_else(|| Err(ended()))?;
        self.flush().await.map_err(|error| storage_refusal(&error))?;
        Ok(dropped)
    }

    /// Returns once that is on disk, as for [`drop_alert`](Self::drop_alert).
    pub(in crate::appliance) async fn cancel(&self, route: &RouteName, name: &str) -> Result<Vec<String>, Refusal> {
        let (route, name) = (route.clone(), name.to_owned());
        let cancelled = self.ask(|answer| Event::Cancel { route, name, answer });
        let cancelled = cancelled.await.ok_or_else(ended)?;
        self.flush().await.map_err(|error| storage_refusal(&error))?;
        Ok(cancelled)
    }

    /// Returns once that is on disk: what somebody has seen to must not be said again.
    pub(in crate::appliance) async fn ack(&self, id: &str, by: &str) -> Result<AlertView, Refusal> {
        let (id, by) = (id.to_owned(), by.to_owned());
        let acked = self.ask(|answer| Event::Ack { id, by, answer });
        let acked = acked.await.unwrap_or_else(|| Err(ended()))?;
        self.flush().await.map_err(|error| storage_refusal(&error))?;
        Ok(acked)
    }

    /// Writes everything that was put off, and what the sessions have said until now.
    ///
    /// # Errors
    /// The store refused: for now, or for good, and then it says so itself.
    pub(in crate::appliance) async fn flush(&self) -> Result<(), StoreError> {
        // A dispatcher that has ended is said elsewhere, and has nothing more to write.
        self.ask(|answer| Event::Flush { answer }).await.unwrap_or(Ok(()))
    }

    /// A backup of the state as of now: what was put off is written first, so that no alert that was sent is in it as
    /// one that waits.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(in crate::appliance) async fn backup(&self) -> Result<(std::fs::File, u64), StoreError> {
        if let Err(error) = self.flush().await {
            // A full disk is a reason more to want one; what waits in it is held when it is restored.
            log::info!("a backup is made without the last changes: {error}");
        }
        self.store.backup(clock::now().wall.0).await
    }

    /// A turn of the dispatcher's loop. `false` when it has ended.
    pub(in crate::appliance) async fn turn(&self) -> bool {
        self.ask(|answer| Event::Turn { answer }).await.is_some()
    }

    /// The wall clock was set.
    pub(in crate::appliance) async fn clock_stepped(&self) {
        let _ = self.events.send(Event::ClockStepped).await;
    }
}

/// What a sender is told. No room is the one thing that a person can mend by making some.
pub(in crate::appliance) fn storage_refusal(error: &StoreError) -> Refusal {
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

fn ended() -> Refusal {
    Refusal::Unavailable("the relay is stopping".to_owned())
}
