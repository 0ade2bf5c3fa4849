//! A subscription over a WebSocket (RFC 6455), as browsers and ntfy's app have it.

use std::sync::Arc;
use std::time::Instant;

use async_channel::Receiver;
use async_io::Timer;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use futures_lite::{StreamExt, future};

use super::{Subscription, Wanted, begin, place, routes};
use crate::gateway::api::{AlertView, TopicEvent};
use crate::gateway::http::call::{Call, Outcome};
use crate::gateway::http::limits::Limits;
use crate::gateway::http::websocket;
use crate::gateway::socket::Socket;
use crate::util::within;

/// `GET /{topics}/ws`.
pub(in crate::gateway::http) async fn ws(call: Call<'_, '_>, topics: String) -> Outcome {
    // Whose it is, before how it is asked for.
    routes(&call, &topics)?;
    let accept = websocket::accept(&call.request.head, "/json, /sse and /raw need none")?;
    let wanted = Wanted::of(&call)?;
    let poll = wanted.poll;
    let context = call.context;
    let slot = place(context)?;
    let subscription = begin(&call, &topics, wanted).await?;
    let (limits, stopping) = (context.limits, context.stopping.clone());
    Ok(websocket::answer(accept, slot, move |socket| async move {
        let mut talk = Talk { socket, limits };
        // Whoever does not take what is written is left.
        if talk.tell(subscription, poll, &stopping).await.is_some() {
            let _ = within(limits.answer, talk.socket.close(None)).await;
        }
    }))
}

struct Talk {
    socket: WebSocketStream<Socket>,
    limits: Limits,
}

/// What happens to a subscriber.
enum Wake {
    Alert(Arc<AlertView>),
    /// It says something, if only that it is there.
    Heard,
    Beat,
    /// It has left, fell behind, or the relay stops.
    Ended,
}

impl Talk {
    /// `None`: it takes nothing more.
    async fn tell(&mut self, subscription: Subscription, poll: bool, stopping: &Receiver<()>) -> Option<()> {
        self.say(&subscription.event("open")).await?;
        for alert in &subscription.before {
            self.say(&TopicEvent::from(alert)).await?;
        }
        if poll {
            return Some(());
        }
        let mut heard = Instant::now();
        loop {
            match self.next(&subscription.heard, stopping).await {
                Wake::Alert(alert) if subscription.tells(&alert) => {
                    self.say(&TopicEvent::from(alert.as_ref())).await?;
                }
                Wake::Alert(_) => {}
                Wake::Heard => heard = Instant::now(),
                Wake::Beat if heard.elapsed() > self.limits.keepalive * 2 => return None,
                Wake::Beat => self.write(Message::Ping(Vec::new().into())).await?,
                Wake::Ended => return Some(()),
            }
        }
    }

    async fn next(&mut self, alerts: &Receiver<Arc<AlertView>>, stopping: &Receiver<()>) -> Wake {
        let alert = async { alerts.recv().await.map_or(Wake::Ended, Wake::Alert) };
        let said = async {
            match self.socket.next().await {
                Some(Ok(Message::Close(_)) | Err(_)) | None => Wake::Ended,
                Some(Ok(_)) => Wake::Heard,
            }
        };
        let beat = async {
            Timer::after(self.limits.keepalive).await;
            Wake::Beat
        };
        let stopped = async {
            // Nothing is ever sent: this returns when the sender is gone.
            let _ = stopping.recv().await;
            Wake::Ended
        };
        future::or(future::or(said, alert), future::or(beat, stopped)).await
    }

    async fn say(&mut self, event: &TopicEvent) -> Option<()> {
        let text = serde_json::to_string(event).ok()?;
        self.write(Message::text(text)).await
    }

    async fn write(&mut self, message: Message) -> Option<()> {
        within(self.limits.answer, self.socket.send(message)).await?.ok()
    }
}
