//! The fixture: an outbox that a test drives.

use super::*;
use crate::alert::FallbackName;

/// An outbox with a clock that moves when told, and everything it put out.
pub(super) struct Bench {
    pub(super) outbox: Outbox,
    pub(super) now: Now,
    pub(super) sends: Vec<(u64, String)>,
    /// What was last sent under each id.
    pub(super) texts: BTreeMap<String, String>,
    /// What was last quoted under each id, and the text of that.
    pub(super) quoted: BTreeMap<String, (String, String)>,
    /// Messages made later, each with an alert whose record is to be written for it.
    pub(super) made: Vec<(String, u64)>,
    /// Those of `sends` for which everything was asked anew.
    pub(super) fresh: Vec<String>,
    pub(super) persisted: Vec<AlertRecord>,
    pub(super) changes: Vec<(String, Step)>,
    pub(super) suspects: usize,
    /// What was asked for because nobody has acknowledged an alert.
    pub(super) follow_ups: Vec<(RouteName, Alert, Follows)>,
    /// Reactions that went out: id, recipient and what they say.
    pub(super) marks: Vec<(String, Recipient, String)>,
    /// Message, text and device of what was sent again to one device.
    pub(super) again: Vec<(String, String, String)>,
    pub(super) forgotten: Vec<u64>,
    /// Alerts whose delay is over.
    pub(super) due: Vec<u64>,
    /// What is on the disk of forgotten alerts.
    pub(super) keys: BTreeMap<u64, KeyRecord>,
    pub(super) happened: Vec<Transition>,
    /// What fallbacks are to be given.
    pub(super) parcels: Vec<Parcel>,
    /// Alerts whose intent to go to a fallback is to be written.
    pub(super) intents: Vec<(u64, FallbackName)>,
}

/// What becomes of a request of one alert.
#[derive(Debug)]
pub(super) struct Answer {
    /// For a duplicate the first one as it now stands.
    pub(super) record: AlertRecord,
    pub(super) duplicate: bool,
    pub(super) durable: bool,
    /// How far the first has come, where it is forgotten.
    pub(super) forgotten: Option<Step>,
}

/// What a message shows, in one line of words.
pub(super) fn said(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Media { attachment, caption } => format!("<{}> {caption}", attachment.name),
        Content::Reaction { to, emoji } => format!("{emoji} on {to}"),
    }
}

/// The id of a message says what it is: `M12` is that of alert 1 to [`recipient`] 2.
pub(super) fn draw_id(seq: u64, to: &Recipient) -> MessageId {
    let to = to.to_string();
    let short = to.strip_prefix("+1555010").filter(|short| short.len() < 3);
    MessageId(format!("M{seq}{}", short.unwrap_or(&to)))
}

/// A request of one alert named `A` and the number that it gets.
pub(super) fn request(outbox: &Outbox, to: Vec<Recipient>, alert: Alert) -> AcceptRequest {
    AcceptRequest {
        route: "family".parse().unwrap(),
        session: session(),
        to,
        alerts: vec![NewAlert {
            follows: None,
            id: format!("A{}", outbox.seq_next),
            alert,
        }],
    }
}

impl Bench {
    pub(super) fn new(limits: Limits) -> Self {
        let mut drawn = std::collections::BTreeSet::new();
        // The second for one alert and recipient is that of a reaction.
        let draw = move |seq: u64, to: &Recipient| {
            let id = draw_id(seq, to);
            match drawn.insert(id.clone()) {
                true => id,
                false => MessageId(format!("R{id}")),
            }
        };
        Self {
            outbox: Outbox::new(limits, 7, draw),
            now: Now {
                mono: Instant::now(),
                wall: Timestamp(WALL),
            },
            sends: Vec::new(),
            texts: BTreeMap::new(),
            quoted: BTreeMap::new(),
            made: Vec::new(),
            fresh: Vec::new(),
            persisted: Vec::new(),
            changes: Vec::new(),
            suspects: 0,
            follow_ups: Vec::new(),
            marks: Vec::new(),
            again: Vec::new(),
            forgotten: Vec::new(),
            due: Vec::new(),
            keys: BTreeMap::new(),
            happened: Vec::new(),
            parcels: Vec::new(),
            intents: Vec::new(),
        }
    }

