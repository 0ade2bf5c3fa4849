//! What a person is told of health without asking: that something is wrong, that it has become something else, that it
//! is over.
//!
//! What counts is severity *error*, as the table of conditions grades it by its duration, and that a route is unproven:
//! nobody who looks at the status would wait for a path that is not needed until it is. An episode begins when that has
//! stood for a moment, and ends when nothing of its kind has been found for a moment, so that what flaps is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Code, Severity, Shown, Subject};

/// What comes and goes within this is not told.
const STANDS_FOR: Duration = Duration::from_secs(30);

/// What is over stays so for this long before that is told: what was held has gone out by then.
const OVER_FOR: Duration = Duration::from_secs(60);

/// Something that is wrong, since when, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    pub code: Code,
    /// Unix milliseconds.
    pub since_at: u64,
    pub text: String,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has begun, or has become another code.
    Began(Subject, Episode),
    /// It is over since `until_at`, in Unix milliseconds.
    Ended {
        subject: Subject,
        episode: Episode,
        until_at: u64,
    },
}

#[derive(Debug)]
struct Open {
    episode: Episode,
    told: Option<Code>,
    /// Since when it stands as this code.
    stands_since: Instant,
    /// When nothing of it was found any more, by both clocks.
    gone: Option<(Instant, u64)>,
}

/// All episodes that are open.
#[derive(Debug, Default)]
pub struct Episodes(BTreeMap<Subject, Open>);

impl Episodes {
    /// Brings back what a person was told of by the run before.
    pub fn restore(&mut self, now: Instant, subject: Subject, episode: Episode) {
        let open = Open {
            told: Some(episode.code),
            episode,
            stands_since: now,
            gone: None,
        };
        self.0.insert(subject, open);
    }

    /// Looks at what is found now. `held` are the subjects of everything that was found, also of what is mild or
    /// hidden: an episode is not over while anything of its kind holds.
    pub fn look(&mut self, now: Instant, wall_ms: u64, shown: &[Shown], held: &[Subject]) -> Vec<Change> {
        let mut named = BTreeSet::new();
        let told = |finding: &&Shown| finding.severity == Severity::Error || finding.code == Code::RouteUnproven;
        for finding in shown.iter().filter(told) {
            let subject = Subject::of(finding.code, finding.session.as_ref());
            let lasts_ms = u64::try_from(finding.lasts.as_millis()).unwrap_or(u64::MAX);
            let open = self.0.entry(subject.clone()).or_insert_with(|| Open {
                episode: Episode {
                    code: finding.code,
                    since_at: wall_ms.saturating_sub(lasts_ms),
                    text: String::new(),
                },
                told: None,
                stands_since: now,
                gone: None,
            });
            if open.episode.code != finding.code {
                open.episode.code = finding.code;
                open.stands_since = now;
            }
            // Several cases of one code, such as two routes whose alerts fail, are told together.
            if named.insert(subject) {
                open.episode.text.clone_from(&finding.text);
            } else {
                open.episode.text = format!("{}\n{}", open.episode.text, finding.text);
            }
        }
        let mut changes = Vec::new();
        self.0.retain(|subject, open| {
            if held.contains(subject) {
                open.gone = None;
                let stands = now.saturating_duration_since(open.stands_since) >= STANDS_FOR;
                if stands && open.told != Some(open.episode.code) {
                    open.told = Some(open.episode.code);
                    changes.push(Change::Began(subject.clone(), open.episode.clone()));
                }
                return true;
            }
            let (gone_at, until_at) = *open.gone.get_or_insert((now, wall_ms));
            if open.told.is_none() {
                return false;
            }
            if now.saturating_duration_since(gone_at) < OVER_FOR {
                return true;
            }
            changes.push(Change::Ended {
                subject: subject.clone(),
                episode: open.episode.clone(),
                until_at,
            });
            false
        });
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::SessionName;
    use crate::health::{Finding, shown};

    struct Bench {
        episodes: Episodes,
        now: Instant,
        wall_ms: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                episodes: Episodes::default(),
                now: Instant::now(),
                wall_ms: 1_767_225_600_000,
            }
        }

