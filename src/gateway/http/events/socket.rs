//! A subscription over a WebSocket, with the subprotocol `tautline.v1` or without any.

use std::future::pending;
use std::time::{Duration, Instant};

use async_channel::Receiver;
use async_io::Timer;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::{Error, Message};
use event_listener::EventListener;
use futures_lite::{StreamExt, future};
use serde::Deserialize;

use super::close::Close;
use super::source::{Page, Source, Subscriber};
use super::tail::Tail;
use super::wanted::{Hello, Wanted};
use crate::gateway::api::StreamWord;
use crate::gateway::http::answer::Problem;
use crate::gateway::http::call::{Call, Outcome};
use crate::gateway::http::limits::Limits;
use crate::gateway::http::subscribe::place;
use crate::gateway::http::websocket;
use crate::gateway::socket::Socket;
use crate::util::within;

/// What a client offers that says hello first and may acknowledge.
const PROTOCOL: &str = "tautline.v1";

/// Pings that may be without an answer.
const PINGS_OPEN_MAX: u32 = 2;

/// How long a client may take to answer our close.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a client says after its hello.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    /// All up to this number is done with.
    ack: u64,
}

/// `GET /v1/events` as a WebSocket.
pub(super) async fn socket(call: Call<'_, '_>, wanted: Wanted) -> Outcome {
    let head = &call.request.head;
    let accept = websocket::accept(head, "leave `Upgrade` out for JSON lines")?;
    let says_hello = websocket::speaks(head, PROTOCOL);
    let context = call.context;
    // A browser is told nothing of an answer that is no WebSocket: so it gets one, and hears why it ends.
    let (slot, busy) = match (place(context), context.refusal_slot()) {
        (Ok(slot), _) => (slot, false),
        (Err(_), Some(slot)) => (slot, true),
        (Err(problem), None) => return Err(problem),
    };
    let subscriber = Subscriber::of(&call);
    let (limits, stopping) = (context.limits, context.stopping.clone());
    let mut answer = websocket::answer(accept, slot, move |socket| async move {
        let mut talk = Talk {
            beat: Timer::interval(limits.ping),
            socket,
            limits,
            stopping,
            pings_open: 0,
            told_to: wanted.since.unwrap_or_default(),
        };
        let ended = match busy {
            true => Some(Close::Busy),
            false => talk.talk(subscriber, wanted, says_hello).await,
        };
        if let Some(why) = ended {
            talk.close(&why).await;
        }
    });
    if says_hello {
        answer.headers.push(("Sec-WebSocket-Protocol", PROTOCOL.into()));
    }
    Ok(answer)
}

struct Talk {
    socket: WebSocketStream<Socket>,
    limits: Limits,
    stopping: Receiver<()>,
    beat: Timer,
    /// Sent since anything was last heard.
    pings_open: u32,
    /// Where the client may resume when it has read all that was written.
    told_to: u64,
}

/// What happens to a subscriber.
enum Wake {
    /// The journal has more.
    More,
    Said(String),
    /// A ping, a pong.
    Alive,
    Beat,
    /// It has left.
    Left,
    Ended(Close),
}

impl Talk {
    /// `None`: there is nobody to say anything to.
    async fn talk(&mut self, subscriber: Subscriber, wanted: Wanted, says_hello: bool) -> Option<Close> {
        let wanted = match says_hello {
            true => match self.hello(&subscriber, wanted).await {
                Ok(wanted) => wanted,
                Err(ended) => return ended,
            },
            false => wanted,
        };
        let (source, words) = match subscriber.begin(wanted).await {
            Ok(begun) => begun,
            Err(problem) => return Some(Close::Unreadable(problem.body().error.clone())),
        };
        for word in &words {
            if let Err(close) = self.word(word).await {
                return Some(close);
            }
        }
        self.tell(source).await
    }

    /// Waits for the first message.
    async fn hello(&mut self, subscriber: &Subscriber, wanted: Wanted) -> Result<Wanted, Option<Close>> {
        let until = Instant::now() + self.limits.request;
        let text = loop {
            let left = until.saturating_duration_since(Instant::now());
            match within(left, self.next(None)).await {
                None => return Err(Some(Close::NoHello)),
                Some(Wake::Said(text)) => break text,
                Some(Wake::Left) => return Err(None),
                Some(Wake::Ended(close)) => return Err(Some(close)),
                Some(Wake::More | Wake::Alive | Wake::Beat) => {}
            }
        };
        let hello: Hello = serde_json::from_str(&text).map_err(|error| not_understood(error.to_string()))?;
        let wanted = wanted.with(hello, &|name| subscriber.route(name));
        wanted.map_err(|problem: Problem| not_understood(problem.body().error.clone()))
    }

