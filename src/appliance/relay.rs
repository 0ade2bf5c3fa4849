//! The relay as the gateway sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::dispatcher::{DispatcherHandle, storage_refusal};
use super::process;
use super::proofs::Proofs;
use super::status::Facts;
use super::tokens::Tokens;
use crate::access::{Grant, Presented};
use crate::alert::{Alert, RouteName, SessionName};
use crate::blobs::Kept;
use crate::fallback::FallbackClient;
use crate::gateway::api::{
    AlertView, Chat, EventView, HistoryEntry, HistoryView, IssuedToken, PairEvent, RouteTested, RouteView, Status,
    TokenView,
};
use crate::gateway::{Accepted, Counted, Feed, ProcessFacts, Refusal, Relay, Tallies};
use crate::outbox::Step;
use crate::store::history;
use crate::store::journal::{self, Event, Watcher};
use crate::util::within;
use crate::whatsapp::{Command, SessionHandle};

/// How long a session may take to list its chats.
const CHATS_DEADLINE: Duration = Duration::from_secs(30);

/// QR codes come every 20 s and are six; nobody needs a longer queue.
const PAIR_EVENTS_MAX: usize = 16;

pub(super) struct Appliance {
    pub(super) dispatcher: DispatcherHandle,
    pub(super) facts: Facts,
    pub(super) tokens: Arc<Tokens>,
    pub(super) feed: Arc<Feed>,
    pub(super) fallback_client: Arc<FallbackClient>,
    pub(super) proofs: Arc<Proofs>,
    pub(super) tallies: Arc<Tallies>,
}

impl Appliance {
    fn session(&self, name: &SessionName) -> Result<&SessionHandle, Refusal> {
        self.dispatcher
            .session(name)
            .ok_or_else(|| Refusal::UnknownSession(name.to_string()))
    }

    /// What was there once is told from what never was.
    async fn known(&self, refusal: Refusal) -> Refusal {
        let Refusal::UnknownAlert(id) = refusal else {
            return refusal;
        };
        match self.is_forgotten(&id).await {
            true => Refusal::ForgottenAlert(id),
            false => Refusal::UnknownAlert(id),
        }
    }

    /// An alert can be shown without it, so what cannot be read is left out.
    fn history(&self, id: &str) -> Vec<HistoryView> {
        let found = journal::of_alert(self.facts.store.view(), id).unwrap_or_else(|error| {
            log::warn!("the history of alert {id} cannot be read: {error}");
            Vec::new()
        });
        let view = |(number, entry): (u64, journal::Entry)| match entry.event {
            Event::Alert { what, delivery, .. } => Some(HistoryView {
                number,
                at: entry.at.0,
                what,
                delivery,
            }),
            Event::Recorded { .. }
            | Event::Online { .. }
            | Event::Offline { .. }
            | Event::NeedsPerson { .. }
            | Event::Paired { .. } => None,
        };
        found.into_iter().filter_map(view).collect()
    }
}

#[async_trait]
impl Relay for Appliance {
    fn routes(&self) -> Vec<RouteName> {
        self.dispatcher.routes().cloned().collect()
    }

    async fn publish_to_all(&self, parts: Vec<(RouteName, Vec<Alert>)>) -> Result<Vec<Accepted>, Refusal> {
        self.dispatcher.publish(parts, Vec::new()).await
    }

    async fn publish_with_files(
        &self,
        parts: Vec<(RouteName, Vec<Alert>)>,
        files: Vec<Kept>,
    ) -> Result<Vec<Accepted>, Refusal> {
        self.dispatcher.publish(parts, files).await
    }

    fn feed(&self) -> &Feed {
        &self.feed
    }

    fn route(&self, route: &RouteName) -> Result<RouteView, Refusal> {
        self.route_view(route)
    }

    async fn test_route(&self, route: RouteName, timeout: Duration) -> Result<RouteTested, Refusal> {
        self.route_tested(route, timeout).await
    }

    async fn status(&self) -> Status {
        let outbox = self.dispatcher.facts().await;
        self.facts.status(&self.dispatcher, &outbox)
    }

    fn counted(&self) -> Counted {
        self.tallies.counted()
    }

    fn process(&self) -> ProcessFacts {
        process::facts()
    }

    async fn alerts(&self, pending: bool, limit: usize) -> Vec<AlertView> {
        self.dispatcher.alerts(pending, limit).await
    }

