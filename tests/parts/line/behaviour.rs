//! One behaviour of the core a test, in virtual time. What the simulator found has its name here.

mod deadlines;

use std::time::{Duration, Instant};

use tautline::board::Board;
use tautline::line::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A supervisor and the instant that its world has come to.
struct Bench {
    core: Supervisor,
    now: Instant,
    schedule: Schedule,
}

impl Bench {
    fn new() -> Self {
        let schedule = Board::generic().schedule();
        Self {
            core: Supervisor::new(schedule.clone(), 7),
            now: Instant::now(),
            schedule,
        }
    }

    /// Started, paired and logged in, with the first questions asked and answered.
    fn online() -> Self {
        let mut bench = Self::new();
        bench.tell(Input::Start { paired: true });
        bench.log_in();
        bench
    }

    fn log_in(&mut self) {
        assert_eq!(self.core.state(), State::Connecting { pairing: false });
        self.tell(Input::LoggedIn);
        self.core.handle_timeout(self.now);
        self.outputs();
        self.tell_in(SECOND, Input::Drained);
    }

    /// The pause before the next attempt passes, if there is one, and the end of the offline queue does not come.
    fn log_in_undrained(&mut self) {
        while matches!(self.core.state(), State::Waiting { .. }) {
            self.step();
        }
        self.tell(Input::LoggedIn);
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.core.handle(self.now, input);
        self.outputs()
    }

    fn tell_in(&mut self, after: Duration, input: Input) -> Vec<Output> {
        self.now += after;
        self.tell(input)
    }

    fn end(&mut self, cause: Cause) -> (Cause, Verdict, EndRecord) {
        let ended = self.tell(Input::Ended { cause });
        let found = ended.into_iter().find_map(|output| match output {
            Output::LineEnded { cause, verdict, record } => Some((cause, verdict, *record)),
            _ => None,
        });
        found.expect("the line was open")
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.core.poll_output()).collect()
    }

    /// Fires the next timer, on time.
    fn step(&mut self) -> (Reason, Vec<Output>) {
        let (at, reason) = self.core.poll_timeout().expect("something stands");
        self.now = self.now.max(at);
        self.core.handle_timeout(self.now);
        (reason, self.outputs())
    }

    /// Steps until `wanted` comes out.
    fn until(&mut self, wanted: &Output) {
        let came = (0..1000).any(|_| self.step().1.contains(wanted));
        assert!(came, "{wanted:?} does not come");
    }

    /// Runs for `span`, answering what `answers` says; what came out, with the instant.
    fn run(&mut self, span: Duration, answers: impl Fn(&Output) -> Option<Layer>) -> Vec<(Instant, Output)> {
        let end = self.now + span;
        let mut seen = Vec::new();
        while self.core.poll_timeout().is_some_and(|(at, _)| at <= end) {
            let (_, outputs) = self.step();
            for output in outputs {
                if let Some(layer) = answers(&output) {
                    self.core
                        .handle(self.now + Duration::from_millis(50), Input::Proof(layer));
                }
                seen.push((self.now, output));
            }
        }
        self.now = end;
        seen
    }

    fn closed(&mut self, span: Duration, answers: impl Fn(&Output) -> Option<Layer>) -> Option<Instant> {
        let seen = self.run(span, answers);
        seen.iter()
            .find(|(_, output)| *output == Output::Close)
            .map(|(at, _)| *at)
    }
}

/// A healthy server that does not answer WebSocket pings.
fn well(output: &Output) -> Option<Layer> {
    match output {
        Output::Ask(Question::ApplicationPing) => Some(Layer::Application),
        Output::Ask(Question::ContentProbe) => Some(Layer::Content),
        _ => None,
    }
}

/// Pings are answered, nothing else is.
fn zombie(output: &Output) -> Option<Layer> {
    (*output == Output::Ask(Question::ApplicationPing)).then_some(Layer::Application)
}

fn silent(_: &Output) -> Option<Layer> {
    None
}