    async fn tell(&mut self, mut source: Source) -> Option<Close> {
        self.told_to = source.tail().after();
        let mut full_since = None;
        loop {
            let has_room = source.tail().room() > 0;
            full_since = match has_room {
                true => None,
                false => full_since.or_else(|| Some(Instant::now())),
            };
            let more = has_room.then(|| source.more());
            let happened = match source.page() {
                Err(close) => return Some(close),
                Ok(Page::Nothing) => Some(self.next(more).await),
                Ok(Page::PassedOver) => {
                    future::yield_now().await;
                    future::poll_once(self.next(None)).await
                }
                Ok(Page::Item(all)) => {
                    for told in &all {
                        self.told_to = told.number();
                        if let Err(close) = self.write(Message::text(told.json())).await {
                            return Some(close);
                        }
                    }
                    future::poll_once(self.next(None)).await
                }
            };
            self.told_to = source.tail().after();
            match happened {
                None | Some(Wake::More) => {}
                Some(Wake::Alive) => self.pings_open = 0,
                Some(Wake::Said(text)) => {
                    self.pings_open = 0;
                    match serde_json::from_str::<Acknowledgement>(&text) {
                        Ok(Acknowledgement { ack }) => source.tail().acknowledge(ack),
                        Err(error) => return not_understood(error.to_string()),
                    }
                }
                Some(Wake::Beat) => {
                    let stalled = full_since.is_some_and(|since: Instant| since.elapsed() >= self.limits.stalled);
                    if let Err(close) = self.beat(&source, stalled).await {
                        self.told_to = resume(source.tail(), &close);
                        return Some(close);
                    }
                }
                Some(Wake::Left) => return None,
                Some(Wake::Ended(close)) => return Some(close),
            }
        }
    }

    /// A sign of life, and a look for the other's.
    async fn beat(&mut self, source: &Source, stalled: bool) -> Result<(), Close> {
        if stalled {
            return Err(Close::Slow);
        }
        if self.pings_open >= PINGS_OPEN_MAX {
            return Err(Close::NoPong);
        }
        if !source.may_go_on() {
            return Err(Close::Revoked);
        }
        self.pings_open += 1;
        self.write(Message::Ping(Vec::new().into())).await?;
        // A page sees no pings.
        self.word(&StreamWord::Keepalive { upto: self.told_to }).await
    }

    async fn next(&mut self, more: Option<EventListener>) -> Wake {
        let more = async {
            match more {
                Some(more) => more.await,
                None => pending().await,
            }
            Wake::More
        };
        let said = async {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => Wake::Said(text.as_str().to_owned()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Wake::Alive,
                Some(Ok(Message::Binary(_))) => Wake::Ended(Close::Binary),
                Some(Ok(Message::Close(_))) | None => Wake::Left,
                Some(Err(error)) => match error {
                    Error::Capacity(_) => Wake::Ended(Close::TooLong),
                    Error::Utf8(_) => Wake::Ended(Close::NoText),
                    Error::Protocol(_) => Wake::Ended(Close::Protocol),
                    _ => Wake::Left,
                },
            }
        };
        let beat = async {
            // An interval has no end.
            let _ = self.beat.next().await;
            Wake::Beat
        };
        let stopped = async {
            // Nothing is ever sent: this returns when the sender is gone.
            let _ = self.stopping.recv().await;
            Wake::Ended(Close::Restart)
        };
        future::or(future::or(stopped, beat), future::or(said, more)).await
    }

    async fn word(&mut self, word: &StreamWord) -> Result<(), Close> {
        // Strings and numbers always are JSON.
        let text = serde_json::to_string(word).unwrap_or_default();
        self.write(Message::text(text)).await
    }

    /// # Errors
    /// It is not taken. What it was is still on its way, and stands before a close.
    async fn write(&mut self, message: Message) -> Result<(), Close> {
        match within(self.limits.answer, self.socket.send(message)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(Close::Slow),
        }
    }

    /// Says why, and reads off what still comes: a reset would take the close with it.
    async fn close(&mut self, why: &Close) {
        let frame = CloseFrame {
            code: why.code().into(),
            reason: why.reason(self.told_to).into(),
        };
        log::debug!("a subscriber is left: {} {}", why.code(), frame.reason);
        if let Some(Ok(())) = within(self.limits.answer, self.socket.close(Some(frame))).await {
            let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
            within(FAREWELL, rest).await;
        }
    }
}

fn not_understood(why: String) -> Option<Close> {
    Some(Close::NotUnderstood(why))
}

/// Where a client goes on that has acknowledged what it has done with, or has no need to.
fn resume(tail: &Tail, why: &Close) -> u64 {
    match why {
        Close::Slow => tail.acknowledged(),
        _ => tail.after(),
    }
}
