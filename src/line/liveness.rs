//! Is the line that is up still alive? Questions go out on schedule, each layer's own; a deadline is anchored on the
//! first question that has not been answered, when it was decided and not when it left, so that neither sending more
//! nor a write that blocks postpones it. Silence alone is never held against a line: only an unanswered question is.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::record::Ages;
use super::timer::Deadline;
use super::{Cause, Layer, Question, Reason, Schedule};
use crate::util::{Random, millis};

/// A content probe may be answered by something slower than what answers pings: so many times the ping's deadline.
pub const PROBE_PATIENCE: u32 = 2;

/// After login, for the ping that finds out whether this peer answers WebSocket pings at all.
const LEARN_AFTER: Duration = Duration::from_secs(1);

/// Something that wants an answer was sent; the answer usually comes within this. Else a ping asks.
const ASK_AFTER: Duration = Duration::from_secs(2);

/// Times in a row that a standstill of this program may excuse an unanswered question.
const EXCUSES_MAX: u32 = 3;

/// Before a verdict, one turn of the loop to read what may be waiting. A standstill that ends just after a deadline
/// looks like no standstill at all, and the answer lies unread.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(300);

/// A kind of question to the other side, which is open or not.
#[derive(Debug, Default)]
struct Asked {
    open: Option<OpenQuestion>,
}

/// From the first one asked until something answers the last.
#[derive(Debug, Clone, Copy)]
struct OpenQuestion {
    /// The first that is not answered. What came before it is no answer.
    first: Instant,
    /// The last, where it was asked again: an answer may come before it, and be told of later.
    again: Option<Instant>,
    /// The time to answer counts from here: later than `first` if this program stood still.
    from: Instant,
    /// The last look before the verdict; `None`: it is still to come.
    looked: Option<Instant>,
}

impl Asked {
    fn ask(now: Instant) -> Self {
        Self {
            open: Some(OpenQuestion {
                first: now,
                again: None,
                from: now,
                looked: None,
            }),
        }
    }

    fn ask_again(&mut self, now: Instant) {
        match &mut self.open {
            Some(open) => open.again = Some(now),
            None => *self = Self::ask(now),
        }
    }

    fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When the first one was asked that has not been answered.
    fn unanswered_since(&self) -> Option<Instant> {
        self.open.map(|open| open.first)
    }

    /// Whether what came at `at` answered it. What was asked again since stays open.
    fn answer(&mut self, at: Instant) -> bool {
        let Some(open) = self.open.filter(|open| open.first < at) else {
            return false;
        };
        self.open = open.again.filter(|again| *again >= at).map(|again| OpenQuestion {
            first: again,
            again: None,
            from: open.from.max(again),
            looked: None,
        });
        true
    }

    fn restart(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.from = now;
            open.looked = None;
        }
    }

    /// When to look for the last time, then when to judge.
    fn deadline(&self, patience: Duration) -> Option<Instant> {
        let open = self.open?;
        Some(match open.looked {
            None => open.from + patience.saturating_sub(LAST_LOOK),
            Some(looked) => (open.from + patience).max(looked + LAST_LOOK),
        })
    }

    /// Unanswered for good. The first call after the time only looks.
    fn overdue(&mut self, now: Instant, patience: Duration) -> bool {
        let due = self.deadline(patience).is_some_and(|at| at <= now);
        if due
            && let Some(open) = &mut self.open
            && open.looked.is_none()
        {
            open.looked = Some(now);
            // Where patience is shorter than a look.
            return self.deadline(patience).is_some_and(|at| at <= now);
        }
        due
    }
}

/// What to do about what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Ask(Question),
    /// The end of the offline queue did not come, and this server does not send it: the line goes on without.
    GoOnUndrained,
    Dead(Cause),
}

