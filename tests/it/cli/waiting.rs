//! `tautline publish --wait` where it has little to wait with.

use std::process::Child;

use super::*;

/// The command with `args`, which is not waited for.
fn begun(bench: &Bench, args: &[&str]) -> Child {
    let mut command = tautline(bench.state.path());
    let piped = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().unwrap()
}

#[test]
fn waiting_goes_on_where_the_relay_lets_nobody_wait_long() {
    // Half of the connections may wait: here none.
    let bench = Bench::with_limits(|limits| limits.control_connections = 1);
    let args = ["publish", "--to", "ops", "--wait", "--timeout", "60s", "x"];
    let child = begun(&bench, &args);
    until("the third look", || bench.relay.waits() == 3);
    bench.relay.advance("AAAAAAAA0000", Step::Sent, "");
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_timeout_beyond_all_clocks_is_a_long_one() {
    let bench = Bench::new();
    let args = ["publish", "--to", "ops", "--wait", "--timeout", "500000000000y", "x"];
    let child = begun(&bench, &args);
    until("the wait", || {
        bench.relay.waiting() == 1 || !bench.relay.taken().is_empty()
    });
    bench.relay.advance("AAAAAAAA0000", Step::Sent, "");
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_key_whose_alert_has_failed_is_answered_at_once() {
    let bench = Bench::new();
    let args = ["publish", "--to", "ops", "--key", "k", "--wait", "x"];
    ends(&bench, &["publish", "--to", "ops", "--key", "k", "x"], 0, "");
    bench.relay.advance("AAAAAAAA0000", Step::Failed, "not on WhatsApp");
    let ran = ends(
        &bench,
        &args,
        1,
        "is not sent again: the delivery to +15550100 failed: not on WhatsApp",
    );
    assert_eq!(ran.out, "AAAAAAAA0000\n");
    // Nothing but the key may be left of it.
    bench.relay.forget("AAAAAAAA0000");
    let ran = ends(
        &bench,
        &args,
        1,
        "is not sent again: it failed for at least one recipient",
    );
    assert_eq!(ran.out, "AAAAAAAA0000\n");
}
