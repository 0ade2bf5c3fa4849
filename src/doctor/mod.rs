//! What `tautline doctor` looks at: everything outside of the relay that can keep an alert from going out, and what
//! the relay says of itself. Each check says what was seen, how that is to be judged, and the next step of a person.
//!
//! [`CHECKS`] is the table: a new check is a function and its row. A check looks at the [`Site`] and at the host,
//! leaves nothing behind, and has a time within which it is done; one that is not is itself an [`Outcome`].
//!
//! Deliberately absent: repairs, and whatever only a running relay can know; that is its health, which is shown here.

mod host;
mod network;
mod relay;
mod seen;

pub use seen::{RelayView, Site, Verdict};

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;

use crate::util::within;
use seen::Seen;

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The check's name.
    pub check: &'static str,
    pub verdict: Verdict,
    /// What was seen, in one line.
    pub seen: String,
    /// What a person can do about it; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next: String,
}

type Looked<'a> = Pin<Box<dyn Future<Output = Vec<Seen>> + 'a>>;

/// One row of the table.
pub struct Check {
    /// Stable, for programs.
    pub name: &'static str,
    /// What it asks, for people who wait for it.
    pub question: &'static str,
    /// It is given up after this.
    pub budget: Duration,
    look: for<'a> fn(&'a Site) -> Looked<'a>,
}

const PROMPT: Duration = Duration::from_secs(2);
/// A worn card takes seconds for a sync.
const DISK: Duration = Duration::from_secs(30);
/// For all steps up to a WebSocket, whose own deadlines end it before.
const DIAL: Duration = Duration::from_secs(90);

/// Every check, in the order in which they are made: what explains others comes first.
pub const CHECKS: &[Check] = &[
    Check {
        name: "config",
        question: "is the configuration valid?",
        budget: PROMPT,
        look: |site| Box::pin(async { host::config(site) }),
    },
    Check {
        name: "board",
        question: "which board is this?",
        budget: PROMPT,
        look: |site| Box::pin(async { host::board(site) }),
    },
    Check {
        name: "clock",
        question: "is the clock right?",
        budget: PROMPT,
        look: |_| Box::pin(async { host::clock() }),
    },
    Check {
        name: "entropy",
        question: "does the kernel give random numbers?",
        budget: PROMPT,
        look: |_| Box::pin(host::entropy()),
    },
    Check {
        name: "state",
        question: "is the state in a good place?",
        budget: PROMPT,
        look: |site| Box::pin(async { host::state(site) }),
    },
    Check {
        name: "room",
        question: "is there room on the disk?",
        budget: PROMPT,
        look: |site| Box::pin(async { host::room(site) }),
    },
    Check {
        name: "sync",
        question: "how long does the disk take for a sync?",
        budget: DISK,
        look: |site| Box::pin(host::sync(site)),
    },
    Check {
        name: "dns",
        question: "does the server's name lead somewhere?",
        budget: DIAL,
        look: |site| Box::pin(network::dns(site)),
    },
    Check {
        name: "proxy",
        question: "does a proxy stand in between?",
        budget: PROMPT,
        look: |site| Box::pin(async { network::proxy(site) }),
    },
    Check {
        name: "line",
        question: "can the server be reached, through TLS and the WebSocket's upgrade?",
        budget: DIAL,
        look: |site| Box::pin(network::line(site)),
    },
    Check {
        name: "relay",
        question: "does the relay run?",
        budget: PROMPT,
        look: |site| Box::pin(async { relay::running(site) }),
    },
    Check {
        name: "watchdog",
        question: "would a stuck relay be restarted?",
        budget: PROMPT,
        look: |site| Box::pin(async { relay::watchdog(site) }),
    },
    Check {
        name: "session",
        question: "are the sessions online?",
        budget: PROMPT,
        look: |site| Box::pin(async { relay::sessions(site) }),
    },
    Check {
        name: "keepalive",
        question: "has each line proved lately that it lives?",
        budget: PROMPT,
        look: |site| Box::pin(async { relay::keepalive(site) }),
    },
    Check {
        name: "health",
        question: "what does the relay find wrong?",
        budget: PROMPT,
        look: |site| Box::pin(async { relay::health(site) }),
    },
    Check {
        name: "route",
        question: "when was each route last proven?",
        budget: PROMPT,
        look: |site| Box::pin(async { relay::routes(site) }),
    },
    Check {
        name: "token",
        question: "do tokens end soon?",
        budget: PROMPT,
        look: |site| Box::pin(async { relay::tokens(site) }),
    },
];

impl Check {
    /// Looks, and takes no longer than it may.
    pub async fn run(&self, site: &Site) -> Vec<Outcome> {
        let seen = within(self.budget, (self.look)(site)).await.unwrap_or_else(|| {
            let text = format!("no answer within {}", humantime::format_duration(self.budget));
            vec![Seen::warning(
                text,
                "try again; what hangs here may hang the relay, too",
            )]
        });
        seen.into_iter()
            .map(|Seen { verdict, text, next }| Outcome {
                check: self.name,
                verdict,
                seen: text,
                next,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigErrors;

    #[test]
    fn names_are_words_that_come_once() {
        let names: std::collections::BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        for check in CHECKS {
            assert!(
                check.name.bytes().all(|byte| byte.is_ascii_lowercase()),
                "{}",
                check.name
            );
            assert!(check.question.ends_with('?'), "{}", check.question);
        }
    }

    #[test]
    fn a_check_that_hangs_is_an_outcome() {
        let hanging = Check {
            name: "hanging",
            question: "?",
            budget: Duration::ZERO,
            look: |_| Box::pin(std::future::pending()),
        };
        let site = Site {
            config: Err(ConfigErrors(Vec::new())),
            state: Err(String::new()),
            relay: Err(String::new()),
        };
        let outcomes = smol::block_on(hanging.run(&site));
        assert_eq!(outcomes.len(), 1);
        assert_eq!((outcomes[0].check, outcomes[0].verdict), ("hanging", Verdict::Warning));
        assert!(!outcomes[0].next.is_empty());
    }

    #[test]
    fn with_nothing_to_look_at_every_check_says_something_and_what_is_wrong_has_a_next_step() {
        let site = Site {
            config: Err(ConfigErrors(Vec::new())),
            state: Err("nowhere".into()),
            relay: Err("it is not there".into()),
        };
        for check in CHECKS {
            let outcomes = smol::block_on(check.run(&site));
            assert!(!outcomes.is_empty(), "{}", check.name);
            for outcome in outcomes {
                assert!(!outcome.seen.is_empty(), "{}", check.name);
                let is_wrong = outcome.verdict >= Verdict::Warning;
                assert!(!is_wrong || !outcome.next.is_empty(), "{outcome:?}");
            }
        }
    }
}