    pub(super) fn up() -> Self {
        let mut bench = Self::new(Limits::default());
        bench.handle(Input::SessionUp(session()));
        bench
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Send {
                    seqs, message, fresh, ..
                } => {
                    if fresh {
                        self.fresh.push(message.id.0.clone());
                    }
                    if let Some(quote) = message.quotes {
                        self.quoted.insert(message.id.0.clone(), (quote.id.0, quote.text));
                    }
                    let text = said(&message.content);
                    self.texts.insert(message.id.0.clone(), text);
                    self.sends.push((seqs[0], message.id.0));
                }
                Output::Persist { record, happened, made } => {
                    let seq = record.seq;
                    self.made.extend(made.into_iter().map(|id| (id.0, seq)));
                    if happened.iter().any(|it| it.what == TransitionKind::Handover) {
                        let begun = |handover: &&Handover| handover.state == HandoverState::Begun;
                        let begun = record.handovers.iter().filter(begun);
                        self.intents.extend(begun.map(|handover| (seq, handover.to.clone())));
                    }
                    self.persisted.push(*record);
                    self.happened.extend(happened);
                }
                Output::Changed { id, step } => self.changes.push((id, step)),
                Output::Due { seq } => self.due.push(seq),
                Output::HandOver(parcel) => self.parcels.push(parcel),
                Output::FollowUp { route, alert, follows } => self.follow_ups.push((route, *alert, follows)),
                Output::Suspect { .. } => self.suspects += 1,
                Output::Mark { message, .. } => {
                    let text = said(&message.content);
                    self.marks.push((message.id.0, message.recipient, text));
                }
                Output::SendAgain { message, by, .. } => {
                    let text = said(&message.content);
                    self.again.push((message.id.0, text, by));
                }
                Output::Forget { seq, key, happened } => {
                    self.forgotten.push(seq);
                    self.keys.extend(key.map(|key| (seq, key)));
                    self.happened.extend(happened);
                }
                Output::ForgetKey { seq } => assert!(self.keys.remove(&seq).is_some()),
            }
        }
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.outbox.handle(self.now, input);
        self.drain();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall.0 += time.as_millis() as u64;
        self.outbox.handle_timeout(self.now);
        self.drain();
    }

    /// Runs to the next deadline.
    pub(super) fn next(&mut self) -> Reason {
        let (at, reason) = self.outbox.poll_timeout().unwrap();
        self.pass(at.saturating_duration_since(self.now.mono));
        reason
    }

    pub(super) fn try_accept(&mut self, to: &[&str], key: Option<&str>) -> Result<Answer, OutboxFull> {
        let alert = Alert {
            text: format!("text {}", self.outbox.seq_next),
            key: key.map(str::to_owned),
            ..Alert::default()
        };
        let request = request(&self.outbox, to.iter().map(|to| recipient(to)).collect(), alert);
        let accepted = self.outbox.accept(self.now, request)?.remove(0);
        Ok(self.answer(accepted))
    }

    pub(super) fn answer(&self, accepted: Accepted) -> Answer {
        let of = |seq, duplicate, durable| Answer {
            record: self.outbox.record(seq).unwrap().clone(),
            duplicate,
            durable,
            forgotten: None,
        };
        match accepted {
            Accepted::New { seq } => of(seq, false, false),
            Accepted::Duplicate { seq, durable } => of(seq, true, durable),
            Accepted::Forgotten { first, alert } => Answer {
                record: AlertRecord {
                    seq: first.seq,
                    id: first.id,
                    route: "family".parse().unwrap(),
                    session: session(),
                    accepted_at: first.accepted_at,
                    ttl: None,
                    delay: None,
                    lasted: None,
                    attention: crate::outbox::Attention::default(),
                    alert: *alert,
                    deliveries: Vec::new(),
                    handovers: Vec::new(),
                    flap: None,
                },
                duplicate: true,
                durable: true,
                forgotten: Some(first.step),
            },
        }
    }

    /// Accepts and makes durable, to recipients by their whole names; the alert's number.
    pub(super) fn accept_to(&mut self, to: &[&str], alert: Alert) -> u64 {
        let request = request(&self.outbox, to.iter().map(|to| to.parse().unwrap()).collect(), alert);
        let accepted = self.outbox.accept(self.now, request).unwrap().remove(0);
        let seq = accepted.new_seq().unwrap();
        self.handle(Input::Durable { seq });
        seq
    }

    /// Accepts and makes durable; the alert's number.
    pub(super) fn accept(&mut self, to: &[&str]) -> u64 {
        let seq = self.try_accept(to, None).unwrap().record.seq;
        self.handle(Input::Durable { seq });
        seq
    }

    pub(super) fn ack(&mut self, message: &str, error: Option<&str>) {
        let (message_id, error) = (MessageId(message.into()), error.map(str::to_owned));
        self.handle(Input::ServerAck {
            session: session(),
            message_id,
            error,
        });
    }

    pub(super) fn receipt(&mut self, message: &str, kind: ReceiptKind) {
        self.handle(Input::Receipt {
            session: session(),
            message_id: MessageId(message.into()),
            kind,
            from: self.named(message),
        });
    }

    /// The recipient of a message, as whoever sends its receipt.
    pub(super) fn named(&self, message: &str) -> Vec<Recipient> {
        let first = self.outbox.first_of(&MessageId(message.into()));
        let recipient = first.and_then(|delivery_id| self.outbox.recipient_of(delivery_id));
        recipient.cloned().into_iter().collect()
    }

    pub(super) fn fail(&mut self, message: &str, permanent: bool) {
        let words = "no line".to_owned();
        self.fail_with(
            message,
            match permanent {
                true => SendFailure::Permanent(words),
                false => SendFailure::Path(words),
            },
        );
    }

    pub(super) fn fail_with(&mut self, message: &str, failure: SendFailure) {
        let message_id = MessageId(message.into());
        self.handle(Input::SendFailed { message_id, failure });
    }

    /// Refused for good: with what was known, and with all of it asked anew.
    pub(super) fn refuse(&mut self, message: &str, code: &str) {
        let fresh = self.fresh.len();
        self.ack(message, Some(code));
        while self.fresh.len() == fresh {
            self.next();
        }
        self.ack(message, Some(code));
    }

    pub(super) fn step(&self, id: &str) -> Step {
        self.outbox.get(id).unwrap().step()
    }

    pub(super) fn take_sends(&mut self) -> Vec<String> {
        self.sends.drain(..).map(|(_, message)| message).collect()
    }
}

pub(super) fn session() -> SessionName {
    "default".parse().unwrap()
}

pub(super) fn recipient(to: &str) -> Recipient {
    format!("+1555010{to}").parse().unwrap()
}
