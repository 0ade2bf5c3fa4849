//! Who may do what, from the table of endpoints itself: a new endpoint cannot be forgotten.

use tautline::access::Right;
use tautline::gateway::{ENDPOINTS, Endpoint, Scope};
use tautline::outbox::Step;

use crate::gate::Bench;

/// An address of this endpoint that is there, with the alert `id`.
pub fn target(endpoint: &Endpoint, id: &str) -> String {
    // Its recipients say the route.
    let path = endpoint.path.replace("/v1/mail", "/v1/mail?to=family");
    let path = path.replace("{id}", id).replace("{session}", "default");
    // A stream has no end.
    let path = match path.strip_prefix("/{topics}/") {
        Some(form) => format!("/family/{form}?poll=1"),
        None => path,
    };
    path.replace("{route}", "family")
        .replace("{file}", "page.css")
        .replace("{dialect}", "json")
        .replace("{name}", "revocable")
}

#[test]
fn tcp_may_publish_and_look_and_the_control_socket_may_do_all() {
    let bench = Bench::new();
    // A stream of pairing events ends at once.
    bench.relay.pair_ends();
    for endpoint in ENDPOINTS {
        for method in endpoint.methods {
            let target = target(endpoint, &bench.relay.put("text", Step::Accepted));
            bench.relay.token("revocable", &[Right::Read], &[], false);
            let name = format!("{method} {target}");
            let by_tcp = bench.tcp(method, &target, "", "").status;
            let by_control = bench.local(method, &target, "").status;
            assert_eq!(
                by_tcp == 403,
                matches!(endpoint.scope, Scope::Admin | Scope::Control),
                "{name}: {by_tcp}"
            );
            assert!(![403, 404, 405].contains(&by_control), "{name}: {by_control}");
        }
    }
    assert!(bench.relay.pairings().len() == 1, "refused before anything was done");
}

#[test]
fn what_an_address_does_not_take_it_says() {
    let bench = Bench::new();
    for endpoint in ENDPOINTS {
        let target = target(endpoint, "AAAAAAAA0000");
        for method in ["PATCH", "OPTIONS", "BREW"] {
            let answer = bench.tcp(method, &target, "", "");
            let allowed: Vec<_> = answer.header("allow").unwrap_or_default().split(", ").collect();
            assert_eq!(answer.status, 405, "{method} {target}");
            assert!(
                endpoint.methods.iter().all(|taken| allowed.contains(taken)),
                "{allowed:?}"
            );
        }
    }
}

#[test]
fn no_refusal_leaves_a_trace() {
    let bench = Bench::new();
    let id = bench.relay.put("text", Step::Accepted);
    let refused = bench.tcp("DELETE", &format!("/v1/alerts/{id}"), "", "").error(403);
    assert!(refused.error.contains("control socket"), "{refused:?}");
    assert_eq!(bench.relay.alerts_state(&id), Step::Accepted);
}

#[test]
fn whoever_asks_is_told_what_they_may() {
    let rights = |status: crate::gate::Answer| status.json::<tautline::gateway::api::Status>().rights;
    let bench = Bench::new();
    let all = ["publish", "read", "admin", "control"];
    assert_eq!(rights(bench.tcp("GET", "/v1/status", "", "")), all[..2]);
    assert_eq!(rights(bench.local("GET", "/v1/status", "")), all);
    bench.relay.token("admin", &[Right::Admin], &[], false);
    let with = "X-Api-Key: admin\r\n";
    assert_eq!(rights(bench.tcp("GET", "/v1/status", with, "")), all[..3]);
}
