//! Every number of the outbox, each with its why.

use std::time::Duration;

/// What bounds the outbox. A board sets how many alerts may wait and how many messages are under way at once; the rest
/// is right for all hosts known today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Recipients of one session that may have a message under way at once. Eight hide a slow recipient; more only
    /// makes a burst look like a spammer's.
    pub in_flight_max: usize,
    /// Beside those, recipients whose sends still ask the server whom to encrypt for: a large group takes a minute for
    /// that, and others shall not wait. Bounded, because each holds a message and asks questions.
    pub asking_max: usize,
    /// From handing a message to the session to the server's ack, or from the last sign that a send which asks is
    /// alive. The server answers within a second or two when it answers; a slow board needs some for encryption.
    pub ack: Duration,
    /// Acks missed in a row before the line is called suspect.
    pub missed_acks_max: u32,
    /// A message that waits for an upload is handed to the session again after this, in case that nobody says that it
    /// is done.
    pub upload_look: Duration,
    /// First pause after a failed send; it doubles.
    pub retry_first: Duration,
    /// Longest pause. An alert a minute late is still an alert.
    pub retry_max: Duration,
    /// First pause after the server has answered a question with "too much"; it doubles. Ten seconds leave five
    /// questions in the first three minutes.
    pub limited_first: Duration,
    /// Longest pause of that kind. The limits that are known end after minutes or hours; more than this would only make
    /// alerts late when they do.
    pub limited_max: Duration,
    /// Longest pause while the recipient would have to write first. Nothing but that, or a day, is known to help, and
    /// what helps ends the pause.
    pub closed_max: Duration,
    /// After the recipient has written, refusals count as trouble that passes for so long: what opens the chat may
    /// reach the server and us a moment later than their message.
    pub opened: Duration,
    /// Alerts waiting to be sent.
    pub pending_max: usize,
    /// The same in bytes: 10 000 alerts of 64 KiB do not fit a Pi. One alert may pass it.
    pub pending_bytes_max: usize,
    /// How long a settled alert stays to be looked at and to take receipts.
    pub keep: Duration,
    /// Settled alerts kept.
    pub settled_max: usize,
    /// How long a key makes a second alert a duplicate of the first.
    pub dedup: Duration,
    /// Keys kept of alerts that are forgotten: more than one a second, for their whole day. Each takes some 160 bytes
    /// of memory and 50 on the disk.
    pub keys_max: usize,
    /// Settled alerts in bytes; stronger than their count, because memory is what runs out.
    pub settled_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            in_flight_max: 8,
            asking_max: 16,
            ack: Duration::from_secs(30),
            missed_acks_max: 2,
            upload_look: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            limited_first: Duration::from_secs(10),
            limited_max: Duration::from_secs(15 * 60),
            closed_max: Duration::from_secs(4 * 60 * 60),
            opened: Duration::from_secs(2 * 60),
            pending_max: 10_000,
            pending_bytes_max: 32 << 20,
            keep: DAY * 7,
            settled_max: 1000,
            dedup: DAY,
            keys_max: 100_000,
            settled_bytes_max: 16 << 20,
        }
    }
}
