//! A paired relay with two recipients, and what every test of faults asks of it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::lab::{Lab, Phone};
use crate::support::{Relay, SOON, Site, pair_by_qr};

pub const OWNER: &str = "15550100001";
pub const FRIEND: &str = "15550100002";

/// Cases that run side by side: they wait far more than they work.
const AT_ONCE: usize = 6;

pub struct Bench {
    pub lab: Lab,
    pub owner: Phone,
    pub friend: Phone,
    pub group: String,
    pub site: Site,
}

impl Bench {
    /// Not paired. The board with the shortest numbers, so that deadlines pass in seconds.
    pub fn unpaired() -> Self {
        let lab = Lab::start();
        let endpoint = lab.endpoint();
        Self::with(lab, &endpoint, "wsl2", None)
    }

    /// Not paired. The relay reaches `lab` at `endpoint`, by `proxy` if there is one.
    pub fn with(lab: Lab, endpoint: &str, board: &str, proxy: Option<&str>) -> Self {
        let owner = lab.account(OWNER, "Owner");
        let friend = lab.account(FRIEND, "Friend");
        let group = lab.group("Alerts", &[&owner, &friend]);
        let proxy = proxy.map(|proxy| format!("proxy = \"{proxy}\"")).unwrap_or_default();
        let site = Site::with_config(&format!(
            r#"
board = "{board}"
[[session]]
name = "default"
endpoint = "{endpoint}"
{proxy}
[[route]]
name = "friend"
session = "default"
to = ["+{FRIEND}"]
[[route]]
name = "all"
session = "default"
to = ["+{FRIEND}", "{group}", "me"]
[gateway]
listen = ["127.0.0.1:0"]
"#
        ));
        Self {
            lab,
            owner,
            friend,
            group,
            site,
        }
    }

    /// Paired, running and online.
    pub fn online() -> (Self, Relay) {
        Self::unpaired().go_online()
    }

    pub fn go_online(self) -> (Self, Relay) {
        let relay = self.site.start();
        self.pair();
        relay.wait_online();
        (self, relay)
    }

    pub fn pair(&self) {
        pair_by_qr(&self.site, |code| self.owner.scan(code).map(drop));
    }

    /// The newest line that is logged in and active.
    pub fn line(&self) -> u64 {
        let lines = self.lab.lines();
        let active = lines.iter().filter(|line| line.active).map(|line| line.id);
        active.max().unwrap_or(0)
    }

    /// Waits for a newer line than `old`; how long that took.
    pub fn wait_newer_line(&self, old: u64, relay: &Relay) -> Duration {
        let from = Instant::now();
        let came = self.lab.wait_until(SOON, |_| self.line() > old);
        assert!(came, "no new line within {SOON:?}: {:#}", relay.status());
        from.elapsed()
    }

    /// What must hold at the end of every test, whatever was done: nothing lost, nothing doubled, order kept, the
    /// owner's phone not silenced, nothing panicked.
    pub fn assert_each_once_in_order(&self, accepted: &[String]) {
        let received = self.friend.wait_received(accepted.len(), SOON);
        let texts: Vec<&str> = received.iter().map(|message| message.text.as_str()).collect();
        let wanted: Vec<&str> = accepted.iter().map(String::as_str).collect();
        assert_eq!(texts, wanted, "{}", self.site.read_log());
        let mut ids = HashMap::new();
        for message in &received {
            *ids.entry(&message.id).or_insert(0) += 1;
        }
        assert!(ids.values().all(|count| *count == 1), "{ids:?}");
        self.assert_quiet();
    }

    pub fn assert_quiet(&self) {
        let presences = self.lab.presences();
        assert!(
            presences.iter().all(|presence| presence == "unavailable"),
            "{presences:?}"
        );
        let log = self.site.read_log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// Publishes to `friend` and remembers what must arrive.
pub fn publish(relay: &Relay, accepted: &mut Vec<String>, text: impl Into<String>) -> String {
    let text = text.into();
    let id = relay.publish("friend", &text);
    accepted.push(text);
    id
}

/// Runs every case, a few at a time, and fails with the names of those that failed.
pub fn side_by_side<T: Sync>(cases: &[T], name: impl Fn(&T) -> &str + Sync, run: impl Fn(&T) + Sync) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| run(case))).is_err() {
                        eprintln!("=== that was {} ===", name(case));
                        failed.lock().expect("no panic under it").push(name(case).to_owned());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic under it");
    assert!(failed.is_empty(), "failed: {failed:?}");
}
