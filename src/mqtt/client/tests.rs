use super::*;
use crate::mqtt::topic;
use crate::mqtt::wire::Writer;

const KEEP_ALIVE: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    let says = |word: &str| Message {
        topic: topic::status("box"),
        payload: word.as_bytes().to_vec(),
        retain: true,
        ..Message::default()
    };
    Settings {
        version: None,
        client_id: "tautline-box".into(),
        keep_alive: KEEP_ALIVE,
        session_expiry: Duration::from_secs(3600),
        qos: 1,
        subscriptions: vec![Subscription {
            filter: topic::PUBLISH_FILTER.into(),
            qos: 1,
        }],
        will: says("offline"),
        birth: says("online"),
        redial: RedialSchedule {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
            useful: Duration::from_secs(60),
            per_hour_max: 240,
        },
    }
}

/// A client in virtual time, and what it has said on this connection.
struct Place {
    client: Client,
    now: Instant,
    written: Vec<u8>,
    delivered: Vec<Delivered>,
    dials: usize,
    closed: usize,
    ends: Vec<Cause>,
}

impl Place {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self {
            client: Client::new(now, settings, 7),
            now,
            written: Vec::new(),
            delivered: Vec::new(),
            dials: 0,
            closed: 0,
            ends: Vec::new(),
        }
    }

    /// One whose connection the broker has taken.
    fn online() -> Self {
        let mut place = Self::new(settings());
        place.connect(&CONNACK);
        place
    }

    fn connect(&mut self, connack: &[u8]) {
        self.run_until_dial();
        self.tell(Input::Dialled(Login::default()));
        assert_eq!(self.written[0], 0x10);
        self.hear(connack);
    }

    fn run_until_dial(&mut self) {
        let before = self.dials;
        while self.dials == before {
            let (at, reason) = self.client.poll_timeout().expect("there is a next attempt");
            assert_eq!(reason, Reason::Redial);
            self.now = self.now.max(at);
            self.due();
        }
    }

    fn due(&mut self) {
        self.client.handle_timeout(self.now);
        self.take();
    }

    fn tell(&mut self, input: Input<'_>) {
        self.client.handle(self.now, input);
        self.take();
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.tell(Input::Received(bytes));
    }

    fn take(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Dial => {
                    self.dials += 1;
                    self.written.clear();
                }
                Output::Write(bytes) => self.written.extend(bytes),
                Output::Close => self.closed += 1,
                Output::Deliver(delivered) => self.delivered.push(delivered),
                Output::Up => {}
                Output::Ended(cause) => self.ends.push(cause),
            }
        }
    }

    fn settle(&mut self, at: usize, code: u8) {
        let delivery = self.delivered[at].delivery;
        self.tell(Input::Settled {
            delivery,
            code,
            answer: None,
        });
    }

    /// The packets written since the last look that are of this kind, by the number in them.
    fn pubacks(&mut self) -> Vec<u16> {
        let mut frames = Frames::default();
        frames.push(&std::mem::take(&mut self.written));
        let mut numbers = Vec::new();
        while let Some(frame) = frames.next().expect("whole packets") {
            if frame.first == 0x40 {
                numbers.push(u16::from_be_bytes([frame.body[0], frame.body[1]]));
            }
        }
        numbers
    }
}

const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

fn refusal(code: u8) -> [u8; 5] {
    [0x20, 3, 0, code, 0]
}

fn message(first: u8, packet: u16, payload: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bytes(b"tautline/family/publish");
    if first & 6 != 0 {
        writer.u16(packet);
    }
    writer.u8(0);
    writer.0.extend_from_slice(payload.as_bytes());
    writer.packet(first)
}

const SUBACK: [u8; 6] = [0x90, 4, 0, 1, 0, 1];

#[test]
fn a_message_is_acknowledged_when_it_is_taken_and_in_the_order_in_which_it_came() {
    let mut place = Place::online();
    place.hear(&SUBACK);
    place.written.clear();
    for packet in [10, 11, 12] {
        place.hear(&message(0x32, packet, "x"));
    }
    assert_eq!((place.delivered.len(), place.pubacks()), (3, vec![]));
    place.settle(1, 0);
    assert!(place.pubacks().is_empty());
    place.settle(0, 0);
    assert_eq!(place.pubacks(), [10, 11]);
    // Once is enough.
    place.settle(0, 0);
    place.settle(2, 0x90);
    assert_eq!(place.written, [0x40, 3, 0, 12, 0x90]);
    assert_eq!(place.client.open(), 0);
}

#[test]
fn an_answer_goes_before_the_acknowledgement() {
    let mut place = Place::online();
    place.hear(&message(0x32, 10, "x"));
    place.written.clear();
    let delivery = place.delivered[0].delivery;
    let answer = Message {
        topic: "answers".into(),
        payload: b"id".to_vec(),
        ..Message::default()
    };
    place.tell(Input::Settled {
        delivery,
        code: 0,
        answer: Some(answer),
    });
    assert!(place.written.starts_with(&[0x32]) && place.written.ends_with(&[0x40, 2, 0, 10]));
}