/// What a session knows about its server beyond one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// A content probe has been answered. As long as none has, a missing answer proves nothing: the server may have
    /// stopped to answer this kind. A line killed for it spends the knowledge, so that a wrong guess costs one line.
    pub(super) probes_answered: bool,
    /// The line is asked right after its login: nothing is known yet, or the last one ended in a way after which
    /// zombies were seen.
    pub(super) distrust: bool,
    /// The last line was given up because the end of its offline queue never came. A second line would fare no better,
    /// so none is given up for it until one has come to that end again.
    pub(super) undrained: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            probes_answered: false,
            distrust: true,
            undrained: false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Liveness {
    schedule: Schedule,
    random: Random,
    since: Instant,
    last_bytes: Instant,
    /// `None`: none has come on this line.
    last_pong: Option<Instant>,
    last_stanza: Instant,
    /// `None`: nothing has come on this line that carried something.
    last_content: Option<Instant>,
    next_application_ping: Instant,
    application_ping: Asked,
    /// Since then somebody wants to know whether the line lives; what came before does not tell. `None`: nobody asks.
    doubted: Option<Instant>,
    /// The last WebSocket ping; `None`: none has been sent on this line.
    websocket_sent: Option<Instant>,
    websocket_ping: Asked,
    /// Not before; the budget's word.
    websocket_free: Instant,
    /// It is not documented that WhatsApp's edge answers WebSocket pings: until this line's has, silence proves
    /// nothing.
    peer_pongs: bool,
    next_presence: Instant,
    next_probe: Instant,
    probe: Asked,
    /// Asked by the login itself.
    drain: Asked,
    /// Why somebody above thinks that the line is dead, until a probe has cleared it.
    suspicion: Option<Cause>,
    vindicated: u32,
    excuses: u32,
    known: Known,
}

impl Liveness {
    pub(super) fn new(now: Instant, schedule: &Schedule, seed: u64, known: Known) -> Self {
        let first_probe = if known.distrust {
            LEARN_AFTER
        } else {
            schedule.application.probe
        };
        let mut liveness = Self {
            since: now,
            last_bytes: now,
            last_pong: None,
            last_stanza: now,
            last_content: None,
            next_application_ping: now,
            application_ping: Asked::default(),
            doubted: None,
            websocket_sent: None,
            websocket_ping: Asked::default(),
            websocket_free: now,
            peer_pongs: false,
            next_presence: now,
            next_probe: now + first_probe,
            probe: Asked::default(),
            drain: Asked::ask(now),
            suspicion: None,
            vindicated: 0,
            excuses: EXCUSES_MAX,
            known,
            schedule: schedule.clone(),
            random: Random::new(seed),
        };
        liveness.next_application_ping = now + liveness.application_ping_interval();
        liveness
    }

    pub(super) fn known(&self) -> Known {
        self.known
    }

    /// Something useful has come: messages, receipts, answers, the end of the offline queue.
    pub(super) fn has_content(&self) -> bool {
        self.last_content.is_some()
    }

    pub(super) fn drained(&mut self, at: Instant) {
        self.drain = Asked::default();
        self.known.undrained = false;
        self.on_proof(at, Layer::Content);
    }

    /// Something came at `at` that proves `layer`, and with it the layers below. Told twice, it counts once; what came
    /// before a question was asked is no answer to it.
    pub(super) fn on_proof(&mut self, at: Instant, layer: Layer) {
        // A proof of the line before this one.
        if at < self.since {
            return;
        }
        self.last_bytes = self.last_bytes.max(at);
        match layer {
            Layer::Tcp => {}
            Layer::WebSocket => {
                self.peer_pongs = true;
                self.last_pong = self.last_pong.max(Some(at));
                self.websocket_ping.answer(at);
            }
            Layer::Application => self.on_stanza(at),
            Layer::Content => {
                self.on_stanza(at);
                self.on_content(at);
            }
        }
    }

    fn on_stanza(&mut self, at: Instant) {
        if at <= self.last_stanza {
            return;
        }
        self.last_stanza = at;
        self.excuses = EXCUSES_MAX;
        self.application_ping.answer(at);
        self.doubted = self.doubted.filter(|doubted| *doubted >= at);
        if !self.application_ping.is_open() && self.suspicion.is_none() && self.doubted.is_none() {
            // What proves life postpones what asks for it.
            self.next_application_ping = self.next_application_ping.max(at + self.application_ping_interval());
        }
    }

