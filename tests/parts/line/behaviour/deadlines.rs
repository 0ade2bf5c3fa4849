//! Deadlines of the attempt, of a line that is broken or unreadable, and of a hold.

use super::*;

#[test]
fn a_login_has_its_step_from_the_upgrade_on() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: true });
    bench.tell_in(SECOND, Input::Upgraded);
    let due = bench.now + bench.schedule.steps.login;
    assert_eq!(bench.core.poll_timeout(), Some((due, Reason::Login)));
    // Told again, late, of the line before: it shortens nothing.
    bench.core.handle(bench.now - 2 * SECOND, Input::Upgraded);
    assert_eq!(bench.step(), (Reason::Login, vec![Output::Close]));
    assert_eq!(bench.now, due);
    assert_eq!(bench.end(Cause::Recycled).0, Cause::LoginTimeout);
}

#[test]
fn a_person_who_pairs_is_not_hurried_by_the_upgrade() {
    let mut bench = Bench::new();
    bench.tell(Input::Start { paired: false });
    let before = bench.core.poll_timeout();
    bench.tell_in(SECOND, Input::Upgraded);
    assert_eq!(bench.core.poll_timeout(), before);
}

#[test]
fn a_line_that_the_server_leaves_standing_is_broken() {
    for cause in [
        Cause::ServerTrouble(503),
        Cause::Unclassified("new".into()),
        Cause::AckOwed,
    ] {
        let mut bench = Bench::online();
        assert_eq!(bench.tell(Input::ServerSaid(cause.clone())), [Output::Close]);
        assert_eq!(bench.end(Cause::Requested).0, cause);
    }
    // These end it themselves.
    for cause in [Cause::RestartRequired, Cause::Replaced] {
        let mut bench = Bench::online();
        assert_eq!(bench.tell(Input::ServerSaid(cause)), []);
    }
}

#[test]
fn a_frame_may_be_late_but_not_lost() {
    let mut bench = Bench::online();
    let count = |bench: &mut Bench, frames| bench.tell(Input::Undecoded { frames });
    count(&mut bench, 1);
    bench.now += SECOND;
    // It was decoded; another one is on its way.
    count(&mut bench, 0);
    count(&mut bench, 1);
    let counted = bench.now;
    let closed = bench.closed(MINUTE, well).expect("the line is given up");
    assert_eq!(closed - counted, 2 * SECOND);
    assert_eq!(bench.end(Cause::Requested).0, Cause::OutOfStep);
    // A second time so soon, it is left to the pings.
    bench.step();
    bench.log_in();
    count(&mut bench, 1);
    let seen = bench.run(10 * MINUTE, well);
    assert!(seen.iter().all(|(_, output)| *output != Output::Close), "{seen:?}");
    bench.run(60 * MINUTE, well);
    count(&mut bench, 2);
    assert!(bench.closed(MINUTE, well).is_some());
}

#[test]
fn a_standstill_does_not_make_a_frame_lost() {
    let mut bench = Bench::online();
    bench.tell(Input::Undecoded { frames: 1 });
    // The loop runs again before the task that decodes it does.
    assert_eq!(bench.tell_in(5 * SECOND, Input::Undecoded { frames: 1 }), []);
    bench.core.handle_timeout(bench.now);
    assert!(!bench.outputs().contains(&Output::Close));
    // A frame that is still missing after its time from there on is lost all the same.
    let (from, limit) = (bench.now, 10 * SECOND);
    assert_eq!(bench.closed(limit, well).map(|at| at - from), Some(2 * SECOND));
}

#[test]
fn a_hold_of_an_earlier_run_is_waited_out_and_only_ever_shortened() {
    let mut bench = Bench::new();
    let after = Cause::TemporaryBan(60 * MINUTE);
    let left = 30 * MINUTE;
    let said = bench.tell(Input::StartHeld {
        paired: true,
        after: after.clone(),
        left,
    });
    assert_eq!((said, bench.core.state()), (vec![], State::Waiting { after }));
    let from = bench.now;
    // Meanwhile it is compared with the wall clock, every ten minutes; what that shows is told below.
    for minutes in [10, 20] {
        assert_eq!(bench.core.shown_timeout(), Some((from + left, Reason::Hold)));
        assert_eq!(bench.step(), (Reason::HoldCheck, vec![Output::CheckHold]));
        assert_eq!(bench.now, from + minutes * MINUTE);
    }
    // No news of the path shortens what the server asked for, and nobody starts it a second time.
    bench.tell(Input::Host(HostEvent::PathChanged));
    bench.tell(Input::Host(HostEvent::Resumed { slept: MINUTE }));
    bench.tell(Input::Host(HostEvent::ClockStepped { by_ms: 1_000_000 }));
    bench.tell(Input::Start { paired: true });
    bench.tell(Input::HoldLeft(40 * MINUTE));
    assert_eq!(bench.core.poll_timeout(), Some((from + left, Reason::Hold)));
    bench.tell_in(MINUTE, Input::HoldLeft(MINUTE));
    assert_eq!(bench.core.poll_timeout(), Some((from + 22 * MINUTE, Reason::Hold)));
    bench.now = from + 22 * MINUTE;
    bench.core.handle_timeout(bench.now);
    assert_eq!(bench.outputs(), [Output::Dial { pairing: false }]);
    // Told late, it says nothing about the line that is coming up.
    bench.tell(Input::HoldLeft(Duration::ZERO));
    assert_eq!(bench.core.state(), State::Connecting { pairing: false });
}
