//! The course of one hook through the journal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The pause after the first failure; it doubles. A program that is being restarted is back by then.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// A program that is down for a night is asked this often.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// What an answer may ask for: a hook is no place to be silenced for a day by a slip.
const PAUSE_ASKED_MAX: Duration = Duration::from_secs(3600);

/// Refusals of one event after which the next one's turn comes: what cannot be read once cannot be read later, and it
/// must not hold up the rest for ever.
const REFUSALS_MAX: u32 = 3;

/// Entries that are passed over before their place is put on disk: far fewer than the journal keeps, so that what was
/// passed over is not taken for lost after a restart.
const PASSED_OVER_MAX: u64 = 256;
/// And how long a place may be old when more is passed over. The journal keeps entries for a month.
const PLACE_AGE_MAX: Duration = Duration::from_secs(3600);

/// What is told in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// The entry of this number.
    Event(u64),
    /// These entries are gone, the first and the last among them.
    Gap { from: u64, to: u64 },
}

/// What has come of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Taken,
    /// It was refused for what it is, and would be again.
    Refused,
    /// The hook wants nothing any more.
    Gone,
    /// Everything else; `pause` is how long the hook wants to be left alone, where it says so.
    Failed { pause: Option<Duration> },
}

/// What a hook is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// What the journal has behind the place that was asked for: numbers in order, and whether each is wanted. Empty
    /// where there is nothing more.
    Read(Vec<(u64, bool)>),
    /// The journal has more.
    More,
    /// What has come of the request.
    Answered(Outcome),
    /// The entry that is to be told is gone from the journal.
    Missing,
}

/// What a hook wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Look what the journal has behind this number, and say so by [`Input::Read`].
    Read { after: u64 },
    /// Make this request, and say what came of it by [`Input::Answered`].
    Post(Post),
    /// Put on disk that everything up to this number is done with. What is lost of it in a crash is told again.
    Keep { done: u64 },
    /// This was refused until it was given up.
    GivenUp(Post),
}

/// Why a hook waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The last request came to nothing, and is made again.
    Again,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The journal is being read.
    Reading,
    /// There was nothing more.
    UpToDate,
    /// The request is under way.
    Asked(Post),
    /// It came to nothing, and is made again.
    Paused(Post, Instant),
    /// The hook wants nothing any more.
    Over,
}

/// One hook. It starts where its place on disk is.
#[derive(Debug)]
pub struct Hook {
    /// Everything up to it is done with.
    done: u64,
    kept: u64,
    kept_at: Instant,
    phase: Phase,
    /// What was read and is not done with.
    ahead: VecDeque<(u64, bool)>,
    /// While it is read: there was more meanwhile.
    more: bool,
    pause: Duration,
    refusals: u32,
    failing_since: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Hook {
    /// A hook that is done with everything up to `done`.
    pub fn new(now: Instant, done: u64) -> Self {
        let outputs = VecDeque::from([Output::Read { after: done }]);
        Self {
            done,
            kept: done,
            kept_at: now,
            phase: Phase::Reading,
            ahead: VecDeque::new(),
            more: false,
            pause: PAUSE_FIRST,
            refusals: 0,
            failing_since: None,
            outputs,
        }
    }

    /// Takes in what has happened. What does not fit where the hook is changes nothing.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match (input, self.phase) {
            (Input::Read(found), Phase::Reading) => {
                let is_end = found.is_empty();
                self.ahead = found.into();
                match is_end && !self.more {
                    true => self.phase = Phase::UpToDate,
                    false => self.go_on(now),
                }
            }
            (Input::More, Phase::UpToDate) => self.read(),
            (Input::More, Phase::Reading) => self.more = true,
            (Input::Answered(outcome), Phase::Asked(post)) => self.answered(now, post, outcome),
            (Input::Missing, Phase::Asked(Post::Event(_))) => {
                self.ahead.clear();
                self.read();
            }
            (Input::Read(_) | Input::More | Input::Answered(_) | Input::Missing, _) => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Phase::Paused(post, until) = self.phase
            && until <= now
        {
            self.ask(post);
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        match self.phase {
            Phase::Paused(_, until) => Some((until, Reason::Again)),
            Phase::Reading | Phase::UpToDate | Phase::Asked(_) | Phase::Over => None,
        }
    }

    /// Everything up to this number is done with.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Since when nothing is taken: what is given up was not. `None` while all is well.
    pub fn failing_since(&self) -> Option<Instant> {
        self.failing_since
    }

    /// Whether it wants nothing any more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    fn answered(&mut self, now: Instant, post: Post, outcome: Outcome) {
        match outcome {
            Outcome::Taken => {
                self.failing_since = None;
                self.done_with(now, post);
            }
            Outcome::Gone => {
                self.failing_since.get_or_insert(now);
                self.phase = Phase::Over;
            }
            Outcome::Refused if self.refusals + 1 >= REFUSALS_MAX => {
                self.outputs.push_back(Output::GivenUp(post));
                self.done_with(now, post);
            }
            Outcome::Refused => {
                self.refusals += 1;
                self.wait(now, post, None);
            }
            Outcome::Failed { pause } => self.wait(now, post, pause),
        }
    }

    fn done_with(&mut self, now: Instant, post: Post) {
        self.done = match post {
            Post::Event(number) => number,
            Post::Gap { to, .. } => to,
        };
        (self.pause, self.refusals) = (PAUSE_FIRST, 0);
        self.keep(now);
        self.go_on(now);
    }

    fn wait(&mut self, now: Instant, post: Post, asked: Option<Duration>) {
        self.failing_since.get_or_insert(now);
        let pause = asked.map_or(self.pause, |asked| asked.clamp(self.pause, PAUSE_ASKED_MAX));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.phase = Phase::Paused(post, now + pause);
    }

    /// The next that is wanted of what was read; at its end the journal is read on.
    fn go_on(&mut self, now: Instant) {
        while let Some((number, wanted)) = self.ahead.pop_front() {
            if number > self.done + 1 {
                self.ahead.push_front((number, wanted));
                return self.ask(Post::Gap {
                    from: self.done + 1,
                    to: number - 1,
                });
            }
            if wanted {
                return self.ask(Post::Event(number));
            }
            self.done = self.done.max(number);
        }
        let age = now.saturating_duration_since(self.kept_at);
        if self.done - self.kept >= PASSED_OVER_MAX || (self.done > self.kept && age >= PLACE_AGE_MAX) {
            self.keep(now);
        }
        self.read();
    }

    fn keep(&mut self, now: Instant) {
        (self.kept, self.kept_at) = (self.done, now);
        self.outputs.push_back(Output::Keep { done: self.done });
    }

    fn ask(&mut self, post: Post) {
        self.phase = Phase::Asked(post);
        self.outputs.push_back(Output::Post(post));
    }

    fn read(&mut self) {
        (self.phase, self.more) = (Phase::Reading, false);
        self.outputs.push_back(Output::Read { after: self.done });
    }
}

#[cfg(test)]
mod tests;
