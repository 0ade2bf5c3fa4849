//! The outbox against a phone that shows each message id once, under everything that can go wrong at once.
//!
//! A safety phase with faults, then a liveness phase without: all that was accepted must then be sent. A failure prints
//! its seed; `run(seed)` alone reproduces it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::*;
use super::gather::Gather;
use super::sim_fallback::Fallbacks;
use super::{SECOND, WALL, recipient, said, session};
use crate::alert::{Alert, FallbackName, Priority, Recipient};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// `SEEDS=10000 cargo test --features lab --lib outbox::tests::sim` tries more.
const SEEDS: u64 = 400;
const STEPS: usize = 400;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What the server and the phone of each recipient know. It outlives every restart.
#[derive(Default)]
struct Phone {
    /// The numbers that alerts have in their texts.
    shown: BTreeMap<Recipient, Vec<u64>>,
    seen: BTreeSet<MessageId>,
    /// What the outbox last had each message say.
    texts: BTreeMap<MessageId, String>,
}

/// A record on its way to the disk, with the messages that were made in it, and whether it tells of a handover.
type Unwritten = (AlertRecord, Vec<MessageId>, bool);

/// What the outbox is told when one is written: the alert, the messages that were made in it, and the fallbacks that it
/// goes to.
type Written = (u64, Vec<MessageId>, Vec<FallbackName>);

/// Ids that never come twice, whatever numbers a restart gives out again.
fn draw_id(drawn: &Arc<AtomicU64>) -> impl FnMut(u64, &Recipient) -> MessageId + Send + 'static {
    let drawn = Arc::clone(drawn);
    move |_, to| MessageId(format!("M{}-{to}", drawn.fetch_add(1, Ordering::Relaxed)))
}