    fn on_content(&mut self, at: Instant) {
        if self.last_content.is_some_and(|last| at <= last) {
            return;
        }
        self.last_content = Some(at);
        if self.probe.answer(at) {
            self.known = Known {
                probes_answered: true,
                distrust: false,
                ..self.known
            };
            self.vindicate();
        }
        if !self.probe.is_open() && self.suspicion.is_none() && !self.known.distrust {
            self.next_probe = self.next_probe.max(at + self.schedule.application.probe);
        }
    }

    /// Something that wants an answer left: if none comes soon, a ping asks. Never later than it would have.
    pub(super) fn sent(&mut self, now: Instant) {
        if !self.application_ping.is_open() {
            self.next_application_ping = self.next_application_ping.min(now + ASK_AFTER);
        }
    }

    /// Asks now whether the line lives, also while a question is open: its answer may be older than what made the
    /// doubt.
    pub(super) fn check(&mut self, now: Instant) {
        self.doubted = Some(now);
        self.next_application_ping = self.next_application_ping.min(now);
    }

    /// Somebody thinks that the line is dead. `false`: it was asked before, answered, and is suspected again.
    pub(super) fn suspect(&mut self, now: Instant, cause: Cause) -> bool {
        if self.vindicated > 0 {
            return false;
        }
        if self.suspicion.is_none() {
            self.suspicion = Some(cause);
            // The probe is what clears it; a ping beside it says sooner that nothing comes at all.
            self.next_probe = self.next_probe.min(now);
            self.next_application_ping = self.next_application_ping.min(now);
        }
        true
    }

    fn vindicate(&mut self) {
        if self.suspicion.take().is_some() {
            self.vindicated += 1;
        }
    }

    /// This program stood still until now: an answer may wait unread, a question may not have left. Everything that is
    /// unanswered gets its full time again, but not for ever.
    pub(super) fn stood_still(&mut self, now: Instant) {
        if self.excuses == 0 {
            return;
        }
        self.excuses -= 1;
        for question in [
            &mut self.application_ping,
            &mut self.websocket_ping,
            &mut self.probe,
            &mut self.drain,
        ] {
            question.restart(now);
        }
    }

    /// What is due now, one thing at a time; `None` when nothing is.
    pub(super) fn due(&mut self, now: Instant, budget: &mut Budget) -> Option<Action> {
        if let Some(cause) = self.dead(now) {
            return Some(Action::Dead(cause));
        }
        if self.drain.overdue(now, self.schedule.application.offline_drain) {
            self.drain = Asked::default();
            return Some(match self.known.undrained {
                true => Action::GoOnUndrained,
                false => Action::Dead(Cause::NeverDrained),
            });
        }
        if self.application_ping_at().is_some_and(|at| at <= now) {
            let allowed = match self.doubted {
                Some(_) => budget.ping_out_of_turn(now),
                None => budget.ping(now),
            };
            match allowed {
                Ok(()) => {
                    self.application_ping.ask_again(now);
                    self.doubted = None;
                    self.next_application_ping = now + self.application_ping_interval();
                    return Some(Action::Ask(Question::ApplicationPing));
                }
                Err(free) => self.next_application_ping = free,
            }
        }
        if !self.probe.is_open() && self.next_probe <= now {
            match budget.probe(now) {
                Ok(()) => {
                    self.probe = Asked::ask(now);
                    self.next_probe = now + self.schedule.application.probe;
                    return Some(Action::Ask(Question::ContentProbe));
                }
                Err(free) => {
                    self.next_probe = free;
                    // The budget has no question left: this suspicion is dropped, and the next one closes the line
                    // unasked.
                    self.vindicate();
                }
            }
        }
        if !self.websocket_ping.is_open() && self.websocket_ping_at() <= now {
            match budget.other(now) {
                Ok(()) => {
                    self.websocket_sent = Some(now);
                    self.websocket_ping = Asked::ask(now);
                    return Some(Action::Ask(Question::WebSocketPing));
                }
                Err(free) => self.websocket_free = free,
            }
        }
        if self.next_presence <= now {
            match budget.presence(now) {
                Ok(()) => {
                    self.next_presence = now + self.schedule.application.presence;
                    return Some(Action::Ask(Question::Presence));
                }
                Err(free) => self.next_presence = free,
            }
        }
        None
    }

