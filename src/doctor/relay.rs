//! What the running relay says of itself.

use std::time::Duration;

use super::seen::{RelayView, Seen, Site, Verdict};
use crate::gateway::api::{HealthEntry, LayerStatus, SessionState, TokenView};
use crate::util::wall_ms;

/// A route that was not tried for so long may have changed unseen.
const PROVEN_OLD: Duration = Duration::from_secs(90 * 24 * 3600);

/// Time enough to make a new token and bring it to its sender.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

fn not_running() -> Vec<Seen> {
    vec![Seen::skipped("the relay does not run")]
}

pub(super) fn running(site: &Site) -> Vec<Seen> {
    let relay = match &site.relay {
        Ok(relay) => relay,
        Err(why) => {
            let next = "`systemctl start tautline`, or `tautline run` to see why it does not; `journalctl -u tautline`";
            return vec![Seen::fault(why.clone(), next)];
        }
    };
    let uptime = humantime::format_duration(Duration::from_secs(relay.status.uptime_ms / 1000));
    let mut seen = vec![Seen::good(format!(
        "version {}, process {}, up for {uptime}",
        relay.status.version, relay.status.pid
    ))];
    let ours = env!("CARGO_PKG_VERSION");
    if relay.status.version != ours {
        let text = format!("this command is version {ours}, the relay is {}", relay.status.version);
        seen.push(Seen::warning(
            text,
            "restart the relay, so that it is the one that is installed",
        ));
    }
    seen
}

pub(super) fn watchdog(site: &Site) -> Vec<Seen> {
    let Ok(relay) = &site.relay else { return not_running() };
    // What systemd has told the process, as it stands for whoever may read it.
    let environment = std::fs::read(format!("/proc/{}/environ", relay.status.pid));
    vec![match environment {
        Ok(environment) => judge_watchdog(&environment),
        Err(error) => Seen::skipped(format!("its environment cannot be read: {error}")),
    }]
}

fn judge_watchdog(environment: &[u8]) -> Seen {
    let micros = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(b"WATCHDOG_USEC="))
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    match micros {
        Some(micros) => {
            let after = humantime::format_duration(Duration::from_micros(micros));
            Seen::good(format!("systemd restarts it after {after} without a sign of life"))
        }
        None => Seen::warning(
            "nobody watches it",
            "run it by the unit that comes with it (`systemctl enable --now tautline`), or by another supervisor",
        ),
    }
}

pub(super) fn sessions(site: &Site) -> Vec<Seen> {
    let Ok(relay) = &site.relay else { return not_running() };
    let sessions = relay.status.sessions.iter();
    sessions
        .map(|session| {
            let text = format!("{}: {}", session.name, session.detail);
            match session.state {
                SessionState::Online => Seen::good(text),
                // What is wrong with one that is not online, and what to do, its health says.
                _ => Seen::warning(text, "see `health` below; `tautline status --history` has the causes"),
            }
        })
        .collect()
}

pub(super) fn keepalive(site: &Site) -> Vec<Seen> {
    let Ok(relay) = &site.relay else { return not_running() };
    let online = relay
        .status
        .sessions
        .iter()
        .filter(|session| session.state == SessionState::Online);
    let seen: Vec<Seen> = online
        .flat_map(|session| session.layers.iter().map(move |layer| (session, layer)))
        .map(|(session, layer)| judge_layer(&session.name, layer, relay.status.board.detection_worst_ms))
        .collect();
    match seen.is_empty() {
        true => vec![Seen::skipped("no line is up")],
        false => seen,
    }
}

/// `worst` is the longest that a silent death may go unnoticed, in milliseconds. The application's layer is the one
/// that asks of itself whatever the server is like.
fn judge_layer(session: &str, layer: &LayerStatus, worst: u64) -> Seen {
    let proof = match layer.proof_age_ms {
        Some(age) => format!("last proof of life {} s ago", age / 1000),
        None => "no proof of life yet".to_owned(),
    };
    let text = format!("{session}, {}: {}; {proof}", layer.layer, layer.detail);
    match layer.layer == "application" && layer.proof_age_ms.is_some_and(|age| age > worst) {
        true => Seen::warning(
            text,
            "look again in a minute: it is older than a death should go unnoticed",
        ),
        false => Seen::good(text),
    }
}

pub(super) fn health(site: &Site) -> Vec<Seen> {
    let Ok(relay) = &site.relay else { return not_running() };
    match relay.status.health.as_slice() {
        [] => vec![Seen::good("nothing")],
        findings => findings.iter().map(judge_finding).collect(),
    }
}

fn judge_finding(finding: &HealthEntry) -> Seen {
    let verdict = match finding.severity.as_str() {
        "error" => Verdict::Fault,
        _ => Verdict::Warning,
    };
    let next = match finding.advice.as_str() {
        "" => format!("`docs/operations.md` has a paragraph about {}", finding.code),
        advice => advice.to_owned(),
    };
    Seen::new(verdict, format!("{}: {}", finding.code, finding.text), next)
}