struct World {
    random: Random,
    outbox: Outbox,
    now: Now,
    up: bool,
    limits: Limits,
    phone: Phone,
    /// Records on the disk. Changes reach it late or, with a restart in between, never.
    disk: BTreeMap<u64, AlertRecord>,
    unwritten: VecDeque<Unwritten>,
    fallbacks: Fallbacks,
    /// What stands there of forgotten alerts, and what is to be forgotten there: late, and with a restart in between
    /// never.
    disk_keys: BTreeMap<u64, KeyRecord>,
    forgets: VecDeque<(u64, Option<KeyRecord>)>,
    /// The alerts with a key, by the key.
    keyed: BTreeMap<String, Vec<u64>>,
    /// Accepted, told to the disk, not reported yet: the transactions.
    writing: Vec<Vec<AlertRecord>>,
    /// On the line towards the server, and what comes back.
    outward: VecDeque<Message>,
    inward: Vec<Input>,
    /// The alerts as they were accepted.
    durable: BTreeMap<u64, AlertRecord>,
    /// Which message has carried an alert to a recipient.
    carried: BTreeMap<(u64, Recipient), MessageId>,
    /// Messages the server refuses for good.
    refused: BTreeSet<MessageId>,
    steps: BTreeMap<(u64, usize), Step>,
    /// Sent with everything asked anew, in this run.
    fresh: BTreeSet<MessageId>,
    /// How far the wall clock has been set from where it began, in milliseconds.
    wall_offset: i64,
    named: u64,
    drawn: Arc<AtomicU64>,
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let limits = Limits {
            in_flight_max: 2,
            settled_max: 3,
            pending_max: 25,
            ..Limits::default()
        };
        let drawn = Arc::default();
        let fallbacks = Fallbacks::of_seed(seed);
        Self {
            outbox: outbox(&limits, seed, &drawn, &fallbacks),
            fallbacks,
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: Now {
                mono: Instant::now(),
                wall: Timestamp(WALL),
            },
            up: false,
            limits,
            phone: Phone::default(),
            disk: BTreeMap::new(),
            unwritten: VecDeque::new(),
            disk_keys: BTreeMap::new(),
            forgets: VecDeque::new(),
            keyed: BTreeMap::new(),
            writing: Vec::new(),
            outward: VecDeque::new(),
            inward: Vec::new(),
            durable: BTreeMap::new(),
            carried: BTreeMap::new(),
            refused: BTreeSet::new(),
            steps: BTreeMap::new(),
            fresh: BTreeSet::new(),
            wall_offset: 0,
            named: 0,
            drawn,
            calm: false,
        }
    }

    fn handle(&mut self, input: Input) {
        self.outbox.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Send {
                    seqs, message, fresh, ..
                } => {
                    assert!(self.up, "sent while down");
                    if fresh {
                        self.fresh.insert(message.id.clone());
                    }
                    for seq in &seqs {
                        self.fallbacks.on_send(self.now.mono, &self.durable[seq].id);
                    }
                    for seq in seqs {
                        assert!(self.durable.contains_key(&seq), "sent before it was durable");
                        let mut on_disk = self.disk[&seq].deliveries.iter();
                        let knows = on_disk.any(|delivery| delivery.message_id.as_ref() == Some(&message.id));
                        assert!(knows, "sent before the disk knew its id");
                        let to = (seq, message.recipient.clone());
                        let carried = self.carried.entry(to).or_insert(message.id.clone());
                        assert_eq!(*carried, message.id, "an alert in two messages");
                    }
                    let text = said(&message.content);
                    let known = self.phone.texts.entry(message.id.clone()).or_insert(text.clone());
                    self.fallbacks.on_text(known, &text);
                    *known = text;
                    self.outward.push_back(message);
                }
                Output::Persist { record, happened, made } => {
                    for id in &made {
                        if self.random.one_in(20) {
                            self.refused.insert(id.clone());
                        }
                    }
                    for (index, delivery) in record.deliveries.iter().enumerate() {
                        let before = self.steps.insert((record.seq, index), delivery.step);
                        if before.is_some_and(|before| before != delivery.step) {
                            let of_it = |it: &&Transition| it.delivery == Some(index as u32);
                            let told = happened.iter().rfind(of_it).and_then(|it| it.what.step());
                            assert_eq!(told, Some(delivery.step), "the journal is told another step");
                        }
                        let went_on = before.is_none_or(|before| before <= delivery.step);
                        assert!(went_on || delivery.step == Step::Fallback, "a step went back");
                        let ended = happened
                            .iter()
                            .any(|it| it.delivery == Some(index as u32) && it.what == TransitionKind::Failed);
                        let asked = delivery.message_id.as_ref().is_some_and(|id| self.fresh.contains(id));
                        assert!(!ended || asked, "given up before everything was asked anew");
                    }
                    let intent = happened.iter().any(|it| it.what == TransitionKind::Handover);
                    self.unwritten.push_back((*record, made, intent));
                }
                Output::Forget { seq, key, .. } => {
                    self.unwritten.retain(|(record, _, _)| record.seq != seq);
                    self.forgets.push_back((seq, key));
                }
                Output::ForgetKey { .. } => unreachable!("no day is over here"),
                Output::HandOver(parcel) => self.fallbacks.on_hand_over(parcel, &self.outbox, &self.disk),
                Output::Changed { .. }
                | Output::Due { .. }
                | Output::Suspect { .. }
                | Output::SendAgain { .. }
                | Output::Mark { .. }
                | Output::FollowUp { .. } => {}
            }
        }
    }

    /// A request of some alerts: all of them are taken, or none.
    fn accept(&mut self) {
        let mut to: BTreeSet<u64> = (0..=self.random.below(2)).map(|_| self.random.below(4)).collect();
        to.insert(self.random.below(4));
        let alerts = (0..self.random.below(3) + 1).map(|_| {
            self.named += 1;
            NewAlert {
                follows: None,
                id: format!("A{}", self.named),
                alert: Alert {
                    text: format!("text {}", self.named),
                    priority: match self.random.below(8) {
                        0 | 1 => Priority::Low,
                        2 => Priority::Min,
                        3 => Priority::High,
                        4 => Priority::Max,
                        _ => Priority::Default,
                    },
                    key: self.random.one_in(2).then(|| format!("k{}", self.random.below(12))),
                    ..Alert::default()
                },
            }
        });
        let request = AcceptRequest {
            route: "family".parse().unwrap(),
            session: session(),
            alerts: alerts.collect(),
            to: to.iter().map(|to| recipient(&to.to_string())).collect(),
        };
        let (waiting, asked) = (self.outbox.pending_len(), request.alerts.len());
        let Ok(accepted) = self.outbox.accept(self.now, request) else {
            assert_eq!(
                self.outbox.pending_len(),
                waiting,
                "some of a refused request are there"
            );
            return self.drain();
        };
        assert_eq!(accepted.len(), asked, "an answer for each");
        let new: Vec<AlertRecord> = accepted
            .iter()
            .filter_map(Accepted::new_seq)
            .map(|seq| self.outbox.record(seq).unwrap().clone())
            .collect();
        for record in &new {
            for id in record
                .deliveries
                .iter()
                .filter_map(|delivery| delivery.message_id.as_ref())
            {
                if self.random.one_in(20) {
                    self.refused.insert(id.clone());
                }
            }
            if let Some(key) = &record.alert.key {
                let before = self.keyed.entry(key.clone()).or_default();
                let mut shown = self.phone.shown.values().flatten();
                let again = shown.any(|number| before.contains(number));
                assert!(!again, "{key} is accepted again, and was shown");
                before.push(number_of(&record.alert.text));
            }
        }
        if !new.is_empty() {
            self.writing.push(new);
        }
        self.drain();
    }

    /// A transaction is on the disk, or all of it is refused.
    fn disk_answers(&mut self) {
        if self.writing.is_empty() {
            return;
        }
        let index = self.random.below(self.writing.len() as u64) as usize;
        let records = self.writing.swap_remove(index);
        let refused = self.random.one_in(10) && !self.calm;
        let seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
        if !refused {
            self.written(records);
        }
        for seq in seqs {
            self.handle(match refused {
                true => Input::NotDurable { seq },
                false => Input::Durable { seq },
            });
        }
    }

    fn written(&mut self, records: Vec<AlertRecord>) {
        for record in records {
            // A restart gives the number of one that was forgotten out again.
            let before = self.durable.insert(record.seq, record.clone());
            if before.is_some_and(|before| before.id != record.id) {
                self.carried.retain(|(seq, _), _| *seq != record.seq);
            }
            self.disk.insert(record.seq, record);
        }
    }

    fn write_one(&mut self) {
        if let Some((seq, made, intents)) = self.write_record() {
            for to in intents {
                self.handle(Input::IntentDurable { seq, to });
            }
            for message_id in made {
                self.handle(Input::MessageDurable { message_id, seq });
            }
        } else if let Some((seq, key)) = self.forgets.pop_front() {
            self.disk.remove(&seq);
            self.disk_keys.extend(key.map(|key| (seq, key)));
        }
    }

    /// A fallback takes what it is given, or not, and says so, or not.
    fn fallback_client(&mut self) {
        let (fate, which) = (self.random.below(8), self.random.below(4));
        if let Some(answer) = self.fallbacks.carry(if self.calm { 7 } else { fate }, which as usize) {
            self.inward.push(answer);
        }
    }

    fn write_record(&mut self) -> Option<Written> {
        let (record, made, intent) = self.unwritten.pop_front()?;
        let seq = record.seq;
        let begun = record
            .handovers
            .iter()
            .filter(|it| intent && it.state == HandoverState::Begun);
        let intents = begun.map(|it| it.to.clone()).collect();
        self.disk.insert(seq, record);
        Some((seq, made, intents))
    }

    /// Somebody sets the wall clock, by less than the day for which a key counts.
    fn clock_steps(&mut self) {
        let range = 2 * 3_600_000;
        let offset = self.random.below(2 * range) as i64 - range as i64;
        let by_ms = offset - std::mem::replace(&mut self.wall_offset, offset);
        self.now.wall.0 = self.now.wall.0.saturating_add_signed(by_ms);
        self.handle(Input::ClockStepped);
    }

    /// The next message reaches the library: it is refused there, or goes to the server, which shows it and answers.
    fn carry(&mut self) {
        let Some(message) = self.outward.pop_front() else {
            return;
        };
        let (to, message_id, text) = (message.recipient, message.id, said(&message.content));
        // Some ask the server first, a few so long that they are forgotten meanwhile.
        for _ in 0..self.random.below(3) {
            self.inward.push(Input::Asking {
                message_id: message_id.clone(),
            });
        }
        // What goes with it may have to be uploaded first, and nobody need say when that is done.
        if self.random.one_in(6) && !self.calm {
            let failure = SendFailure::Uploading;
            self.inward.push(Input::SendFailed {
                message_id: message_id.clone(),
                failure,
            });
            if self.random.one_in(2) {
                self.inward.push(Input::Uploaded { message_id });
            }
            return;
        }
        if self.random.one_in(6) && !self.calm {
            let failure = match self.random.below(8) {
                0 => SendFailure::Refused {
                    code: 429,
                    backoff: Some(SECOND * 90).filter(|_| self.random.one_in(2)),
                },
                1 => SendFailure::Refused {
                    code: 503,
                    backoff: None,
                },
                _ => SendFailure::Path(format!("broken {}", self.random.below(3))),
            };
            return self.inward.push(Input::SendFailed { message_id, failure });
        }
        self.inward.push(Input::Written {
            message_id: message_id.clone(),
        });
        if self.refused.contains(&message_id) {
            let error = Some("403".to_owned());
            return self.inward.push(Input::ServerAck {
                session: session(),
                message_id,
                error,
            });
        }
        if self.random.one_in(8) && !self.calm {
            let codes = ["503", "503", "421", "429", "463", "nonsense"];
            let error = Some(codes[self.random.below(codes.len() as u64) as usize].to_owned());
            return self.inward.push(Input::ServerAck {
                session: session(),
                message_id,
                error,
            });
        }
        if self.phone.seen.insert(message_id.clone()) {
            let numbers = text.lines().map(number_of);
            self.phone.shown.entry(to.clone()).or_default().extend(numbers);
        }
        for input in [
            Input::ServerAck {
                session: session(),
                message_id: message_id.clone(),
                error: None,
            },
            Input::Receipt {
                session: session(),
                message_id: message_id.clone(),
                kind: ReceiptKind::Delivered,
                from: vec![to.clone()],
            },
            Input::Receipt {
                session: session(),
                message_id: message_id.clone(),
                kind: ReceiptKind::Read,
                from: vec![to.clone()],
            },
        ] {
            // Lost on the way back, most often the receipts.
            if self.calm || !self.random.one_in(4) {
                self.inward.push(input);
            }
        }
    }

    /// Answers arrive in any order.
    fn answer(&mut self) {
        if !self.inward.is_empty() {
            let index = self.random.below(self.inward.len() as u64) as usize;
            let input = self.inward.swap_remove(index);
            self.fallbacks.on_answer(self.now.mono, &input);
            self.handle(input);
        }
    }

    fn line_down(&mut self) {
        self.up = false;
        // Some of what was on the line still arrives, in order; the rest is gone.
        for _ in 0..self.random.below(self.outward.len() as u64 + 1) {
            self.carry();
        }
        self.outward.clear();
        self.handle(Input::SessionDown(session()));
    }

    fn line_up(&mut self) {
        if !self.up {
            self.up = true;
            self.handle(Input::SessionUp(session()));
        }
    }

    /// Killed: what was not written is lost, what was being written is there or not.
    fn restart(&mut self) {
        self.up = false;
        self.outward.clear();
        self.inward.clear();
        for _ in 0..self.random.below(self.unwritten.len() as u64 + 1) {
            self.write_record();
        }
        self.unwritten.clear();
        self.forgets.clear();
        for records in std::mem::take(&mut self.writing) {
            if self.random.one_in(2) {
                self.written(records);
            }
        }
        self.steps.clear();
        self.fresh.clear();
        let seed = self.random.below(u64::MAX);
        let taken = self.random.below(2) == 0;
        self.fallbacks.restart(self.now.mono, taken, &self.disk);
        self.outbox = outbox(&self.limits, seed, &self.drawn, &self.fallbacks);
        self.outbox.restore_keys(self.now, self.disk_keys.values().cloned());
        self.outbox.restore(self.now, self.disk.values().cloned());
        self.drain();
    }

    fn time_passes(&mut self, most: Duration) {
        if let Some((at, _)) = self.outbox.poll_timeout() {
            let wait = at.saturating_duration_since(self.now.mono).min(most);
            self.now.mono += wait;
            self.now.wall.0 += wait.as_millis() as u64;
            self.outbox.handle_timeout(self.now);
            let next = self.outbox.poll_timeout();
            assert!(
                next.is_none_or(|(at, _)| at > self.now.mono),
                "a deadline that passed stands still"
            );
            self.drain();
        }
    }

    fn turn(&mut self) {
        match self.random.below(44) {
            0..=4 => self.accept(),
            5..=12 => self.disk_answers(),
            13..=19 => self.carry(),
            20..=28 => self.answer(),
            29..=32 => self.line_up(),
            33 => self.line_down(),
            34 => self.restart(),
            35 => self.write_one(),
            36 => {
                let from = vec![recipient(&self.random.below(4).to_string())];
                let session = session();
                self.handle(Input::Heard { session, from });
            }
            37 => self.clock_steps(),
            38 => self.fallback_client(),
            _ => self.time_passes(SECOND * 40),
        }
    }

    /// No more faults: everything must come to an end, and soon.
    fn settle(&mut self) {
        self.calm = true;
        self.line_up();
        for _ in 0..20_000 {
            if self.outbox.pending_len() == 0 && self.writing.is_empty() {
                return;
            }
            self.disk_answers();
            self.write_one();
            self.carry();
            self.fallback_client();
            self.answer();
            if self.unwritten.is_empty()
                && self.fallbacks.are_idle()
                && self.outward.is_empty()
                && self.inward.is_empty()
            {
                self.time_passes(SECOND * 80);
            }
        }
        let waiting = self.outbox.list(true, 3);
        let queues: Vec<_> = self.outbox.handovers.queues().collect();
        panic!(
            "{} alerts never got out: {waiting:#?}\n{queues:#?}",
            self.outbox.pending_len()
        );
    }

    /// Each once, none lost, those that go out at once in order. What waits is told to the policy when the disk has it,
    /// which is in any order here.
    fn check(&self) {
        if self.fallbacks.are_there() {
            return self.check_with_fallbacks();
        }
        let mut expected: BTreeMap<(Recipient, Priority), Vec<u64>> = BTreeMap::new();
        let mut priorities = BTreeMap::new();
        for (seq, accepted) in &self.durable {
            let number = number_of(&accepted.alert.text);
            priorities.insert(number, accepted.alert.priority);
            // One that is forgotten has been through before.
            let now = self.outbox.record(*seq);
            for (index, delivery) in accepted.deliveries.iter().enumerate() {
                let step = now.map(|record| record.deliveries[index].step);
                let message = self.carried.get(&(*seq, delivery.recipient.clone()));
                let message = message.unwrap_or_else(|| panic!("alert {seq} was never sent"));
                if self.refused.contains(message) {
                    assert!(step.is_none_or(|step| step == Step::Failed), "{step:?}");
                    continue;
                }
                assert!(
                    step.is_none_or(|step| (Step::Sent..Step::Failed).contains(&step)),
                    "{step:?}"
                );
                let key = (delivery.recipient.clone(), accepted.alert.priority);
                expected.entry(key).or_default().push(number);
            }
        }
        let mut shown: BTreeMap<(Recipient, Priority), Vec<u64>> = BTreeMap::new();
        for (recipient, numbers) in &self.phone.shown {
            for number in numbers {
                let priority = priorities.get(number);
                let priority = priority.unwrap_or_else(|| panic!("{number} is shown and was never accepted"));
                shown.entry((recipient.clone(), *priority)).or_default().push(*number);
            }
        }
        for ((_, priority), numbers) in &mut shown {
            if *priority < Priority::Default {
                numbers.sort_unstable();
            }
        }
        assert_eq!(shown, expected);
    }

    /// Each is at the phone, or at a fallback, or the server has refused it and so have they.
    fn check_with_fallbacks(&self) {
        for (recipient, numbers) in &self.phone.shown {
            let each: BTreeSet<&u64> = numbers.iter().collect();
            assert_eq!(each.len(), numbers.len(), "{recipient} sees one twice: {numbers:?}");
        }
        for (seq, accepted) in &self.durable {
            let number = number_of(&accepted.alert.text);
            let taken = self.fallbacks.have(&accepted.id);
            let record = self.outbox.record(*seq);
            for (index, delivery) in accepted.deliveries.iter().enumerate() {
                let step = record.map(|record| record.deliveries[index].step);
                let message = self.carried.get(&(*seq, delivery.recipient.clone()));
                let refused = message.is_some_and(|message| self.refused.contains(message));
                let shown = self.phone.shown.get(&delivery.recipient);
                let shown = shown.is_some_and(|shown| shown.contains(&number));
                assert!(shown || taken || refused, "{number} is nowhere: {step:?}");
                if step == Some(Step::Fallback) {
                    assert!(taken, "{number} is said to be at a fallback");
                }
                assert!(step != Some(Step::Accepted), "{number} still waits");
                if refused && !taken {
                    let given_up = record.is_none_or(|record| {
                        let mut handovers = record.handovers.iter();
                        handovers.all(|handover| handover.state == HandoverState::GivenUp)
                    });
                    assert!(given_up, "{number} was refused, and no fallback was asked: {record:?}");
                }
            }
        }
    }
}

/// What stands in the text of an alert.
pub(super) fn number_of(text: &str) -> u64 {
    text.strip_prefix("text ").unwrap().parse().unwrap()
}

fn outbox(limits: &Limits, seed: u64, drawn: &Arc<AtomicU64>, fallbacks: &Fallbacks) -> Outbox {
    let mut outbox = Outbox::new(limits.clone(), seed, draw_id(drawn));
    outbox.set_rules(fallbacks.rules());
    outbox.policy = Box::<Gather>::default();
    outbox
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.turn();
    }
    world.settle();
    world.check();
}

#[test]
fn whatever_happens_each_alert_is_shown_once_and_in_order() {
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in 1..=seeds {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("seed {seed} failed; the reason stands above");
        }
    }
}
