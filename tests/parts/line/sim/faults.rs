//! What goes wrong. One fault at a time is drawn, but they last, and so they overlap.

use std::time::Duration;

use tautline::line::{Cause, HostEvent, Input, Reason, State};

use super::world::{End, Event, Trouble, World};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// Steps of the wall clock: fifty years either way.
const FIFTY_YEARS_MS: i64 = 50 * 365 * 86_400_000;

impl World {
    pub fn fault(&mut self) {
        if self.calm {
            return;
        }
        let next = self.random.range(1, 2 * self.fault_every);
        self.after(next, Event::Fault);
        // The program does not run now: nothing can be told to it.
        if self.now < self.stalled_until {
            return self.die();
        }
        match self.random.below(30) {
            0..=4 => self.die(),
            5 => self.ends(End::Reset),
            6 => self.ends(End::Eof),
            7 => self.ends(End::Closed(1011)),
            8 => self.stream_error(),
            9 => self.becomes_zombie(),
            10..=11 => self.link_goes_down(),
            12 => self.stall(500, 25 * SECOND),
            13 => self.stall(31 * SECOND, 5 * MINUTE),
            14 => self.sleep(),
            15 => self.clock_step(),
            16 => self.restart(),
            17 => self.person_needed(),
            18 => self.ban(),
            19 => self.false_suspicion(),
            20 => self.path_news_burst(),
            21..=22 => self.lasting(Trouble::ServerSick),
            23 => self.lasting(Trouble::NoDns),
            24 => self.lasting(Trouble::Slow),
            25..=26 => self.alerts_burst(),
            27 => self.lasting(Trouble::StoreHangs),
            28 => self.unset_clock(),
            _ => self.dies_while_sending(),
        }
    }

    fn ends(&mut self, end: End) {
        if let Some(flow) = self.flow.as_ref().filter(|flow| flow.logged_in.is_some()) {
            let flow = flow.id;
            self.after(0, Event::Over { flow, end });
        }
    }

    fn stream_error(&mut self) {
        let ends = [
            End::Stream(500),
            End::Stream(503),
            End::Stream(515),
            End::Stream(429),
            End::Stream(777),
            End::StreamAck,
            End::Garbage,
        ];
        let end = ends[self.random.below(ends.len() as u64) as usize];
        self.ends(end);
    }

    fn becomes_zombie(&mut self) {
        let (now, known) = (self.now, self.shell.probes_answered);
        let Some(flow) = &mut self.flow else { return };
        if flow.logged_in.is_none() || flow.zombie_since.is_some() || flow.dead_since.is_some() {
            return;
        }
        flow.zombie_since = Some(now);
        let id = flow.id;
        self.summary.zombies += 1;
        if known {
            let due = self.zombie_due_ms();
            self.after(due.saturating_sub(now), Event::MustBeNoticed { flow: id });
        }
    }

    /// (1) Whatever was sent in between, a silent death or a zombie is found in time.
    pub fn must_be_noticed(&mut self, id: u64) {
        let Some(flow) = self.flow.as_ref().filter(|flow| flow.id == id && !flow.closing) else {
            return;
        };
        let due = match (flow.dead_since, flow.zombie_since) {
            (Some(_), _) => self.notice_due_ms(),
            (None, Some(_)) => self.zombie_due_ms(),
            (None, None) => return,
        };
        if self.now < self.stalled_until || self.now < due {
            let wait = self.stalled_until.max(due) - self.now + 1;
            return self.after(wait, Event::MustBeNoticed { flow: id });
        }
        let (dead, zombie) = (flow.dead_since, flow.zombie_since);
        self.checks.fail(format!(
            "not noticed: dead since {dead:?}, zombie since {zombie:?}, due at {due}"
        ));
    }

    fn link_goes_down(&mut self) {
        let lasts = self.random.scale(SECOND, 6 * HOUR);
        self.die();
        self.link_down_until = self.link_down_until.max(self.now + lasts);
        self.after(lasts, Event::Heals(Trouble::LinkDown));
    }

