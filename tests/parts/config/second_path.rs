//! What is said of the second path: the heartbeat.

use super::{Site, has};

#[test]
fn a_heartbeat_has_an_address_of_the_web() {
    let heartbeat = |text: &str| {
        Site::with(format!("[heartbeat]\n{text}\n"))
            .load()
            .unwrap()
            .plan
            .heartbeat
    };
    let plan = heartbeat("url = \"http://192.168.1.5:3001/api/push/x\"").unwrap();
    assert_eq!(plan.url.to_string(), "http://192.168.1.5:3001/api/push/x");
    assert_eq!(plan.interval, std::time::Duration::from_secs(60));
    let faults = |text: &str| Site::with(format!("[heartbeat]\n{text}\n")).faults();
    has(&faults("interval = \"1m\""), &["1:1: heartbeat.url: is missing"]);
    has(
        &faults("url = \"hc-ping.com/x\""),
        &["2:7: heartbeat.url: has no scheme; expected https://"],
    );
    has(
        &faults("url = \"http://8.8.8.8/x\""),
        &["heartbeat.url: would go unencrypted"],
    );
    has(
        &faults("url = \"https://x/\"\ninterval = \"0s\""),
        &["3:12: heartbeat.interval: \"0s\" is too short"],
    );
    let odd = Site::with("[heartbeat]\nurl = \"https://x/\"\nintervall = \"1m\"\n")
        .load()
        .unwrap();
    assert!(
        odd.warnings[0]
            .to_string()
            .contains("heartbeat.intervall: unknown key; did you mean \"interval\"?")
    );
    has(
        &Site::with("heartbeat = 1").faults(),
        &["heartbeat: is an integer", "[heartbeat]"],
    );
}