#[test]
fn a_quiet_line_is_kept_for_days() {
    let mut bench = Bench::online();
    assert_eq!(bench.closed(3 * 24 * 60 * MINUTE, well), None);
    assert_eq!(bench.core.state(), State::Online);
}

#[test]
fn a_silent_death_is_found_within_the_boards_bound() {
    for board in Board::all() {
        let mut bench = Bench::online();
        bench.schedule = board.schedule();
        bench.core = Supervisor::new(board.schedule(), 3);
        bench.tell(Input::Start { paired: true });
        bench.log_in();
        let died = bench.now;
        let closed = bench.closed(2 * MINUTE, silent).expect("it is found");
        assert!(closed - died <= board.detection_worst(), "{}", board.name);
        let (cause, _, record) = bench.end(Cause::Requested);
        assert_eq!(cause, Cause::PongTimeout);
        assert!(record.guess.contains("nothing came at all"), "{}", record.guess);
    }
}

/// Found: proofs are told at every deadline anew, and an old one answered the ping that was asked after it.
#[test]
fn an_old_proof_told_again_is_no_answer() {
    let mut bench = Bench::online();
    let heard = bench.now;
    let mut closed = false;
    for _ in 0..200 {
        let Some((at, _)) = bench.core.poll_timeout() else {
            break;
        };
        bench.now = bench.now.max(at);
        bench.core.handle(heard, Input::Proof(Layer::Content));
        bench.core.handle_timeout(bench.now);
        closed |= bench.outputs().contains(&Output::Close);
        if closed {
            break;
        }
    }
    assert!(closed && bench.now - heard <= Board::generic().detection_worst());
}

/// Found: a standstill that covers the answer and ends just after the deadline is too short a delay to be seen as one.
#[test]
fn an_answer_that_lies_unread_after_a_standstill_saves_the_line() {
    let mut bench = Bench::online();
    bench.until(&Output::Ask(Question::ApplicationPing));
    // The answer comes after 100 ms; nobody reads it until just after the deadline.
    bench.now += bench.schedule.application.pong + Duration::from_millis(100);
    bench.core.handle_timeout(bench.now);
    assert!(!bench.outputs().contains(&Output::Close));
    bench.tell_in(Duration::from_millis(20), Input::Proof(Layer::Application));
    assert_eq!(bench.closed(10 * MINUTE, well), None);
}

/// Found: what a standstill excuses must not make the answer look older than its question.
#[test]
fn an_answer_from_within_a_standstill_is_one() {
    let mut bench = Bench::online();
    bench.until(&Output::Ask(Question::ApplicationPing));
    let answer = bench.now + SECOND;
    bench.now += 20 * SECOND;
    bench.core.handle_timeout(bench.now);
    bench.outputs();
    bench.core.handle(answer, Input::Proof(Layer::Application));
    assert_eq!(bench.closed(10 * MINUTE, well), None);
}

#[test]
fn sending_more_never_postpones_the_verdict() {
    let mut bench = Bench::online();
    let died = bench.now;
    let mut closed = false;
    while bench.now - died < MINUTE && !closed {
        bench.tell_in(Duration::from_millis(200), Input::Sent);
        bench.core.handle_timeout(bench.now);
        closed = bench.outputs().contains(&Output::Close);
    }
    // A send that gets no answer is asked after at once, so it is found even earlier.
    assert!(closed && bench.now - died <= Duration::from_secs(17));
}

#[test]
fn only_a_peer_that_answers_websocket_pings_can_die_for_silence_to_them() {
    let mut found = [0, 0];
    for seed in 0..20 {
        for pongs in [false, true] {
            let mut bench = Bench::new();
            bench.core = Supervisor::new(bench.schedule.clone(), seed);
            bench.tell(Input::Start { paired: true });
            bench.log_in();
            bench.run(3 * SECOND, |output| {
                (pongs && *output == Output::Ask(Question::WebSocketPing)).then_some(Layer::WebSocket)
            });
            bench.closed(MINUTE, silent).expect("it is found");
            let by_websocket = bench.end(Cause::Requested).0 == Cause::WebSocketPongTimeout;
            found[usize::from(pongs)] += u32::from(by_websocket);
        }
    }
    // Whichever layer's question is older is first; the one that was never answered says nothing.
    assert!(found[0] == 0 && found[1] > 3, "{found:?}");
}

