//! The world: virtual time, one flow at a time, a server behind it, and the queue of what is going to happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use tautline::board::Board;
use tautline::line::{Cause, Input, Layer, Schedule, State, Supervisor, Watchdog};

use super::Summary;
use super::checks::Checks;
use super::shell::Shell;

/// The generator splitmix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
    /// From `min` to below `max`.
    pub fn range(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max.saturating_sub(min))
    }
    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
    /// Small values are as likely as large ones: what breaks things sits at both ends.
    pub fn scale(&mut self, min: u64, max: u64) -> u64 {
        let octaves = 64 - (max / min.max(1)).leading_zeros() as u64;
        let low = min << self.below(octaves);
        self.range(low, (2 * low).min(max).max(low + 1)).min(max)
    }
}

/// What is going to happen. Those that name a flow are void once it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Something reaches the client.
    Arrives {
        flow: u64,
        what: Arrival,
    },
    /// The flow is over, as the shell sees it.
    Over {
        flow: u64,
        end: End,
    },
    /// A silent death or a zombie must have been noticed.
    MustBeNoticed {
        flow: u64,
    },
    Chatter,
    Fault,
    /// A fault of the surroundings has passed.
    Heals(Trouble),
    Alerts {
        left: u32,
    },
    PathNews {
        left: u32,
    },
    StoreAnswers,
    SessionAnswers,
    Person,
    ClockComes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrival {
    Upgraded,
    LoggedIn,
    Drained,
    Pong,
    Answer,
    ProbeAnswer,
    Message,
}

/// How a flow ends, small enough to copy; see [`End::cause`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Eof,
    Reset,
    Closed(u16),
    Stream(u16),
    StreamAck,
    Garbage,
    Failure(u16),
    Unresolved,
    Unreachable,
    Tls,
    Clock,
    Upgrade(u16),
    WriteDeadline,
    LetGo,
}

impl End {
    /// The server's word that repeating cannot cure.
    pub fn needs_a_person(self) -> bool {
        matches!(self, Self::Stream(440 | 401 | 516) | Self::Failure(403))
    }

    pub fn cause(self, ban_s: u64) -> Cause {
        match self {
            Self::Eof => Cause::Recycled,
            Self::Reset => Cause::PathBroken,
            Self::Closed(code) => Cause::Closed(code),
            Self::Stream(440) => Cause::from_stream_error(None, Some("conflict"), Some("replaced")),
            Self::Stream(code) => Cause::from_stream_error(Some(code), None, None),
            Self::StreamAck => Cause::from_stream_error(None, Some("ack"), None),
            Self::Garbage => Cause::OutOfStep,
            Self::Failure(code) => Cause::from_failure(code, Some(ban_s)),
            Self::Unresolved => Cause::Unresolved,
            Self::Unreachable => Cause::Unreachable,
            Self::Tls => Cause::TlsFailed,
            Self::Clock => Cause::ClockSuspect,
            Self::Upgrade(429) => Cause::RateLimited,
            Self::Upgrade(code) => Cause::ServerTrouble(code),
            Self::WriteDeadline => Cause::WriteTimeout,
            Self::LetGo => Cause::Requested,
        }
    }
}

/// A fault of the surroundings that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    LinkDown,
    NoDns,
    ServerSick,
    StoreHangs,
    Slow,
}

/// One attempt and the line that it becomes.
#[derive(Debug, Clone)]
pub struct Flow {
    pub id: u64,
    pub began: u64,
    pub logged_in: Option<u64>,
    /// Nothing passes any more, and nobody says so.
    pub dead_since: Option<u64>,
    /// Pings are answered, nothing else is.
    pub zombie_since: Option<u64>,
    pub undrained: bool,
    /// Whether this edge answers WebSocket pings.
    pub pongs: bool,
    /// A middlebox acks for a dead peer, so that the kernel sees nothing.
    pub middlebox: bool,
    pub last_stanza: u64,
    pub last_content: u64,
    pub last_traffic: u64,
    /// We have asked for its end.
    pub closing: bool,
    /// Time by which a standstill of the client excuses a late verdict.
    pub excused_ms: u64,
    /// The host slept or this program was frozen.
    pub froze: bool,
    /// It is dead because the client reads nothing any more: frames come and are no stanzas.
    pub unreadable: bool,
    pub suspected: u32,
    pub path_news: bool,
}

