//! From the library's events to the few that a session acts on.
//!
//! The library calls the handler in the middle of its own work, so the handler only maps and passes on. Its channel is
//! bounded: what does not fit is counted and dropped, and every kind that can be dropped has a remedy (an ack that is
//! missing is a resend under the same id, a cause that is missing is "the path broke").

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wacore::stanza::groups::GroupNotificationAction;
use wacore::types::events::{Event, EventHandler};
use wacore::types::presence::ReceiptType;
use wacore_binary::{Jid, OwnedNodeRef};

use super::again::Asked;
use super::presence::PresenceSuppression;
use super::written::{Flight, Worth, Written};
use crate::line::{Cause, printable};
use crate::outbox::{MessageId, ReceiptKind};
use crate::util::lock;

/// More than the server sends in a burst of receipts after a long absence, by a wide margin.
pub const EVENTS_MAX: usize = 16_384;

/// The code by which the server says that it is asked too much.
pub(super) const TOO_MUCH: u16 = 429;

/// What happened on a line.
#[derive(Debug)]
pub enum LineEvent {
    /// The server waits for somebody to scan this.
    Qr {
        payload: String,
        valid: Duration,
    },
    /// A code to type on the phone.
    PairCode {
        code: String,
        valid: Duration,
    },
    PairCodeFailed {
        reason: String,
    },
    /// The phone linked us. Nothing is on disk yet.
    PairSuccess,
    PairFailed {
        reason: String,
    },
    /// No QR code was scanned; the library has ended the line.
    QrCodesExhausted,
    /// The WebSocket stands since then; the login has begun.
    Upgraded {
        at: Instant,
    },
    /// The server's `success`.
    LoggedIn,
    /// The session is active: alerts may go out.
    Ready,
    /// What had waited at the server has been delivered.
    Drained,
    Ack {
        message_id: String,
        error: Option<String>,
    },
    Receipt {
        message_ids: Vec<String>,
        kind: ReceiptKind,
        /// The chat that it is about: a group, or the device that it comes from.
        from: Jid,
        /// Who has sent it, where that is not the chat itself.
        participant: Option<Jid>,
    },
    /// Messages in this group now disappear after so many seconds, or stay (0).
    GroupTimer {
        group: Jid,
        seconds: u32,
        /// Unix seconds.
        at_s: i64,
    },
    /// A device could not read a message and asks for it again.
    AskedAgain(Asked),
    /// Somebody has written, or has given the account leave to write.
    Heard {
        from: Jid,
        /// Their number, where the stanza names them by another name and tells it.
        number: Option<Jid>,
    },
    /// A message passed, and the server says that what we know of the recipient's LID is out of date.
    LidStale {
        chat: Jid,
    },
    /// A stanza that the library leaves without an ack: that is for the session to send.
    Unacked(Arc<OwnedNodeRef>),
    /// Messages came whose acks wait until they are on disk.
    AckHeld {
        ids: Vec<u64>,
    },
    /// They are, and the library acks them.
    AckFree {
        ids: Vec<u64>,
    },
    /// The server's own word on why the line ends.
    ServerSaid {
        cause: Cause,
        detail: String,
    },
    /// A send has waited for an answer of the server for as long as it may.
    SendStuck,
    /// The server knows of other devices than the ones that this message was made for.
    DevicesDiffer {
        message_id: MessageId,
        flight: Flight,
    },
    /// The name that others see was changed, here or on the phone.
    NameChanged {
        name: String,
    },
}

/// Maps the library's events to those of a session, for one client.
pub(super) struct EventMapper {
    events: async_channel::Sender<LineEvent>,
    last_stanza: Mutex<Option<Instant>>,
    last_content: Mutex<Option<Instant>>,
    /// When a question was last answered with "too much", and for how long the server then wants to be left alone.
    limited: Mutex<Option<(Instant, Option<Duration>)>>,
    stanzas: AtomicU64,
    dropped: AtomicU64,
    line: AtomicU64,
    presence: Arc<PresenceSuppression>,
    /// What was sent and waits for its ack.
    pub(super) written: Written,
    /// The hash of devices in the ack that comes next as an event, with its message's id.
    hash: Mutex<Option<(String, String)>>,
}

