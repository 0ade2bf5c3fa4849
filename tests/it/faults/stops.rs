//! Faults that need a person: the session stops with advice, keeps what it accepts, and never dials by itself again.

use crate::bench::{Bench, side_by_side};
use crate::lab::{Failure, Faults};
use crate::support::{SOON, finding};

struct Final {
    name: &'static str,
    strike: fn(&Faults),
    advice: &'static str,
    /// The credentials are set aside: a restart asks to be paired.
    dead: bool,
}

const fn last(name: &'static str, advice: &'static str, dead: bool, strike: fn(&Faults)) -> Final {
    Final {
        name,
        strike,
        advice,
        dead,
    }
}

fn stops(fault: &Final) {
    let (bench, relay) = Bench::online();
    (fault.strike)(bench.lab.faults());
    let status = relay.wait_status("not stopped", |status| status["sessions"][0]["state"] == "stopped");
    let session = &status["sessions"][0];
    assert!(
        session["detail"].as_str().unwrap().contains(fault.advice),
        "{session:#}"
    );
    assert!(session["next"].is_null(), "a deadline stands: {session:#}");
    assert_eq!(session["account"].is_null(), fault.dead, "{session:#}");
    assert_eq!(status["healthy"], false);
    let stopped = finding(&status, "session-stopped");
    assert!(stopped.is_some_and(|it| it["severity"] == "error"), "{status:#}");
    let answer = relay.http("POST", "/friend", &[], b"kept");
    assert_eq!(answer.status, 200, "{answer:?}");
    let warning = answer.json()["warning"].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains(fault.advice), "{warning}");
    // The server may hear of the end a moment after the relay has said so.
    assert!(bench.lab.wait_lines(0, SOON), "{:?}", bench.lab.lines());
    let dialled = bench.lab.counters().accepted;

    // The state on disk says the same.
    bench.lab.faults().calm();
    assert_eq!(relay.stop(), 0);
    assert_eq!(
        bench.lab.counters().accepted,
        dialled,
        "it dialled after it had stopped"
    );
    let relay = bench.site.start();
    if fault.dead {
        relay.wait_status("not pairing", |status| status["sessions"][0]["state"] == "pairing");
        assert_eq!(bench.friend.received().len(), 0);
    } else {
        relay.wait_online();
        bench.assert_each_once_in_order(&["kept".to_owned()]);
    }
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}

#[test]
fn what_needs_a_person_stops_and_says_so() {
    const UNLINKED: &str = "link it again with `tautline pair`";
    const ELSEWHERE: &str = "stop the other program";
    const REJECTED: &str = "upgrade tautline";
    let failure = [
        last("failure 401", UNLINKED, true, |faults| {
            faults.failure(Some(Failure::code(401)));
            faults.cut_rst();
        }),
        last("failure 403", "locked or banned", true, |faults| {
            faults.failure(Some(Failure::code(403)));
            faults.cut_rst();
        }),
        last("failure 400", REJECTED, false, |faults| {
            faults.failure(Some(Failure::code(400)));
            faults.cut_rst();
        }),
        last("failure 406", REJECTED, false, |faults| {
            faults.failure(Some(Failure::code(406)));
            faults.cut_rst();
        }),
        last("failure 409", REJECTED, false, |faults| {
            faults.failure(Some(Failure::code(409)));
            faults.cut_rst();
        }),
        last("stream error 401", UNLINKED, true, |faults| faults.stream_error(401)),
        last("stream error 409", ELSEWHERE, false, |faults| faults.stream_error(409)),
        last("stream error 516", UNLINKED, true, |faults| faults.stream_error(516)),
        last("removed", UNLINKED, true, |faults| faults.conflict("device_removed")),
        last("replaced", ELSEWHERE, false, |faults| faults.conflict("replaced")),
    ];
    side_by_side(&failure, |fault| fault.name, stops);
}

/// Too long to wait for here: that they wait is looked at, not the end of the wait.
#[test]
fn who_is_asked_to_slow_down_waits_long() {
    let cases = [
        last("stream error 429", "limits the rate", false, |faults| {
            faults.stream_error(429);
        }),
        last("failure 405", "too old", false, |faults| {
            faults.failure(Some(Failure::code(405)));
            faults.cut_rst();
        }),
    ];
    side_by_side(
        &cases,
        |case| case.name,
        |case| {
            let (bench, relay) = Bench::online();
            (case.strike)(bench.lab.faults());
            let status = relay.wait_status("not waiting", |status| {
                let session = &status["sessions"][0];
                session["state"] == "waiting" && session["detail"].as_str().unwrap().contains(case.advice)
            });
            let pause = status["sessions"][0]["next"]["in_ms"].as_u64().unwrap();
            assert!(pause > 40_000, "{}: {pause} ms", case.name);
            assert_eq!(relay.stop(), 0);
        },
    );
}