#[test]
fn what_came_before_the_question_is_no_answer_however_late_it_is_told() {
    let mut bench = Bench::online();
    bench.until(&Output::Ask(Question::ApplicationPing));
    let before = bench.now - SECOND;
    bench.core.handle(before, Input::Proof(Layer::Application));
    let asked = bench.now;
    let closed = bench.closed(MINUTE, silent).expect("it is found");
    assert_eq!(closed - asked, bench.schedule.application.pong);
}

/// Found: an answer told late uncovered a deadline that had passed, which looked like a standstill and excused a
/// zombie.
#[test]
fn a_proof_told_late_does_not_look_like_a_standstill() {
    let mut bench = Bench::online();
    bench.run(MINUTE, well);
    bench.until(&Output::Ask(Question::ApplicationPing));
    let answer = bench.now + Duration::from_millis(100);
    bench.tell_in(Duration::from_millis(1), Input::Suspect(Cause::AckTimeout));
    assert_eq!(bench.step().1, [Output::Ask(Question::ContentProbe)]);
    let (at, _) = bench.core.poll_timeout().unwrap();
    assert!(at - bench.now > SECOND);
    bench.now = at;
    bench.core.handle(answer, Input::Proof(Layer::Application));
    bench.core.handle_timeout(at);
    assert_eq!(bench.end(Cause::Recycled).2.stalls, 0);
}

#[test]
fn a_question_that_a_standstill_held_back_gets_its_full_time() {
    let mut bench = Bench::online();
    bench.until(&Output::Ask(Question::ApplicationPing));
    // The ping leaves only now; a round trip of some seconds is not death.
    bench.now += 15 * SECOND;
    bench.core.handle_timeout(bench.now);
    bench.outputs();
    assert_eq!(bench.closed(6 * SECOND, silent), None);
    bench.tell(Input::Proof(Layer::Application));
    assert_eq!(bench.closed(10 * MINUTE, well), None);
}

#[test]
fn pongs_without_content_are_found_by_the_probe() {
    let mut bench = Bench::online();
    bench.run(MINUTE, well);
    let turned = bench.now;
    let closed = bench.closed(20 * MINUTE, zombie).expect("it is found");
    let application = &bench.schedule.application;
    assert!(closed - turned <= application.probe + application.pong * PROBE_PATIENCE);
    assert_eq!(bench.end(Cause::Requested).0, Cause::Zombie);
}

#[test]
fn a_server_that_no_longer_answers_probes_costs_one_line_and_no_more() {
    let mut bench = Bench::online();
    bench.run(MINUTE, well);
    assert!(bench.closed(20 * MINUTE, zombie).is_some());
    bench.end(Cause::Requested);
    bench.log_in();
    assert_eq!(bench.closed(60 * MINUTE, zombie), None);
}

#[test]
fn after_a_500_the_next_line_is_probed_at_once() {
    let mut bench = Bench::online();
    bench.run(5 * MINUTE, well);
    bench.end(Cause::ServerTrouble(500));
    bench.step();
    bench.log_in();
    let seen = bench.run(2 * SECOND, silent);
    assert!(
        seen.iter()
            .any(|(_, output)| *output == Output::Ask(Question::ContentProbe)),
        "{seen:?}"
    );
}

#[test]
fn an_offline_queue_that_never_ends_is_a_zombie() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: true });
    bench.tell(Input::LoggedIn);
    let login = bench.now;
    let closed = bench.closed(2 * MINUTE, zombie).expect("it is found");
    assert_eq!(closed - login, bench.schedule.application.offline_drain);
    assert_eq!(bench.end(Cause::Requested).0, Cause::NeverDrained);
}