impl EventMapper {
    pub(super) fn new(presence: Arc<PresenceSuppression>) -> (Arc<Self>, async_channel::Receiver<LineEvent>) {
        // A bounded channel would take the room of all of them at once: 2.6 MB. `emit` keeps the bound.
        let (events, receiver) = async_channel::unbounded();
        let mapper = Self {
            events,
            last_stanza: Mutex::new(None),
            last_content: Mutex::new(None),
            limited: Mutex::new(None),
            stanzas: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            line: AtomicU64::new(0),
            presence,
            written: Written::default(),
            hash: Mutex::default(),
        };
        (Arc::new(mapper), receiver)
    }

    /// When the server last said something that decrypted: the application layer's proof of life.
    pub(super) fn last_stanza(&self) -> Option<Instant> {
        *lock(&self.last_stanza)
    }

    /// When a stanza last carried something: all but bare answers, such as a ping's, which a zombie gives too.
    pub(super) fn last_content(&self) -> Option<Instant> {
        *lock(&self.last_content)
    }

    /// Whether a question was answered with "too much" since `began`, and what the server said of the pause that it
    /// wants.
    pub(super) fn limited_since(&self, began: Instant) -> Option<Option<Duration>> {
        let limited = *lock(&self.limited);
        limited.filter(|(at, _)| *at >= began).map(|(_, backoff)| backoff)
    }

    fn on_answer(&self, node: &OwnedNodeRef) {
        let error = node.get_optional_child("error");
        let number = |name| error?.get_attr(name)?.as_str().parse::<u32>().ok();
        if number("code") == Some(TOO_MUCH.into()) {
            let backoff = number("backoff").map(|seconds| Duration::from_secs(seconds.into()));
            *lock(&self.limited) = Some((Instant::now(), backoff));
        }
    }

    /// How many stanzas the library has made of the frames it was given.
    pub(super) fn stanzas(&self) -> u64 {
        self.stanzas.load(Ordering::Relaxed)
    }

    /// Which of the client's lines this is; another one when it has ended, and none when the client has.
    pub(super) fn line(&self) -> Option<u64> {
        (!self.events.is_closed()).then(|| self.line.load(Ordering::Relaxed))
    }

    /// A line begins.
    pub(super) fn next_line(&self) {
        self.line.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn emit(&self, event: LineEvent) {
        let taken = self.events.len() < EVENTS_MAX && self.events.try_send(event).is_ok();
        if !taken && self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!("more than {EVENTS_MAX} events wait to be looked at; newer ones are dropped");
        }
    }

    fn on_ack(&self, id: &str, error: Option<String>) {
        let message_id = MessageId(id.to_owned());
        let hash = lock(&self.hash).take();
        let worth = if error.is_some() {
            self.written.end(&message_id);
            Worth::Taken
        } else {
            let hash = hash.filter(|(of, _)| of == id).map(|(_, hash)| hash);
            self.written.acked(&message_id, hash.as_deref())
        };
        let ack = LineEvent::Ack {
            message_id: id.to_owned(),
            error,
        };
        match worth {
            Worth::Taken => self.emit(ack),
            // Whoever sent it says so.
            Worth::Nothing => log::debug!("an ack is not counted: nobody can read what was taken"),
            Worth::DevicesDiffer(flight) => {
                self.emit(ack);
                self.emit(LineEvent::DevicesDiffer { message_id, flight });
            }
        }
    }

