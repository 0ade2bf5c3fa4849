//! Logging in: a cookie for a token, and what it may not be used for.

use tautline::access::Right;
use tautline::gateway::api::{LoginView, Status};
use tautline::outbox::Step;

use super::network::{from, proxied};
use crate::gate::{Answer, Bench};

fn log_in(bench: &Bench, token: &str, headers: &str) -> Answer {
    let body = serde_json::json!({ "token": token }).to_string();
    bench.tcp("POST", "/v1/login", headers, &body)
}

/// The header that a browser sends from then on.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    format!("Cookie: other=1; {}\r\n", set.split(';').next().unwrap())
}

#[test]
fn a_token_is_shown_once_and_a_cookie_does_what_it_may() {
    let bench = Bench::closed();
    bench.relay.token("admin", &[Right::Admin], &[], false);
    let answer = log_in(&bench, "admin", "");
    let view: LoginView = answer.json();
    assert_eq!((view.token.as_str(), view.rights[0].as_str()), ("admin", "admin"));
    assert!(!answer.body.contains("tautline"), "the secret is in the cookie alone");
    let set = answer.header("set-cookie").unwrap();
    let (name, attributes) = set.split_once('=').unwrap();
    // In the clear not every browser keeps a secure one, and they tell no ports apart.
    assert_eq!(name, format!("tautline-{}", bench.address.port()));
    assert!(attributes.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");

    let id = bench.relay.put("text", Step::Accepted);
    let with = cookie(&answer);
    let status: Status = bench.tcp("GET", "/v1/status", &with, "").json();
    assert_eq!(status.login.unwrap().token, "admin");
    assert_eq!(
        bench.tcp("POST", &format!("/v1/alerts/{id}/ack"), &with, "").status,
        200
    );
    bench.tcp("GET", "/v1/backup", &with, "").error(403);
    bench
        .tcp("GET", "/v1/status", "Cookie: tautline-1=x\r\n", "")
        .error(401);

    // Somebody logs out, and everywhere.
    let other = cookie(&log_in(&bench, "admin", ""));
    let third = cookie(&log_in(&bench, "admin", ""));
    let out = bench.tcp("DELETE", "/v1/login", &with, "");
    assert_eq!(out.body, r#"{"ended":1}"#);
    assert!(out.header("set-cookie").unwrap().contains("=; Max-Age=0;"));
    bench.tcp("GET", "/v1/status", &with, "").error(401);
    assert_eq!(bench.tcp("GET", "/v1/status", &other, "").status, 200);
    assert_eq!(bench.tcp("DELETE", "/v1/login?all", &other, "").body, r#"{"ended":2}"#);
    bench.tcp("GET", "/v1/status", &third, "").error(401);

    // A token that is taken away takes its logins along.
    let last = cookie(&log_in(&bench, "admin", ""));
    assert_eq!(bench.tcp("GET", "/v1/status", &last, "").status, 200);
    assert_eq!(bench.local("DELETE", "/v1/tokens/admin", "").status, 200);
    // Also where another one gets its name before they are used again.
    bench.relay.token("admin", &[Right::Admin], &[], false);
    bench.tcp("GET", "/v1/status", &last, "").error(401);
}

#[test]
fn a_wrong_token_logs_nobody_in_and_is_told_of() {
    let bench = Bench::closed();
    bench.relay.token("ended", &[Right::Admin], &[], true);
    for token in ["nobodys", "ended", ""] {
        let answer = log_in(&bench, token, "");
        let error = answer.error(401);
        assert_eq!(error.field.as_deref(), Some("token"));
        assert_eq!(answer.header("set-cookie"), None);
    }
    assert!(bench.refused.trouble().unwrap().starts_with("3 request(s)"));
    bench.tcp("POST", "/v1/login", "", "token=x").error(400);
    bench.local("POST", "/v1/login", "{}").error(409);
}

#[test]
fn a_login_by_tls_has_a_cookie_that_goes_no_other_way() {
    let bench = proxied();
    bench.relay.token("admin", &[Right::Admin], &[], false);
    let secure = format!("{}X-Forwarded-Proto: https\r\n", from("203.0.113.9"));
    let answer = log_in(&bench, "admin", &secure);
    let set = answer.header("set-cookie").unwrap();
    assert!(
        set.starts_with("__Host-tautline=") && set.ends_with("; SameSite=Strict; Secure"),
        "{set}"
    );
    let with = cookie(&answer);
    assert_eq!(
        bench.tcp("GET", "/v1/status", &format!("{secure}{with}"), "").status,
        200
    );
    // In the clear it is no login.
    let clear = from("203.0.113.9");
    bench.tcp("GET", "/v1/status", &format!("{clear}{with}"), "").error(401);
}

#[test]
fn a_page_from_elsewhere_has_nothing_of_a_login() {
    let bench = Bench::new();
    bench.relay.token("admin", &[Right::Admin], &[], false);
    let with = cookie(&log_in(&bench, "admin", ""));
    let id = bench.relay.put("text", Step::Accepted);
    let ack = format!("/v1/alerts/{id}/ack");
    // Another port of this host is the same site to a browser, which sends the cookie along.
    for page in [
        "Origin: http://127.0.0.1:1\r\nSec-Fetch-Site: same-site\r\n",
        "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n",
        "Origin: null\r\nSec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        let headers = format!("{with}{page}");
        bench.tcp("POST", &ack, &headers, "").error(403);
        bench.tcp("DELETE", "/v1/login", &headers, "").error(403);
        bench
            .tcp("GET", "/v1/events", &format!("{headers}Upgrade: websocket\r\n"), "")
            .error(403);
        log_in(&bench, "admin", page).error(403);
    }
    // An image, which has no origin.
    let image = format!("{with}Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n");
    bench.tcp("GET", "/family/publish?message=x", &image, "").error(403);
    assert_eq!(bench.relay.taken(), []);
    let ours = format!(
        "{with}Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n",
        bench.address
    );
    assert_eq!(bench.tcp("POST", &ack, &ours, "").status, 200);
}

#[test]
fn whoever_may_see_nothing_is_shown_the_page_and_nothing_on_it() {
    let bench = Bench::closed();
    bench.relay.put("a secret text", Step::Accepted);
    for target in ["/", "/web/page.js", "/web/page.css"] {
        let answer = bench.tcp("GET", target, "", "");
        assert_eq!(answer.status, 200, "{target}");
        assert!(
            !answer.body.contains("a secret text") && !answer.body.contains("/var/lib"),
            "{target}"
        );
    }
    bench.relay.token("reader", &[Right::Read], &[], false);
    bench.relay.token("publisher", &[Right::Publish], &[], false);
    let page = |token: &str| bench.tcp("GET", "/", &format!("X-Api-Key: {token}\r\n"), "").body;
    assert!(page("reader").contains("a secret text"));
    assert!(!page("publisher").contains("a secret text"));
    // A browser's own dialog is for addresses that somebody goes to, and not for what the page asks.
    let challenge = |mode: &str| {
        let answer = bench.tcp("GET", "/v1/status", &format!("Sec-Fetch-Mode: {mode}\r\n"), "");
        answer.error(401);
        answer.head.contains("Basic")
    };
    assert!(challenge("navigate") && !challenge("cors"));
}