/// Everything outside of the program, and the program's shell.
pub struct World {
    pub seed: u64,
    pub random: Random,
    pub board: &'static Board,
    pub schedule: Schedule,
    base: Instant,
    pub now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    pub shell: Shell,
    pub flow: Option<Flow>,
    pub flows: u64,
    pub checks: Checks,
    pub summary: Summary,
    /// Until when each lasts; zero when it does not.
    pub link_down_until: u64,
    pub no_dns_until: u64,
    pub server_sick_until: u64,
    pub store_hangs_until: u64,
    pub slow_until: u64,
    pub clock_unset_until: u64,
    /// The client does not run until then.
    pub stalled_until: u64,
    pub fault_every: u64,
    pub chatter_every: Option<u64>,
    pub calm: bool,
    pub ban_s: u64,
    pub banned_until: u64,
    pub person_comes: bool,
    /// When the link came back to a program that could come up at once, and how many flows there had been.
    pub link_back: Option<(u64, u64)>,
}

impl World {
    pub fn new(seed: u64, board: &'static Board) -> Self {
        let mut random = Random(seed ^ 0x7A07_11E5);
        let schedule = board.schedule();
        let base = Instant::now();
        let shell = Shell::new(base, &schedule, &mut random);
        Self {
            fault_every: random.scale(120_000, 12 * 3_600_000),
            // A third of the chats is quiet for ever.
            chatter_every: (!random.one_in(3)).then(|| random.scale(5_000, 24 * 3_600_000)),
            seed,
            board,
            checks: Checks::new(&schedule),
            schedule,
            base,
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            shell,
            flow: None,
            flows: 0,
            summary: Summary::default(),
            link_down_until: 0,
            no_dns_until: 0,
            server_sick_until: 0,
            store_hangs_until: 0,
            slow_until: 0,
            clock_unset_until: 0,
            stalled_until: 0,
            calm: false,
            ban_s: 0,
            banned_until: 0,
            person_comes: false,
            link_back: None,
            random,
        }
    }

    pub fn at(&self, ms: u64) -> Instant {
        self.base + Duration::from_millis(ms)
    }

