//! Every bound of the gateway: the limits that keep one client from being everybody's trouble.

use std::time::Duration;

/// Connections at once on all TCP addresses: the 64 publishers that the relay is built to serve, each of which may open
/// the next connection before the last is gone. Beyond that the longest idle one gives way, and if none is idle, a
/// new one gets a 503.
const CONNECTIONS_MAX: usize = 128;
/// The same on the control socket: counted apart, so that a flood on TCP never locks `tautline status` out.
const CONTROL_CONNECTIONS_MAX: usize = 32;
/// Those who subscribe: counted apart, so that they never keep a publisher out.
const SUBSCRIBERS_MAX: usize = 64;
/// Between two signs of life to a subscriber, as ntfy's server has it.
const KEEPALIVE: Duration = Duration::from_secs(45);
/// The same to one who subscribes to the journal, until a board says otherwise.
const PING: Duration = Duration::from_secs(20);
/// A subscriber whose window is full. It goes on where it was when it comes again, and others may have its place.
const STALLED: Duration = Duration::from_secs(60);
/// Request line and headers. ntfy puts titles and actions into headers; a browser's cookies for localhost come too.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// No text is as long as this. WhatsApp takes 65 536 characters, and the rest is cut with a mark; what is larger
/// still is refused, because it is a mistake that its sender should hear of.
const BODY_MAX_BYTES: u64 = 1024 * 1024;
/// A body that is no text, as a camera's picture. It goes into a file as it comes.
const UPLOAD_MAX_BYTES: u64 = 32 * 1024 * 1024;
/// What is kept of a body: the longest text, also when each of its characters takes two bytes.
const BODY_KEPT_BYTES: usize = 128 * 1024;
/// A kept connection without a request.
const IDLE: Duration = Duration::from_secs(60);
/// A request's head, from its first byte to its last. Senders give up after 4 s or more. A body that takes longer than
/// this needs one of the places for slow ones.
const REQUEST: Duration = Duration::from_secs(10);
/// Between two pieces of a body: a job's output comes when the job has some.
const BODY_GAP: Duration = Duration::from_secs(60);
/// A whole body, however busily it comes.
const BODY: Duration = Duration::from_secs(600);
/// An answer that the client does not take.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait that `?timeout=` may ask for.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Before the answer to a wrong token: a sender with an old one in it asks less often, and whoever guesses gets
/// nowhere.
const WRONG_TOKEN: Duration = Duration::from_secs(1);
/// What is under way when the relay stops may take this long to end.
const GRACE: Duration = Duration::from_secs(2);

/// The defaults are for use; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once on all TCP addresses.
    pub connections: usize,
    /// Connections at once on the control socket.
    pub control_connections: usize,
    /// Subscribers at once, on all listeners.
    pub subscribers: usize,
    /// Between two signs of life to a subscriber.
    pub keepalive: Duration,
    /// The same to one who subscribes to the journal; who gives none for two of these is left.
    pub ping: Duration,
    /// A subscriber to the journal that acknowledges nothing of a full window.
    pub stalled: Duration,
    /// Largest head of a request, in bytes; more is a 431.
    pub head_bytes: usize,
    /// Largest body that is a text, in bytes; more is a 413.
    pub body_bytes: u64,
    /// Largest body of any kind, in bytes; more is a 413 before the rest is read.
    pub upload_bytes: u64,
    /// What is held of a body in memory, in bytes.
    pub kept_bytes: usize,
    /// A kept connection without a request.
    pub idle: Duration,
    /// From the first byte of a head to its last; and when a body begins to count as slow.
    pub request: Duration,
    /// Longest silence within a body.
    pub body_gap: Duration,
    /// A whole body.
    pub body: Duration,
    /// Until the client takes a piece of its answer.
    pub answer: Duration,
    /// Longest `?timeout=`.
    pub wait_max: Duration,
    /// Before the answer to a wrong token.
    pub wrong_token: Duration,
    /// For what is under way when the relay stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS_MAX,
            control_connections: CONTROL_CONNECTIONS_MAX,
            subscribers: SUBSCRIBERS_MAX,
            keepalive: KEEPALIVE,
            ping: PING,
            stalled: STALLED,
            head_bytes: HEAD_MAX_BYTES,
            body_bytes: BODY_MAX_BYTES,
            upload_bytes: UPLOAD_MAX_BYTES,
            kept_bytes: BODY_KEPT_BYTES,
            idle: IDLE,
            request: REQUEST,
            body_gap: BODY_GAP,
            body: BODY,
            answer: ANSWER,
            wait_max: WAIT_MAX,
            wrong_token: WRONG_TOKEN,
            grace: GRACE,
        }
    }
}