    fn lines(&self, session: Option<SessionName>, limit: usize) -> Result<Vec<HistoryEntry>, Refusal> {
        let asked = match session {
            Some(name) => vec![self.session(&name)?.name.clone()],
            None => self.dispatcher.sessions().map(|handle| handle.name.clone()).collect(),
        };
        let entries =
            history::newest(self.facts.store.view(), &asked, limit).map_err(|error| storage_refusal(&error))?;
        Ok(entries
            .into_iter()
            .map(|(session, entry)| HistoryEntry::new(session, entry))
            .collect())
    }

    async fn alert(&self, id: &str) -> Option<AlertView> {
        let mut view = self.dispatcher.alert(id).await?;
        view.history = self.history(id);
        Some(view)
    }

    async fn is_forgotten(&self, id: &str) -> bool {
        self.dispatcher.is_forgotten(id).await || !self.history(id).is_empty()
    }

    fn events(&self, since: u64, limit: usize) -> Result<Vec<EventView>, Refusal> {
        let found = journal::after(self.facts.store.view(), since, limit).map_err(|error| storage_refusal(&error))?;
        Ok(found.into_iter().map(EventView::from).collect())
    }

    fn events_kept(&self) -> Result<(u64, u64), Refusal> {
        journal::bounds(self.facts.store.view()).map_err(|error| storage_refusal(&error))
    }

    async fn watch_events(&self) -> Watcher {
        let watcher = self.facts.store.journal_updates().watch();
        // It looks at once whether something about a session waits.
        self.dispatcher.turn().await;
        watcher
    }

    async fn wait(&self, id: &str, step: Step, timeout: Duration) -> Option<AlertView> {
        self.dispatcher.wait(id, step, timeout).await
    }

    async fn retry(&self, id: &str) -> Result<AlertView, Refusal> {
        match self.dispatcher.retry(id).await {
            Ok(view) => Ok(view),
            Err(refusal) => Err(self.known(refusal).await),
        }
    }

    async fn drop_alert(&self, id: &str) -> Result<AlertView, Refusal> {
        match self.dispatcher.drop_alert(id).await {
            Ok(view) => Ok(view),
            Err(refusal) => Err(self.known(refusal).await),
        }
    }

    async fn ack(&self, id: &str, by: &str) -> Result<AlertView, Refusal> {
        match self.dispatcher.ack(id, by).await {
            Ok(view) => Ok(view),
            Err(refusal) => Err(self.known(refusal).await),
        }
    }

    async fn cancel(&self, route: &RouteName, name: &str) -> Result<Vec<String>, Refusal> {
        self.dispatcher.cancel(route, name).await
    }

    async fn chats(&self, session: Option<SessionName>) -> Result<Vec<Chat>, Refusal> {
        let asked: Vec<&SessionHandle> = match &session {
            Some(name) => vec![self.session(name)?],
            None => self.dispatcher.sessions().collect(),
        };
        let mut chats = Vec::new();
        for handle in asked {
            let (answer_tx, answer) = async_channel::bounded(1);
            let gone = || Refusal::Unavailable(format!("session {} has ended", handle.name));
            if !handle.command(Command::Chats { answer: answer_tx }).await {
                return Err(gone());
            }
            let late = || Refusal::Unavailable(format!("session {} did not answer in time", handle.name));
            let answered = within(CHATS_DEADLINE, answer.recv()).await.ok_or_else(late)?;
            chats.extend(answered.map_err(|_| gone())?.map_err(Refusal::Unavailable)?);
        }
        Ok(chats)
    }

    async fn backup(&self) -> Result<(std::fs::File, u64), Refusal> {
        let made = self.dispatcher.backup().await;
        made.map_err(|error| storage_refusal(&error))
    }

    fn token(&self, secret: &str) -> Presented {
        self.tokens.presented(secret)
    }

    fn tokens(&self) -> Vec<TokenView> {
        self.tokens.list()
    }

    async fn new_token(&self, grant: Grant, expires_in_ms: Option<u64>) -> Result<IssuedToken, Refusal> {
        self.tokens.make(grant, expires_in_ms).await
    }

    async fn revoke_token(&self, name: &str) -> Result<(), Refusal> {
        self.tokens.revoke(name).await
    }

    async fn pair(
        &self,
        session: SessionName,
        phone: Option<String>,
    ) -> Result<async_channel::Receiver<PairEvent>, Refusal> {
        let handle = self.session(&session)?;
        if handle.view().paired {
            return Err(Refusal::Conflict(format!(
                "session {session} is paired already; to link it anew, log it out on the phone first"
            )));
        }
        let (events_tx, events) = async_channel::bounded(PAIR_EVENTS_MAX);
        if !handle
            .command(Command::Pair {
                phone,
                events: events_tx,
            })
            .await
        {
            return Err(Refusal::Unavailable(format!("session {session} has ended")));
        }
        Ok(events)
    }
}
