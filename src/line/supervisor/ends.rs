//! The end of a line: its cause, its record and what follows.

use std::time::Instant;

use super::Supervisor;
use crate::line::phase::{Line, Online, Pause, Phase};
use crate::line::record::EndRecord;
use crate::line::{Cause, Origin, Output, Stop, Verdict};
use crate::util::millis;

impl Supervisor {
    /// The line is over: why, what is recorded of it, and what follows.
    pub(super) fn ended(&mut self, now: Instant, seen: Cause) {
        // What follows an end sets the phase anew.
        let mut line = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Line(line) => line,
            other @ (Phase::Idle | Phase::Waiting(_) | Phase::Stopped(_)) => {
                self.phase = other;
                return;
            }
        };
        let held = |online: &Online| now >= online.since + self.schedule.redial.useful && online.liveness.has_content();
        let useful = line.online().is_some_and(held);
        let ours = line.closing.take().map(|closing| closing.cause);
        let cause = self.cause_of(ours, seen, line.pairing());
        let verdict = self.tempered(&cause, useful);
        let record = self.record(now, &line, &cause, &verdict);
        self.let_line_go(&line, &cause);
        self.outputs.push_back(Output::LineEnded {
            cause: cause.clone(),
            verdict: verdict.clone(),
            record: Box::new(record),
        });
        if self.shutdown {
            return self.stop(Stop::Requested);
        }
        self.follow(now, cause, verdict);
    }

    /// Forgets the line, but not what it taught.
    fn let_line_go(&mut self, line: &Line, cause: &Cause) {
        if let Some(online) = line.online() {
            self.known = online.liveness.known();
        }
        self.known.distrust |= matches!(cause, Cause::ServerTrouble(500) | Cause::NeverDrained);
        self.known.undrained |= *cause == Cause::NeverDrained;
        self.misfires = if cause.may_be_ours() { self.misfires + 1 } else { 0 };
        self.called_off = *cause == Cause::PathChanged;
        self.last_cause = Some(cause.clone());
    }

    fn follow(&mut self, now: Instant, cause: Cause, verdict: Verdict) {
        match verdict {
            Verdict::RedialNow => {
                self.just_paired = false;
                self.dial(now, !self.paired);
            }
            Verdict::BackOff => {
                let pause = self.backoff.next_pause();
                self.wait(now, pause, cause, Pause::Redial);
            }
            Verdict::BackOffLong => {
                let pause = self.backoff.long_pause();
                self.wait(now, pause, cause, Pause::Hold);
            }
            Verdict::HoldUntil(time) => self.wait(now, time, cause, Pause::Hold),
            Verdict::AwaitClock => {
                let pause = self.backoff.free_pause();
                self.wait(now, pause, cause, Pause::Clock);
            }
            Verdict::Stop(stop) => {
                if stop.credentials_dead() && self.paired {
                    self.paired = false;
                    self.outputs.push_back(Output::Quarantine(stop));
                }
                self.stop(stop);
            }
        }
    }

    /// What we decided wins over what the wire shows of it, unless the wire shows that a person is needed; an unused
    /// pairing line is no fault of the path.
    fn cause_of(&self, ours: Option<Cause>, seen: Cause, pairing: bool) -> Cause {
        let final_word = matches!(seen.verdict(), Verdict::Stop(_) | Verdict::HoldUntil(_));
        match ours {
            Some(_) if final_word && seen != Cause::Requested => seen,
            Some(Cause::LoginTimeout) if pairing => Cause::PairingEnded,
            Some(ours) => ours,
            None if pairing && self.just_paired => Cause::RestartRequired,
            None => seen,
        }
    }

    /// "At once" is for a line that was useful, or for one whose end says nothing against the next; otherwise a server
    /// that recycles every line at login would be stormed.
    fn tempered(&self, cause: &Cause, useful: bool) -> Verdict {
        match (cause, cause.verdict()) {
            (Cause::Suspended | Cause::PathChanged, verdict) => verdict,
            (Cause::RestartRequired, verdict) if self.last_cause != Some(Cause::RestartRequired) => verdict,
            (_, Verdict::RedialNow) if !useful && !self.just_paired => Verdict::BackOff,
            (_, verdict) => verdict,
        }
    }

    fn record(&mut self, now: Instant, line: &Line, cause: &Cause, verdict: &Verdict) -> EndRecord {
        let online = line.online();
        let held = now.saturating_duration_since(online.map_or(line.began, |online| online.since));
        self.flapping = match cause.origin() {
            // What a person or the host's sleep does has no cadence of its own.
            _ if matches!(cause, Cause::Requested | Cause::Suspended | Cause::PathChanged) => None,
            _ if online.is_none() => self.flapping,
            Origin::Server | Origin::Path | Origin::Us => self.cadence.note(held),
        };
        let around = &line.around;
        let (owed, oldest) = line.acks.debts();
        let mut record = EndRecord {
            at_ms: 0,
            line: self.lines,
            cause: cause.code().to_owned(),
            words: cause.to_string(),
            origin: cause.origin(),
            verdict: verdict.to_string(),
            detail: String::new(),
            logged_in: online.is_some(),
            held_ms: millis(held),
            proofs: online.map(|online| online.liveness.proofs(now)).unwrap_or_default(),
            unanswered: online.map(|online| online.liveness.unanswered(now)).unwrap_or_default(),
            lag_max_ms: around.lag_max_ms,
            stalls: around.stalls,
            slept_ms: around.slept_ms,
            clock_steps: around.clock_steps,
            clock_stepped_ms: around.clock_stepped_ms,
            acks_owed: u32::try_from(owed).unwrap_or(u32::MAX),
            ack_owed_oldest_ms: oldest.map(|at| millis(now.saturating_duration_since(at))),
            bytes_in: 0,
            bytes_out: 0,
            failures: self.backoff.failures(),
            flapping: self.flapping,
            guess: String::new(),
        };
        record.guess = record.guess();
        record
    }
}
