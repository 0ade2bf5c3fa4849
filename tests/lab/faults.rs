//! Everything that can go wrong, each with a switch.
//!
//! There are two sorts. *Standing* faults stay until switched off and touch connections and stanzas to come. *Acts*
//! happen once, to every line that is open now. [`Faults::calm`] switches all standing faults off.

use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::media::MediaFaults;
use super::node::random;
use super::router;
use super::world::{End, LineState, Out, Shared};

/// How long the accept loop may take to open or shut the door.
const DOOR_TIMEOUT: Duration = Duration::from_secs(5);

/// A `<failure>` at login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: u16,
    /// For 402: why, 101 to 106.
    pub code: Option<u16>,
    /// For 402: seconds until the ban ends.
    pub expire_s: Option<u64>,
}

impl Failure {
    pub fn code(reason: u16) -> Self {
        Self {
            reason,
            code: None,
            expire_s: None,
        }
    }

    /// A temporary ban of `expire_s` seconds.
    pub fn ban(expire_s: u64) -> Self {
        Self {
            reason: 402,
            code: Some(101),
            expire_s: Some(expire_s),
        }
    }
}

/// What a question for keys gets of one account's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKeys {
    /// The device is not in the list.
    Absent,
    /// It is, with an error instead of keys.
    Refused(u16),
    /// Keys whose signature is not the device's.
    BadSignature,
    /// An error instead of the whole list.
    WholeList(u16),
    /// No answer to the whole question.
    Silence,
}

/// Keys that are not to be had, of which devices.
#[derive(Clone, Debug)]
pub struct KeyFault {
    /// None: everybody's.
    pub number: Option<String>,
    /// None: every device of it.
    pub device: Option<u16>,
    pub instead: NoKeys,
}

/// How long the server takes over a question for keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyPace {
    pub each_answer: Duration,
    /// For every key in it; one question after the other.
    pub each_key: Duration,
}

/// A refusal that ends with the question that cures it.
#[derive(Clone, Copy, Debug)]
pub struct UntilAsked {
    pub code: u16,
    /// It was given once: questions from now on count.
    pub given: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub keys: Vec<KeyFault>,
    pub key_pace: KeyPace,
    /// Acks carry this hash of devices, whatever the message was made for.
    pub phash: Option<String>,
    pub refuse_tcp: bool,
    pub http_status: Option<u16>,
    pub handshake_delay: Duration,
    pub mute_handshake: bool,
    pub silent_login: bool,
    pub failure: Option<Failure>,
    pub error_at_login: Option<Node>,
    pub no_offline: bool,
    pub withhold_acks: bool,
    pub nack: Option<u16>,
    /// Messages are refused with this until a client that was refused asks about groups or devices again.
    pub nack_until_asked: Option<UntilAsked>,
    pub withhold_pongs: bool,
    pub zombie: bool,
    pub session_timer: Option<SessionTimer>,
    pub media: MediaFaults,
}

/// The server ends a line some time after its login, whatever passes on it.
#[derive(Clone, Copy, Debug)]
pub struct SessionTimer {
    pub after: Duration,
    /// Says `stream:error` with this code first; else the stream just ends, without a close frame.
    pub error: Option<u16>,
}

/// The switches. See the module for the two sorts.
pub struct Faults {
    shared: Arc<Shared>,
    /// Wakes the accept loop.
    door: Sender<()>,
}

impl Faults {
    pub(super) fn new(shared: Arc<Shared>, door: Sender<()>) -> Self {
        Self { shared, door }
    }

    pub(super) fn stand(&self, set: impl FnOnce(&mut Standing)) {
        set(&mut self.shared.lock().standing);
    }

    /// Switches every standing fault off, and delivers what a zombie kept back.
    pub fn calm(&self) {
        self.stand(|s| *s = Standing::default());
        self.refuse_tcp(false);
        self.deliver_kept();
    }

    // Standing, from the bottom of the stack upwards.

    /// No listener: connects are refused by the kernel. Returns when that is so, or no longer so.
    pub fn refuse_tcp(&self, on: bool) {
        self.stand(|s| s.refuse_tcp = on);
        let _ = self.door.try_send(());
        let _ = self.shared.wait(DOOR_TIMEOUT, |w| (w.door_shut == on).then_some(()));
    }

