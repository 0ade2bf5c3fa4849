//! Routes with rules against phones that show each message id once, in virtual time, from a seed.
//!
//! A phase with faults (kills, restarts with other rules, a line that comes and goes, a clock that is set, summer
//! time), then one without, in which all must come to an end. What is checked:
//!
//! - Each accepted alert is in exactly one message to each recipient, or quiet hours have dropped it as they may, or a
//!   later one about the same thing says more.
//! - Under one id there is one text. Nothing is sent that the disk does not know.
//! - In quiet hours no message is made of what they hold.
//! - Between two messages of a group lies its interval, and no route goes faster than its pace. Both are measured where
//!   no clock was set and no rule changed in between.
//! - The most urgent are held by nothing.
//! - An answer from a phone stays at the server until what it means is on the disk, and may come again until then. It
//!   acknowledges what it is about and nothing else, once, whatever is killed in between, and only of whom it may.
//! - Whoever else has an acknowledged alert gets one reaction on one message, under one id, once the disk knows that.
//! - Each repetition and each escalation is accepted once, and none once the disk knows that somebody has acknowledged
//!   the alert.

mod answers;
mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tautline::alert::{Alert, Priority, Recipient, RouteName, Status};
use tautline::outbox::{
    AcceptRequest, Accepted, AlertRecord, AnswerKind, FollowUp, Follows, Input, KeyRecord, Limits, Message, MessageId,
    NewAlert, Now, Outbox, Output, Quiet, ReceiptKind, RouteRules, Rules, SendFailure, Step, Then, Timestamp,
    TransitionKind,
};

use answers::{AtServer, Marks};
use rules::{ROUTES, Random, recipient, rules, session};

const STEPS: usize = 500;
const SECOND: Duration = Duration::from_secs(1);
const HOUR_MS: u64 = 3_600_000;

/// Evenings: of a usual day, and before summer time begins and ends in Europe.
const STARTS: [u64; 3] = [1_767_294_000_000, 1_774_720_800_000, 1_792_864_800_000];

struct World {
    random: Random,
    outbox: Outbox,
    rules: Rules,
    now: Now,
    up: bool,
    drawn: Arc<AtomicU64>,
    named: u64,
    disk: BTreeMap<u64, AlertRecord>,
    unwritten: VecDeque<(AlertRecord, Vec<MessageId>)>,
    forgets: VecDeque<(u64, Option<KeyRecord>)>,
    disk_keys: BTreeMap<u64, KeyRecord>,
    asked: VecDeque<(RouteName, Alert, Follows)>,
    writing: Vec<AlertRecord>,
    /// Every alert that its sender was told of.
    durable: BTreeMap<u64, AlertRecord>,
    outward: VecDeque<Message>,
    inward: Vec<Input>,
    /// Answers that the server has had no ack for.
    answers: Vec<AtServer>,
    marks: Marks,
    texts: BTreeMap<MessageId, String>,
    /// What the phones have shown: the alerts of each message.
    shown: BTreeMap<MessageId, Vec<(u64, Recipient)>>,
    sent: BTreeMap<MessageId, Vec<u64>>,
    carried: BTreeMap<(u64, Recipient), MessageId>,
    dropped: BTreeSet<(u64, Recipient)>,
    superseded: BTreeSet<(u64, Recipient)>,
    /// When messages were made that were sent, by group and by route; since a clock was set or a rule changed.
    made: BTreeMap<MessageId, Instant>,
    by_group: BTreeMap<(RouteName, Recipient, Vec<String>), Instant>,
    by_route: BTreeMap<RouteName, Vec<Instant>>,
    calm: bool,
}