pub(super) fn routes(site: &Site) -> Vec<Seen> {
    let Ok(relay) = &site.relay else { return not_running() };
    let now = wall_ms();
    let mut seen = Vec::new();
    for route in &relay.routes {
        let next = format!("`tautline routes test {}`", route.name);
        let mut ways = vec![("WhatsApp".to_owned(), route.proven_at)];
        ways.extend(
            route
                .fallbacks
                .iter()
                .map(|to| (format!("fallback {}", to.name), to.proven_at)),
        );
        for (way, proven_at) in ways {
            seen.push(judge_proof(&format!("{} by {way}", route.name), proven_at, now, &next));
        }
    }
    match seen.is_empty() {
        true => vec![Seen::skipped("there are no routes")],
        false => seen,
    }
}

fn judge_proof(what: &str, proven_at: Option<u64>, now: u64, next: &str) -> Seen {
    let Some(at) = proven_at else {
        return Seen::warning(format!("{what}: never"), next);
    };
    let age = Duration::from_millis(now.saturating_sub(at));
    let days = age.as_secs() / (24 * 3600);
    let text = format!("{what}: {days} days ago");
    match age > PROVEN_OLD {
        true => Seen::warning(text, next),
        false => Seen::good(text),
    }
}

pub(super) fn tokens(site: &Site) -> Vec<Seen> {
    let Ok(relay) = &site.relay else { return not_running() };
    let RelayView { status, tokens, .. } = relay;
    let now = wall_ms();
    let mut seen = vec![Seen::good(format!(
        "{} tokens; {}",
        tokens.len(),
        status.access.words()
    ))];
    seen.extend(tokens.iter().filter_map(|token| judge_token(token, now)));
    seen
}

fn judge_token(token: &TokenView, now: u64) -> Option<Seen> {
    let at = token.expires_at?;
    let next = format!(
        "make another for its sender, then `tautline token revoke {}`",
        token.name
    );
    if token.expired {
        return Some(Seen::warning(format!("{} has ended", token.name), next));
    }
    let left = Duration::from_millis(at.saturating_sub(now));
    (left < ENDS_SOON).then(|| {
        let days = left.as_secs() / (24 * 3600);
        Seen::warning(format!("{} ends in {days} days", token.name), next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3600 * 1000;

    #[test]
    fn a_route_wants_to_be_proven_now_and_then() {
        let now = 1000 * DAY_MS;
        let judged = |at| judge_proof("ops by WhatsApp", at, now, "`tautline routes test ops`").verdict;
        assert_eq!(judged(None), Verdict::Warning);
        assert_eq!(judged(Some(now - 91 * DAY_MS)), Verdict::Warning);
        assert_eq!(judged(Some(now - 89 * DAY_MS)), Verdict::Good);
        // A clock that was set back.
        assert_eq!(judged(Some(now + DAY_MS)), Verdict::Good);
    }

    #[test]
    fn a_token_is_told_of_two_weeks_before_its_end() {
        let now = 1000 * DAY_MS;
        let judged = |expires_at, expired| {
            let token = TokenView {
                name: "nas".into(),
                rights: vec!["publish".into()],
                routes: None,
                created_at: 0,
                expires_at,
                expired,
                used_at: None,
            };
            judge_token(&token, now).map(|seen| seen.text)
        };
        assert_eq!(judged(None, false), None);
        assert_eq!(judged(Some(now + 15 * DAY_MS), false), None);
        assert_eq!(judged(Some(now + 3 * DAY_MS), false).unwrap(), "nas ends in 3 days");
        assert_eq!(judged(Some(now - 1), true).unwrap(), "nas has ended");
    }

    #[test]
    fn a_proof_that_is_older_than_a_death_may_last_is_told() {
        let judged = |layer: &str, proof_age_ms| {
            let layer = LayerStatus {
                layer: layer.into(),
                proof_age_ms,
                detail: String::new(),
            };
            judge_layer("default", &layer, 20_000).verdict
        };
        assert_eq!(judged("application", None), Verdict::Good);
        assert_eq!(judged("application", Some(20_000)), Verdict::Good);
        assert_eq!(judged("application", Some(20_001)), Verdict::Warning);
        assert_eq!(
            judged("websocket", Some(3_600_000)),
            Verdict::Good,
            "it asks once and after silence"
        );
    }

    #[test]
    fn the_watchdog_is_read_from_what_systemd_has_told() {
        assert_eq!(
            judge_watchdog(b"HOME=/\0WATCHDOG_USEC=90000000\0").verdict,
            Verdict::Good
        );
        for without in [&b""[..], b"HOME=/\0", b"XWATCHDOG_USEC=1\0", b"WATCHDOG_USEC=\xff\0"] {
            assert_eq!(judge_watchdog(without).verdict, Verdict::Warning);
        }
    }

    #[test]
    fn an_error_of_health_is_a_fault_with_its_advice() {
        let finding = |severity: &str, advice: &str| HealthEntry {
            code: "session-unpaired".into(),
            severity: severity.into(),
            text: "session default is not linked".into(),
            title: String::new(),
            advice: advice.into(),
        };
        let seen = judge_finding(&finding("error", "pair it"));
        assert_eq!((seen.verdict, seen.next.as_str()), (Verdict::Fault, "pair it"));
        let seen = judge_finding(&finding("warning", ""));
        assert_eq!(seen.verdict, Verdict::Warning);
        assert!(seen.next.contains("session-unpaired"));
    }
}
