//! The journal as one subscriber is told of it.

use std::sync::Arc;

use event_listener::EventListener;

use super::close::Close;
use super::tail::{Item, Tail};
use super::wanted::{Filter, Wanted};
use crate::gateway::api::{EventView, StreamWord};
use crate::gateway::http::answer::Problem;
use crate::gateway::http::auth::{Caller, Scope};
use crate::gateway::http::call::Call;
use crate::gateway::http::limits::Limits;
use crate::gateway::relay::Relay;
use crate::store::journal::Watcher;

/// Who subscribes, and with what right.
pub(super) struct Subscriber {
    pub relay: Arc<dyn Relay>,
    pub limits: Limits,
    caller: Caller,
    scope: Scope,
}

/// A subscription that has begun. It holds a place in the journal, and nothing of what is in it.
pub(super) struct Source {
    subscriber: Subscriber,
    filter: Filter,
    watcher: Watcher,
    tail: Tail,
}

/// What comes of a look at the journal.
pub(super) enum Page {
    Item(Vec<Item>),
    /// There was something, and none of it is wanted.
    PassedOver,
    /// Nothing that may be told now.
    Nothing,
}

impl Subscriber {
    pub fn of(call: &Call<'_, '_>) -> Self {
        Self {
            relay: Arc::clone(&call.context.relay),
            limits: call.context.limits,
            caller: call.caller.clone(),
            scope: call.scope,
        }
    }

    /// The configured route of this name, if it is theirs.
    ///
    /// # Errors
    /// 403 for another's, 404 for one that is not there.
    pub fn route(&self, name: &str) -> Result<crate::alert::RouteName, Problem> {
        if !self.caller.may(self.scope, Some(name)) {
            return Err(Problem::new(403, format!("the route {name:?} is not yours to read")));
        }
        let routes = self.relay.routes();
        let found = routes.iter().find(|route| route.as_str() == name).cloned();
        found.ok_or_else(|| Problem::unknown_route(name, routes.iter().map(ToString::to_string).collect()))
    }

    /// Begins, and says with which words.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn begin(self, wanted: Wanted) -> Result<(Source, Vec<StreamWord>), Problem> {
        let watcher = self.relay.watch_events().await;
        let (oldest, newest) = self.relay.events_kept()?;
        let since = wanted.since.unwrap_or(newest);
        let is_another = since > newest;
        let after = if is_another { oldest.saturating_sub(1) } else { since };
        let hello = StreamWord::Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            since: after,
            oldest,
            newest,
            ping_ms: crate::util::millis(self.limits.ping),
        };
        let reset = is_another.then_some(StreamWord::Reset { newest });
        let source = Source {
            filter: wanted.filter,
            watcher,
            tail: Tail::new(after, wanted.window),
            subscriber: self,
        };
        Ok((source, [Some(hello), reset].into_iter().flatten().collect()))
    }
}

impl Source {
    /// Ready when the journal has more than at this moment; to be asked for before [`page`](Self::page).
    pub fn more(&self) -> EventListener {
        self.watcher.next()
    }

    /// What comes next.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn page(&mut self) -> Result<Page, Close> {
        let Subscriber {
            relay, caller, scope, ..
        } = &self.subscriber;
        let room = self.tail.room();
        if room == 0 {
            return Ok(Page::Nothing);
        }
        let read = relay.events(self.tail.after(), room);
        let read = read.map_err(|refusal| Close::Unreadable(refusal.to_string()))?;
        if read.is_empty() {
            return Ok(Page::Nothing);
        }
        let theirs = |event: &EventView| {
            event
                .route
                .as_deref()
                .is_none_or(|route| caller.may(*scope, Some(route)))
        };
        let filter = &self.filter;
        let told = self.tail.take(read, |event| theirs(event) && filter.fits(event));
        Ok(match told.is_empty() {
            true => Page::PassedOver,
            false => Page::Item(told),
        })
    }

    pub fn tail(&mut self) -> &mut Tail {
        &mut self.tail
    }

    /// Whether they may still read: a token is revoked or ends while it is in use.
    pub fn may_go_on(&self) -> bool {
        let Subscriber {
            relay, caller, scope, ..
        } = &self.subscriber;
        caller.lasts(*scope, || relay.tokens())
    }

    pub fn limits(&self) -> Limits {
        self.subscriber.limits
    }
}
