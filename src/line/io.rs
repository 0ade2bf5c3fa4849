//! What goes into the supervisor and what comes out.

use std::time::Duration;

use super::{Cause, EndRecord, Stop, Verdict};

/// The keepalive layers, lowest first. The application's has two halves, because a zombie answers pings and delivers
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Any byte from the peer.
    Tcp,
    /// A pong.
    WebSocket,
    /// Any stanza.
    Application,
    /// A stanza that carries something: a message, a receipt, an answer with content. The answer to a ping does not.
    Content,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Once, first.
    Start { paired: bool },
    /// In place of `Start`: in an earlier run the server named a time, and `left` of it is left.
    StartHeld { paired: bool, after: Cause, left: Duration },
    /// What is left of that, after another look at a wall clock that may have been set since. It only ever shortens.
    HoldLeft(Duration),
    /// A person asks for pairing; starts over what had ended.
    PairRequested,
    /// The credentials of a fresh pairing are on disk.
    Paired,
    /// The WebSocket stands: from here the server has a step's time to answer the login. May be told late, with the
    /// instant at which it came.
    Upgraded,
    /// The server's `success`.
    LoggedIn,
    /// `<ib><offline>`: what had waited at the server has been delivered.
    Drained,
    /// Something came in that proves this layer and those below. May be told late, with the instant at which it came,
    /// and more than once.
    Proof(Layer),
    /// Something that wants an answer was handed to the line.
    Sent,
    /// A stanza came that must be acked. The shell picks the id, for instance a hash of its own.
    StanzaIn { id: u64 },
    /// Its ack, receipt or nack went out.
    StanzaAcked { id: u64 },
    /// How many frames of this line have come and are no stanzas yet. Told before every deadline.
    Undecoded { frames: u64 },
    /// The server has said why it gives the line up. The end follows; where the server leaves the line standing, it is
    /// broken here.
    ServerSaid(Cause),
    /// The line is over. `cause` is what the wire showed.
    Ended { cause: Cause },
    /// Someone above has reason to think that the line is dead. It is asked at once; the second time it is believed.
    Suspect(Cause),
    /// News of the host or its network.
    Host(HostEvent),
    /// The program ends: the line is closed and none is opened again.
    Shutdown,
}

/// What happens to the host and its network, and so to every session at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostEvent {
    /// A link came up, a route or an address changed: a pause makes no sense any more.
    PathChanged,
    /// The host slept: `CLOCK_BOOTTIME` has run ahead of `CLOCK_MONOTONIC` by this much.
    Resumed { slept: Duration },
    /// The wall clock was set. No deadline moves; what waits for the time or the path is tried at once.
    ClockStepped { by_ms: i64 },
    /// The wall clock is before the build, or before the last time on disk: nothing is dialled.
    ClockUnset,
    /// It is right, or at least possible.
    ClockSet,
}

/// What is sent to keep a line alive, or to learn whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// WhatsApp's own ping; any stanza that comes back answers it.
    ApplicationPing,
    /// A ping of the WebSocket layer, which an edge need not answer.
    WebSocketPing,
    /// Something whose answer carries content, which a session that is dead behind its edge cannot give.
    ContentProbe,
    /// Presence `unavailable`. `available` is never announced: it would silence the owner's phone.
    Presence,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a line. Exactly one at a time: the next one comes only after [`Input::Ended`].
    Dial { pairing: bool },
    /// Break the line now; `Ended` follows. One that is only being dialled cannot be broken: its client is given up at
    /// once.
    Close,
    /// Throw the library's client away and use a new one for the next line. When a line is open it did not let go:
    /// [`Input::Ended`] follows.
    FreshClient,
    /// Send this. Its answer, if there is one, is told as [`Input::Proof`].
    Ask(Question),
    /// A stanza has waited this long for its ack: for the log and health.
    AckOverdue { id: u64, waited: Duration },
    /// The end of the offline queue did not come, for the second line in a row. This one is kept all the same, and
    /// alerts go out on it: say so. [`Input::Drained`] ends it, or the end of the line.
    Undrained,
    /// The clock was not set: look again, and tell.
    LookAtClock,
    /// Compare the hold of an earlier run with the wall clock, and tell by [`Input::HoldLeft`].
    CheckHold,
    /// The line ended: for the record and the log.
    LineEnded {
        cause: Cause,
        verdict: Verdict,
        record: Box<EndRecord>,
    },
    /// Set the credentials aside; they are dead.
    Quarantine(Stop),
}

/// Where the session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Before [`Input::Start`].
    Idle,
    Connecting {
        pairing: bool,
    },
    Online,
    /// A pause; `after` is what made it necessary.
    Waiting {
        after: Cause,
    },
    Stopped(Stop),
}