    fn lasting(&mut self, trouble: Trouble) {
        let lasts = self.random.scale(SECOND, 3 * HOUR);
        let until = self.now + lasts;
        match trouble {
            Trouble::LinkDown => self.link_down_until = self.link_down_until.max(until),
            Trouble::NoDns => self.no_dns_until = self.no_dns_until.max(until),
            Trouble::ServerSick => self.server_sick_until = self.server_sick_until.max(until),
            Trouble::Slow => self.slow_until = self.slow_until.max(until),
            Trouble::StoreHangs => {
                self.store_hangs_until = self.store_hangs_until.max(until);
                self.checks.progress_lost(self.store_hangs_until);
            }
        }
        self.after(lasts, Event::Heals(trouble));
    }

    /// (6) The link is back and says so: the session is up at once, whatever the pause was.
    pub fn heals(&mut self, trouble: Trouble) {
        if trouble != Trouble::LinkDown || self.now < self.link_down_until || self.random.one_in(5) {
            return;
        }
        let paused = matches!(self.shell.core.poll_timeout(), Some((_, Reason::Redial)));
        let well = self.no_dns_until.max(self.server_sick_until).max(self.stalled_until) < self.now
            && self.banned_until.max(self.clock_unset_until) < self.now;
        if let Some(flow) = &mut self.flow {
            flow.path_news = true;
        }
        self.tell(Input::Host(HostEvent::PathChanged));
        if paused && well {
            let first = u64::try_from(self.schedule.redial.first.as_millis()).unwrap_or(u64::MAX);
            let due = self.now + first;
            let mut braked = false;
            let next = self.shell.core.poll_timeout().map(|(at, reason)| (self.ms(at), reason));
            match (self.shell.core.state(), next) {
                (State::Connecting { .. }, _) => {}
                (_, Some((_, Reason::StormBrake))) => braked = true,
                (_, Some((at, Reason::Redial))) if at <= due => {}
                other => self
                    .checks
                    .fail(format!("the link is back and the pause goes on: {other:?}")),
            }
            let before = self.flows - u64::from(self.flow.is_some());
            self.link_back = Some((self.now, before)).filter(|_| !braked);
        }
        let left = self.random.below(4) as u32;
        self.after(200, Event::PathNews { left });
    }

    pub fn path_news(&mut self, left: u32) {
        if let Some(flow) = &mut self.flow {
            flow.path_news = true;
        }
        self.tell(Input::Host(HostEvent::PathChanged));
        if left > 0 {
            let next = self.random.scale(1, 5 * SECOND);
            self.after(next, Event::PathNews { left: left - 1 });
        }
    }

    fn path_news_burst(&mut self) {
        let left = self.random.scale(1, 200) as u32;
        self.path_news(left);
    }

    /// The client does not run, the world does.
    fn stall(&mut self, min: u64, max: u64) {
        let lasts = self.random.range(min, max);
        self.stalled_until = self.stalled_until.max(self.now + lasts);
        // What does not run cannot come up in time (seed 600455 of a year).
        self.link_back = None;
        self.checks.progress_lost(self.stalled_until);
        let pong = self.board.values.application_pong_s * SECOND;
        let freeze = lasts >= 29 * SECOND;
        if let Some(flow) = &mut self.flow {
            flow.excused_ms += lasts + 2 * pong;
            flow.froze |= freeze;
        }
    }

    /// The host sleeps: its clock stands, the world's does not.
    fn sleep(&mut self) {
        let slept = self.random.scale(SECOND, 12 * HOUR);
        if self.random.one_in(2) {
            self.die();
        }
        let open = self.flow.as_mut().map(|flow| flow.froze = true).is_some();
        let was_closing = self.flow.as_ref().is_some_and(|flow| flow.closing);
        self.tell(Input::Host(HostEvent::Resumed {
            slept: Duration::from_millis(slept),
        }));
        // Dropped at once, without asking.
        if open
            && !was_closing
            && self
                .flow
                .as_ref()
                .is_some_and(|flow| !flow.closing && flow.began < self.now)
        {
            self.checks.fail("a line outlived the host's sleep".into());
        }
    }

