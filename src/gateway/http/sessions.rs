//! What concerns one session: the chats that it knows, and linking its account.

use std::io::Result as IoResult;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use async_channel::Receiver;
use async_io::Timer;
use futures_lite::{AsyncRead, Stream};
use qrcode::{Color, EcLevel, QrCode};

use super::answer::{Answer, Body, Problem};
use super::call::{Call, Outcome, parse_session};
use crate::gateway::api::{PairEvent, PairLine};

/// Between two empty lines of a pairing stream.
const PAIR_BEAT: Duration = Duration::from_secs(3);

/// `GET /v1/chats`.
pub(super) async fn chats(call: Call<'_, '_>) -> Outcome {
    let session = call.query()?.session()?;
    Ok(Answer::json(200, &call.context.relay.chats(session).await?))
}

/// `POST /v1/sessions/{session}/pair`.
pub(super) async fn pair(call: Call<'_, '_>, session: String) -> Outcome {
    let session = parse_session(&session)?;
    let query = call.query()?;
    let phone = match query.value("phone") {
        None => None,
        Some(digits) if (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.to_owned())
        }
        Some(_) => {
            return Err(Problem::new(
                400,
                "phone is 7 to 15 digits with the country code, without + or 00",
            ));
        }
    };
    let draw = query.is_set("draw")?;
    let events = call.context.relay.pair(session, phone).await?;
    let lines = EventLines {
        events: Box::pin(events),
        draw,
        beat: Timer::interval(PAIR_BEAT),
        line: Vec::new(),
    };
    let mut answer = Answer::new(200, "application/x-ndjson", Body::stream(lines, None));
    answer.close = true;
    Ok(answer)
}

fn line(event: PairEvent, draw: bool) -> PairLine {
    let rows = match &event {
        PairEvent::Qr { payload, .. } if draw => rows(payload),
        PairEvent::Qr { .. }
        | PairEvent::Code { .. }
        | PairEvent::Waiting { .. }
        | PairEvent::Paired { .. }
        | PairEvent::Failed { .. } => Vec::new(),
    };
    PairLine { event, rows }
}

/// The modules of a QR code. What is too long for one has none; the payload is there all the same.
fn rows(payload: &str) -> Vec<String> {
    let Ok(code) = QrCode::with_error_correction_level(payload, EcLevel::L) else {
        return Vec::new();
    };
    let dark = |color: &Color| if *color == Color::Dark { '1' } else { '0' };
    let colors = code.to_colors();
    colors
        .chunks(code.width())
        .map(|row| row.iter().map(dark).collect())
        .collect()
}

/// Pairing events as JSON lines. Ends with the channel; when the client is gone, the channel is dropped with this.
struct EventLines {
    events: Pin<Box<Receiver<PairEvent>>>,
    /// Codes come with their modules.
    draw: bool,
    /// An empty line now and then: only writing shows that a client has left, and codes live for a minute.
    beat: Timer,
    /// What of the current line is not read yet.
    line: Vec<u8>,
}

impl AsyncRead for EventLines {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buffer: &mut [u8]) -> Poll<IoResult<usize>> {
        if self.line.is_empty() {
            let event = match self.events.as_mut().poll_next(cx) {
                Poll::Ready(Some(event)) => Some(event),
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Pending if Pin::new(&mut self.beat).poll_next(cx).is_ready() => None,
                Poll::Pending => return Poll::Pending,
            };
            let draw = self.draw;
            self.line = event
                .map(|event| serde_json::to_vec(&line(event, draw)))
                .transpose()?
                .unwrap_or_default();
            self.line.push(b'\n');
        }
        let count = buffer.len().min(self.line.len());
        buffer[..count].copy_from_slice(&self.line[..count]);
        self.line.drain(..count);
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_where_that_is_asked() {
        let qr = PairEvent::Qr {
            payload: "2@abc,def".into(),
            valid_ms: 20_000,
        };
        assert_eq!(line(qr.clone(), false).rows, Vec::<String>::new());
        let rows = line(qr, true).rows;
        assert_eq!(rows.len(), 21, "the smallest code");
        assert!(rows.iter().all(|row| row.len() == 21));
        // The corner that a camera looks for.
        assert!(
            rows[0].starts_with("11111110") && rows[1].starts_with("10000010"),
            "{rows:#?}"
        );
    }
}