        /// After `seconds` this is found.
        fn look(&mut self, seconds: u64, found: &[Finding]) -> Vec<Change> {
            self.now += Duration::from_secs(seconds);
            self.wall_ms += seconds * 1000;
            let held: Vec<Subject> = found.iter().map(Finding::subject).collect();
            self.episodes
                .look(self.now, self.wall_ms, &shown(found.to_vec()), &held)
        }
    }

    fn offline(seconds: u64) -> Finding {
        let session: SessionName = "default".parse().unwrap();
        Finding::new(Code::SessionOffline, "offline")
            .of(&session)
            .lasting(Duration::from_secs(seconds))
    }

    fn stopped() -> Finding {
        Finding::new(Code::SessionStopped, "banned").of(&"default".parse().unwrap())
    }

    #[test]
    fn an_outage_is_told_when_the_table_calls_it_an_error_and_when_it_is_over() {
        let mut bench = Bench::new();
        assert_eq!(bench.look(0, &[offline(60)]), [], "a warning yet");
        assert_eq!(bench.look(15, &[offline(300)]), []);
        let began = bench.look(30, &[offline(330)]);
        let [Change::Began(Subject::Session(_), episode)] = began.as_slice() else {
            panic!("{began:?}");
        };
        assert_eq!(episode.since_at, 1_767_225_600_000 + 15_000 - 300_000);
        assert_eq!(bench.look(600, &[offline(930)]), [], "once");
        assert_eq!(bench.look(15, &[]), []);
        assert_eq!(bench.look(15, &[offline(1)]), [], "it flaps");
        assert_eq!(bench.look(15, &[]), []);
        let ended = bench.look(60, &[]);
        assert!(
            matches!(&ended[..], [Change::Ended { until_at, .. }] if *until_at == bench.wall_ms - 60_000),
            "{ended:?}"
        );
        assert_eq!(bench.look(600, &[]), []);
    }

    #[test]
    fn what_becomes_worse_is_told_and_is_no_end() {
        let mut bench = Bench::new();
        bench.look(0, &[offline(300)]);
        assert_eq!(bench.look(30, &[offline(330)]).len(), 1);
        assert_eq!(bench.look(15, &[stopped()]), []);
        let worse = bench.look(30, &[stopped()]);
        assert!(
            matches!(&worse[..], [Change::Began(_, episode)] if episode.code == Code::SessionStopped),
            "{worse:?}"
        );
        // On its way up it is offline for a moment, mildly.
        assert_eq!(bench.look(600, &[offline(1)]), []);
        assert_eq!(bench.look(15, &[]), []);
        assert_eq!(bench.look(60, &[]).len(), 1);
    }

    #[test]
    fn what_passes_in_a_moment_is_not_told_at_all() {
        let mut bench = Bench::new();
        let full = Finding::new(Code::StoreFull, "full");
        assert_eq!(bench.look(0, std::slice::from_ref(&full)), []);
        assert_eq!(bench.look(15, &[]), []);
        assert_eq!(bench.look(600, &[]), []);
        assert_eq!(bench.look(15, std::slice::from_ref(&full)), []);
        assert_eq!(bench.look(30, &[full]).len(), 1);
    }

    #[test]
    fn several_cases_of_one_code_are_told_together() {
        let mut bench = Bench::new();
        let failed = |route: &str| Finding::new(Code::AlertsFailed, route);
        let found = [failed("one"), failed("two")];
        bench.look(0, &found);
        let began = bench.look(30, &found);
        let [Change::Began(_, episode)] = began.as_slice() else {
            panic!("{began:?}");
        };
        assert_eq!(episode.text, "one\ntwo");
    }

    #[test]
    fn what_was_told_before_a_restart_is_ended_after_it() {
        let mut bench = Bench::new();
        let episode = Episode {
            code: Code::SessionOffline,
            since_at: 7,
            text: "offline".into(),
        };
        let subject = offline(0).subject();
        bench.episodes.restore(bench.now, subject, episode);
        assert_eq!(bench.look(60, &[offline(60)]), [], "told before");
        assert_eq!(bench.look(15, &[]), []);
        let ended = bench.look(60, &[]);
        assert!(
            matches!(&ended[..], [Change::Ended { episode, .. }] if episode.since_at == 7),
            "{ended:?}"
        );
    }
}