    /// The upgrade is answered with this HTTP status instead of 101.
    pub fn http_status(&self, status: Option<u16>) {
        self.stand(|s| s.http_status = status);
    }

    /// The serverHello comes this much later.
    pub fn slow_handshake(&self, delay: Duration) {
        self.stand(|s| s.handshake_delay = delay);
    }

    /// The serverHello never comes.
    pub fn mute_handshake(&self, on: bool) {
        self.stand(|s| s.mute_handshake = on);
    }

    /// The server has a new static key: IK with the old one ends in XXfallback.
    pub fn rotate_server_key(&self) {
        self.shared.lock().keys = super::noise::ServerKeys::generate();
    }

    /// The handshake succeeds and then nothing comes: neither `success` nor `failure`.
    pub fn silent_login(&self, on: bool) {
        self.stand(|s| s.silent_login = on);
    }

    /// Every login is refused with this.
    pub fn failure(&self, failure: Option<Failure>) {
        self.stand(|s| s.failure = failure);
    }

    /// Every login succeeds and is followed at once by `stream:error` with this code.
    pub fn error_at_login(&self, code: Option<u16>) {
        self.stand(|s| s.error_at_login = code.map(stream_error));
    }

    /// `ib offline` never comes, so the client does not learn that it has caught up.
    pub fn no_offline(&self, on: bool) {
        self.stand(|s| s.no_offline = on);
    }

    /// Messages are routed, but not acknowledged to their sender.
    pub fn withhold_acks(&self, on: bool) {
        self.stand(|s| s.withhold_acks = on);
    }

    /// Messages are not routed; their ack carries this error.
    pub fn nack(&self, error: Option<u16>) {
        self.stand(|s| s.nack = error);
    }

    /// Messages are not routed, and their ack carries this error, until the client asks about the group, or about
    /// devices, after it got one: what it had cached was out of date.
    pub fn nack_until_asked(&self, code: u16) {
        self.stand(|s| s.nack_until_asked = Some(UntilAsked { code, given: false }));
    }

    /// The keys of `number` (of everybody, if none) are not to be had. Comes beside what stands already.
    pub fn no_keys(&self, number: Option<&str>, instead: NoKeys) {
        self.no_keys_of_device(number, None, instead);
    }

    /// The same for one device alone.
    pub fn no_keys_of_device(&self, number: Option<&str>, device: Option<u16>, instead: NoKeys) {
        let fault = KeyFault {
            number: number.map(Into::into),
            device,
            instead,
        };
        self.stand(|s| s.keys.push(fault));
    }

    /// All keys are to be had again.
    pub fn keys_again(&self) {
        self.stand(|s| s.keys.clear());
    }

    /// Questions for keys are answered slowly.
    pub fn slow_keys(&self, pace: KeyPace) {
        self.stand(|s| s.key_pace = pace);
    }

    /// Acks carry this hash of devices. Without it they carry one where the message was not made for all devices.
    pub fn phash(&self, hash: Option<&str>) {
        self.stand(|s| s.phash = hash.map(Into::into));
    }

    /// `w:p` goes unanswered; everything else works.
    pub fn withhold_pongs(&self, on: bool) {
        self.stand(|s| s.withhold_pongs = on);
    }

    /// Pings are answered and nothing else is: no iq result, no ack, no message, no receipt. What comes meanwhile is
    /// kept and delivered when the fault ends or at the next login without it.
    pub fn zombie(&self, on: bool) {
        self.stand(|s| s.zombie = on);
        if !on {
            self.deliver_kept();
        }
    }

    /// Every line that logs in from now on lives so long.
    pub fn session_timer(&self, timer: Option<SessionTimer>) {
        self.stand(|s| s.session_timer = timer);
    }

    // Acts, on every line that is open now.

    /// The TCP connection is reset.
    pub fn cut_rst(&self) {
        self.cut(End::Rst);
    }

    /// The TCP connection ends without a WebSocket close frame (what a browser would report as 1006).
    pub fn cut_fin(&self) {
        self.cut(End::Fin);
    }

