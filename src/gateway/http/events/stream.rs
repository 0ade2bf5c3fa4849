//! A subscription as an answer without an end: JSON lines, or server-sent events.

use std::collections::VecDeque;
use std::future::Future;
use std::io::Result as IoResult;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_channel::Receiver;
use async_io::Timer;
use event_listener::EventListener;
use futures_lite::{AsyncRead, Stream};

use super::close::Close;
use super::source::{Page, Source, Subscriber};
use super::tail::Item;
use super::wanted::Wanted;
use crate::gateway::api::StreamWord;
use crate::gateway::http::answer::{Answer, Body};
use crate::gateway::http::call::{Call, Outcome};
use crate::gateway::http::subscribe::place;

/// In which form events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Sse,
}

/// `GET /v1/events` as a stream.
pub(super) async fn stream(call: Call<'_, '_>, wanted: Wanted, form: Form) -> Outcome {
    let kind = match form {
        Form::Lines => "application/x-ndjson; charset=utf-8",
        Form::Sse => "text/event-stream; charset=utf-8",
    };
    let slot = place(call.context)?;
    // Nothing comes back to acknowledge by.
    let wanted = Wanted { window: None, ..wanted };
    let (mut source, words) = Subscriber::of(&call).begin(wanted).await?;
    let after = source.tail().after();
    let lines = Lines {
        form,
        more: source.more(),
        beat: Timer::interval(source.limits().ping),
        source,
        stopping: Box::pin(call.context.stopping.clone()),
        piece: words.iter().flat_map(|word| encode_word(form, word, after)).collect(),
        ended: false,
    };
    let mut answer = Answer::new(200, kind, Body::stream(lines, None));
    // A proxy would hold back what it collects.
    answer.headers.push(("X-Accel-Buffering", "no".into()));
    answer.close = true;
    answer.subscriber = Some(slot);
    Ok(answer)
}

struct Lines {
    form: Form,
    source: Source,
    /// Asked for before the journal was last looked at.
    more: EventListener,
    beat: Timer,
    stopping: Pin<Box<Receiver<()>>>,
    /// What is not read yet.
    piece: VecDeque<u8>,
    /// Its last word is in `piece`.
    ended: bool,
}

impl Lines {
    /// Puts more into `piece`, if there is more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let after = self.source.tail().after();
        if self.stopping.as_mut().poll_next(cx).is_ready() {
            self.end(&Close::Restart);
            return Poll::Ready(());
        }
        if Pin::new(&mut self.beat).poll_next(cx).is_ready() {
            match self.source.may_go_on() {
                true => self.say(&StreamWord::Keepalive { upto: after }),
                false => self.end(&Close::Revoked),
            }
            return Poll::Ready(());
        }
        match self.source.page() {
            Ok(Page::Item(all)) => {
                let form = self.form;
                self.piece.extend(all.iter().flat_map(|told| encode(form, told)));
                Poll::Ready(())
            }
            // Others have their turn between two pages of what is not wanted.
            Ok(Page::PassedOver) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Page::Nothing) => match Pin::new(&mut self.more).poll(cx) {
                Poll::Ready(()) => {
                    self.more = self.source.more();
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            },
            Err(close) => {
                self.end(&close);
                Poll::Ready(())
            }
        }
    }

    fn say(&mut self, word: &StreamWord) {
        let after = self.source.tail().after();
        self.piece.extend(encode_word(self.form, word, after));
    }

    fn end(&mut self, why: &Close) {
        let resume = self.source.tail().after();
        self.ended = true;
        self.say(&StreamWord::End {
            code: why.code(),
            reason: why.reason(resume),
            resume,
        });
    }
}

impl AsyncRead for Lines {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<IoResult<usize>> {
        while self.piece.is_empty() {
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            if self.poll_more(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let count = buffer.len().min(self.piece.len());
        for (to, byte) in buffer.iter_mut().zip(self.piece.drain(..count)) {
            *to = byte;
        }
        Poll::Ready(Ok(count))
    }
}

/// One event in its form. An `id` is what a browser comes back with.
fn encode(form: Form, told: &Item) -> Vec<u8> {
    let text = match form {
        Form::Lines => told.json() + "\n",
        Form::Sse => format!("id: {}\ndata: {}\n\n", told.number(), told.json()),
    };
    text.into_bytes()
}

fn encode_word(form: Form, word: &StreamWord, after: u64) -> Vec<u8> {
    // Strings and numbers always are JSON.
    let json = || serde_json::to_string(word).unwrap_or_default();
    let text = match (form, word) {
        (Form::Lines, _) => json() + "\n",
        // A comment, and a number for a browser to remember: no page is woken by it.
        (Form::Sse, StreamWord::Keepalive { upto }) => format!(": keepalive\nid: {upto}\n\n"),
        (Form::Sse, _) => format!("id: {after}\ndata: {}\n\n", json()),
    };
    text.into_bytes()
}