    fn on_stanza(&self, node: &OwnedNodeRef) {
        self.stanzas.fetch_add(1, Ordering::Relaxed);
        let now = Some(Instant::now());
        *lock(&self.last_stanza) = now;
        if carries_content(node) {
            *lock(&self.last_content) = now;
        }
        match node.tag() {
            "success" => {
                self.presence.on_success();
                self.emit(LineEvent::LoggedIn);
            }
            "iq" => {
                self.presence.on_answer();
                self.on_answer(node);
            }
            "message" | "notification" => {
                if let Some((from, number)) = writer_of(node) {
                    self.emit(LineEvent::Heard { from, number });
                }
            }
            "ack" => {
                let hash = attribute(node, "id").zip(attribute(node, "phash"));
                *lock(&self.hash) = hash;
                if let Some(chat) = stale_lid(node) {
                    self.emit(LineEvent::LidStale { chat });
                }
            }
            "ib" if node.get_optional_child("offline").is_some() => {
                self.presence.on_answer();
                self.emit(LineEvent::Ready);
                self.emit(LineEvent::Drained);
            }
            "receipt" => {
                if let Some(asked) = Asked::of(node) {
                    self.emit(LineEvent::AskedAgain(asked));
                }
            }
            "failure" => self.emit(failure(node)),
            "stream:error" => self.emit(stream_error(node)),
            "xmlstreamend" => {
                self.emit(LineEvent::ServerSaid {
                    cause: Cause::Recycled,
                    detail: "end of stream".into(),
                });
            }
            _ => {}
        }
    }
}

impl EventHandler for EventMapper {
    fn handle_event(&self, event: Arc<Event>) {
        match &*event {
            Event::RawNode(node) => {
                self.on_stanza(node);
                if nobody_acks(node) {
                    self.emit(LineEvent::Unacked(Arc::clone(node)));
                }
            }
            Event::PairingQrCode(qr) => {
                self.emit(LineEvent::Qr {
                    payload: qr.code.clone(),
                    valid: qr.timeout,
                });
            }
            Event::PairingCode(code) => {
                self.emit(LineEvent::PairCode {
                    code: code.code.clone(),
                    valid: code.timeout,
                });
            }
            Event::PairingCodeError(error) => {
                self.emit(LineEvent::PairCodeFailed {
                    reason: printable(&error.error),
                });
            }
            Event::PairSuccess(_) => self.emit(LineEvent::PairSuccess),
            Event::PairError(error) => self.emit(LineEvent::PairFailed {
                reason: printable(&error.error),
            }),
            Event::PairingQrCodesExhausted(_) => self.emit(LineEvent::QrCodesExhausted),
            Event::Connected(_) => self.emit(LineEvent::Ready),
            Event::ServerAck(ack) if ack.class.as_deref() == Some("message") => {
                self.on_ack(&ack.id, ack.error.clone());
            }
            Event::Receipt(receipt) => {
                if let Some(kind) = receipt_kind(&receipt.r#type) {
                    let message_ids = receipt.message_ids.iter().map(ToString::to_string).collect();
                    let source = &receipt.source;
                    let participant = (source.chat != source.sender).then(|| source.sender.clone());
                    self.emit(LineEvent::Receipt {
                        message_ids,
                        kind,
                        from: source.chat.clone(),
                        participant,
                    });
                }
            }
            Event::GroupUpdate(update) => {
                if let GroupNotificationAction::Ephemeral { expiration, .. } = update.action {
                    self.emit(LineEvent::GroupTimer {
                        group: update.group_jid.clone(),
                        seconds: expiration,
                        at_s: update.timestamp.timestamp(),
                    });
                }
            }
            Event::SelfPushNameUpdated(update) => {
                self.presence.on_name(&update.new_name);
                self.emit(LineEvent::NameChanged {
                    name: update.new_name.clone(),
                });
            }
            // The library has some sixty events; what is not above is nothing a session acts on.
            _ => {}
        }
    }
}