/// A server that has stopped to send that end would otherwise cost every line, and nothing would ever be sent.
#[test]
fn an_offline_queue_that_never_ends_costs_one_line_and_no_more() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: true });
    bench.tell(Input::LoggedIn);
    bench.closed(2 * MINUTE, well).expect("the first is given up");
    assert_eq!(bench.end(Cause::Requested).0, Cause::NeverDrained);
    for line in 0..3 {
        if line > 0 {
            // Ends as lines do, and the next one is not given up either.
            bench.end(Cause::PathBroken);
        }
        bench.log_in_undrained();
        let login = bench.now;
        let seen = bench.run(30 * MINUTE, well);
        let said: Vec<_> = seen.iter().filter(|(_, output)| *output == Output::Undrained).collect();
        assert_eq!(said.len(), 1, "{seen:?}");
        let after = said[0].0 - login;
        assert_eq!(after, bench.schedule.application.offline_drain);
        assert!(seen.iter().all(|(_, output)| *output != Output::Close), "{seen:?}");
    }
    // One that comes to its end makes the next that does not a reason again.
    bench.tell(Input::Drained);
    bench.end(Cause::PathBroken);
    bench.log_in_undrained();
    bench.closed(2 * MINUTE, well).expect("it is given up");
    assert_eq!(bench.end(Cause::Requested).0, Cause::NeverDrained);
}

/// Without the end of the queue it is probed at once: a line on which nothing passes must not go on for long.
#[test]
fn a_line_that_goes_on_undrained_is_still_found_dead_or_a_zombie() {
    let mut bench = Bench::online();
    bench.run(20 * MINUTE, well);
    bench.end(Cause::PathBroken);
    bench.log_in_undrained();
    bench.closed(2 * MINUTE, well).expect("it is given up");
    assert_eq!(bench.end(Cause::Requested).0, Cause::NeverDrained);
    bench.log_in_undrained();
    bench.closed(2 * MINUTE, zombie).expect("the probe finds it");
    assert_eq!(bench.end(Cause::Requested).0, Cause::Zombie);
    bench.log_in_undrained();
    bench.closed(2 * MINUTE, silent).expect("the ping finds it");
    assert_eq!(bench.end(Cause::Requested).0, Cause::PongTimeout);
}

#[test]
fn a_suspicion_is_asked_about_once_and_then_believed() {
    let mut bench = Bench::online();
    bench.run(MINUTE, well);
    assert!(!bench.tell(Input::Suspect(Cause::AckTimeout)).contains(&Output::Close));
    let seen = bench.run(MINUTE, well);
    assert!(
        seen.iter()
            .any(|(_, output)| *output == Output::Ask(Question::ContentProbe))
    );
    assert!(bench.tell(Input::Suspect(Cause::AckTimeout)).contains(&Output::Close));
    assert_eq!(bench.end(Cause::Requested).0, Cause::AckTimeout);
}

/// Found by reading: attempts were counted over the last hour, and a burst was followed by an hour of silence.
#[test]
fn the_storm_brake_never_silences_for_long() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: true });
    let (begin, mut last, mut attempts, mut longest) = (bench.now, bench.now, 1_u32, Duration::ZERO);
    while bench.now - begin < 60 * MINUTE {
        bench.tell(Input::Ended {
            cause: Cause::Unreachable,
        });
        let mut dialled = false;
        while !dialled {
            bench.now += 100 * Duration::from_millis(1);
            bench.core.handle_timeout(bench.now);
            dialled = [bench.outputs(), bench.tell(Input::Host(HostEvent::PathChanged))]
                .concat()
                .contains(&Output::Dial { pairing: false });
        }
        longest = longest.max(bench.now - last);
        last = bench.now;
        attempts += 1;
    }
    assert!(attempts <= bench.schedule.redial.per_hour_max + 1, "{attempts}");
    assert!(longest <= 31 * SECOND, "{longest:?}");
}

