//! What a client does about what happens: when to dial, what to ask, what to acknowledge, when to give a connection up.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::cause::{Cause, Verdict};
use super::frame::Frames;
use super::packet::{self, Connack, Connect, Packet};
use super::publish::{self, Message, Publish};
use super::timer::Reason;
use super::version::Version;
use crate::line::{Backoff, RedialSchedule};

/// The steps of dialling have deadlines of their own; together they do not come near to this.
const DIAL_MAX: Duration = Duration::from_secs(120);

/// A broker answers at once; one that has just been started, with a card for a disk, takes some seconds.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How long a ping may be unanswered. A home's network takes milliseconds.
const PONG_MAX: Duration = Duration::from_secs(15);

/// Messages that may be with whoever takes them at a time. It is said to the broker, and where that cannot be said,
/// nothing more is read.
const OPEN_MAX: u16 = 32;

/// Messages of ours that wait for the broker.
const WAITING_MAX: usize = 512;

/// Messages of ours that it may leave unacknowledged at a time.
const IN_FLIGHT_MAX: usize = 16;

/// What does not change while a client runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: 5, and 3.1.1 with a broker that knows nothing later.
    pub version: Option<Version>,
    /// What the broker knows this client by. Two with the same throw each other out.
    pub client_id: String,
    /// From one sign of life to the next.
    pub keep_alive: Duration,
    /// How long the broker keeps what comes while this client is away. Zero: not at all. With 3.1.1 it is for ever.
    pub session_expiry: Duration,
    /// The QoS of what is published, 0 or 1.
    pub qos: u8,
    /// What is asked for.
    pub subscriptions: Vec<Subscription>,
    /// What the broker publishes when this client has gone without a word.
    pub will: Message,
    /// What this client publishes when it is there.
    pub birth: Message,
    /// Pauses between connections.
    pub redial: RedialSchedule,
}

/// Messages of which topics are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// With `+` for any level and `#` for all that are left.
    pub filter: String,
    /// The highest QoS that they are to come with, 0 or 1.
    pub qos: u8,
}

/// Who the broker is to take this client for.
#[derive(Clone, Default)]
pub struct Login {
    /// Its name.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Vec<u8>>,
}

/// Which message is meant, of those that were delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    connection: u64,
    number: u64,
}

/// A message that was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// By which it is settled.
    pub delivery: Delivery,
    /// What it says.
    pub publish: Publish,
}

/// What happens to a client.
pub enum Input<'a> {
    /// There is a connection, as [`Output::Dial`] wanted.
    Dialled(Login),
    /// There is none.
    Failed(Cause),
    /// Bytes of the broker's.
    Received(&'a [u8]),
    /// The connection is no more, in words.
    Closed(String),
    /// What was delivered is taken, for good. It is acknowledged with this code (0: well), after all that came before.
    Settled {
        /// Which one.
        delivery: Delivery,
        /// 0, or from 0x80 on why nothing came of it.
        code: u8,
        /// What is published before the acknowledgement.
        answer: Option<Message>,
    },
    /// Something is to be published. Without a connection it is forgotten.
    Publish(Message),
    /// The network is another one: what failed before says little.
    PathChanged,
    /// The end: the broker is told, and nothing follows.
    Stop,
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// A connection to the broker.
    Dial,
    /// These bytes are to be written.
    Write(Vec<u8>),
    /// The connection, or the attempt at one, is to be given up, once what was written has gone.
    Close,
    /// A message is to be taken, and settled.
    Deliver(Delivered),
    /// The broker has taken the connection: states can be published.
    Up,
    /// A connection has ended, or did not come up.
    Ended(Cause),
}

/// Where a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There will be an attempt at a connection.
    Waiting {
        /// When.
        until: Instant,
        /// Why the last one ended; `None` before the first.
        after: Option<Cause>,
    },
    /// There is an attempt under way.
    Connecting,
    /// The broker has taken the connection.
    Online {
        /// Since when.
        since: Instant,
        /// What is spoken.
        version: Version,
        /// The broker had kept the session.
        session_present: bool,
        /// Filters that it does not deliver, each with its words.
        refused: Vec<String>,
    },
    /// Nothing follows.
    Stopped,
}

enum Phase {
    Waiting { until: Instant },
    Dialling { since: Instant },
    Greeting { since: Instant },
    Online(Online),
    Stopped,
}