/// What a receipt says about the way of an alert, if anything.
fn receipt_kind(kind: &ReceiptType) -> Option<ReceiptKind> {
    match kind {
        ReceiptType::Delivered | ReceiptType::Inactive => Some(ReceiptKind::Delivered),
        ReceiptType::Read | ReceiptType::Played => Some(ReceiptKind::Read),
        ReceiptType::Sender => Some(ReceiptKind::OwnDevice),
        ReceiptType::Sent
        | ReceiptType::Retry
        | ReceiptType::EncRekeyRetry
        | ReceiptType::ReadSelf
        | ReceiptType::PlayedSelf
        | ReceiptType::ServerError
        | ReceiptType::PeerMsg
        | ReceiptType::HistorySync
        | ReceiptType::Other(_) => None,
        // The library may add kinds; an unknown one says nothing about a person's phone.
        _ => None,
    }
}

/// The person from whom this comes, if it shows that they let this account write to them: a message in a chat of two,
/// or a token of theirs.
fn writer_of(node: &OwnedNodeRef) -> Option<(Jid, Option<Jid>)> {
    let shows_it = match node.tag() {
        "message" => attribute(node, "recipient").is_none() && attribute(node, "category").is_none(),
        "notification" => attribute(node, "type").as_deref() == Some("privacy_token"),
        _ => false,
    };
    let jid: Jid = attribute(node, "from").filter(|_| shows_it)?.parse().ok()?;
    if !jid.is_pn() && !jid.is_lid() {
        return None;
    }
    let number = attribute(node, "sender_pn").and_then(|number| number.parse().ok());
    Some((jid, number))
}

/// The chat of a message that was taken, where the server says that its LID is another one now. One that was refused is
/// sent again with everything asked anew.
fn stale_lid(node: &OwnedNodeRef) -> Option<Jid> {
    let taken = attribute(node, "class").as_deref() == Some("message") && attribute(node, "error").is_none();
    let stale = attribute(node, "refresh_lid").is_some_and(|flag| flag != "false" && flag != "0");
    attribute(node, "from").filter(|_| taken && stale)?.parse().ok()
}

/// The answer to a ping carries nothing, and what logs in or ends a line says nothing about delivery.
fn carries_content(node: &OwnedNodeRef) -> bool {
    match node.tag() {
        "iq" => node.children().is_some_and(|children| !children.is_empty()),
        "message" | "receipt" | "notification" | "ack" | "call" => true,
        _ => false,
    }
}

/// Whether this is a stanza that the library drops without an answer: a message in which nothing is encrypted.
/// Channels' messages are plain and get theirs; what is addressed device by device may have a part for us that it
/// finds. whatsapp-rust 0.7.0, `message/receive.rs`, `classify_incoming_message`.
fn nobody_acks(node: &OwnedNodeRef) -> bool {
    let readable = ["enc", "unavailable", "participants", "plaintext"];
    let newsletter = |from: String| from.ends_with("@newsletter");
    node.tag() == "message"
        && attribute(node, "id").is_some()
        && attribute(node, "from").is_some_and(|from| !newsletter(from))
        && readable.iter().all(|child| node.get_optional_child(child).is_none())
}

fn attribute(node: &OwnedNodeRef, name: &str) -> Option<String> {
    node.get_attr(name).map(|value| value.as_str().into_owned())
}

fn failure(node: &OwnedNodeRef) -> LineEvent {
    let code = attribute(node, "reason")
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let expire = attribute(node, "expire").and_then(|seconds| seconds.parse().ok());
    let words = attribute(node, "message").unwrap_or_default();
    LineEvent::ServerSaid {
        cause: Cause::from_failure(code, expire),
        detail: printable(&words),
    }
}

fn stream_error(node: &OwnedNodeRef) -> LineEvent {
    let code = attribute(node, "code").and_then(|code| code.parse().ok());
    let child = node.children().and_then(<[_]>::first);
    let kind = child
        .and_then(|child| child.get_attr("type"))
        .map(|value| value.as_str().into_owned());
    let tag = child.map(|child| child.tag.as_ref().to_owned());
    let cause = Cause::from_stream_error(code, tag.as_deref(), kind.as_deref());
    LineEvent::ServerSaid {
        cause,
        detail: printable(&tag.unwrap_or_default()),
    }
}