#[test]
fn a_change_of_the_path_is_tried_at_once_and_proves_nothing() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: true });
    for _ in 0..8 {
        bench.end(Cause::Unreachable);
        bench.step();
    }
    let (_, _, record) = bench.end(Cause::Unreachable);
    assert_eq!(record.failures, 8);
    bench.now += 2 * SECOND;
    assert_eq!(
        bench.tell(Input::Host(HostEvent::PathChanged)),
        [Output::Dial { pairing: false }]
    );
    // The address may be a moment behind the link: the next attempts are quick, the count of failures goes on.
    let (_, _, record) = bench.end(Cause::Unresolved);
    assert_eq!(record.failures, 9);
    let (at, _) = bench.core.poll_timeout().unwrap();
    assert!(at - bench.now <= 2 * SECOND);
}

/// The path changes twice in a moment. What the first change asked is answered, and told of when the next deadline
/// comes; the second one has its own question, although no ping is due.
#[test]
fn an_answer_from_before_a_change_of_the_path_does_not_speak_for_the_line_after_it() {
    let mut bench = Bench::online();
    bench.run(MINUTE, well);
    bench.tell(Input::Host(HostEvent::PathChanged));
    assert_eq!(bench.step().1, [Output::Ask(Question::ApplicationPing)]);
    let answered = bench.now + Duration::from_millis(1);

    bench.now += Duration::from_millis(150);
    let changed = bench.now;
    bench.tell(Input::Host(HostEvent::PathChanged));
    assert_eq!(bench.step().1, [Output::Ask(Question::ApplicationPing)]);
    assert_eq!(bench.now, changed);

    bench.core.handle(answered, Input::Proof(Layer::Application));
    let pong = bench.schedule.application.pong;
    assert_eq!(bench.closed(MINUTE, silent), Some(changed + pong));
}

/// An answer to the last question is one to those before it, and a doubt that has been answered asks no more.
#[test]
fn a_line_that_answers_outlives_every_change_of_the_path() {
    let mut bench = Bench::online();
    for _ in 0..300 {
        bench.tell(Input::Host(HostEvent::PathChanged));
        bench.tell(Input::Host(HostEvent::PathChanged));
        assert_eq!(bench.closed(700 * Duration::from_millis(1), well), None);
    }
    assert_eq!(bench.closed(10 * MINUTE, well), None);
    assert_eq!(bench.core.state(), State::Online);
}

/// Seed 500241 of the simulator: the server's word comes while the attempt is being given up.
#[test]
fn a_login_that_comes_after_the_attempt_was_called_off_is_not_taken() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: true });
    assert_eq!(
        bench.tell_in(4 * SECOND, Input::Host(HostEvent::PathChanged)),
        [Output::Close]
    );
    assert_eq!(bench.tell_in(SECOND, Input::LoggedIn), []);
    assert_eq!(bench.core.state(), State::Connecting { pairing: false });
    let (cause, verdict, record) = bench.end(Cause::Recycled);
    assert_eq!((cause, verdict), (Cause::PathChanged, Verdict::RedialNow));
    assert!(!record.logged_in);
}

#[test]
fn a_login_alone_does_not_start_the_pauses_over() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: true });
    let mut pauses = Vec::new();
    for _ in 0..7 {
        bench.tell(Input::LoggedIn);
        bench.end(Cause::Recycled);
        let before = bench.now;
        bench.step();
        pauses.push(bench.now - before);
    }
    assert!(pauses[6] > 20 * SECOND, "{pauses:?}");
}

