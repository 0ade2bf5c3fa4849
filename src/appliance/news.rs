//! Tells the fallbacks of `[health]` what goes wrong and when it is over. What is told is decided by
//! `health::Episodes`; here it is put on disk, carried, and tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_io::Timer;
use jiff::Timestamp as Moment;
use jiff::tz::TimeZone;

use super::relay::Appliance;
use super::{clock, ids};
use crate::alert::{FallbackName, SessionName};
use crate::fallback::{FallbackClient, News};
use crate::gateway::api::words::span;
use crate::health::{self, Change, Code, Episode, Episodes, Finding, Subject};
use crate::outbox::Step;
use crate::store::Store;
use crate::store::news::{self, NewsRecord};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(15);

/// The first pause of a fallback that fails; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(15);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Alerts that are looked at for how many an outage has held.
const HELD_MAX: usize = 1000;

pub(super) struct NewsDesk {
    pub(super) to: Vec<FallbackName>,
    pub(super) fallback_client: Arc<FallbackClient>,
    pub(super) store: Store,
    pub(super) relay: Arc<Appliance>,
    pub(super) time_zone: TimeZone,
}

/// A fallback that fails.
struct Failing {
    pause: Duration,
    until: Instant,
}

impl NewsDesk {
    /// Runs for as long as the relay.
    pub(super) async fn keep(self) {
        let (mut episodes, mut open) = (Episodes::default(), BTreeMap::new());
        let mut failing: BTreeMap<FallbackName, Failing> = BTreeMap::new();
        for record in news::load(self.store.view()).unwrap_or_default() {
            if let Some((subject, code)) = named(&record) {
                if let Subject::Session(session) = &subject
                    && self.relay.dispatcher.session(session).is_none()
                {
                    // It is not configured any more: nothing of it can end.
                    self.forget(&record.about).await;
                    continue;
                }
                if !record.ended {
                    let episode = Episode {
                        code,
                        since_at: record.since_at,
                        text: record.text.clone(),
                    };
                    episodes.restore(Instant::now(), subject, episode);
                }
                open.insert(record.about.clone(), record);
            }
        }
        loop {
            for change in self.look(&mut episodes).await {
                let record = self.record(change).await;
                self.put(&record).await;
                open.insert(record.about.clone(), record);
            }
            for about in open.keys().cloned().collect::<Vec<_>>() {
                if let Some(record) = open.get_mut(&about)
                    && self.tell(record, &mut failing).await
                    && record.ended
                {
                    open.remove(&about);
                    self.forget(&about).await;
                }
            }
            Timer::after(LOOK).await;
        }
    }

    async fn look(&self, episodes: &mut Episodes) -> Vec<Change> {
        let outbox = self.relay.dispatcher.facts().await;
        let mut found = self.relay.facts.found(&self.relay.dispatcher, &outbox);
        // That a fallback fails is nothing that it could be told.
        found.retain(|finding| finding.subject() != Subject::Whole(Code::FallbackFailing));
        let held: Vec<Subject> = found.iter().map(Finding::subject).collect();
        episodes.look(Instant::now(), clock::wall_ms(), &health::shown(found), &held)
    }

    /// The news as they are told.
    async fn record(&self, change: Change) -> NewsRecord {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let record = |subject: &Subject, episode: &Episode, ended, title, text| NewsRecord {
            about: about(subject),
            code: episode.code.as_str().to_owned(),
            ended,
            since_at: episode.since_at,
            key: ids::alert_id(),
            title,
            text,
            told: Vec::new(),
        };
        match change {
            Change::Began(subject, episode) => {
                let condition = episode.code.condition();
                let title = format!("Tautline on {host}: {}", condition.title);
                let text = format!(
                    "{}\nsince {}\nwhat to do: {}",
                    episode.text,
                    self.time_of_day(episode.since_at),
                    condition.advice
                );
                record(&subject, &episode, false, title, text)
            }
            Change::Ended {
                subject,
                episode,
                until_at,
            } => {
                let (from, to) = (self.time_of_day(episode.since_at), self.time_of_day(until_at));
                let lasted = span(until_at.saturating_sub(episode.since_at));
                let text = match &subject {
                    Subject::Session(session) => {
                        let held = self.held(session, episode.since_at, until_at).await;
                        format!("session {session} is back after {lasted} ({from} to {to}): {held}")
                    }
                    Subject::Whole(_) => format!("over after {lasted} ({from} to {to}): {}", episode.text),
                };
                let title = format!("Tautline on {host}: well again");
                record(&subject, &episode, true, title, text)
            }
        }
    }