#[test]
fn what_an_earlier_connection_brought_is_not_acknowledged_on_the_next() {
    let mut place = Place::online();
    place.hear(&message(0x32, 10, "x"));
    place.tell(Input::Closed("gone".into()));
    place.connect(&[0x20, 3, 1, 0, 0]);
    place.written.clear();
    place.settle(0, 0);
    assert!(place.pubacks().is_empty());
    // The broker sends it again.
    place.hear(&message(0x3A, 10, "x"));
    assert!(place.delivered[1].publish.repeated);
    place.settle(1, 0);
    assert_eq!(place.pubacks(), [10]);
}

#[test]
fn what_the_broker_had_kept_is_no_news() {
    let mut place = Place::online();
    place.hear(&message(0x32, 10, "news"));
    place.written.clear();
    place.hear(&message(0x33, 11, "old"));
    place.hear(&message(0x31, 0, "old"));
    assert_eq!((place.delivered.len(), place.client.retained_ignored()), (1, 2));
    // In order: the one before it is not through.
    assert!(place.pubacks().is_empty());
    place.settle(0, 0);
    assert_eq!(place.pubacks(), [10, 11]);
}

#[test]
fn a_message_that_is_said_again_on_the_same_connection_is_taken_once() {
    let mut place = Place::online();
    place.hear(&message(0x32, 10, "x"));
    place.hear(&message(0x3A, 10, "x"));
    assert_eq!(place.delivered.len(), 1);
    place.written.clear();
    place.settle(0, 0);
    assert_eq!(place.pubacks(), [10]);
    // The number may be used again then.
    place.hear(&message(0x32, 10, "another"));
    assert_eq!(place.delivered.len(), 2);
}

#[test]
fn no_more_is_read_than_can_be_taken_and_nothing_is_lost_of_what_waits() {
    let mut place = Place::online();
    place.hear(&SUBACK);
    let flood: Vec<u8> = (1..=100).flat_map(|packet| message(0x32, packet, "x")).collect();
    place.hear(&flood);
    let most = usize::from(OPEN_MAX);
    assert_eq!(place.delivered.len(), most);
    assert!(!place.client.wants_bytes());
    for at in 0..100 {
        place.settle(at, 0);
    }
    assert_eq!(place.delivered.len(), 100);
    assert!(place.client.wants_bytes() && place.client.open() == 0);
    let payloads = place.delivered.iter().map(|delivered| delivered.publish.packet);
    assert!(payloads.eq((1..=100).map(Some)));
}

#[test]
fn a_broker_that_is_silent_is_left_after_the_deadline_of_the_ping() {
    let mut place = Place::online();
    place.hear(&SUBACK);
    let (at, reason) = place.client.poll_timeout().unwrap();
    assert_eq!((at, reason), (place.now + KEEP_ALIVE, Reason::Ping));
    // Traffic is no answer to a question, and puts no ping off.
    place.now = at - Duration::from_secs(1);
    place.hear(&message(0x30, 0, "x"));
    place.written.clear();
    place.now = at;
    place.due();
    assert_eq!(place.written, packet::PINGREQ);
    let (late, reason) = place.client.poll_timeout().unwrap();
    assert_eq!((late, reason), (at + PONG_MAX, Reason::Pong));
    place.now = late;
    place.due();
    assert_eq!(place.ends, [Cause::Late(Reason::Pong)]);
    assert!(matches!(place.client.state(), State::Waiting { .. }));
}

#[test]
fn a_ping_that_is_answered_keeps_the_connection_and_starts_the_pauses_over() {
    let mut place = Place::new(settings());
    for _ in 0..4 {
        place.run_until_dial();
        place.tell(Input::Failed(Cause::Dial("no".into())));
    }
    place.connect(&CONNACK);
    place.hear(&SUBACK);
    assert_eq!(place.client.failures(), 4);
    for _ in 0..1000 {
        let (at, reason) = place.client.poll_timeout().unwrap();
        assert_eq!(reason, Reason::Ping);
        place.now = at;
        place.due();
        place.now += Duration::from_millis(20);
        place.hear(&[0xD0, 0]);
    }
    assert_eq!((place.client.failures(), place.closed), (0, 4));
}

#[test]
fn the_broker_may_want_to_hear_from_us_more_often() {
    let mut place = Place::new(settings());
    place.connect(&[0x20, 6, 0, 0, 3, 0x13, 0, 10]);
    place.hear(&SUBACK);
    let (at, reason) = place.client.poll_timeout().unwrap();
    assert_eq!((at - place.now, reason), (Duration::from_secs(10), Reason::Ping));
}