#[test]
fn sleep_drops_the_line_at_once_and_a_clock_step_moves_nothing() {
    let mut bench = Bench::online();
    let before = bench.core.poll_timeout();
    for by_ms in [i64::MAX, i64::MIN, 50 * 365 * 86_400_000, -1] {
        assert_eq!(bench.tell(Input::Host(HostEvent::ClockStepped { by_ms })), []);
        assert_eq!(bench.core.poll_timeout(), before);
    }
    let slept = 17 * 60 * MINUTE;
    assert_eq!(bench.tell(Input::Host(HostEvent::Resumed { slept })), [Output::Close]);
    let (cause, verdict, record) = bench.end(Cause::PathBroken);
    assert_eq!((cause, verdict), (Cause::Suspended, Verdict::RedialNow));
    assert_eq!((record.slept_ms, record.clock_steps), (61_200_000, 4));
    assert_eq!(bench.core.state(), State::Connecting { pairing: false });
}

#[test]
fn a_frozen_program_on_a_host_that_does_not_tell_drops_its_line_too() {
    let mut bench = Bench::online();
    bench.now += 10 * MINUTE;
    bench.core.handle_timeout(bench.now);
    assert!(bench.outputs().contains(&Output::Close));
    assert_eq!(bench.end(Cause::PathBroken).0, Cause::Suspended);
}

#[test]
fn a_clock_that_is_not_set_holds_and_burns_nothing() {
    let mut bench = Bench::new();
    bench.tell(Input::Host(HostEvent::ClockUnset));
    assert_eq!(bench.tell(Input::Start { paired: true }), []);
    for _ in 0..100 {
        let (reason, outputs) = bench.step();
        assert_eq!((reason, outputs), (Reason::Clock, vec![Output::LookAtClock]));
    }
    assert_eq!(
        bench.tell(Input::Host(HostEvent::ClockSet)),
        [Output::Dial { pairing: false }]
    );
    // A certificate that is not valid yet waits for the clock too, and is not held against the path.
    let (_, verdict, record) = bench.end(Cause::ClockSuspect);
    assert_eq!((verdict, record.failures), (Verdict::AwaitClock, 0));
    assert_eq!(
        bench.tell(Input::Host(HostEvent::ClockStepped { by_ms: 1 })),
        [Output::Dial { pairing: false }]
    );
}

#[test]
fn the_servers_last_word_wins_over_our_own_reason() {
    let mut bench = Bench::online();
    assert!(bench.closed(MINUTE, silent).is_some());
    let (cause, ..) = bench.end(Cause::Replaced);
    assert_eq!(cause, Cause::Replaced);
    assert_eq!(bench.core.state(), State::Stopped(Stop::Replaced));
    for input in [
        Input::Host(HostEvent::PathChanged),
        Input::Host(HostEvent::Resumed { slept: SECOND }),
        Input::Host(HostEvent::ClockStepped { by_ms: 5 }),
    ] {
        assert_eq!(bench.tell_in(60 * MINUTE, input), []);
    }
    assert_eq!(bench.core.poll_timeout(), None);
}

#[test]
fn a_restart_is_at_once_but_not_for_ever() {
    let mut bench = Bench::online();
    assert_eq!(bench.end(Cause::RestartRequired).1, Verdict::RedialNow);
    assert_eq!(bench.end(Cause::RestartRequired).1, Verdict::BackOff);
}

#[test]
fn a_line_that_does_not_let_go_costs_the_client() {
    let mut bench = Bench::online();
    bench.tell(Input::Host(HostEvent::Resumed { slept: SECOND }));
    assert_eq!(bench.step(), (Reason::Close, vec![Output::FreshClient]));
    // Failures that only our own state explains cost it too.
    bench.end(Cause::PathBroken);
    let mut fresh = 0;
    for _ in 0..6 {
        bench.tell(Input::Ended {
            cause: Cause::OutOfStep,
        });
        let (_, outputs) = bench.step();
        fresh += outputs.iter().filter(|output| **output == Output::FreshClient).count();
    }
    assert_eq!(fresh, 2);
}

