//! The timers of a session. One stands for each reason, and the earliest is what the shell arms.

use std::time::Instant;

/// Why a deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The pause after a failed attempt ends: dialling at once would storm a server or a path that is in trouble.
    Redial,
    /// The time that the server named, or the longest pause, ends: to come sooner would be a fight.
    Hold,
    /// A hold of an earlier run is compared with the wall clock, which a board without a battery learns after the
    /// start.
    HoldCheck,
    /// The hourly cap on attempts allows the next one: whatever fails, it must not become a storm.
    StormBrake,
    /// The clock is looked at, in case that nobody tells of its being set: before that no certificate is valid.
    Clock,
    /// The attempt must be logged in: its steps have deadlines of their own, but one that hangs between them has none.
    /// From the upgrade on it is the server's time to answer the login.
    Login,
    /// A line that we broke must be gone: one that the library does not give up holds the session for ever.
    Close,
    /// The line has held for so long that it counts as useful, if it carried something: the pauses start over.
    Useful,
    /// The end of the offline queue must have come: a server that keeps it back may deliver nothing else either.
    OfflineDrain,
    /// WhatsApp's own ping is due: silence alone proves nothing, so the line is asked.
    ApplicationPing,
    /// It must be answered, or the line is dead.
    ApplicationPong,
    /// A WebSocket ping is due: its answer shows sooner than an application's that the path is dead.
    WebSocketPing,
    /// It must be answered, by a peer that has answered one before.
    WebSocketPong,
    /// Presence `unavailable` is due: the server must not take this device for an active one.
    Presence,
    /// A question with content is due: a session that is dead behind its edge still answers pings.
    Probe,
    /// It must be answered, by a server that has answered one before.
    ProbeAnswer,
    /// A stanza must have been acked by us: the server ends a line that owes it an ack.
    OwedAck,
    /// Frames that came must have become stanzas: a cipher that has lost count reads nothing any more.
    Decode,
}

/// A deadline and why it stands.
pub(super) type Deadline = (Instant, Reason);

/// The earliest of them; of two at the same instant, the first.
pub(super) fn earliest(deadlines: impl IntoIterator<Item = Option<Deadline>>) -> Option<Deadline> {
    deadlines.into_iter().flatten().min_by_key(|(at, _)| *at)
}