#[test]
fn while_nothing_is_read_no_answer_is_late_and_the_broker_still_hears_of_us() {
    let mut place = Place::online();
    place.hear(&SUBACK);
    let flood: Vec<u8> = (1..=40).flat_map(|packet| message(0x32, packet, "x")).collect();
    place.hear(&flood);
    for _ in 0..20 {
        let (at, reason) = place.client.poll_timeout().unwrap();
        assert_eq!(reason, Reason::Ping);
        place.written.clear();
        place.now = at;
        place.due();
        assert_eq!(place.written, packet::PINGREQ);
    }
    // The disk is back, after ten minutes. From now on the answer has its time.
    for at in 0..40 {
        place.settle(at, 0);
    }
    let (at, reason) = place.client.poll_timeout().unwrap();
    assert_eq!((at, reason), (place.now + PONG_MAX, Reason::Pong));
    place.hear(&[0xD0, 0]);
    assert_eq!(place.client.poll_timeout().unwrap().1, Reason::Ping);
    assert_eq!(place.ends, []);
}

#[test]
fn every_step_has_a_deadline() {
    let mut place = Place::new(settings());
    place.run_until_dial();
    for reason in [Reason::Dial, Reason::Connack, Reason::Suback] {
        let (at, found) = place.client.poll_timeout().unwrap();
        assert_eq!(found, reason);
        place.now = at;
        place.due();
        assert_eq!(place.ends.last(), Some(&Cause::Late(reason)));
        place.run_until_dial();
        place.tell(Input::Dialled(Login::default()));
        if reason == Reason::Connack {
            place.hear(&CONNACK);
        }
    }
}

#[test]
fn a_broker_that_knows_only_the_older_version_is_spoken_to_in_that() {
    for connack in [&[0x20, 2, 0, 1][..], &refusal(0x84)] {
        let mut place = Place::new(settings());
        place.connect(connack);
        assert_eq!(place.ends, [Cause::Older]);
        let before = place.now;
        place.run_until_dial();
        assert_eq!(place.now, before);
        place.tell(Input::Dialled(Login::default()));
        assert_eq!(place.written[8], 4);
        place.hear(&[0x20, 2, 0, 0]);
        assert!(matches!(
            place.client.state(),
            State::Online {
                version: Version::V3,
                ..
            }
        ));
    }
    // Who has asked for 5 gets 5 or nothing.
    let mut place = Place::new(Settings {
        version: Some(Version::V5),
        ..settings()
    });
    place.connect(&refusal(0x84));
    assert!(matches!(place.ends[..], [Cause::Refused { code: 0x84, .. }]));
}

#[test]
fn what_only_a_person_can_mend_is_tried_seldom() {
    for (end, seldom) in [
        (refusal(0x86), true),
        (refusal(0x85), true),
        (refusal(0x88), false),
        (refusal(0x89), false),
    ] {
        let mut place = Place::new(settings());
        place.connect(&end);
        let (at, _) = place.client.poll_timeout().unwrap();
        assert_eq!(at - place.now >= Duration::from_secs(45), seldom, "{end:?}");
    }
    // Two clients of one id must not throw each other out at once and for ever.
    let mut place = Place::online();
    place.hear(&[0xE0, 1, 0x8E]);
    let (at, _) = place.client.poll_timeout().unwrap();
    assert!(at - place.now >= Duration::from_secs(45));
    assert!(place.ends[0].to_string().contains("same client id"));
}

#[test]
fn pauses_grow_to_a_minute_and_are_never_a_storm() {
    let mut place = Place::new(settings());
    let begin = place.now;
    for _ in 0..8 {
        place.run_until_dial();
        place.tell(Input::Failed(Cause::Dial("no".into())));
    }
    let (at, _) = place.client.poll_timeout().unwrap();
    assert!((Duration::from_secs(45)..=Duration::from_secs(75)).contains(&(at - place.now)));
    // A broker that takes the connection and closes it is no better than one that does not take it.
    let mut dials = 0;
    while place.now < begin + Duration::from_secs(3600) {
        place.connect(&CONNACK);
        place.tell(Input::Closed("bye".into()));
        dials += 1;
    }
    assert!((55..=90).contains(&dials), "{dials}");
    // The path is another one: not before the brake allows it, and soon.
    place.tell(Input::PathChanged);
    let (at, _) = place.client.poll_timeout().unwrap();
    assert!(at - place.now <= Duration::from_secs(2));
}