#[test]
fn periods_name_their_culprits() {
    for (held_ms, guess) in [
        (60_400, Guess::Nat),
        (924_600, Guess::UnackedWrites),
        (3_002_000, Guess::OwedAck),
        (1_800_000, Guess::IdleRecycle),
        (200_000, Guess::Unknown),
    ] {
        let mut bench = Bench::online();
        for times in 1..=4 {
            bench.run(Duration::from_millis(held_ms) - SECOND, well);
            let (_, _, record) = bench.end(Cause::Recycled);
            let found = record.flapping.map(|flapping| (flapping.times, flapping.guess));
            assert_eq!(found, (times >= 3).then_some((times, guess)), "{held_ms}");
            if bench.core.state() != (State::Connecting { pairing: false }) {
                bench.step();
            }
            bench.log_in();
        }
    }
}

#[test]
fn an_owed_ack_is_told_and_recorded() {
    let mut bench = Bench::online();
    for id in 0..10_000 {
        bench.tell(Input::StanzaIn { id });
        bench.tell(Input::StanzaAcked { id });
    }
    bench.tell(Input::StanzaIn { id: 7 });
    let seen = bench.run(5 * MINUTE, well);
    let told = seen
        .iter()
        .filter(|(_, output)| matches!(output, Output::AckOverdue { id: 7, .. }));
    assert_eq!(told.count(), 1);
    let (_, _, record) = bench.end(Cause::AckOwed);
    assert_eq!((record.acks_owed, record.ack_owed_oldest_ms), (1, Some(300_000)));
    assert_eq!(record.guess, "the server is owed an ack");
}

#[test]
fn the_record_of_an_end_says_how_it_was() {
    let mut bench = Bench::online();
    bench.run(5 * MINUTE, well);
    let (_, _, record) = bench.end(Cause::Unclassified("new".into()));
    assert_eq!(
        (record.cause.as_str(), record.logged_in, record.held_ms),
        ("unclassified", true, 301_000)
    );
    assert!(record.proofs.application.is_some_and(|age| age <= 12_000));
}

#[test]
fn the_watchdog_is_fed_from_progress_alone() {
    let (mut now, limit) = (Instant::now(), 30 * SECOND);
    let mut watchdog = Watchdog::new(now, limit, 1);
    let outputs = |watchdog: &mut Watchdog| std::iter::from_fn(|| watchdog.poll_output()).collect::<Vec<_>>();
    watchdog.handle_timeout(now);
    let asked = [Progress::Store, Progress::Dispatcher, Progress::Session(0)].map(WatchdogOutput::Ask);
    assert_eq!(outputs(&mut watchdog), asked);
    for who in [Progress::Store, Progress::Dispatcher] {
        watchdog.handle(now, WatchdogInput::Made(who));
        assert_eq!(outputs(&mut watchdog), []);
    }
    watchdog.handle(now, WatchdogInput::Made(Progress::Session(0)));
    assert_eq!(outputs(&mut watchdog), [WatchdogOutput::Feed]);
    // Early and repeated calls do nothing; progress that nobody asked for feeds nothing.
    watchdog.handle_timeout(now);
    watchdog.handle(now, WatchdogInput::Made(Progress::Store));
    assert_eq!(outputs(&mut watchdog), []);
    // The store hangs: asked once, told once, never fed.
    let mut seen = Vec::new();
    for _ in 0..6 {
        now = watchdog.poll_timeout();
        watchdog.handle_timeout(now);
        for who in [Progress::Dispatcher, Progress::Session(0)] {
            watchdog.handle(now, WatchdogInput::Made(who));
        }
        seen.extend(outputs(&mut watchdog));
    }
    let count = |what: fn(&WatchdogOutput) -> bool| seen.iter().filter(|output| what(output)).count();
    assert_eq!(count(|output| *output == WatchdogOutput::Ask(Progress::Store)), 1);
    assert_eq!(
        count(|output| matches!(output, WatchdogOutput::Withheld(lost) if lost.who == Progress::Store)),
        1
    );
    assert_eq!(count(|output| *output == WatchdogOutput::Feed), 0);
    watchdog.handle(now, WatchdogInput::Made(Progress::Store));
    assert_eq!(outputs(&mut watchdog), [WatchdogOutput::Feed]);
}
