//! The most telling faults again, through an HTTP and a SOCKS5 proxy: the TCP that the relay holds ends at the proxy,
//! so what happens beyond it shows in the upper layers alone.

use std::time::{Duration, Instant};

use super::zombie::Case;
use crate::bench::{Bench, publish};
use crate::lab::{Failure, Lab};
use crate::middlebox::{Kind, Middlebox};

struct Fault {
    name: &'static str,
    strike: fn(&Bench, &Middlebox),
    /// How the relay calls it; alternatives with a bar between.
    cause: &'static str,
    /// From the strike, or for what stands from its end, to the next active line.
    back_within: Duration,
    stands: bool,
}

const QUICK: Duration = Duration::from_secs(5);
const SILENT: Duration = Duration::from_secs(20);

static FAULTS: [Fault; 6] = [
    Fault {
        name: "the server freezes",
        strike: |bench, _| bench.lab.faults().freeze(),
        cause: "unanswered",
        back_within: SILENT,
        stands: false,
    },
    Fault {
        name: "half-open: the server's end is gone, the proxy's stays",
        strike: |bench, proxy| {
            proxy.stall();
            bench.lab.faults().cut_rst();
        },
        cause: "unanswered",
        back_within: SILENT,
        stands: false,
    },
    Fault {
        name: "recycled without a close frame",
        strike: |bench, _| bench.lab.faults().cut_fin(),
        cause: "recycled|path broke",
        back_within: QUICK,
        stands: false,
    },
    Fault {
        name: "HTTP 503 at the upgrade",
        strike: |bench, _| {
            bench.lab.faults().http_status(Some(503));
            bench.lab.faults().cut_rst();
        },
        cause: "trouble (503)",
        back_within: QUICK,
        stands: true,
    },
    Fault {
        name: "failure 503 at login",
        strike: |bench, _| {
            bench.lab.faults().failure(Some(Failure::code(503)));
            bench.lab.faults().cut_rst();
        },
        cause: "trouble (503)",
        back_within: QUICK,
        stands: true,
    },
    Fault {
        name: "the proxy takes nobody",
        strike: |bench, proxy| {
            proxy.refuse(true);
            bench.lab.faults().cut_rst();
        },
        cause: "no connection|proxy",
        back_within: QUICK,
        stands: true,
    },
];

fn recovers(kind: Kind, fault: &Fault) {
    let lab = Lab::start();
    let endpoint = lab.endpoint();
    let proxy = Middlebox::start(kind, lab.addr());
    let scheme = if kind == Kind::Socks5 { "socks5" } else { "http" };
    let by = format!("{scheme}://{}", proxy.addr());
    let (bench, relay) = Bench::with(lab, &endpoint, "wsl2", Some(&by)).go_online();
    let mut accepted = Vec::new();
    publish(&relay, &mut accepted, "before");
    bench.assert_each_once_in_order(&accepted);
    let (line, struck) = (bench.line(), Instant::now());
    (fault.strike)(&bench, &proxy);
    for number in 0..3 {
        publish(&relay, &mut accepted, format!("during {number}"));
    }
    relay.wait_status("the fault was not noticed as what it is", |status| {
        let cause = status["sessions"][0]["last_end"]["cause"].as_str().unwrap_or_default();
        fault.cause.split('|').any(|words| cause.contains(words))
    });
    let noticed = struck.elapsed();
    let from = if fault.stands { Instant::now() } else { struck };
    if fault.stands {
        bench.lab.faults().calm();
        proxy.refuse(false);
    }
    bench.wait_newer_line(line, &relay);
    let back = from.elapsed();
    println!(
        "{kind:?}, {}: noticed after {noticed:.1?}, back after {back:.1?}",
        fault.name
    );
    relay.wait_online();
    publish(&relay, &mut accepted, "after");
    bench.assert_each_once_in_order(&accepted);
    assert!(back <= fault.back_within, "{}: back after {back:?}", fault.name);
    let (flows, upgrades) = (proxy.flows(), bench.lab.counters().accepted);
    assert_eq!(flows, upgrades, "something went around the proxy");
    assert_eq!(relay.stop(), 0);
}

pub fn cases() -> impl Iterator<Item = Case> {
    let kinds = [Kind::HttpConnect, Kind::Socks5].into_iter();
    kinds.flat_map(|kind| {
        FAULTS.iter().map(move |fault| Case {
            name: format!("{kind:?}, {}", fault.name),
            run: Box::new(move || recovers(kind, fault)),
        })
    })
}
