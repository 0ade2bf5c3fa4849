//! Sudden deaths, again and again, at moments that nobody chose.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::bench::{Bench, publish};
use crate::support::{Relay, SOON, Site};

const DEATHS: usize = 20;
/// From a fresh start to somewhere in the work: starting, logging in and sending all fall into it.
const LIFE_MS_MAX: u64 = 400;

/// A stop takes a tenth of a second. One that waits for something that does not come takes ten seconds, the time of the
/// library's goodbye, or more; what lies between is a busy machine.
const QUICK: Duration = Duration::from_secs(8);

/// Publishes until the relay is gone; what it said 200 to.
fn publish_until_death(relay: &Relay, death: usize) -> Vec<(String, String)> {
    let mut accepted = Vec::new();
    for number in 0.. {
        let text = format!("alert {death}.{number}");
        match relay.try_http("POST", "/friend", &[], text.as_bytes()) {
            Ok(answer) if answer.status == 200 => {
                let id = serde_json::from_str::<serde_json::Value>(&answer.body).map(|json| json["id"].to_string());
                accepted.push((text, id.unwrap_or_default()));
            }
            // Cut off in the middle of an answer: it may be there or not.
            _ => break,
        }
    }
    accepted
}

#[test]
fn twenty_kills_at_random_moments_lose_and_double_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (bench, first) = Bench::online();
    assert_eq!(first.stop(), 0);
    let mut accepted: Vec<String> = Vec::new();
    for death in 0..DEATHS {
        let relay = bench.site.start();
        let life = Duration::from_millis(random.u64(0..LIFE_MS_MAX));
        let (done, killed) = mpsc::channel::<()>();
        let pid = rustix::process::Pid::from_raw(i32::try_from(relay.pid()).unwrap()).unwrap();
        let texts = std::thread::scope(|scope| {
            scope.spawn(move || {
                // The wait is the test: a life of this length, unless the publisher gives up first.
                let _ = killed.recv_timeout(life);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            });
            let texts = publish_until_death(&relay, death);
            drop(done);
            texts
        });
        relay.kill();
        accepted.extend(texts.into_iter().map(|(text, _)| text));
    }
    let relay = bench.site.start();
    let last = relay.publish("friend", "last");
    relay.wait_step(&last, "delivered");
    let received = bench.friend.received();
    let mut ids = HashMap::new();
    let mut texts: HashMap<&str, usize> = HashMap::new();
    for message in &received {
        *ids.entry(message.id.as_str()).or_insert(0usize) += 1;
        *texts.entry(message.text.as_str()).or_default() += 1;
    }
    assert!(ids.values().all(|count| *count == 1), "seed {seed}: {ids:?}");
    for text in &accepted {
        assert_eq!(texts.get(text.as_str()), Some(&1), "seed {seed}: {text}");
    }
    // In the order of acceptance; what was cut off in the middle may stand between.
    let places: Vec<_> = accepted
        .iter()
        .map(|text| received.iter().position(|message| message.text == *text))
        .collect();
    assert!(places.is_sorted(), "seed {seed}: {places:?}");
    println!("{} accepted, {} received", accepted.len() + 1, received.len());
    bench.assert_quiet();
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_stop_is_quick_and_loses_nothing() {
    let (bench, mut relay) = Bench::online();
    let mut accepted = Vec::new();
    for round in 0..5 {
        for number in 0..10 {
            publish(&relay, &mut accepted, format!("alert {round}.{number}"));
        }
        let asked = Instant::now();
        assert_eq!(relay.stop(), 0);
        let took = asked.elapsed();
        println!("stopped in {took:.1?}");
        assert!(took < QUICK, "{took:?}");
        relay = bench.site.start();
    }
    bench.assert_each_once_in_order(&accepted);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_stop_is_quick_whatever_the_line_does() {
    type Strike = fn(&crate::lab::Faults);
    let strikes: [(&str, Strike); 4] = [
        ("frozen", |faults| faults.freeze()),
        ("refused", |faults| {
            faults.refuse_tcp(true);
            faults.cut_rst();
        }),
        ("mute", |faults| {
            faults.mute_handshake(true);
            faults.cut_rst();
        }),
        ("zombie", |faults| faults.zombie(true)),
    ];
    crate::bench::side_by_side(
        &strikes,
        |strike| strike.0,
        |(name, strike)| {
            let (bench, relay) = Bench::online();
            strike(bench.lab.faults());
            let alert = relay.publish("friend", "kept");
            if *name == "mute" {
                let upgrades = bench.lab.counters().upgrades;
                assert!(bench.lab.wait_until(SOON, |lab| lab.counters().upgrades > upgrades));
            }
            let asked = Instant::now();
            assert_eq!(relay.stop(), 0);
            let took = asked.elapsed();
            println!("{name}: stopped in {took:.1?}");
            assert!(took < QUICK, "{name}: {took:?}");
            bench.lab.faults().calm();
            let relay = bench.site.start();
            relay.wait_step(&alert, "delivered");
            bench.assert_each_once_in_order(&["kept".to_owned()]);
            assert_eq!(relay.stop(), 0);
        },
    );
}

/// A server that takes the connection and never says a word.
#[test]
fn a_stop_while_dialling_is_quick() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("ws://{}/ws/chat", mute.local_addr().expect("an address"));
    let site = Site::new(&endpoint, &[("me", &["me"])]);
    for _ in 0..3 {
        let relay = site.start();
        let _hangs = mute.accept().expect("it dials");
        let asked = Instant::now();
        assert_eq!(relay.stop(), 0);
        let took = asked.elapsed();
        println!("dialling: stopped in {took:.1?}");
        assert!(took < QUICK, "{took:?}");
    }
}
