//! A subscription as an answer without an end: JSON lines, server-sent events, or bare texts.

use std::collections::VecDeque;
use std::io::Result as IoResult;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_channel::Receiver;
use async_io::Timer;
use futures_lite::{AsyncRead, Stream};

use super::{Form, Subscription, Wanted, begin, encode, place};
use crate::gateway::api::{AlertView, TopicEvent};
use crate::gateway::http::answer::{Answer, Body};
use crate::gateway::http::call::{Call, Outcome};

/// `GET /{topics}/json`, `/sse` and `/raw`.
pub(in crate::gateway::http) async fn lines(call: Call<'_, '_>, topics: String, form: Form) -> Outcome {
    let kind = match form {
        Form::Json => "application/x-ndjson; charset=utf-8",
        Form::Sse => "text/event-stream; charset=utf-8",
        Form::Raw => "text/plain; charset=utf-8",
    };
    let wanted = Wanted::of(&call)?;
    let poll = wanted.poll;
    let context = call.context;
    let slot = if poll { None } else { Some(place(context)?) };
    let mut subscription = begin(&call, &topics, wanted).await?;
    let told = |alert: &AlertView| encode(form, &TopicEvent::from(alert));
    if poll {
        let all: Vec<u8> = subscription.before.iter().flat_map(told).collect();
        return Ok(Answer::new(200, kind, all));
    }
    let mut first: VecDeque<u8> = encode(form, &subscription.event("open")).into();
    first.extend(subscription.before.iter().flat_map(told));
    // Their ids tell them from what comes; their texts are through.
    for alert in &mut subscription.before {
        alert.text = String::new();
    }
    let lines = Lines {
        form,
        subscription,
        beat: Timer::interval(context.limits.keepalive),
        stopping: Box::pin(context.stopping.clone()),
        piece: first,
    };
    let mut answer = Answer::new(200, kind, Body::stream(lines, None));
    // A proxy would hold back what it collects.
    answer.headers.push(("X-Accel-Buffering", "no".into()));
    answer.close = true;
    answer.subscriber = slot;
    Ok(answer)
}

/// Ends when the listener falls behind, and when the relay stops.
struct Lines {
    form: Form,
    subscription: Subscription,
    /// Only writing shows that somebody is still there, to both sides.
    beat: Timer,
    stopping: Pin<Box<Receiver<()>>>,
    /// What of the current event is not read yet.
    piece: VecDeque<u8>,
}

impl AsyncRead for Lines {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<IoResult<usize>> {
        while self.piece.is_empty() {
            let event = match self.subscription.heard.as_mut().poll_next(cx) {
                Poll::Ready(Some(alert)) if self.subscription.tells(&alert) => TopicEvent::from(alert.as_ref()),
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Pending if self.stopping.as_mut().poll_next(cx).is_ready() => return Poll::Ready(Ok(0)),
                Poll::Pending if Pin::new(&mut self.beat).poll_next(cx).is_ready() => {
                    self.subscription.event("keepalive")
                }
                Poll::Pending => return Poll::Pending,
            };
            self.piece = encode(self.form, &event).into();
        }
        let count = buffer.len().min(self.piece.len());
        for (to, byte) in buffer.iter_mut().zip(self.piece.drain(..count)) {
            *to = byte;
        }
        Poll::Ready(Ok(count))
    }
}
