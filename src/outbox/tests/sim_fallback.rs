//! The fallbacks of the simulation: what they have, which they know by the key of a request, and what the outbox may
//! know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::*;
use super::SECOND;
use crate::alert::FallbackName;

/// For so long WhatsApp waits for the answer to a request that nobody knows the end of.
const UNCLEAR: Duration = Duration::from_secs(10 * 60);

#[derive(Default)]
pub(super) struct Fallbacks {
    names: Vec<FallbackName>,
    both: bool,
    /// What they have: by the alert, under which keys. It outlives every restart.
    taken: BTreeMap<(FallbackName, String), BTreeSet<String>>,
    /// Requests that are out.
    under_way: Vec<Parcel>,
    /// What the outbox was told that they have, and must not forget.
    known: BTreeSet<(FallbackName, String)>,
    /// Since when it is unclear whether one has the alert.
    unclear: BTreeMap<(FallbackName, String), Instant>,
}

impl Fallbacks {
    /// None, one, two, or one beside WhatsApp.
    pub fn of_seed(seed: u64) -> Self {
        let names: &[&str] = match seed % 4 {
            0 => &[],
            2 => &["ntfy", "mail"],
            _ => &["ntfy"],
        };
        Self {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            both: seed % 4 == 3,
            ..Self::default()
        }
    }

    pub fn are_there(&self) -> bool {
        !self.names.is_empty()
    }

    pub fn are_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub fn rules(&self) -> Rules {
        let fallback = self.are_there().then(|| FallbackRules {
            after: SECOND * 5,
            to: self.names.clone(),
            both: self.both,
        });
        let family = RouteRules {
            fallback,
            ..RouteRules::default()
        };
        Rules {
            routes: [("family".parse().unwrap(), family)].into(),
            ..Rules::default()
        }
    }

    pub fn have(&self, id: &str) -> bool {
        self.taken.keys().any(|(_, taken)| taken == id)
    }

    /// A message goes out again. It says what it said, but for what a fallback is known to have.
    pub fn on_text(&self, before: &str, now: &str) {
        let left: Vec<&str> = before
            .lines()
            .filter(|line| now.lines().all(|it| it != *line))
            .collect();
        let known = |line: &&str| {
            let id = format!("A{}", super::sim::number_of(line));
            self.known.iter().any(|(_, known)| *known == id)
        };
        assert!(left.iter().all(known), "{before:?} became {now:?}");
        let rest: Vec<&str> = before.lines().filter(|line| !left.contains(line)).collect();
        assert_eq!(rest, now.lines().collect::<Vec<_>>(), "the same id with another text");
    }

    /// WhatsApp gets an alert.
    pub fn on_send(&self, now: Instant, id: &str) {
        if self.both {
            return;
        }
        let out = self
            .under_way
            .iter()
            .flat_map(|parcel| &parcel.alerts)
            .any(|handed| handed.id == id);
        assert!(!out, "alert {id} is on both ways at once");
        for name in &self.names {
            let it = (name.clone(), id.to_owned());
            assert!(
                !self.known.contains(&it),
                "alert {id} is at {name}, and WhatsApp gets it too"
            );
            if let Some(since) = self.unclear.get(&it).filter(|_| self.taken.contains_key(&it)) {
                assert!(
                    now >= *since + UNCLEAR,
                    "alert {id} may be at {name}, and WhatsApp gets it too"
                );
            }
        }
    }

    pub fn on_hand_over(&mut self, parcel: Parcel, outbox: &Outbox, disk: &BTreeMap<u64, AlertRecord>) {
        let beside = self.under_way.iter().any(|other| other.to == parcel.to);
        assert!(!beside, "two requests to {} at once", parcel.to);
        for Handed { id, .. } in &parcel.alerts {
            let record = outbox.get(id).expect("an alert that is there");
            let on_disk = &disk[&record.seq].handovers;
            let mut intents = on_disk.iter().filter(|it| it.to == parcel.to && it.key == parcel.key);
            let known = intents.any(|it| it.state == HandoverState::Begun);
            assert!(
                known,
                "alert {id} goes to {} before the disk knows: {on_disk:?}",
                parcel.to
            );
            assert!(
                !self.known.contains(&(parcel.to.clone(), id.clone())),
                "handed over again"
            );
            let open = record
                .deliveries
                .iter()
                .any(|it| !(Step::Sent..=Step::Read).contains(&it.step));
            assert!(open, "alert {id} is sent");
        }
        self.under_way.push(parcel);
    }

    fn take(&mut self, parcel: &Parcel) {
        for Handed { id, .. } in &parcel.alerts {
            let keys = self.taken.entry((parcel.to.clone(), id.clone())).or_default();
            keys.insert(parcel.key.clone());
            assert_eq!(keys.len(), 1, "alert {id} is at {} twice: {keys:?}", parcel.to);
        }
    }

    /// What comes of one request; the highest fates are good ones.
    pub fn carry(&mut self, fate: u64, which: usize) -> Option<Input> {
        if self.under_way.is_empty() {
            return None;
        }
        let index = which % self.under_way.len();
        let parcel = self.under_way[index].clone();
        if fate >= 3 {
            self.take(&parcel);
        }
        let (to, key) = (parcel.to, parcel.key);
        let failure = HandoverFailure {
            words: format!("fate {fate}"),
            unclear: matches!(fate, 2 | 3),
            refused: fate == 1,
            pause: None,
        };
        Some(match fate {
            0..=3 => Input::HandoverFailed { to, key, failure },
            _ => Input::HandedOver { to, key },
        })
    }

    /// The outbox is about to be told.
    pub fn on_answer(&mut self, now: Instant, input: &Input) {
        let (to, key) = match input {
            Input::HandedOver { to, key } | Input::HandoverFailed { to, key, .. } => (to, key),
            _ => return,
        };
        let is_it = |parcel: &Parcel| parcel.to == *to && parcel.key == *key;
        let Some(index) = self.under_way.iter().position(is_it) else {
            return;
        };
        for handed in self.under_way.remove(index).alerts {
            let it = (to.clone(), handed.id);
            match input {
                Input::HandedOver { .. } => {
                    self.known.insert(it);
                }
                Input::HandoverFailed { failure, .. } if failure.unclear => {
                    self.unclear.entry(it).or_insert(now);
                }
                _ => {}
            }
        }
    }

    /// The process is gone, and what was out has arrived or not.
    pub fn restart(&mut self, now: Instant, taken: bool, disk: &BTreeMap<u64, AlertRecord>) {
        for parcel in std::mem::take(&mut self.under_way) {
            if taken {
                self.take(&parcel);
            }
        }
        self.known.clear();
        self.unclear.clear();
        for record in disk.values() {
            for handover in &record.handovers {
                let it = (handover.to.clone(), record.id.clone());
                match handover.state {
                    HandoverState::Done => {
                        self.known.insert(it);
                    }
                    HandoverState::Begun => {
                        self.unclear.insert(it, now);
                    }
                    HandoverState::Wanted | HandoverState::GivenUp => {}
                }
            }
        }
    }
}
