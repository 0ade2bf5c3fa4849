//! Chance, and the rules and names that it draws.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use tautline::alert::{Priority, Recipient, RouteName, SessionName};
use tautline::outbox::{AckRules, Escalate, Group, Pace, Quiet, Repeat, RouteRules, Rules, Then};

pub const ROUTES: [&str; 3] = ["family", "ops", "plain"];

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn of<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize]
    }
}

pub fn session() -> SessionName {
    "default".parse().unwrap()
}

pub fn recipient(number: u64) -> Recipient {
    format!("+1555010{number:04}").parse().unwrap()
}

pub fn rules(random: &mut Random) -> Rules {
    let route = |random: &mut Random, name: &str| {
        let group = Group {
            by: random
                .of(&[&[][..], &["kind"], &["title", "kind"]])
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            wait: Duration::from_secs(random.of(&[0, 0, 30])),
            interval: Duration::from_secs(random.of(&[60, 300])),
            max: random.of(&[1, 3, 20]),
        };
        let quiet = Quiet {
            from: Time::constant(random.of(&[20, 22, 23]), 30, 0, 0),
            to: Time::constant(random.of(&[5, 6, 7]), 15, 0, 0),
            below: random.of(&[Priority::Default, Priority::High, Priority::Max]),
            then: random.of(&[Then::Digest, Then::Digest, Then::Drop]),
        };
        let pace = Pace {
            per_minute: random.of(&[1, 6, 60]),
            burst: random.of(&[1, 3, 10]),
        };
        let repeat = Repeat {
            every: Duration::from_secs(random.of(&[60, 600])),
            times: random.of(&[1, 3]),
            from: random.of(&[Priority::High, Priority::Max]),
        };
        let escalate = Escalate {
            after: Duration::from_secs(random.of(&[300, 1800])),
            to: "plain".parse().unwrap(),
            from: random.of(&[Priority::High, Priority::Max]),
        };
        let rules = RouteRules {
            mark_late: None,
            group: random.one_in(2).then_some(group),
            quiet: random.one_in(2).then_some(quiet),
            pace: random.one_in(2).then_some(pace),
            repeat: random.one_in(3).then_some(repeat),
            escalate: random.one_in(3).then_some(escalate),
            acks: AckRules {
                from: random.one_in(3).then(|| vec![recipient(1), Recipient::Me]),
                ..AckRules::default()
            },
            ..RouteRules::default()
        };
        (name.parse().unwrap(), rules)
    };
    let mut routes: BTreeMap<RouteName, RouteRules> = ROUTES.iter().map(|name| route(random, name)).collect();
    // One has none of them.
    let plain = RouteRules {
        mark_late: None,
        ..RouteRules::default()
    };
    routes.insert("plain".parse().unwrap(), plain);
    Rules {
        routes,
        time_zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(),
    }
}
