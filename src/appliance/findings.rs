//! Looks for everything that the table of health knows: each condition that holds becomes a finding.

use std::time::Duration;

use super::clock;
use super::dispatcher::{DispatcherHandle, OutboxFacts};
use super::hooks::is_of_hook;
use super::status::{COMING_IN, Facts, UNDRAINED};
use crate::alert::{Recipient, SessionName};
use crate::health::{Code, Finding, Severity};
use crate::line::{Cause, State, Stop};
use crate::outbox::{FallbackTrouble, Hold};
use crate::store::StoreError;
use crate::whatsapp::{SessionHandle, SessionView};

impl Facts {
    /// What holds now, in the order in which people see it.
    pub(super) fn findings(
        &self,
        dispatcher: &DispatcherHandle,
        outbox: &OutboxFacts,
        views: &[(&SessionHandle, SessionView)],
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(reason) = self.store.poisoned() {
            let text = format!("the state cannot be written: {reason}");
            found.push(Finding::new(Code::StoreFailed, text));
        }
        match self.store.short_of_room() {
            // Found above.
            None | Some(StoreError::Poisoned(_)) => {}
            Some(error @ StoreError::ReadOnly(_)) => found.push(Finding::new(Code::StoreReadOnly, error.to_string())),
            Some(error) => found.push(Finding::new(Code::StoreFull, error.to_string())),
        }
        let clock = self.host_monitor.clock_trouble();
        found.extend(clock.map(|(text, lasts)| Finding::new(Code::ClockUnset, text).lasting(lasts)));
        for (name, waited) in self.withheld.all() {
            let text = format!(
                "{name} has made no progress for {} s; systemd will restart the relay",
                waited.as_secs()
            );
            found.push(Finding::new(Code::WatchdogWithheld, text));
        }
        for (handle, view) in views {
            session_findings(dispatcher, handle, view, &mut found);
        }
        outbox_findings(outbox, &mut found);
        let mut all = |code, texts: Vec<String>| found.extend(texts.into_iter().map(|text| Finding::new(code, text)));
        all(Code::OutboxDamaged, self.damaged.clone());
        all(Code::OutboxOrphaned, outbox.orphaned.clone());
        all(Code::ConfigUnknownKey, self.config_warnings.clone());
        let unreadable = self.secrets_unreadable.iter();
        // The client of MQTT reads its files at every connection, and tells of them itself.
        let unreadable = unreadable.filter(|fault| !is_of_hook(fault) && !fault.key.starts_with("mqtt."));
        all(Code::FallbackFailing, unreadable.map(ToString::to_string).collect());
        all(Code::EnvironmentIgnored, self.environment.clone());
        all(Code::ListenPartial, self.listening.missing());
        all(Code::ListenPartial, self.smtp.missing());
        all(Code::SpoolHeld, self.spooling.held());
        all(Code::SpoolAside, self.spooling.aside());
        all(Code::TokenRefused, self.refused.trouble().into_iter().collect());
        all(Code::TokenUnreadable, self.unreadable.clone());
        all(Code::NobodyAdmitted, self.nobody_admitted());
        all(Code::EverybodyTrusted, self.everybody_trusted());
        all(
            Code::HeartbeatFailing,
            self.heartbeat_trouble.words().into_iter().collect(),
        );
        if let Some(mqtt) = &self.mqtt {
            all(Code::MqttInTheClear, mqtt.in_the_clear().into_iter().collect());
            all(Code::MqttRefused, mqtt.refused());
            let offline = mqtt.offline().into_iter();
            found.extend(offline.map(|(text, lasts)| Finding::new(Code::MqttOffline, text).lasting(lasts)));
        }
        found.extend(self.hooks.findings(self.newest_event(), &self.secrets_unreadable));
        let unproven = self.proofs.unproven().into_iter();
        found.extend(unproven.map(|(text, lasts)| Finding::new(Code::RouteUnproven, text).lasting(lasts)));
        if let Some((earlier, why)) = self.certificate.as_ref().and_then(|certificate| certificate.trouble()) {
            let (severity, words) = match earlier {
                true => (Severity::Warning, "; the one before is in force"),
                false => (Severity::Error, "; nobody gets in by TLS"),
            };
            found.push(Finding::new(Code::TlsUnusable, format!("{why}{words}")).graded(severity));
        }
        found.extend(self.listening.control_trouble().map(|(is_error, text)| {
            let severity = if is_error { Severity::Error } else { Severity::Warning };
            Finding::new(Code::ControlSocket, text).graded(severity)
        }));
        if cfg!(feature = "lab") {
            let text =
                "built with feature `lab`: certificate chains are not checked, only loopback endpoints are dialled";
            found.push(Finding::new(Code::LabBuild, text));
        }
        found
    }
}