fn outbox(rules: &Rules, seed: u64, drawn: &Arc<AtomicU64>) -> Outbox {
    let drawn = Arc::clone(drawn);
    let draw = move |_: u64, to: &Recipient| MessageId(format!("M{}-{to}", drawn.fetch_add(1, Ordering::Relaxed)));
    let limits = Limits {
        in_flight_max: 3,
        settled_max: 5,
        pending_max: 200,
        ..Limits::default()
    };
    let mut outbox = Outbox::new(limits, seed, draw);
    outbox.set_rules(rules.clone());
    outbox
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.below(2);
        let rules = rules(&mut random);
        let drawn = Arc::default();
        let wall = Timestamp(random.of(&STARTS) + random.below(6 * HOUR_MS));
        Self {
            outbox: outbox(&rules, seed, &drawn),
            random,
            rules,
            now: Now {
                mono: Instant::now() + Duration::from_secs(1_000_000),
                wall,
            },
            up: false,
            drawn,
            named: 0,
            disk: BTreeMap::new(),
            unwritten: VecDeque::new(),
            forgets: VecDeque::new(),
            disk_keys: BTreeMap::new(),
            asked: VecDeque::new(),
            writing: Vec::new(),
            durable: BTreeMap::new(),
            outward: VecDeque::new(),
            inward: Vec::new(),
            answers: Vec::new(),
            marks: Marks::default(),
            texts: BTreeMap::new(),
            shown: BTreeMap::new(),
            sent: BTreeMap::new(),
            carried: BTreeMap::new(),
            dropped: BTreeSet::new(),
            superseded: BTreeSet::new(),
            made: BTreeMap::new(),
            by_group: BTreeMap::new(),
            by_route: BTreeMap::new(),
            calm: false,
        }
    }

    fn of(&self, route: &RouteName) -> RouteRules {
        self.rules.routes.get(route).cloned().unwrap_or_default()
    }

    /// By what a clock on the wall shows; summer time changes at other hours.
    fn is_quiet(&self, quiet: &Quiet, at: Timestamp) -> bool {
        let moment = jiff::Timestamp::from_millisecond(at.0 as i64).unwrap();
        let time = moment.to_zoned(self.rules.time_zone.clone()).time();
        match quiet.from < quiet.to {
            true => (quiet.from..quiet.to).contains(&time),
            false => time >= quiet.from || time < quiet.to,
        }
    }

    fn handle(&mut self, input: Input) {
        self.outbox.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.outbox.poll_output() {
            match output {
                Output::Send { seqs, message, .. } => self.on_send(&seqs, message),
                Output::Persist { record, made, .. } => self.on_persist(*record, made),
                Output::Forget { seq, happened, key } => {
                    // What has come about so lately that it was not written.
                    for it in &happened {
                        let Some(index) = it.delivery else { continue };
                        let to = self.durable[&seq].deliveries[index as usize].recipient.clone();
                        match it.what {
                            TransitionKind::Dropped => drop(self.dropped.insert((seq, to))),
                            TransitionKind::Superseded => self.on_superseded(seq, to),
                            _ => {}
                        }
                    }
                    self.unwritten.retain(|(record, _)| record.seq != seq);
                    self.forgets.push_back((seq, key));
                }
                Output::FollowUp { route, alert, follows } => {
                    let mut acked = self.disk.values().filter(|record| record.attention.acked.is_some());
                    assert!(
                        !acked.any(|record| record.id == follows.id),
                        "said again after it was acknowledged"
                    );
                    self.asked.push_back((route, *alert, follows));
                }
                Output::Mark { message, .. } => self.on_mark(message),
                Output::ForgetKey { seq } => drop(self.disk_keys.remove(&seq)),
                Output::HandOver(_)
                | Output::Changed { .. }
                | Output::Due { .. }
                | Output::Suspect { .. }
                | Output::SendAgain { .. } => {}
            }
        }
    }

    fn on_persist(&mut self, record: AlertRecord, made: Vec<MessageId>) {
        let rules = self.of(&record.route);
        for delivery in &record.deliveries {
            let is_new = delivery.message_id.as_ref().is_some_and(|id| made.contains(id));
            if is_new {
                if let Some(quiet) = &rules.quiet {
                    let held = record.alert.priority < quiet.below && self.is_quiet(quiet, self.now.wall);
                    assert!(!held, "a message is made in quiet hours: {record:?}");
                }
                let id = delivery.message_id.clone().unwrap();
                self.made.entry(id).or_insert(self.now.mono);
            }
            if delivery.step == Step::Superseded {
                assert_eq!(delivery.attempts, 0, "what may be on the phone is superseded");
                self.on_superseded(record.seq, delivery.recipient.clone());
            }
            if delivery.step == Step::Dropped {
                let quiet = rules.quiet.as_ref().filter(|quiet| quiet.then == Then::Drop);
                let may = quiet.is_some_and(|quiet| {
                    record.alert.priority < quiet.below && self.is_quiet(quiet, record.accepted_at)
                });
                let before = self.dropped.contains(&(record.seq, delivery.recipient.clone()));
                assert!(may || before, "dropped outside of quiet hours: {record:?}");
                self.dropped.insert((record.seq, delivery.recipient.clone()));
            }
        }
        self.unwritten.push_back((record, made));
    }

    fn on_send(&mut self, seqs: &[u64], message: Message) {
        assert!(self.up, "sent while the line is down");
        for seq in seqs {
            let on_disk = self.disk.get(seq).expect("sent before it is on disk");
            let knows = |id: &MessageId| *id == message.id;
            let knows = on_disk
                .deliveries
                .iter()
                .any(|it| it.message_id.as_ref().is_some_and(knows));
            assert!(knows, "sent before the disk knows its id");
            let to = (*seq, message.recipient.clone());
            let before = self.carried.entry(to).or_insert_with(|| message.id.clone());
            assert_eq!(*before, message.id, "an alert in two messages");
        }
        let quoted = message.quotes.as_ref().map(|quote| &quote.id);
        let text = format!("{:?} {quoted:?}", message.content);
        let known = self.texts.entry(message.id.clone()).or_insert_with(|| text.clone());
        assert_eq!(*known, text, "the same id with another text");
        let first_time = self.sent.insert(message.id.clone(), seqs.to_vec()).is_none();
        if first_time && let Some(made) = self.made.get(&message.id).copied() {
            self.check_limits(seqs, &message.recipient, made);
        }
        self.outward.push_back(message);
    }

    /// The interval of groups and the pace of routes, by when messages were made.
    fn check_limits(&mut self, seqs: &[u64], to: &Recipient, made: Instant) {
        let record = self.disk[&seqs[0]].clone();
        let rules = self.of(&record.route);
        if let Some(group) = &rules.group {
            let values = |alert: &Alert| -> Vec<String> {
                let value = |name: &String| match name.as_str() {
                    "title" => alert.title.clone(),
                    name => alert.labels.get(name).cloned().unwrap_or_default(),
                };
                group.by.iter().map(value).collect()
            };
            // What flaps, and what quiet hours have held, goes out by itself.
            let steady = seqs.iter().filter(|seq| self.disk[seq].flap.is_none());
            let groups: BTreeSet<Vec<String>> = steady.map(|seq| values(&self.disk[seq].alert)).collect();
            if rules.quiet.is_none() {
                for values in groups {
                    let key = (record.route.clone(), to.clone(), values);
                    if let Some(last) = self.by_group.insert(key, made) {
                        assert!(
                            made - last >= group.interval,
                            "a group goes out twice within its interval"
                        );
                    }
                }
            }
        }
        if let Some(pace) = rules.pace {
            let all = self.by_route.entry(record.route.clone()).or_default();
            all.push(made);
            let within = all
                .iter()
                .filter(|at| made.saturating_duration_since(**at) < SECOND * 60)
                .count();
            let most = pace.per_minute + pace.burst;
            assert!(within <= most as usize, "{within} messages in a minute: {pace:?}");
        }
    }

    fn accept(&mut self) {
        let count = if self.random.one_in(8) {
            30
        } else {
            1 + self.random.below(3)
        };
        let alerts = (0..count).map(|_| {
            self.named += 1;
            NewAlert {
                follows: None,
                id: format!("A{}", self.named),
                alert: Alert {
                    title: format!("title {}", self.random.below(2)),
                    text: format!("text {}", self.named),
                    priority: Priority::try_from(self.random.below(5) as u8 + 1).unwrap(),
                    status: self.random.of(&[Status::Firing, Status::Resolved]),
                    sequence: self.random.one_in(2).then(|| format!("s{}", self.random.below(5))),
                    labels: [("kind".to_owned(), format!("{}", self.random.below(7)))].into(),
                    ..Alert::default()
                },
            }
        });
        let alerts = alerts.collect();
        let mut to: BTreeSet<u64> = (0..=self.random.below(2)).map(|_| self.random.below(3)).collect();
        to.insert(self.random.below(3));
        let request = AcceptRequest {
            route: self.random.of(&ROUTES).parse().unwrap(),
            session: session(),
            alerts,
            to: to.into_iter().map(recipient).collect(),
        };
        if let Ok(accepted) = self.outbox.accept(self.now, request) {
            let new = accepted.iter().filter_map(Accepted::new_seq);
            let records: Vec<AlertRecord> = new.map(|seq| self.outbox.record(seq).unwrap().clone()).collect();
            for record in &records {
                let at_once = record.deliveries.iter().all(|delivery| delivery.message_id.is_some());
                assert!(
                    at_once || record.alert.priority < Priority::Max,
                    "an urgent one is held"
                );
            }
            self.writing.extend(records);
        }
        self.drain();
    }

    /// The shell accepts what the outbox has asked for.
    fn follow_up(&mut self) {
        let Some((route, alert, follows)) = self.asked.pop_front() else {
            return;
        };
        self.named += 1;
        let request = AcceptRequest {
            route,
            session: session(),
            to: vec![recipient(0), recipient(1)],
            alerts: vec![NewAlert {
                id: format!("A{}", self.named),
                alert,
                follows: Some(follows.clone()),
            }],
        };
        match self
            .outbox
            .accept(self.now, request)
            .map(|mut accepted| accepted.remove(0))
        {
            Ok(Accepted::New { seq }) => self.writing.push(self.outbox.record(seq).unwrap().clone()),
            Ok(Accepted::Duplicate { durable: false, .. }) | Err(_) => {}
            Ok(Accepted::Duplicate { .. } | Accepted::Forgotten { .. }) => {
                self.outbox.handle(self.now, Input::Followed { follows });
            }
        }
        self.drain();
    }

    fn acknowledge(&mut self) {
        let kept: Vec<String> = self
            .outbox
            .list(false, 50)
            .iter()
            .map(|record| record.id.clone())
            .collect();
        if !kept.is_empty() {
            let id = &kept[self.random.below(kept.len() as u64) as usize];
            self.outbox.ack(self.now, id, "somebody").unwrap();
            self.drain();
        }
    }

    fn disk_answers(&mut self) {
        if self.writing.is_empty() {
            return;
        }
        let index = self.random.below(self.writing.len() as u64) as usize;
        let record = self.writing.swap_remove(index);
        let seq = record.seq;
        if self.random.one_in(20) && !self.calm {
            return self.handle(Input::NotDurable { seq });
        }
        self.written(record);
        self.handle(Input::Durable { seq });
    }

    fn written(&mut self, record: AlertRecord) {
        self.durable.insert(record.seq, record.clone());
        self.disk.insert(record.seq, record);
    }

    fn write(&mut self, record: AlertRecord) {
        let acked = |record: &AlertRecord| record.attention.acked.clone();
        let before = self.disk.get(&record.seq).and_then(acked);
        assert!(
            before.is_none() || before == acked(&record),
            "acknowledged twice: {record:?}"
        );
        let by_word = acked(&record)
            .and_then(|ack| ack.answer)
            .filter(|it| it.how == AnswerKind::Text);
        self.disk.insert(record.seq, record);
        if let Some(answer) = by_word {
            let firsts = self.acknowledged_by(&answer.id);
            assert!(firsts.len() <= 1, "one word acknowledges {firsts:?}");
        }
    }

    fn write_one(&mut self) {
        if let Some((record, made)) = self.unwritten.pop_front() {
            let seq = record.seq;
            self.write(record);
            for message_id in made {
                self.handle(Input::MessageDurable { message_id, seq });
            }
        } else if let Some((seq, key)) = self.forgets.pop_front() {
            self.disk.remove(&seq);
            self.disk_keys.extend(key.map(|key| (seq, key)));
        }
    }

    fn carry(&mut self) {
        let Some(message) = self.outward.pop_front() else {
            return;
        };
        let (to, message_id) = (message.recipient, message.id);
        if self.random.one_in(8) && !self.calm {
            let failure = SendFailure::Path("broken".to_owned());
            return self.inward.push(Input::SendFailed { message_id, failure });
        }
        if self.random.one_in(10) && !self.calm {
            let error = Some(self.random.of(&["503", "429", "463"]).to_owned());
            let session = session();
            return self.inward.push(Input::ServerAck {
                session,
                message_id,
                error,
            });
        }
        let seqs = self.sent[&message_id].iter().map(|seq| (*seq, to.clone())).collect();
        self.shown.entry(message_id.clone()).or_insert(seqs);
        let ack = Input::ServerAck {
            session: session(),
            message_id: message_id.clone(),
            error: None,
        };
        let receipt = Input::Receipt {
            session: session(),
            message_id,
            kind: ReceiptKind::Delivered,
            from: vec![to],
        };
        for input in [ack, receipt] {
            if self.calm || !self.random.one_in(4) {
                self.inward.push(input);
            }
        }
    }

    fn answer(&mut self) {
        if !self.inward.is_empty() {
            let index = self.random.below(self.inward.len() as u64) as usize;
            let input = self.inward.swap_remove(index);
            self.handle(input);
        }
    }

    fn line(&mut self, up: bool) {
        if up == self.up {
            return;
        }
        self.up = up;
        if !up {
            self.outward.clear();
            self.marks.outward.clear();
        }
        self.handle(match up {
            true => Input::SessionUp(session()),
            false => Input::SessionDown(session()),
        });
    }

    /// Killed and started again, some times with other rules.
    fn restart(&mut self) {
        self.up = false;
        self.outward.clear();
        self.inward.clear();
        self.asked.clear();
        self.marks.outward.clear();
        self.answers.iter_mut().for_each(|answer| answer.came = false);
        for _ in 0..self.random.below(self.unwritten.len() as u64 + 1) {
            if let Some((record, _)) = self.unwritten.pop_front() {
                self.write(record);
            }
        }
        self.unwritten.clear();
        self.forgets.clear();
        for record in std::mem::take(&mut self.writing) {
            if self.random.one_in(2) {
                self.written(record);
            }
        }
        // What the disk does not know of is decided anew.
        let disk = &self.disk;
        self.superseded.retain(|(seq, to)| {
            let mut deliveries = disk.get(seq).into_iter().flat_map(|record| &record.deliveries);
            deliveries.all(|delivery| delivery.recipient != *to || delivery.step == Step::Superseded)
        });
        if self.random.one_in(2) {
            self.rules = rules(&mut self.random);
            self.forget_limits();
        }
        let seed = self.random.below(u64::MAX);
        self.outbox = outbox(&self.rules, seed, &self.drawn);
        self.outbox.restore_keys(self.now, self.disk_keys.values().cloned());
        self.outbox.restore(self.now, self.disk.values().cloned());
        self.outbox
            .skip_to(self.durable.keys().max().copied().unwrap_or_default());
        self.drain();
    }

    fn forget_limits(&mut self) {
        self.made.clear();
        self.by_group.clear();
        self.by_route.clear();
    }

    fn clock_steps(&mut self) {
        let by = self.random.below(10 * HOUR_MS) as i64 - 5 * HOUR_MS as i64;
        self.now.wall.0 = self.now.wall.0.saturating_add_signed(by);
        self.forget_limits();
        self.handle(Input::ClockStepped);
    }

    fn advance(&mut self, by: Duration) {
        self.now.mono += by;
        self.now.wall.0 += by.as_millis() as u64;
        self.outbox.handle_timeout(self.now);
        let next = self.outbox.poll_timeout();
        assert!(
            next.is_none_or(|(at, _)| at > self.now.mono),
            "a deadline that passed stands still: {next:?}"
        );
        self.drain();
    }

    fn time_passes(&mut self, most: Duration) {
        if let Some((at, _)) = self.outbox.poll_timeout() {
            self.advance(at.saturating_duration_since(self.now.mono).min(most));
        }
    }

    fn turn(&mut self) {
        match self.random.below(60) {
            0..=5 => self.accept(),
            6..=19 => self.disk_answers(),
            20..=27 => self.carry(),
            28..=37 => self.answer(),
            38..=41 => self.line(true),
            42 => self.line(false),
            43 => self.restart(),
            44..=51 => self.write_one(),
            54 => self.follow_up(),
            55 if self.random.one_in(3) => self.acknowledge(),
            55 => self.somebody_answers(),
            56 => self.answer_comes(),
            57 => self.carry_mark(),
            58 => self.ack_answers(),
            52 if self.random.one_in(4) => self.clock_steps(),
            53 => {
                let by = Duration::from_secs(self.random.below(2 * 3600));
                self.advance(by);
            }
            _ => self.time_passes(SECOND * 40),
        }
    }

    /// No more faults: everything comes to an end, at the latest after the night.
    fn settle(&mut self) {
        self.calm = true;
        self.line(true);
        for _ in 0..60_000 {
            if self.outbox.pending_len() == 0 && self.writing.is_empty() && self.all_marked() {
                return;
            }
            self.follow_up();
            self.disk_answers();
            self.write_one();
            self.carry();
            self.answer();
            self.answer_comes();
            self.ack_answers();
            self.carry_mark();
            let busy = !self.asked.is_empty()
                || !self.unwritten.is_empty()
                || !self.outward.is_empty()
                || !self.inward.is_empty();
            if !busy {
                self.time_passes(SECOND * 300);
            }
        }
        panic!("{} alerts never got out", self.outbox.pending_len());
    }

    /// Somebody has said more about it: a later alert, or it is the end of what was not told.
    fn on_superseded(&mut self, seq: u64, to: Recipient) {
        if self.superseded.insert((seq, to.clone())) {
            self.check_superseded(&self.durable[&seq], &to);
        }
    }

    fn check_superseded(&self, record: &AlertRecord, to: &Recipient) {
        // Somebody has acknowledged it first.
        if record.attention.follows.is_some() {
            return;
        }
        let alert = &record.alert;
        let same = self.durable.values().filter(|other| {
            let names = other.deliveries.iter().any(|delivery| delivery.recipient == *to);
            other.seq != record.seq && other.route == record.route && other.alert.sequence == alert.sequence && names
        });
        let (mut later, mut untold) = (false, false);
        let mut others = Vec::new();
        for other in same {
            others.push((
                other.seq,
                &other.id,
                other.alert.status,
                self.carried.get(&(other.seq, to.clone())),
            ));
            later |= other.seq > record.seq;
            let was_told = self.carried.contains_key(&(other.seq, to.clone()));
            untold |= other.seq < record.seq && !was_told && other.alert.status == Status::Firing;
        }
        let is_end = alert.status == Status::Resolved;
        let may = alert.sequence.is_some() && (later || is_end && untold);
        assert!(may, "superseded by nothing of {others:?}: {record:?}");
    }

    fn check(&self) {
        let mut shown: BTreeMap<(u64, Recipient), usize> = BTreeMap::new();
        for key in self.shown.values().flatten() {
            *shown.entry(key.clone()).or_default() += 1;
        }
        let mut followed = BTreeSet::new();
        for (seq, accepted) in &self.durable {
            let to_any = |to: &Recipient| shown.contains_key(&(*seq, to.clone()));
            let was_shown = accepted.deliveries.iter().any(|delivery| to_any(&delivery.recipient));
            if let Some(Follows { id, what }) = accepted.attention.follows.as_ref().filter(|_| was_shown) {
                let number = match what {
                    FollowUp::Repeat { number, .. } => *number,
                    FollowUp::Escalation { .. } => 0,
                };
                assert!(followed.insert((id, number)), "{what:?} of {id} twice");
            }
            for delivery in &accepted.deliveries {
                let key = (*seq, delivery.recipient.clone());
                let times = shown.remove(&key).unwrap_or_default();
                let lost = times == 0 && !self.dropped.contains(&key) && !self.superseded.contains(&key);
                assert!(!lost, "alert {seq} to {} is lost", key.1);
                assert!(times <= 1, "alert {seq} to {} is shown {times} times", key.1);
            }
        }
        // What a kill took before its sender was told may be shown: it was on the disk.
        assert!(shown.is_empty(), "shown and never accepted: {shown:?}");
    }
}

/// One history.
///
/// # Errors
/// What was violated.
pub fn run(seed: u64) -> Result<(), String> {
    let history = || {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.turn();
        }
        world.settle();
        world.check();
    };
    catch_unwind(AssertUnwindSafe(history)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}
