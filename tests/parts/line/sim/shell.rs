//! The program's shell, as thin as the real one: it does what the core says, feeds what happens, and has its own
//! quirks.

use std::time::{Duration, Instant};

use tautline::line::{
    Cause, HostEvent, Input, Layer, Output, Progress, Question, Schedule, State, Supervisor, Verdict, Watchdog,
    WatchdogInput, WatchdogOutput,
};

use super::world::{Arrival, End, Event, Flow, Random, World};

/// systemd's `WatchdogSec` in the model.
pub const WATCHDOG_LIMIT: Duration = Duration::from_secs(180);

const LAYERS: [Layer; 4] = [Layer::Tcp, Layer::WebSocket, Layer::Application, Layer::Content];

pub struct Shell {
    pub core: Supervisor,
    pub watchdog: Watchdog,
    /// Proofs are told only when a deadline is due, with the instant at which they came, and again and again.
    tells_late: bool,
    proofs: [Option<u64>; 4],
    /// The library does not always let go of a line at once, or at all.
    lets_go_max_ms: u64,
    never_lets_go: bool,
    /// A content probe has been answered since the last zombie.
    pub probes_answered: bool,
    pub store_was_asked: bool,
}

impl Shell {
    pub fn new(now: Instant, schedule: &Schedule, random: &mut Random) -> Self {
        Self {
            core: Supervisor::new(schedule.clone(), random.next()),
            watchdog: Watchdog::new(now, WATCHDOG_LIMIT, 1),
            tells_late: random.one_in(2),
            proofs: [None; 4],
            lets_go_max_ms: random.scale(1, 5_000),
            never_lets_go: random.one_in(8),
            probes_answered: false,
            store_was_asked: false,
        }
    }

    pub fn next_timer(&self, world: &World) -> Option<u64> {
        let core = self.core.poll_timeout().map(|(at, _)| world.ms(at));
        let watchdog = world.ms(self.watchdog.poll_timeout());
        Some(core.map_or(watchdog, |at| at.min(watchdog)))
    }
}

impl World {
    /// A new process: what was in memory is gone, what was open is closed.
    pub fn start_process(&mut self) {
        self.flow = None;
        self.stalled_until = self.stalled_until.min(self.now);
        self.shell.core = self.new_core();
        self.shell.watchdog = self.new_watchdog();
        self.shell.proofs = [None; 4];
        self.shell.probes_answered = false;
        self.shell.store_was_asked = false;
        self.checks.new_process(self.now);
        if self.now < self.clock_unset_until {
            self.tell(Input::Host(HostEvent::ClockUnset));
        }
        self.tell(Input::Start { paired: true });
    }