impl Facts {
    /// Networks that are the whole world, where the relay listens to it.
    fn everybody_trusted(&self) -> Vec<String> {
        let mut addresses = self.listening.addresses().into_iter().chain(self.smtp.addresses());
        if addresses.all(|address| address.ip().is_loopback()) && self.access.proxies.is_none() {
            return Vec::new();
        }
        let everything = self.access.trusted.iter().filter(|network| network.is_everything());
        everything
            .map(|network| {
                format!("{network} is trusted, and that is everybody: whoever reaches the relay may publish")
            })
            .collect()
    }

    /// Addresses on the network where every request is refused.
    fn nobody_admitted(&self) -> Vec<String> {
        if self.tokens.count() > 0 || !self.access.trusted.is_empty() {
            return Vec::new();
        }
        let addresses = self.listening.addresses().into_iter().chain(self.smtp.addresses());
        let beyond = addresses.filter(|address| !address.ip().is_loopback());
        let words = |address| format!("{address} lets nobody in: there is no token and no trusted network");
        beyond.map(words).collect()
    }
}

fn session_findings(
    dispatcher: &DispatcherHandle,
    handle: &SessionHandle,
    view: &SessionView,
    found: &mut Vec<Finding>,
) {
    let name = &handle.name;
    let mut push = |finding: Finding| found.push(finding.of(name));
    if let Some(trouble) = &view.trouble {
        push(Finding::new(Code::SessionTrouble, format!("session {name}: {trouble}")));
    }
    if let Some(finding) = state_finding(name, view) {
        push(finding);
    }
    if let Some(since) = view.ack_owed_since {
        let waited = since.elapsed();
        let text = format!(
            "session {name}: a message waits since {} s to be on disk and acked; the server ends lines for that",
            waited.as_secs()
        );
        push(Finding::new(Code::AckOwed, text).lasting(waited));
    }
    for recipient in handle.directory.not_on_whatsapp() {
        let text = not_on_whatsapp(dispatcher, handle, &recipient);
        push(Finding::new(Code::NotOnWhatsapp, text));
    }
    if view.undrained {
        push(Finding::new(
            Code::SessionUndrained,
            format!("session {name}: {UNDRAINED}"),
        ));
    }
    for refused in &view.tcp_refused {
        let text = format!("session {name}: the kernel refused a TCP setting: {refused}");
        push(Finding::new(Code::TcpSettingRefused, text));
    }
}

/// A session that is not online.
fn state_finding(name: &SessionName, view: &SessionView) -> Option<Finding> {
    let unpaired = || {
        let text = format!("session {name} is not paired: run `tautline pair`");
        Some(Finding::new(Code::SessionUnpaired, text))
    };
    let offline = |text| {
        let lasts = view.offline_since.map(|at| at.elapsed()).unwrap_or_default();
        Some(Finding::new(Code::SessionOffline, text).lasting(lasts))
    };
    match &view.state {
        State::Stopped(Stop::PairingEnded) => unpaired(),
        State::Stopped(stop) => {
            let text = format!("session {name}: {}", stop.advice());
            Some(Finding::new(Code::SessionStopped, text))
        }
        State::Idle | State::Connecting { .. } | State::Waiting { .. } if !view.paired => unpaired(),
        State::Idle | State::Connecting { .. } => offline(format!("session {name} is connecting")),
        // The server will take no line for hours, or takes none of this version: no wait for it to pass.
        State::Waiting {
            after: after @ (Cause::TemporaryBan(_) | Cause::Outdated),
        } => offline(format!("session {name} waits: {after}")).map(|finding| finding.graded(Severity::Error)),
        State::Waiting {
            after: Cause::ClockUnset,
        } => offline(format!("session {name} waits for the clock to be set")),
        State::Waiting { after } => offline(format!("session {name} waits to connect again: {after}")),
        State::Online if view.online_since.is_none() => offline(format!("session {name}: {COMING_IN}")),
        State::Online => None,
    }
}

