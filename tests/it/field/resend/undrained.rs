//! A server that never sends `<ib><offline>`.

use super::*;

/// How long a minute lasts here: long enough for a login on a busy machine.
const MINUTE_MS: &str = "6000";

#[test]
fn a_server_that_never_ends_its_offline_queue_costs_one_line_and_alerts_go_out() {
    let bench = Bench::unpaired();
    let relay = bench.site.start();
    bench.pair();
    relay.wait_online();
    assert_eq!(relay.stop(), 0);
    bench.lab.faults().no_offline(true);
    let logins = bench.lab.counters().logins;
    let relay = bench.site.start_with(&[("TAUTLINE_LAB_MINUTE_MS", MINUTE_MS)]);
    let alert = relay.publish("friend", "all the same");
    relay.wait_step(&alert, "delivered");
    let status = relay.status();
    assert_eq!(bench.lab.counters().logins, logins + 2, "{status:#}");
    assert!(finding(&status, "session-undrained").is_some(), "{status:#}");
    assert_eq!(status["healthy"], true, "{status:#}");
    let detail = status["sessions"][0]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("what had waited there"), "{status:#}");
    let ended = &status["sessions"][0]["last_end"];
    assert!(
        ended["cause"].as_str().unwrap_or_default().contains("offline queue"),
        "{ended:#}"
    );
    // The next alerts take no time, and the line stays.
    deliver(&relay, "all", "and more");
    assert_eq!(bench.lab.counters().logins, logins + 2);

    // The line after the fault says nothing of it any more, at once.
    bench.lab.faults().calm();
    bench.lab.faults().cut_rst();
    relay.wait_status("it is still said", |status| {
        status["sessions"][0]["state"] == "online" && finding(status, "session-undrained").is_none()
    });
    assert_eq!(bench.lab.counters().logins, logins + 3);
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}