    /// (7) A jump of the wall clock moves no deadline of a line; it may only cut a pause short.
    fn clock_step(&mut self) {
        let span = FIFTY_YEARS_MS as u64;
        let by_ms = self.random.range(0, 2 * span) as i64 - FIFTY_YEARS_MS;
        let before = self.shell.core.poll_timeout();
        let open = self.flow.is_some();
        self.tell(Input::Host(HostEvent::ClockStepped { by_ms }));
        let after = self.shell.core.poll_timeout();
        if open && before != after {
            self.checks
                .fail(format!("a step of the wall clock moved {before:?} to {after:?}"));
        }
    }

    fn restart(&mut self) {
        self.start_process();
    }

    fn person_needed(&mut self) {
        let ends = [End::Stream(440), End::Stream(401), End::Stream(516), End::Failure(403)];
        let end = ends[self.random.below(ends.len() as u64) as usize];
        self.ends(end);
    }

    /// Someone has looked at it: links again, or restarts the program.
    pub fn person(&mut self) {
        self.person_comes = false;
        self.checks.stopped = false;
        if matches!(self.shell.core.state(), State::Stopped(_)) {
            self.start_process();
        }
    }

    fn ban(&mut self) {
        self.ban_s = self.random.scale(10, 7200);
        self.ends(End::Failure(402));
    }

    /// Alerts stay unacked for a reason that is not the line's. Asked once, a live line is not killed for it.
    fn false_suspicion(&mut self) {
        if let Some(flow) = &mut self.flow {
            flow.suspected += 1;
            self.tell(Input::Suspect(Cause::AckTimeout));
        }
    }

    fn alerts_burst(&mut self) {
        let left = self.random.scale(1, 300) as u32;
        self.alerts(left);
    }

    /// Sends without a pause: our own traffic is no proof of life.
    fn dies_while_sending(&mut self) {
        self.die();
        self.after(0, Event::Alerts { left: 120 });
    }

    pub fn alerts(&mut self, left: u32) {
        if self.flow.as_ref().is_some_and(|flow| flow.logged_in.is_some()) {
            self.tell(Input::Sent);
        }
        if left > 0 {
            let next = self.random.range(50, 2 * SECOND);
            self.after(next, Event::Alerts { left: left - 1 });
        }
    }

    /// A board without a clock of its own boots in the past.
    fn unset_clock(&mut self) {
        let lasts = self.random.scale(SECOND, HOUR);
        self.clock_unset_until = self.now + lasts;
        self.start_process();
        if self.random.one_in(2) {
            self.after(lasts, Event::ClockComes);
        }
    }

    pub fn clock_comes(&mut self) {
        if self.now >= self.clock_unset_until {
            self.tell(Input::Host(HostEvent::ClockStepped { by_ms: FIFTY_YEARS_MS }));
            self.tell(Input::Host(HostEvent::ClockSet));
        }
    }

    /// All that is wrong with the surroundings ends; nobody tells the program.
    pub fn calm_down(&mut self) {
        self.calm = true;
        for until in [
            &mut self.link_down_until,
            &mut self.no_dns_until,
            &mut self.server_sick_until,
            &mut self.store_hangs_until,
            &mut self.slow_until,
            &mut self.clock_unset_until,
        ] {
            *until = (*until).min(self.now);
        }
        self.stalled_until = self.stalled_until.min(self.now);
        if matches!(self.shell.core.state(), State::Stopped(_)) {
            self.person();
        }
    }

    /// (6) A hung attempt, letting go of it, the longest pause, the brake's spacing, the look at the clock, a ban.
    pub fn recovery_bound_ms(&self) -> u64 {
        let v = &self.board.values;
        let steps = v.steps_resolve_s + v.steps_dial_s + v.steps_proxy_s + v.steps_tls_s + v.steps_upgrade_s;
        let hung = steps + v.steps_login_s + 2 * v.steps_write_s;
        let pause = 2 * v.redial_max_s;
        let spacing = 3600 / (v.redial_per_hour - (v.redial_per_hour / 5).max(1)).max(1) + 1;
        // A dead line, or a zombie that is one since its login, must be noticed first.
        let noticing = v.application_probe_s + 2 * v.application_pong_s + v.application_offline_drain_s + 3600;
        let ban = self.banned_until.saturating_sub(self.now);
        (hung + pause + spacing + 30 + noticing) * SECOND + ban
    }
}