#[test]
fn hostile_bytes_cost_the_connection_and_nothing_else() {
    let hostile: [&[u8]; 9] = [
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x34, 5, 0, 1, b'a', 0, 1],
        &[0x20, 3, 0, 0, 0],
        &[0x90, 1, 0],
        &[0x30, 3, 0, 9, b'a'],
        &[0x32, 5, 0, 1, b'a', 0, 0],
        &[0x10, 0],
        &[0x30, 4, 0, 1, b'#', 0],
        &[0xFF, 0],
    ];
    for bytes in hostile {
        let mut place = Place::online();
        place.hear(&message(0x32, 10, "x"));
        place.hear(bytes);
        // What follows is not looked at.
        place.hear(&message(0x32, 11, "y"));
        assert!(
            matches!(place.ends[..], [Cause::Protocol(_)]),
            "{bytes:?}: {:?}",
            place.ends
        );
        assert_eq!(place.delivered.len(), 1);
        place.connect(&CONNACK);
        place.hear(&SUBACK);
        assert!(matches!(place.client.state(), State::Online { .. }));
    }
}

#[test]
fn a_topic_that_the_broker_does_not_deliver_is_told() {
    let mut place = Place::online();
    place.hear(&[0x90, 4, 0, 1, 0, 0x87]);
    let State::Online { refused, .. } = place.client.state() else {
        panic!("it is offline");
    };
    assert_eq!(refused, ["tautline/+/publish: not authorized"]);
}

#[test]
fn what_is_published_waits_for_the_broker_within_its_bounds() {
    let mut place = Place::new(settings());
    // Two at a time.
    place.connect(&[0x20, 6, 0, 0, 3, 0x21, 0, 2]);
    place.written.clear();
    let say = |place: &mut Place| {
        let message = Message {
            topic: "t".into(),
            ..Message::default()
        };
        place.tell(Input::Publish(message));
    };
    for _ in 0..1000 {
        say(&mut place);
    }
    assert_eq!(place.written, [0x32, 6, 0, 1, b't', 0, 3, 0]);
    assert_eq!(place.client.waiting.len(), WAITING_MAX);
    place.written.clear();
    place.hear(&[0x40, 2, 0, 3]);
    assert_eq!(place.written, [0x32, 6, 0, 1, b't', 0, 4, 0]);
    // Without a connection it is forgotten.
    place.tell(Input::Closed("gone".into()));
    say(&mut place);
    assert_eq!(place.client.waiting.len(), 0);
}

#[test]
fn a_stop_says_goodbye_and_nothing_follows() {
    let mut place = Place::online();
    place.written.clear();
    place.tell(Input::Stop);
    let text = String::from_utf8_lossy(&place.written).into_owned();
    assert!(
        text.contains("offline") && place.written.ends_with(packet::DISCONNECT),
        "{text:?}"
    );
    assert_eq!(
        (place.client.state(), place.client.poll_timeout()),
        (State::Stopped, None)
    );
    for input in [Input::Closed("x".into()), Input::Failed(Cause::Older), Input::Stop] {
        place.tell(input);
    }
    assert_eq!(place.client.state(), State::Stopped);
}

/// A broker with a session that survives connections: it delivers what is not acknowledged, again where it did before,
/// and is cut at any byte. Each message is acknowledged after it was settled, and in the end all are.
#[test]
fn whatever_is_cut_every_message_is_settled_before_it_is_acknowledged_and_none_is_forgotten() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut place = Place::new(settings());
        let mut waiting: VecDeque<(u16, bool)> = (1..=60).map(|packet| (packet, false)).collect();
        let mut settled = BTreeSet::new();
        for _ in 0..2000 {
            if waiting.is_empty() {
                break;
            }
            place.connect(&[0x20, 3, 1, 0, 0]);
            place.hear(&SUBACK);
            let stream: Vec<u8> = waiting
                .iter_mut()
                .flat_map(|(packet, sent)| {
                    let first = if std::mem::replace(sent, true) { 0x3A } else { 0x32 };
                    message(first, *packet, "x")
                })
                .collect();
            let cut = random.usize(..=stream.len());
            place.written.clear();
            for piece in stream[..cut].chunks(random.usize(1..200)) {
                place.hear(piece);
                // Some of what is delivered is on disk by now.
                for _ in 0..random.usize(..4) {
                    if place.delivered.is_empty() {
                        break;
                    }
                    let at = random.usize(..place.delivered.len());
                    let delivered = place.delivered.swap_remove(at);
                    settled.insert(delivered.publish.packet.unwrap());
                    place.tell(Input::Settled {
                        delivery: delivered.delivery,
                        code: 0,
                        answer: None,
                    });
                }
                for packet in place.pubacks() {
                    assert!(settled.contains(&packet), "seed {seed}: {packet} is not settled");
                    assert_eq!(
                        waiting.pop_front().map(|(packet, _)| packet),
                        Some(packet),
                        "seed {seed}"
                    );
                }
            }
            place.tell(Input::Closed("cut".into()));
        }
        assert!(waiting.is_empty(), "seed {seed}: {waiting:?}");
    }
}