    /// In milliseconds, rounded up: a timer is never early.
    pub fn ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base);
        u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    pub fn after(&mut self, ms: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((self.now + ms, self.order, event)));
    }

    /// Runs `days` of faults and a calm phase.
    pub fn run(mut self, days: u64) -> Result<Summary, String> {
        let first = self.random.below(self.fault_every);
        self.after(first, Event::Fault);
        if let Some(every) = self.chatter_every {
            self.after(every, Event::Chatter);
        }
        self.start_process();
        self.run_until(days * 86_400_000)?;
        self.calm_down();
        let bound = self.recovery_bound_ms();
        self.run_until(self.now + bound)?;
        if self.shell.core.state() != State::Online {
            let state = format!(
                "not up {bound} ms after all faults had ended: {:?}",
                self.shell.core.state()
            );
            self.checks.fail(state);
        }
        self.checks.calm_ends = 0;
        self.run_until(self.now + 3_600_000)?;
        if self.shell.core.state() != State::Online || self.checks.calm_ends > 0 {
            self.checks.fail("a calm hour cost a line".into());
        }
        self.summary.days = days;
        self.checks.add_to(&mut self.summary);
        match self.checks.violation.take() {
            Some(what) => Err(self.place(&what)),
            None => Ok(self.summary),
        }
    }

    fn place(&self, what: &str) -> String {
        format!(
            "seed {} on {} after {} ms: {what}",
            self.seed, self.board.name, self.now
        )
    }

    fn run_until(&mut self, end: u64) -> Result<(), String> {
        loop {
            let event = self.queue.peek().map(|Reverse((at, ..))| *at);
            let timer = self.shell.next_timer(self).map(|at| at.max(self.stalled_until));
            let Some(next) = [event, timer].into_iter().flatten().min().filter(|at| *at <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(next);
            self.summary.events += 1;
            // The deadline is looked at first, as in the shell; that is the harder order.
            if timer.is_some_and(|at| at <= self.now) {
                self.timers();
            } else if let Some(Reverse((_, _, event))) = self.queue.pop() {
                self.happen(event);
            }
            if let Some(what) = self.checks.violation.take() {
                return Err(self.place(&what));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        // What reaches the client waits while it stands still; the world and the disk go on.
        let for_client = !matches!(event, Event::MustBeNoticed { .. } | Event::Fault | Event::StoreAnswers);
        if for_client && self.now < self.stalled_until {
            let reading = self.random.range(1, 50);
            self.after(self.stalled_until - self.now + reading, event);
            return;
        }
        match event {
            Event::Arrives { flow, what } => self.arrives(flow, what),
            Event::Over { flow, end } => self.over(flow, end),
            Event::MustBeNoticed { flow } => self.must_be_noticed(flow),
            Event::Chatter => self.chatter(),
            Event::Fault => self.fault(),
            Event::Heals(trouble) => self.heals(trouble),
            Event::Alerts { left } => self.alerts(left),
            Event::PathNews { left } => self.path_news(left),
            Event::StoreAnswers => self.store_answers(),
            Event::SessionAnswers => self.session_answers(),
            Event::Person => self.person(),
            Event::ClockComes => self.clock_comes(),
        }
    }

    /// Answers take this long; a line is live as long as they come within its deadlines, a short standstill included.
    pub fn round_trip(&mut self) -> u64 {
        let pong = self.schedule.websocket.pong.min(self.schedule.application.pong);
        let limit = u64::try_from(pong.as_millis()).unwrap_or(u64::MAX) - 1_300;
        if self.now < self.slow_until {
            self.random.range(limit / 2, limit)
        } else {
            self.random.range(20, 400).min(limit)
        }
    }

    pub fn current(&mut self, id: u64) -> Option<&mut Flow> {
        self.flow.as_mut().filter(|flow| flow.id == id)
    }

    /// From the client to the server and back, if anything passes.
    pub fn ask(&mut self, what: Arrival) {
        let now = self.now;
        let nat = self.board.values.path_nat_s * 1000;
        let stalled = self.stalled_until;
        let Some(flow) = &mut self.flow else { return };
        let idle = now - flow.last_traffic;
        if idle > nat && flow.dead_since.is_none() && flow.logged_in.is_some() {
            flow.dead_since = Some(now);
            if !flow.froze && stalled + nat < now && !flow.closing {
                self.checks
                    .fail(format!("the NAT forgot a flow that was idle for {idle} ms"));
            }
        }
        flow.last_traffic = now;
        let answered = match what {
            Arrival::Pong => flow.pongs,
            Arrival::Answer => true,
            Arrival::ProbeAnswer => flow.zombie_since.is_none(),
            Arrival::Upgraded | Arrival::LoggedIn | Arrival::Drained | Arrival::Message => false,
        };
        if answered && flow.dead_since.is_none() {
            let (flow, delay) = (flow.id, self.round_trip());
            self.after(delay, Event::Arrives { flow, what });
        }
    }

    fn arrives(&mut self, id: u64, what: Arrival) {
        let now = self.now;
        let Some(flow) = self.current(id).filter(|flow| flow.dead_since.is_none()) else {
            return;
        };
        flow.last_traffic = now;
        let layer = match what {
            Arrival::Upgraded => return self.upgraded(),
            Arrival::LoggedIn => return self.logged_in(id),
            Arrival::Pong => Layer::WebSocket,
            Arrival::Answer => Layer::Application,
            Arrival::Drained | Arrival::ProbeAnswer | Arrival::Message => Layer::Content,
        };
        if layer != Layer::WebSocket {
            flow.last_stanza = now;
        }
        if layer == Layer::Content {
            flow.last_content = now;
        }
        match what {
            Arrival::Drained => self.tell(Input::Drained),
            _ => self.hear(layer),
        }
        let listens = self.flow.as_ref().is_some_and(|flow| !flow.closing);
        self.shell.probes_answered |= what == Arrival::ProbeAnswer && listens;
    }

    fn logged_in(&mut self, id: u64) {
        let now = self.now;
        let (sick, fresh_zombie) = (self.now < self.server_sick_until, self.random.one_in(4));
        let drains = self.random.scale(50, 20_000);
        let Some(flow) = self.current(id) else { return };
        if flow.closing {
            // Too late: the attempt has been given up, and must not come to life again.
            return self.tell(Input::LoggedIn);
        }
        flow.logged_in = Some(now);
        flow.last_stanza = now;
        flow.last_content = now;
        let excused = flow.excused_ms > 0 || flow.froze;
        flow.undrained = sick && fresh_zombie;
        if flow.undrained {
            flow.zombie_since = Some(now);
        } else {
            self.after(
                drains,
                Event::Arrives {
                    flow: id,
                    what: Arrival::Drained,
                },
            );
        }
        if let Some((back, flows)) = self.link_back.take()
            && self.flows <= flows + 1
            && !excused
        {
            self.checks.recovered(now - back);
        }
        self.tell(Input::LoggedIn);
    }

    fn over(&mut self, id: u64, end: End) {
        let now = self.now;
        // An end that passes over a dead path is seen only when it is our own kernel's word.
        let Some(flow) = self.current(id) else { return };
        let ours = flow.closing || matches!(end, End::Reset | End::WriteDeadline | End::LetGo);
        if flow.dead_since.is_some_and(|since| since < now) && flow.logged_in.is_some() && !ours {
            return;
        }
        // Some words leave the line standing: the client is told of them and has to break it.
        let stands = matches!(end, End::Stream(500 | 503 | 429 | 777) | End::StreamAck);
        if stands && id.is_multiple_of(2) && !flow.closing {
            let cause = end.cause(self.ban_s);
            return self.tell(Input::ServerSaid(cause));
        }
        self.end_flow(end);
    }

    fn upgraded(&mut self) {
        self.tell(Input::Upgraded);
    }

    fn chatter(&mut self) {
        if let Some(every) = self.chatter_every {
            let next = self.random.range(every / 2, every + every / 2);
            self.after(next, Event::Chatter);
        }
        let Some(flow) = &self.flow else { return };
        if flow.logged_in.is_some() && flow.zombie_since.is_none() {
            self.arrives(flow.id, Arrival::Message);
        }
    }

    /// A flow dies in silence, now. The kernel may notice by unacked bytes, but must not be needed.
    pub fn die(&mut self) {
        let (now, blocked) = (self.now, self.random.one_in(4));
        let user_timeout = self.board.values.tcp_user_timeout_s * 1000;
        let write = self.board.values.steps_write_s * 1000;
        let Some(flow) = &mut self.flow else { return };
        if flow.logged_in.is_none() || flow.dead_since.is_some() {
            return;
        }
        flow.dead_since = Some(now);
        flow.unreadable = flow.id.is_multiple_of(5);
        let (id, kernel_helps) = (flow.id, !flow.middlebox);
        let due = self.notice_due_ms();
        self.summary.deaths += 1;
        self.after(due.saturating_sub(now), Event::MustBeNoticed { flow: id });
        let ping = self.board.values.application_ping_max_s * 1000;
        if kernel_helps {
            let when = self.random.range(user_timeout, user_timeout + ping + 1);
            self.after(
                when,
                Event::Over {
                    flow: id,
                    end: End::Reset,
                },
            );
        } else if blocked {
            self.after(
                write + ping,
                Event::Over {
                    flow: id,
                    end: End::WriteDeadline,
                },
            );
        }
    }

    /// The board's promise, counted from the last stanza: that is when the client knew last that the session lives.
    pub fn notice_due_ms(&self) -> u64 {
        let worst = u64::try_from(self.board.detection_worst().as_millis()).unwrap_or(u64::MAX);
        self.flow
            .as_ref()
            .map_or(u64::MAX, |flow| flow.last_stanza + worst + flow.excused_ms + 2)
    }

    pub fn zombie_due_ms(&self) -> u64 {
        let application = &self.schedule.application;
        let worst = application.probe + application.pong * tautline::line::PROBE_PATIENCE;
        let worst = u64::try_from(worst.as_millis()).unwrap_or(u64::MAX);
        self.flow
            .as_ref()
            .map_or(u64::MAX, |flow| flow.last_content + worst + flow.excused_ms + 2)
    }

    pub fn new_watchdog(&self) -> Watchdog {
        Watchdog::new(self.at(self.now), super::shell::WATCHDOG_LIMIT, 1)
    }

    pub fn new_core(&mut self) -> Supervisor {
        Supervisor::new(self.schedule.clone(), self.random.next())
    }
}