    /// A WebSocket close frame with this code: 1000, 1001, or any other that RFC 6455 lets a server send.
    pub fn close_frame(&self, code: u16) {
        self.act(|| Out::Close(code));
    }

    /// Stops reading and writing and keeps the socket: the peer's kernel still answers, nobody else does.
    pub fn freeze(&self) {
        self.act(|| Out::Freeze(true));
    }

    /// Ends [`Faults::freeze`]; what was held goes out.
    pub fn thaw(&self) {
        self.act(|| Out::Freeze(false));
    }

    /// Reads and discards, answers nothing.
    pub fn black_hole(&self, on: bool) {
        self.act(|| Out::BlackHole(on));
    }

    /// `<stream:error code=…/>`. The socket stays open: closing it is the client's business, or [`Faults::cut_fin`]'s.
    pub fn stream_error(&self, code: u16) {
        self.act(|| Out::Node(stream_error(code)));
    }

    /// `<stream:error code=401><conflict type=…/></stream:error>`: `device_removed` or `replaced`.
    pub fn conflict(&self, kind: &str) {
        self.act(|| {
            let conflict = NodeBuilder::new("conflict").attr("type", kind).build();
            let error = NodeBuilder::new("stream:error");
            let error = if kind == "device_removed" {
                error.attr("code", "401")
            } else {
                error
            };
            Out::Node(error.children([conflict]).build())
        });
    }

    /// `<stream:error><ack id=… class=…/></stream:error>`: the server is owed an ack for the stanza `id`.
    pub fn stream_error_ack(&self, id: &str) {
        self.act(|| {
            let ack = NodeBuilder::new("ack").attr("id", id).attr("class", "message").build();
            Out::Node(NodeBuilder::new("stream:error").children([ack]).build())
        });
    }

    /// `<stream:error><xml-not-well-formed/></stream:error>`.
    pub fn xml_not_well_formed(&self) {
        self.act(|| {
            let child = NodeBuilder::new("xml-not-well-formed").build();
            Out::Node(NodeBuilder::new("stream:error").children([child]).build())
        });
    }

    /// `<xmlstreamend/>`: the server ends the stream in good order.
    pub fn stream_end(&self) {
        self.act(|| Out::Node(NodeBuilder::new("xmlstreamend").build()));
    }

    /// A frame whose body is noise, in the bad sense: it does not decrypt.
    pub fn garbage_frame(&self) {
        self.act(|| Out::Framed(random::<64>().to_vec()));
    }

    /// A frame that decrypts well, to bytes that are no stanza.
    pub fn garbage_in_noise(&self) {
        self.act(|| Out::Sealed([&[0][..], &[0xff; 40]].concat()));
    }

    /// A WebSocket ping; pongs are counted in `Counters::ws_pongs`.
    pub fn ws_ping(&self) {
        self.act(|| Out::Ping);
    }

    /// The server's own ping, as a stanza; it wants an `iq` of type `result` with this id.
    pub fn iq_ping(&self, id: &str) {
        self.act(|| {
            let ping = NodeBuilder::new("iq")
                .attr("type", "get")
                .attr("xmlns", "urn:xmpp:ping");
            Out::Node(ping.attr("id", id).attr("from", "s.whatsapp.net").build())
        });
    }

    fn act(&self, out: impl Fn() -> Out) {
        let mut world = self.shared.lock();
        let lines: Vec<u64> = world.lines.keys().copied().collect();
        for line in lines {
            world.push(line, out());
        }
    }

    fn cut(&self, end: End) {
        for line in self.shared.lock().lines.values() {
            let _ = line.cut.try_send(end);
        }
    }

    fn deliver_kept(&self) {
        let mut world = self.shared.lock();
        let open = world.lines.iter().filter_map(|(id, line)| match line.state {
            LineState::Open { device, active: true } => Some((*id, device)),
            _ => None,
        });
        for (line, device) in open.collect::<Vec<_>>() {
            router::pump(&mut world, device, line, false);
        }
    }
}

pub(super) fn stream_error(code: u16) -> Node {
    NodeBuilder::new("stream:error").attr("code", u32::from(code)).build()
}