    pub fn timers(&mut self) {
        let now = self.at(self.now);
        if self.shell.core.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.tell_proofs();
            self.shell.core.handle_timeout(now);
            self.perform();
            self.checks.after_timeout(&mut self.shell.core, now);
        }
        if self.shell.watchdog.poll_timeout() <= now {
            self.shell.watchdog.handle_timeout(now);
            self.perform_watchdog();
        }
    }

    pub fn hear(&mut self, layer: Layer) {
        if self.shell.tells_late {
            for (below, proof) in LAYERS.iter().zip(&mut self.shell.proofs) {
                let implied = *below == Layer::Tcp || (*below == Layer::Application && layer == Layer::Content);
                if *below == layer || implied {
                    *proof = Some(self.now);
                }
            }
        } else {
            self.tell(Input::Proof(layer));
        }
    }

    /// In any order, and however often they were told before.
    fn tell_proofs(&mut self) {
        self.tell_undecoded();
        if !self.shell.tells_late {
            return;
        }
        let first = self.random.below(4) as usize;
        for index in (first..4).chain(0..first) {
            if let Some(at) = self.shell.proofs[index] {
                let at = self.at(at);
                self.shell.core.handle(at, Input::Proof(LAYERS[index]));
            }
        }
    }

    /// At every deadline, as the session does.
    fn tell_undecoded(&mut self) {
        if let Some(flow) = &self.flow {
            let frames = u64::from(flow.unreadable);
            let now = self.at(self.now);
            self.shell.core.handle(now, Input::Undecoded { frames });
        }
    }

    pub fn tell(&mut self, input: Input) {
        let now = self.at(self.now);
        self.shell.core.handle(now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.shell.core.poll_output() {
            self.checks.output(self.now, &output);
            match output {
                Output::Dial { .. } => self.dial(),
                Output::Close => self.close(),
                Output::FreshClient => {
                    if self.flow.is_some() {
                        self.end_flow(End::LetGo);
                    }
                }
                Output::Ask(Question::ApplicationPing) => self.ask(Arrival::Answer),
                Output::Ask(Question::WebSocketPing) => self.ask(Arrival::Pong),
                Output::Ask(Question::ContentProbe) => self.ask(Arrival::ProbeAnswer),
                Output::Ask(Question::Presence) => self.ask(Arrival::Message),
                Output::LookAtClock => {
                    if self.now >= self.clock_unset_until {
                        self.tell(Input::Host(HostEvent::ClockSet));
                    }
                }
                // No hold outlives a process here.
                Output::CheckHold => self.checks.fail("a hold is checked that nobody has".into()),
                Output::LineEnded { cause, verdict, .. } => self.line_ended(&cause, &verdict),
                Output::AckOverdue { .. } | Output::Undrained | Output::Quarantine(_) => {}
            }
        }
        self.checks.state(&self.shell.core.state());
        if let State::Stopped(_) = self.shell.core.state()
            && !self.person_comes
        {
            self.person_comes = true;
            self.summary.stops += 1;
            let hours = self.random.range(1, 48);
            self.after(hours * 3_600_000, Event::Person);
        }
    }

    fn line_ended(&mut self, cause: &Cause, verdict: &Verdict) {
        if *cause == Cause::Zombie {
            self.shell.probes_answered = false;
        }
        if let Verdict::HoldUntil(time) = verdict {
            self.banned_until = self.now + u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        }
    }

    fn dial(&mut self) {
        self.checks.dial(self.now, self.flow.is_some());
        self.flows += 1;
        let id = self.flows;
        self.flow = Some(Flow {
            id,
            began: self.now,
            logged_in: None,
            dead_since: None,
            zombie_since: None,
            undrained: false,
            pongs: self.random.one_in(2),
            middlebox: self.random.one_in(2),
            last_stanza: self.now,
            last_content: self.now,
            last_traffic: self.now,
            closing: false,
            excused_ms: 0,
            froze: false,
            unreadable: false,
            suspected: 0,
            path_news: false,
        });
        match self.fate() {
            Some((after, end)) => {
                // A server that hangs does so before or after the upgrade.
                if end == End::Eof && id.is_multiple_of(2) {
                    let what = Arrival::Upgraded;
                    self.after(300, Event::Arrives { flow: id, what });
                }
                self.after(after, Event::Over { flow: id, end });
            }
            None => {
                let up = self.random.range(150, 1_200);
                let what = Arrival::Upgraded;
                self.after(up / 2, Event::Arrives { flow: id, what });
                let what = Arrival::LoggedIn;
                self.after(up, Event::Arrives { flow: id, what });
            }
        }
    }

    /// How the attempt fails, if it does; an attempt that hangs is the core's to end.
    fn fate(&mut self) -> Option<(u64, End)> {
        let hang = 10 * 86_400_000;
        let dial = self.board.values.steps_dial_s * 1000;
        let pick = self.random.below(8);
        if self.now < self.link_down_until {
            return Some(match pick {
                0..=2 => (1, End::Unreachable),
                3..=4 => (self.random.range(1, 5_000), End::Unresolved),
                _ => (dial, End::Unreachable),
            });
        }
        if self.now < self.clock_unset_until {
            return Some((300, End::Clock));
        }
        if self.now < self.no_dns_until {
            return Some((self.random.range(1, 5_000), End::Unresolved));
        }
        if self.now < self.banned_until {
            self.ban_s = (self.banned_until - self.now) / 1000 + 1;
            return Some((400, End::Failure(402)));
        }
        if self.now < self.server_sick_until {
            return Some(match pick {
                0 => (200, End::Upgrade(503)),
                1 => (300, End::Failure(503)),
                2 => (300, End::Garbage),
                3 => (200, End::Upgrade(429)),
                4 => (250, End::Tls),
                5 => (300, End::Failure(405)),
                6 => (hang, End::Eof),
                _ => return None,
            });
        }
        None
    }

    fn close(&mut self) {
        let (lets_go, never) = (self.shell.lets_go_max_ms, self.shell.never_lets_go);
        let late = self.random.below(lets_go + 1);
        let Some(flow) = &mut self.flow else { return };
        flow.closing = true;
        let id = flow.id;
        self.checks.closing(self.now);
        if !never || !self.random.one_in(3) {
            self.after(
                late,
                Event::Over {
                    flow: id,
                    end: End::LetGo,
                },
            );
        }
    }

    /// The shell sees the end of the flow and tells.
    pub fn end_flow(&mut self, end: End) {
        self.tell_proofs();
        let Some(flow) = self.flow.take() else { return };
        let cause = end.cause(self.ban_s);
        self.checks.stopped |= end.needs_a_person();
        let now = self.at(self.now);
        self.shell.core.handle(now, Input::Ended { cause });
        // The core's word on it comes first.
        let ended: Vec<Output> = std::iter::from_fn(|| self.shell.core.poll_output()).collect();
        for output in &ended {
            if let Output::LineEnded { cause, record, .. } = output {
                self.checks.line_ended(self.now, &flow, cause, record, self.calm);
            }
        }
        for output in ended {
            self.checks.output(self.now, &output);
            match output {
                Output::Dial { .. } => self.dial(),
                Output::LineEnded { cause, verdict, .. } => self.line_ended(&cause, &verdict),
                Output::Quarantine(_) | Output::FreshClient | Output::AckOverdue { .. } => {}
                other => self.checks.fail(format!("{other:?} at the end of a line")),
            }
        }
        self.perform();
        if end.needs_a_person() && !matches!(self.shell.core.state(), State::Stopped(_)) {
            self.checks
                .fail(format!("a person is needed, and nobody is told: {end:?}"));
        }
    }

    pub fn perform_watchdog(&mut self) {
        while let Some(output) = self.shell.watchdog.poll_output() {
            match output {
                WatchdogOutput::Ask(Progress::Store) => {
                    self.shell.store_was_asked = true;
                    if self.now >= self.store_hangs_until {
                        self.after(5, Event::StoreAnswers);
                    }
                }
                WatchdogOutput::Ask(Progress::Dispatcher) => self.made(Progress::Dispatcher),
                WatchdogOutput::Ask(Progress::Session(_)) => self.after(1, Event::SessionAnswers),
                WatchdogOutput::Feed => {
                    let hangs = self.now < self.store_hangs_until && self.shell.store_was_asked;
                    self.checks.fed(self.now, hangs);
                }
                WatchdogOutput::Withheld(_) => self.checks.withheld(self.now),
            }
        }
    }

    pub fn store_answers(&mut self) {
        if self.now < self.store_hangs_until {
            let late = self.store_hangs_until - self.now;
            return self.after(late, Event::StoreAnswers);
        }
        self.shell.store_was_asked = false;
        self.made(Progress::Store);
    }

    pub fn session_answers(&mut self) {
        self.made(Progress::Session(0));
    }

    fn made(&mut self, who: Progress) {
        let now = self.at(self.now);
        self.shell.watchdog.handle(now, WatchdogInput::Made(who));
        self.perform_watchdog();
    }
}
