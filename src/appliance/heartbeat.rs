//! The dead man's switch: an address is fetched for as long as an alert would go out, and somebody else raises the
//! alarm when that ends.
//!
//! What counts is what no watchdog of ours can fake: an answer of WhatsApp's server above the ping on the line of every
//! session, a turn of the dispatcher, and a disk that takes writes. Whatever is missing withholds the fetch. A fetch
//! that fails is said and tried again at its next turn.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_io::Timer;

use super::dispatcher::DispatcherHandle;
use crate::config::HeartbeatPlan;
use crate::fallback::{ANSWER_WITHIN, Request, ask};
use crate::line::{Schedule, State};
use crate::store::{Batch, Store};
use crate::util::{lock, within};
use crate::whatsapp::{SessionHandle, SessionView};

/// How long the store and the dispatcher may take for a turn. A disk that is slow is no reason, one that hangs is.
const TURN_MAX: Duration = Duration::from_secs(10);

/// Why the last fetch failed, for health. Clones share it.
#[derive(Clone, Default)]
pub(super) struct HeartbeatTrouble(Arc<Mutex<Option<String>>>);

impl HeartbeatTrouble {
    /// In words; `None` while fetches succeed, and while none is made.
    pub(super) fn words(&self) -> Option<String> {
        lock(&self.0).clone()
    }

    fn set(&self, words: Option<String>) {
        *lock(&self.0) = words;
    }
}

/// What became of the last turn.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turn {
    None,
    Fetched,
    Withheld(String),
    Failed(String),
}

pub(super) struct Heartbeat {
    pub(super) plan: HeartbeatPlan,
    pub(super) schedule: Schedule,
    pub(super) store: Store,
    pub(super) dispatcher: DispatcherHandle,
    pub(super) sessions: Vec<SessionHandle>,
    pub(super) trouble: HeartbeatTrouble,
}

impl Heartbeat {
    /// Runs for as long as the relay.
    pub(super) async fn keep(self) {
        let (mut next, mut last) = (Instant::now(), Turn::None);
        loop {
            Timer::at(next).await;
            // After a standstill those that were missed are not made up for.
            next = (next + self.plan.interval).max(Instant::now());
            let turn = match self.lacking().await {
                Some(why) => Turn::Withheld(why),
                None => self.fetch().await,
            };
            self.tell(&last, &turn);
            last = turn;
        }
    }

    /// What is missing for an alert to go out.
    async fn lacking(&self) -> Option<String> {
        let now = Instant::now();
        let missing = |session: &SessionHandle| {
            let why = lacks_life(now, &session.view(), &self.schedule)?;
            Some(format!("session {} {why}", session.name))
        };
        if let Some(why) = self.sessions.iter().find_map(missing) {
            return Some(why);
        }
        if let Some(error) = self.store.short_of_room() {
            return Some(error.to_string());
        }
        match within(TURN_MAX, self.store.commit(Batch::new())).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Some(error.to_string()),
            None => return Some(format!("the store has made no progress for {} s", TURN_MAX.as_secs())),
        }
        match within(TURN_MAX, self.dispatcher.turn()).await {
            Some(true) => None,
            Some(false) | None => Some("the dispatcher makes no progress".to_owned()),
        }
    }

    async fn fetch(&self) -> Turn {
        let HeartbeatPlan { url, proxy, .. } = &self.plan;
        let agent = concat!("tautline/", env!("CARGO_PKG_VERSION"));
        let request = Request {
            method: "GET",
            headers: vec![("User-Agent".to_owned(), agent.to_owned())],
            body: Vec::new(),
            within: ANSWER_WITHIN,
        };
        match ask(url, proxy.as_ref(), &self.schedule, request).await {
            Ok(answer) if answer.is_taken() => Turn::Fetched,
            Ok(answer) => Turn::Failed(format!("{} answered {}", url.origin(), answer.status)),
            Err(error) => Turn::Failed(error.to_string()),
        }
    }

    /// Says what has changed; the same again is not worth a line.
    fn tell(&self, last: &Turn, turn: &Turn) {
        self.trouble.set(match turn {
            Turn::Failed(why) => Some(why.clone()),
            Turn::None | Turn::Fetched | Turn::Withheld(_) => None,
        });
        match (last, turn) {
            (Turn::Fetched, Turn::Fetched) | (_, Turn::None) => {}
            (_, Turn::Fetched) => log::info!("heartbeat: {} is fetched", self.plan.url.origin()),
            (Turn::Withheld(_), Turn::Withheld(why)) => log::debug!("heartbeat: still withheld: {why}"),
            (_, Turn::Withheld(why)) => log::info!("heartbeat: withheld: {why}"),
            (Turn::Failed(_), Turn::Failed(why)) => log::debug!("heartbeat: still failing: {why}"),
            (_, Turn::Failed(why)) => log::warn!("heartbeat: it cannot be fetched: {why}"),
        }
    }
}

/// Why a session proves nothing; `None` while its line is ready and has answered above the ping.
fn lacks_life(now: Instant, view: &SessionView, schedule: &Schedule) -> Option<&'static str> {
    if !view.paired {
        return Some("is not paired");
    }
    if view.state != State::Online || view.online_since.is_none() {
        return Some("has no line that is ready");
    }
    // An answer is looked at when the next question is due, so on a good line one can be two pauses old.
    let application = &schedule.application;
    let good = application.ping_max * 2 + application.pong;
    match view.application_proof {
        Some(at) if now.saturating_duration_since(at) <= good => None,
        Some(_) | None => Some("has had no answer from WhatsApp's server lately"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;

    #[test]
    fn only_an_answer_above_the_ping_on_a_line_that_is_ready_counts() {
        let schedule = Board::named("generic").unwrap().schedule();
        let start = Instant::now();
        let now = start + Duration::from_secs(3600);
        let good = SessionView {
            state: State::Online,
            paired: true,
            online_since: Some(1),
            application_proof: now.checked_sub(Duration::from_secs(30)),
            ..SessionView::default()
        };
        let lacks = |change: fn(&mut SessionView)| {
            let mut view = good.clone();
            change(&mut view);
            lacks_life(now, &view, &schedule)
        };
        assert_eq!(lacks(|_| {}), None);
        assert!(lacks(|view| view.paired = false).is_some());
        assert!(lacks(|view| view.online_since = None).is_some());
        assert!(lacks(|view| view.state = State::Idle).is_some());
        assert!(lacks(|view| view.application_proof = None).is_some());
        let old = |view: &mut SessionView| {
            view.websocket_proof = view.application_proof;
            view.application_proof = view
                .application_proof
                .and_then(|at| at.checked_sub(Duration::from_secs(3)));
        };
        assert!(lacks(old).is_some());
    }
}