    /// The verdicts. Each needs a question that this layer was asked and did not answer.
    fn dead(&mut self, now: Instant) -> Option<Cause> {
        let application = self.schedule.application;
        if self.application_ping.overdue(now, application.pong) {
            return Some(self.suspicion.take().unwrap_or(Cause::PongTimeout));
        }
        if self.websocket_ping.overdue(now, self.schedule.websocket.pong) {
            if self.peer_pongs {
                return Some(Cause::WebSocketPongTimeout);
            }
            self.websocket_ping = Asked::default();
        }
        if self.probe.overdue(now, application.pong * PROBE_PATIENCE) {
            self.probe = Asked::default();
            if let Some(cause) = self.suspicion.take() {
                return Some(cause);
            }
            if self.known.probes_answered {
                self.known = Known {
                    undrained: self.known.undrained,
                    ..Known::default()
                };
                return Some(Cause::Zombie);
            }
        }
        None
    }

    /// The earliest deadline and why it stands.
    pub(super) fn timeout(&self) -> Deadline {
        let application = &self.schedule.application;
        let unless = |question: &Asked, at: Instant| (!question.is_open()).then_some(at);
        let probe_answer = self.probe.deadline(application.pong * PROBE_PATIENCE);
        let deadlines = [
            (self.application_ping_at(), Reason::ApplicationPing),
            (
                self.application_ping.deadline(application.pong),
                Reason::ApplicationPong,
            ),
            (
                unless(&self.websocket_ping, self.websocket_ping_at()),
                Reason::WebSocketPing,
            ),
            (
                self.websocket_ping.deadline(self.schedule.websocket.pong),
                Reason::WebSocketPong,
            ),
            (unless(&self.probe, self.next_probe), Reason::Probe),
            (probe_answer, Reason::ProbeAnswer),
            (self.drain.deadline(application.offline_drain), Reason::OfflineDrain),
        ];
        let presence = (self.next_presence, Reason::Presence);
        let earliest = deadlines.into_iter().filter_map(|(at, reason)| Some((at?, reason)));
        earliest.fold(presence, |first, next| if next.0 < first.0 { next } else { first })
    }

    /// One question at a time, unless there is a doubt.
    fn application_ping_at(&self) -> Option<Instant> {
        (!self.application_ping.is_open() || self.doubted.is_some()).then_some(self.next_application_ping)
    }

    /// Once early, to learn whether this peer answers; then only after silence, which a healthy line does not have.
    fn websocket_ping_at(&self) -> Instant {
        let at = match self.websocket_sent {
            None => self.since + LEARN_AFTER.min(self.schedule.websocket.ping),
            Some(sent) => sent.max(self.last_bytes) + self.schedule.websocket.ping,
        };
        at.max(self.websocket_free)
    }

    /// Random between the two bounds: a fleet in fixed phase looks like an attack.
    fn application_ping_interval(&mut self) -> Duration {
        let application = &self.schedule.application;
        self.random.between(application.ping_min, application.ping_max)
    }

    pub(super) fn proofs(&self, now: Instant) -> Ages {
        Ages {
            tcp: Some(age_ms(now, self.last_bytes)),
            websocket: self.last_pong.map(|at| age_ms(now, at)),
            application: Some(age_ms(now, self.last_stanza)),
            content: self.last_content.map(|at| age_ms(now, at)),
        }
    }

    pub(super) fn unanswered(&self, now: Instant) -> Ages {
        Ages {
            tcp: None,
            websocket: self.websocket_ping.unanswered_since().map(|at| age_ms(now, at)),
            application: self.application_ping.unanswered_since().map(|at| age_ms(now, at)),
            content: self.probe.unanswered_since().map(|at| age_ms(now, at)),
        }
    }
}

fn age_ms(now: Instant, at: Instant) -> u64 {
    millis(now.saturating_duration_since(at))
}
