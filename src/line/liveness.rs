//! Is the line that is up still alive? Pings go out on schedule; every deadline is anchored on the first send that has
//! not been answered, so that sending more never postpones it.

use std::time::{Duration, Instant};

use super::{Cause, Layer, Reason, Schedule};

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    PingApplication,
    PingWebSocket,
    AnnounceUnavailable,
    Dead(Cause, &'static str),
}

#[derive(Debug)]
pub(super) struct Liveness {
    schedule: Schedule,
    random: u64,
    next_ping: Instant,
    /// The first application ping since the last application proof.
    ping_unanswered: Option<Instant>,
    next_websocket_ping: Instant,
    websocket_unanswered: Option<Instant>,
    /// It is not documented that WhatsApp's edge answers WebSocket pings: until it has, silence to them proves nothing.
    peer_pongs: bool,
    last_bytes: Instant,
    next_presence: Instant,
}

impl Liveness {
    pub(super) fn new(now: Instant, schedule: Schedule, seed: u64) -> Self {
        let mut liveness = Self {
            next_ping: now,
            ping_unanswered: None,
            next_websocket_ping: now + schedule.websocket.ping,
            websocket_unanswered: None,
            peer_pongs: false,
            last_bytes: now,
            next_presence: now,
            schedule,
            random: seed | 1,
        };
        liveness.next_ping = now + liveness.ping_interval();
        liveness
    }

    /// Something came in that proves `layer`, and with it every layer below.
    pub(super) fn heard(&mut self, now: Instant, layer: Layer) {
        self.last_bytes = self.last_bytes.max(now);
        match layer {
            Layer::Tcp => {}
            Layer::WebSocket => {
                self.peer_pongs = true;
                self.websocket_unanswered = None;
            }
            Layer::Application => {
                self.ping_unanswered = None;
                self.next_ping = now + self.ping_interval();
            }
        }
    }

    /// What is due now, one thing at a time; `None` when nothing is.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.pong_deadline().is_some_and(|at| at <= now) {
            return Some(Due::Dead(Cause::PongTimeout, "the application ping went unanswered"));
        }
        if self.websocket_deadline().is_some_and(|at| at <= now) {
            let silent = self.websocket_unanswered.is_some_and(|sent| self.last_bytes <= sent);
            if self.peer_pongs || silent {
                return Some(Due::Dead(Cause::PongTimeout, "the WebSocket ping went unanswered"));
            }
            self.websocket_unanswered = None;
        }
        if self.next_ping <= now {
            self.next_ping = now + self.ping_interval();
            self.ping_unanswered.get_or_insert(now);
            return Some(Due::PingApplication);
        }
        if self.next_websocket_ping <= now {
            self.next_websocket_ping = now + self.schedule.websocket.ping;
            self.websocket_unanswered.get_or_insert(now);
            return Some(Due::PingWebSocket);
        }
        if self.next_presence <= now {
            self.next_presence = now + self.schedule.application.presence;
            return Some(Due::AnnounceUnavailable);
        }
        None
    }

    /// The earliest deadline and why it stands.
    pub(super) fn timeout(&self) -> (Instant, Reason) {
        let pings = [
            Some((self.next_ping, Reason::ApplicationPing)),
            Some((self.next_websocket_ping, Reason::WebSocketPing)),
            Some((self.next_presence, Reason::Presence)),
            self.pong_deadline().map(|at| (at, Reason::ApplicationPong)),
            self.websocket_deadline().map(|at| (at, Reason::WebSocketPong)),
        ];
        let fallback = (self.next_ping, Reason::ApplicationPing);
        pings
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
            .unwrap_or(fallback)
    }

    fn pong_deadline(&self) -> Option<Instant> {
        self.ping_unanswered.map(|sent| sent + self.schedule.application.pong)
    }

    fn websocket_deadline(&self) -> Option<Instant> {
        self.websocket_unanswered
            .map(|sent| sent + self.schedule.websocket.pong)
    }

    /// Random between the two bounds: a fleet in fixed phase looks like an attack.
    fn ping_interval(&mut self) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let application = &self.schedule.application;
        let span = application.ping_max.saturating_sub(application.ping_min);
        application.ping_min + span.mul_f64((self.random >> 40) as f64 / f64::from(1u32 << 24))
    }
}