struct Online {
    since: Instant,
    session_present: bool,
    ping_every: Duration,
    /// When the next ping is due.
    next_ping: Instant,
    /// The oldest ping that is unanswered; `None`: none is.
    asked: Option<Instant>,
    /// The number of a SUBSCRIBE and when it was asked; `None`: it is answered.
    subscribing: Option<(u16, Instant)>,
    refused: Vec<String>,
    in_flight: BTreeSet<u16>,
    in_flight_max: usize,
    qos: u8,
    retains: bool,
}

/// A message that is with whoever takes it.
struct Open {
    number: u64,
    /// `None`: of QoS 0.
    packet: Option<u16>,
    /// What it is acknowledged with; `None` until it is settled.
    code: Option<u8>,
}

/// A client of one broker.
pub struct Client {
    settings: Settings,
    version: Version,
    phase: Phase,
    backoff: Backoff,
    last_end: Option<Cause>,
    frames: Frames,
    outputs: VecDeque<Output>,
    /// Counts connections.
    connection: u64,
    /// Counts messages.
    number: u64,
    open: VecDeque<Open>,
    waiting: VecDeque<Message>,
    next_packet: u16,
    retained_ignored: u64,
}

impl Client {
    /// A client that wants a connection at once.
    pub fn new(now: Instant, settings: Settings, seed: u64) -> Self {
        Self {
            version: settings.version.unwrap_or(Version::V5),
            backoff: Backoff::new(settings.redial, seed),
            settings,
            phase: Phase::Waiting { until: now },
            last_end: None,
            frames: Frames::default(),
            outputs: VecDeque::new(),
            connection: 0,
            number: 0,
            open: VecDeque::new(),
            waiting: VecDeque::new(),
            next_packet: 0,
            retained_ignored: 0,
        }
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Dialled(login) => self.dialled(now, &login),
            Input::Failed(cause) => self.end(now, cause),
            Input::Received(bytes) => {
                if self.is_connected() {
                    self.frames.push(bytes);
                    self.read(now);
                }
            }
            Input::Closed(words) => {
                if self.is_connected() {
                    self.end(now, Cause::Closed(words));
                }
            }
            Input::Settled { delivery, code, answer } => self.settled(now, delivery, code, answer),
            Input::Publish(message) => self.publish(message),
            Input::PathChanged => {
                self.backoff.path_changed();
                if let Phase::Waiting { until } = &mut self.phase {
                    *until = (*until).min(self.backoff.braked(self.backoff.cut_short(now)));
                }
            }
            Input::Stop => self.stop(),
        }
    }

    /// A deadline may be due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((at, reason)) = self.poll_timeout() else {
            return;
        };
        if at > now {
            return;
        }
        match reason {
            Reason::Redial => {
                self.backoff.attempt(now);
                self.phase = Phase::Dialling { since: now };
                self.outputs.push_back(Output::Dial);
            }
            Reason::Ping => {
                if let Phase::Online(online) = &mut self.phase {
                    online.next_ping = now + online.ping_every;
                    online.asked = online.asked.or(Some(now));
                    self.outputs.push_back(Output::Write(packet::PINGREQ.to_vec()));
                }
            }
            Reason::Dial | Reason::Connack | Reason::Suback | Reason::Pong => self.end(now, Cause::Late(reason)),
        }
    }

    /// What is to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The earliest deadline, and what is due then.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        match &self.phase {
            Phase::Waiting { until } => Some((*until, Reason::Redial)),
            Phase::Dialling { since } => Some((*since + DIAL_MAX, Reason::Dial)),
            Phase::Greeting { since } => Some((*since + ANSWER_MAX, Reason::Connack)),
            Phase::Online(online) => {
                // What is not read can hold no answer.
                let asked = online.asked.filter(|_| self.wants_bytes());
                let subscribing = online.subscribing.filter(|_| self.wants_bytes());
                let patience = PONG_MAX.min(online.ping_every);
                let pong = asked.map(|asked| (asked + patience, Reason::Pong));
                let suback = subscribing.map(|(_, asked)| (asked + ANSWER_MAX, Reason::Suback));
                let all = [Some((online.next_ping, Reason::Ping)), pong, suback];
                all.into_iter().flatten().min_by_key(|(at, _)| *at)
            }
            Phase::Stopped => None,
        }
    }

    /// Whether bytes of the broker's are to be read now: not while it has sent more than can be taken at a time.
    pub fn wants_bytes(&self) -> bool {
        self.open.len() < usize::from(OPEN_MAX)
    }

    /// Messages that are delivered and not settled.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Messages that the broker had kept (retained), and that are no news.
    pub fn retained_ignored(&self) -> u64 {
        self.retained_ignored
    }

    /// Attempts and connections in a row that came to nothing.
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// Where it is.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Waiting { until } => State::Waiting {
                until: *until,
                after: self.last_end.clone(),
            },
            Phase::Dialling { .. } | Phase::Greeting { .. } => State::Connecting,
            Phase::Online(online) => State::Online {
                since: online.since,
                version: self.version,
                session_present: online.session_present,
                refused: online.refused.clone(),
            },
            Phase::Stopped => State::Stopped,
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. } | Phase::Online(_))
    }

    fn dialled(&mut self, now: Instant, login: &Login) {
        let Phase::Dialling { .. } = self.phase else { return };
        let connect = Connect {
            version: self.version,
            client_id: &self.settings.client_id,
            user: login.user.as_deref(),
            password: login.password.as_deref(),
            keep_alive: u16::try_from(self.settings.keep_alive.as_secs()).unwrap_or(u16::MAX),
            session_expiry: u32::try_from(self.settings.session_expiry.as_secs()).unwrap_or(u32::MAX),
            receive_max: OPEN_MAX,
            will: &self.settings.will,
        };
        self.outputs.push_back(Output::Write(connect.encode()));
        self.phase = Phase::Greeting { since: now };
    }

    /// Takes what has come, as far as there is room.
    fn read(&mut self, now: Instant) {
        while self.is_connected() && self.wants_bytes() {
            let decoded = match self.frames.next() {
                Ok(None) => return,
                Ok(Some(frame)) => packet::decode(self.version, &frame),
                Err(error) => Err(error),
            };
            match decoded {
                Ok(packet) => self.packet(now, packet),
                Err(error) => self.end(now, Cause::Protocol(error.0)),
            }
        }
    }

    fn packet(&mut self, now: Instant, packet: Packet) {
        let online = match (&mut self.phase, packet) {
            (Phase::Greeting { .. }, Packet::Connack(connack)) => return self.connack(now, connack),
            (Phase::Greeting { .. }, _) => {
                return self.end(now, Cause::Protocol("it says something before it takes the connection"));
            }
            (Phase::Online(online), packet) => (online, packet),
            (Phase::Waiting { .. } | Phase::Dialling { .. } | Phase::Stopped, _) => return,
        };
        match online {
            (_, Packet::Connack(_)) => self.end(now, Cause::Protocol("it takes the connection twice")),
            (_, Packet::Publish(publish)) => self.delivered(publish),
            (online, Packet::Puback { packet, .. }) => {
                online.in_flight.remove(&packet);
                self.write_waiting();
            }
            (online, Packet::Suback { packet, codes }) => {
                if online.subscribing.is_some_and(|(asked, _)| asked == packet) {
                    online.subscribing = None;
                    let asked = self.settings.subscriptions.iter();
                    let refused = asked.zip(codes).filter(|(_, code)| *code >= 0x80);
                    let words = refused
                        .map(|(subscription, code)| format!("{}: {}", subscription.filter, packet::reason_words(code)));
                    online.refused = words.collect();
                }
            }
            (online, Packet::Pingresp) => {
                // A connection, even a login, is no proof: this is, and it came some time later.
                if online.asked.take().is_some() {
                    self.backoff.proved_useful();
                }
            }
            (_, Packet::Disconnect { code, words }) => self.end(now, Cause::Disconnected { code, words }),
        }
    }

    fn connack(&mut self, now: Instant, connack: Connack) {
        if connack.code == 0x84 && self.version == Version::V5 && self.settings.version.is_none() {
            self.version = Version::V3;
            return self.end(now, Cause::Older);
        }
        if connack.code != 0 {
            let Connack { code, words, .. } = connack;
            return self.end(now, Cause::Refused { code, words });
        }
        let wanted = connack.keep_alive.filter(|seconds| *seconds > 0);
        let wanted = wanted.map(|seconds| Duration::from_secs(seconds.into()));
        let ping_every = wanted.map_or(self.settings.keep_alive, |wanted| wanted.min(self.settings.keep_alive));
        self.next_packet = 1;
        self.phase = Phase::Online(Online {
            since: now,
            session_present: connack.session_present,
            ping_every,
            next_ping: now + ping_every,
            asked: None,
            subscribing: Some((self.next_packet, now)),
            refused: Vec::new(),
            in_flight: BTreeSet::new(),
            in_flight_max: IN_FLIGHT_MAX.min(connack.receive_max.into()),
            qos: self.settings.qos.min(connack.qos_max),
            retains: connack.retains,
        });
        // Also where the session was there: it may be of another configuration.
        let filters: Vec<(&str, u8)> = self
            .settings
            .subscriptions
            .iter()
            .map(|subscription| (subscription.filter.as_str(), subscription.qos))
            .collect();
        let subscribe = packet::subscribe(self.version, self.next_packet, &filters);
        self.outputs.push_back(Output::Write(subscribe));
        self.publish(self.settings.birth.clone());
        self.outputs.push_back(Output::Up);
    }

    fn delivered(&mut self, publish: Publish) {
        let repeats = |open: &Open| open.packet.is_some() && open.packet == publish.packet;
        if self.open.iter().any(repeats) {
            // Old brokers say it again on the same connection.
            return;
        }
        self.number += 1;
        let is_news = !publish.retained;
        if publish.packet.is_some() || is_news {
            self.open.push_back(Open {
                number: self.number,
                packet: publish.packet,
                code: (!is_news).then_some(0),
            });
        }
        if !is_news {
            self.retained_ignored += 1;
            return self.acknowledge();
        }
        let delivery = Delivery {
            connection: self.connection,
            number: self.number,
        };
        self.outputs.push_back(Output::Deliver(Delivered { delivery, publish }));
    }

    fn settled(&mut self, now: Instant, delivery: Delivery, code: u8, answer: Option<Message>) {
        // What an earlier connection brought is not acknowledged on this one: it comes again.
        if delivery.connection != self.connection {
            return;
        }
        let had_room = self.wants_bytes();
        let mut open = self.open.iter_mut();
        let Some(open) = open.find(|open| open.number == delivery.number && open.code.is_none()) else {
            return;
        };
        open.code = Some(code);
        if let Some(answer) = answer {
            self.publish(answer);
        }
        self.acknowledge();
        if !had_room && self.wants_bytes() {
            if let Phase::Online(online) = &mut self.phase {
                // Nothing was read meanwhile: the answers have their time from now on.
                online.asked = online.asked.map(|_| now);
                online.subscribing = online.subscribing.map(|(packet, _)| (packet, now));
            }
            self.read(now);
        }
    }

    /// Acknowledges what is settled, in the order in which it came.
    fn acknowledge(&mut self) {
        while let Some(code) = self.open.front().and_then(|open| open.code) {
            let packet = self.open.pop_front().and_then(|open| open.packet);
            if let Some(packet) = packet {
                let puback = packet::puback(self.version, packet, code);
                self.outputs.push_back(Output::Write(puback));
            }
        }
    }

    fn publish(&mut self, message: Message) {
        if matches!(self.phase, Phase::Online(_)) && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(message);
            self.write_waiting();
        }
    }

    fn write_waiting(&mut self) {
        let Phase::Online(online) = &mut self.phase else { return };
        while online.in_flight.len() < online.in_flight_max {
            let Some(mut message) = self.waiting.pop_front() else {
                return;
            };
            message.retain &= online.retains;
            let packet = (online.qos > 0).then(|| {
                // A few dozen of 65535 are taken.
                loop {
                    self.next_packet = self.next_packet.checked_add(1).unwrap_or(1);
                    let taken = online.subscribing.map(|(packet, _)| packet) == Some(self.next_packet);
                    if !taken && online.in_flight.insert(self.next_packet) {
                        break self.next_packet;
                    }
                }
            });
            let bytes = publish::encode(self.version, &message, packet);
            self.outputs.push_back(Output::Write(bytes));
        }
    }

    fn stop(&mut self) {
        if let Phase::Online(online) = &mut self.phase {
            // The broker's acknowledgement is not waited for.
            online.in_flight.clear();
            self.waiting.clear();
            self.publish(self.settings.will.clone());
            self.outputs.push_back(Output::Write(packet::DISCONNECT.to_vec()));
        }
        self.outputs.push_back(Output::Close);
        self.phase = Phase::Stopped;
        self.forget_connection();
    }

    fn end(&mut self, now: Instant, cause: Cause) {
        let pause = match (&self.phase, cause.verdict()) {
            (Phase::Waiting { .. } | Phase::Stopped, _) => return,
            (_, Verdict::Now) => Duration::ZERO,
            (_, Verdict::BackOff) => self.backoff.next_pause(),
            (_, Verdict::Patience) => self.backoff.long_pause(),
        };
        self.phase = Phase::Waiting {
            until: self.backoff.braked(now + pause),
        };
        self.forget_connection();
        self.outputs.push_back(Output::Close);
        self.outputs.push_back(Output::Ended(cause.clone()));
        self.last_end = Some(cause);
    }

    fn forget_connection(&mut self) {
        self.connection += 1;
        self.frames = Frames::default();
        self.open.clear();
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests;