/// Which route names a number that nobody has. The number is shown as logs show it.
fn not_on_whatsapp(dispatcher: &DispatcherHandle, handle: &SessionHandle, recipient: &Recipient) -> String {
    let routes: Vec<String> = dispatcher
        .routes_to(&handle.name, recipient)
        .iter()
        .map(ToString::to_string)
        .collect();
    let place = match routes.as_slice() {
        [] => "alerts that wait".to_owned(),
        [route] => format!("route {route}"),
        routes => format!("routes {}", routes.join(", ")),
    };
    format!(
        "session {}: {} in {place} is not on WhatsApp, says the server: alerts to it fail",
        handle.name,
        recipient.redacted()
    )
}

/// Whether alerts get away: how many wait, since when the oldest does, whom the server lets nothing through to, and
/// where they fail for good.
fn outbox_findings(outbox: &OutboxFacts, found: &mut Vec<Finding>) {
    if let Some(full) = &outbox.full {
        let text = format!(
            "{} alerts of {} KiB wait to be sent; new ones are refused until some are through",
            full.pending,
            full.pending_bytes / 1024
        );
        found.push(Finding::new(Code::OutboxFull, text));
    }
    if let Some(since) = outbox.oldest {
        let waited_ms = clock::wall_ms().saturating_sub(since.0);
        found.extend(stuck(outbox.pending, waited_ms, &outbox.oldest_note));
    }
    // One for each session and reason. Numbers are for `tautline queue`.
    for ((session, hold), count) in &outbox.held {
        let (code, words) = match hold {
            Hold::RateLimited => (
                Code::Limited,
                "WhatsApp is limiting us; they are tried again after pauses that grow",
            ),
            Hold::NotWritten => (
                Code::WriteFirst,
                "they must write to this account first; what waits goes out at once when they do",
            ),
            Hold::NewChatsCapped => (
                Code::NewChatsCapped,
                "WhatsApp lets this account begin no more new chats; it goes out when they write, or the cap ends",
            ),
        };
        let text = format!("session {session}: alerts to {count} recipient(s) wait: {words}; see `tautline queue`");
        found.push(Finding::new(code, text).of(session));
    }
    for FallbackTrouble {
        name,
        since,
        why,
        waiting,
    } in &outbox.fallbacks
    {
        let lasts = Duration::from_millis(clock::wall_ms().saturating_sub(since.0));
        let text = format!("fallback {name} does not take what it is given ({why}); {waiting} alert(s) wait for it");
        found.push(Finding::new(Code::FallbackFailing, text).lasting(lasts));
    }
    for failed in &outbox.failed {
        let text = format!(
            "route {}: {} alert(s) failed for good and none has got through since, the last with: {}; see `tautline queue`",
            failed.route, failed.alerts, failed.reason
        );
        found.push(Finding::new(Code::AlertsFailed, text).of(&failed.session));
    }
}

/// The oldest alert has waited for `waited_ms` by the wall clock, which is good enough for a hint and moves nothing.
/// Without a note it has not been tried and waits for its turn, which is nothing to tell of until it is an error.
fn stuck(pending: usize, waited_ms: u64, note: &str) -> Option<Finding> {
    let waited = Duration::from_millis(waited_ms);
    let why = match note {
        "" if Code::OutboxStuck.condition().grade.after(waited) == Severity::Warning => return None,
        "" => String::new(),
        note => format!(" ({note})"),
    };
    let minutes = waited.as_secs() / 60;
    let text = format!("{pending} alert(s) wait to be sent, the oldest for {minutes} min{why}; see `tautline queue`");
    Some(Finding::new(Code::OutboxStuck, text).lasting(waited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::shown;

    #[test]
    fn an_alert_that_waits_is_told_of_sooner_when_a_reason_is_known() {
        let severity = |minutes: u64, note| {
            let found: Vec<Finding> = stuck(1, minutes * 60_000, note).into_iter().collect();
            shown(found).first().map(|shown| shown.severity)
        };
        assert_eq!(severity(1, "no line"), None);
        assert_eq!(severity(2, "no line"), Some(Severity::Warning));
        assert_eq!(severity(2, ""), None);
        assert_eq!(severity(15, "no line"), Some(Severity::Error));
        assert_eq!(severity(15, ""), Some(Severity::Error));
    }

    #[test]
    fn a_ban_is_an_error_at_once() {
        let view = |after| SessionView {
            state: State::Waiting { after },
            paired: true,
            ..SessionView::default()
        };
        let severity = |after| {
            let found = state_finding(&"default".parse().unwrap(), &view(after));
            shown(found.into_iter().collect())[0].severity
        };
        assert_eq!(severity(Cause::TemporaryBan(Duration::from_secs(60))), Severity::Error);
        assert_eq!(severity(Cause::Unreachable), Severity::Warning);
    }
}
