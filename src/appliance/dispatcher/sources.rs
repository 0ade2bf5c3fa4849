//! Where the dispatcher's events come from.

use std::time::Instant;

use async_channel::Receiver;
use async_io::Timer;
use futures_lite::future;

use super::event::Event;
use crate::alert::SessionName;
use crate::whatsapp::Notice;

/// The channels, in the order in which they are taken.
pub(super) struct Sources {
    /// Ends of writes. Not bounded: there are no more than writes under way.
    pub(super) ended: Receiver<Event>,
    pub(super) notices: Receiver<(SessionName, Notice)>,
    pub(super) requests: Receiver<Event>,
}

impl Sources {
    /// What the disk and the sessions say comes before what is asked, and no deadline is starved by any.
    pub(super) async fn next(&self, deadline: Option<Instant>) -> Event {
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
    pub(super) fn try_next(&self) -> Option<Event> {
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