    /// What has become of the alerts that came meanwhile.
    async fn held(&self, session: &SessionName, since_at: u64, until_at: u64) -> String {
        let alerts = self.relay.dispatcher.alerts(false, HELD_MAX).await;
        let mut counts = [0_usize; 4];
        for alert in alerts {
            if alert.session != session.as_str() || !(since_at..=until_at).contains(&alert.accepted_at) {
                continue;
            }
            let place = match alert.state {
                Step::Delivered | Step::Read => 0,
                Step::Sent => 1,
                Step::Fallback => 2,
                // A later one says more.
                Step::Superseded => continue,
                Step::Accepted | Step::Dropped | Step::Expired | Step::Failed => 3,
            };
            counts[place] += 1;
        }
        held_in_words(counts)
    }

    fn time_of_day(&self, at_ms: u64) -> String {
        let moment = i64::try_from(at_ms)
            .ok()
            .and_then(|ms| Moment::from_millisecond(ms).ok());
        moment.map_or_else(String::new, |moment| {
            moment
                .to_zoned(self.time_zone.clone())
                .strftime("%-d %b %H:%M")
                .to_string()
        })
    }

    /// True when all fallbacks have it.
    async fn tell(&self, record: &mut NewsRecord, failing: &mut BTreeMap<FallbackName, Failing>) -> bool {
        for to in &self.to {
            let waits = failing.get(to).is_some_and(|failing| failing.until > Instant::now());
            if waits || record.told.iter().any(|told| told == to.as_str()) {
                continue;
            }
            let news = News {
                to: to.clone(),
                key: record.key.clone(),
                code: record.code.clone(),
                session: record.about.strip_prefix("session/").and_then(|name| name.parse().ok()),
                ended: record.ended,
                since_at: record.since_at,
                title: record.title.clone(),
                text: record.text.clone(),
            };
            match self.fallback_client.tell(&news).await {
                Ok(()) => {
                    failing.remove(to);
                    record.told.push(to.to_string());
                    self.put(record).await;
                }
                Err(failure) => {
                    let pause = failing
                        .get(to)
                        .map_or(PAUSE_FIRST, |failing| (failing.pause * 2).min(PAUSE_MAX));
                    if !failing.contains_key(to) {
                        log::warn!("fallback {to} is not told of {}: {}", record.code, failure.words);
                    }
                    let until = Instant::now() + pause.max(failure.pause.unwrap_or_default().min(PAUSE_MAX));
                    failing.insert(to.clone(), Failing { pause, until });
                }
            }
        }
        self.to
            .iter()
            .all(|to| record.told.iter().any(|told| told == to.as_str()))
    }

    async fn forget(&self, about: &str) {
        if let Err(error) = news::forget(&self.store, about).await {
            log::debug!("news that are of no use stay on disk: {error}");
        }
    }

    /// Where it cannot be written it may be told again after a restart: better than not at all.
    async fn put(&self, record: &NewsRecord) {
        if let Err(error) = news::keep(&self.store, record).await {
            log::debug!("news of health are not on disk: {error}");
        }
    }
}

/// How many alerts were delivered, sent, handed to a fallback, and none of these.
fn held_in_words(counts: [usize; 4]) -> String {
    let all: usize = counts.iter().sum();
    let words = ["delivered", "sent", "handed to a fallback", "not sent"];
    let parts: Vec<(usize, &str)> = counts.into_iter().zip(words).filter(|(count, _)| *count > 0).collect();
    match (all, parts.as_slice()) {
        (0, _) => "no alert was held".to_owned(),
        (1, [(_, word), ..]) => format!("1 alert held, {word}"),
        (_, [(_, word)]) => format!("{all} alerts held, all {word}"),
        (_, parts) => {
            let parts: Vec<String> = parts.iter().map(|(count, word)| format!("{count} {word}")).collect();
            format!("{all} alerts held, {}", parts.join(", "))
        }
    }
}

fn about(subject: &Subject) -> String {
    match subject {
        Subject::Session(session) => format!("session/{session}"),
        Subject::Whole(code) => format!("code/{}", code.as_str()),
    }
}

/// What a record of the run before is about. `None`: this version does not know it.
fn named(record: &NewsRecord) -> Option<(Subject, Code)> {
    let code = Code::named(&record.code)?;
    let subject = match record.about.strip_prefix("session/") {
        Some(session) => Subject::Session(session.parse().ok()?),
        None => Subject::Whole(code),
    };
    Some((subject, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_is_told_in_words() {
        assert_eq!(held_in_words([0, 0, 0, 0]), "no alert was held");
        assert_eq!(held_in_words([1, 0, 0, 0]), "1 alert held, delivered");
        assert_eq!(held_in_words([3, 0, 0, 0]), "3 alerts held, all delivered");
        assert_eq!(held_in_words([0, 0, 2, 0]), "2 alerts held, all handed to a fallback");
        assert_eq!(
            held_in_words([2, 1, 0, 1]),
            "4 alerts held, 2 delivered, 1 sent, 1 not sent"
        );
    }
}
