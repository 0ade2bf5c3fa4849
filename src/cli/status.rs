//! `tautline status`: what the relay is doing, and whether a person has to do something.

use std::time::Duration;

use async_io::Timer;
use clap::Args;

use crate::alert::SessionName;
use crate::gateway::api::{
    HeldBackView, HistoryEntry, HookState, HookStatus, MqttState, MqttStatus, SessionState, SessionStatus, Status, utc,
};

use crate::util::wall_ms;

use super::client::{Client, PROMPT};
use super::output::{Tone, ago, cleaned, is_fancy, plain, print, print_json, print_styled, say, span, tinted};
use super::{Exit, Failure, Global};

/// Between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// Cursor home, clear to the end of the screen.
const CLEAR: &str = "\x1b[H\x1b[J";
const CHARS_MAX: usize = 300;

/// `--history`: entries without `--limit`, columns at the most, and of them for a session's name.
const HISTORY_DEFAULT: u16 = 20;
const COLUMNS: usize = 100;
const NAME_CHARS_MAX: usize = 16;
/// `2026-01-02 03:04:05`.
const UTC_CHARS: usize = 19;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show it again and again, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Show what ended the lines, and how each run of the relay began; the newest last.
    #[arg(long, conflicts_with = "watch")]
    history: bool,
    /// Only this session's lines.
    #[arg(long, value_name = "S", requires = "history")]
    session: Option<SessionName>,
    /// At most this many.
    #[arg(long, value_name = "N", requires = "history", default_value_t = HISTORY_DEFAULT,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

pub(super) fn execute(global: &Global, args: &StatusArgs) -> Result<(), Failure> {
    let fancy = is_fancy();
    smol::block_on(async {
        if args.history {
            return show_history(global, args).await;
        }
        show(global, fancy, "").await?;
        if !args.watch {
            return Ok(());
        }
        loop {
            Timer::after(WATCH_EVERY).await;
            match show(global, fancy, if fancy { CLEAR } else { "" }).await {
                // It may be restarting: that is what somebody watches for.
                Err(failure) if failure.exit == Exit::Unreachable => say(format_args!("tautline: {}", failure.text)),
                other => other?,
            }
        }
    })
}

async fn show(global: &Global, fancy: bool, before: &str) -> Result<(), Failure> {
    let client = Client::find(global).await?;
    let status: Status = client.call("GET", "/v1/status", Vec::new(), PROMPT).await?;
    if global.json {
        return print_json(&status);
    }
    // Coloured below: so what others have said is made harmless before.
    print_styled(format_args!("{before}{}", describe(&cleaned(&status), fancy)))
}

async fn show_history(global: &Global, args: &StatusArgs) -> Result<(), Failure> {
    let client = Client::find(global).await?;
    let session = args
        .session
        .as_ref()
        .map_or(String::new(), |name| format!("&session={name}"));
    let target = format!("/v1/lines?limit={}{session}", args.limit);
    let entries: Vec<HistoryEntry> = client.call("GET", &target, Vec::new(), PROMPT).await?;
    if global.json {
        return print_json(&entries);
    }
    if entries.is_empty() {
        say(format_args!("no line has ended yet"));
        return Ok(());
    }
    print(history_text(&entries))
}

/// Entries one below the other: when, whose, and in lines of its own what is known.
fn history_text(entries: &[HistoryEntry]) -> String {
    let longest = entries.iter().map(|entry| entry.session().chars().count()).max();
    let names = longest.unwrap_or(0).clamp("SESSION".len(), NAME_CHARS_MAX);
    let indent = UTC_CHARS + 2 + names + 2;
    let mut lines = vec![format!("{:<UTC_CHARS$}  {:<names$}  WHAT", "TIME (UTC)", "SESSION")];
    for entry in entries {
        let mut front = format!(
            "{:<UTC_CHARS$}  {:<names$}  ",
            utc(entry.at()),
            plain(entry.session(), names)
        );
        for (at, text) in std::iter::once(entry.headline()).chain(entry.particulars()).enumerate() {
            // What is only known beside it stands a little further in.
            let further = if at == 0 { 0 } else { 2 };
            for line in wrapped(&plain(&text, CHARS_MAX), COLUMNS - indent - further) {
                lines.push(format!("{front}{:further$}{line}", ""));
                front = " ".repeat(indent);
            }
        }
    }
    lines.join("\n")
}

/// `text` in lines of at most `width` characters, cut between words where that is possible.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let (have, more) = (line.chars().count(), word.chars().count());
        if have > 0 && have + 1 + more > width {
            lines.push(std::mem::take(&mut line));
        } else if have > 0 {
            line.push(' ');
        }
        for letter in word.chars() {
            if line.chars().count() == width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

fn describe(status: &Status, fancy: bool) -> String {
    let health = if status.healthy {
        tinted("healthy", Tone::Good, fancy)
    } else {
        tinted("not healthy", Tone::Bad, fancy)
    };
    let lab = if status.lab { ", lab build" } else { "" };
    let mut lines = vec![
        format!(
            "{health}  tautline {}{lab}, pid {}, up {}",
            status.version,
            status.pid,
            span(status.uptime_ms)
        ),
        format!(
            "board    {} ({}), a silent death is noticed within {}",
            status.board.name,
            status.board.why,
            span(status.board.detection_worst_ms)
        ),
        format!("state    {}", status.state),
        format!("listen   {}", status.places()),
        format!("access   {}", status.access.words()),
    ];
    lines.extend(status.mqtt.as_ref().map(|mqtt| describe_mqtt(mqtt, fancy)));
    let counts = &status.outbox;
    let failed = format!("{} failed", counts.failed);
    let mut outbox = format!(
        "outbox   {} waiting, {} sent, {} delivered, {} read, {}",
        counts.accepted,
        counts.sent,
        counts.delivered,
        counts.read,
        if counts.failed > 0 {
            tinted(&failed, Tone::Bad, fancy)
        } else {
            failed
        }
    );
    if counts.expired > 0 {
        let expired = format!("{} expired", counts.expired);
        outbox = format!("{outbox}, {}", tinted(&expired, Tone::Bad, fancy));
    }
    if counts.fallback > 0 {
        outbox = format!("{outbox}, {} by a fallback", counts.fallback);
    }
    if counts.dropped > 0 {
        outbox = format!("{outbox}, {} dropped", counts.dropped);
    }
    if counts.superseded > 0 {
        outbox = format!("{outbox}, {} superseded", counts.superseded);
    }
    lines.push(outbox);
    for held in &status.held_back {
        let view = HeldBackView {
            why: held.why.clone(),
            until_at: held.until_at,
        };
        let words = view.words(wall_ms());
        lines.push(format!("         {} held on {}: {words}", held.deliveries, held.route));
    }
    for hook in &status.hooks {
        lines.push(format!("hook     {}", hook_in_words(hook, fancy)));
    }
    for session in &status.sessions {
        lines.push(String::new());
        describe_session(session, fancy, &mut lines);
    }
    if !status.health.is_empty() {
        lines.push(String::new());
    }
    for entry in &status.health {
        let tone = if entry.severity == "error" {
            Tone::Bad
        } else {
            Tone::Wait
        };
        let severity = tinted(&entry.severity, tone, fancy);
        lines.push(format!(
            "{severity}: {} [{}]",
            plain(&entry.text, CHARS_MAX),
            entry.code
        ));
        if !entry.advice.is_empty() {
            lines.push(format!("  {}", plain(&entry.advice, CHARS_MAX)));
        }
    }
    lines.join("\n")
}

fn hook_in_words(hook: &HookStatus, fancy: bool) -> String {
    let (word, tone) = match hook.state {
        HookState::Well => ("well", Tone::Good),
        HookState::Failing => ("failing", Tone::Wait),
        HookState::Over => ("over", Tone::Bad),
    };
    let mut words = format!(
        "{} ({}) {}, {} told",
        hook.name,
        hook.origin,
        tinted(word, tone, fancy),
        hook.taken
    );
    if hook.given_up > 0 {
        words = format!("{words}, {} given up", hook.given_up);
    }
    if hook.behind > 0 {
        words = format!("{words}, {} entries behind", hook.behind);
    }
    if let Some(next_in_ms) = hook.next_in_ms {
        words = format!("{words}, asked again in {}", span(next_in_ms));
    }
    match &hook.error {
        Some(error) => format!("{words}: {}", plain(error, CHARS_MAX)),
        None => words,
    }
}

fn describe_mqtt(mqtt: &MqttStatus, fancy: bool) -> String {
    let (word, tone) = match mqtt.state {
        MqttState::Online => ("online", Tone::Good),
        MqttState::Connecting => ("connecting", Tone::Wait),
        MqttState::Waiting => ("waiting", Tone::Wait),
    };
    let version = mqtt
        .version
        .as_ref()
        .map_or(String::new(), |version| format!(" by MQTT {version}"));
    let since = mqtt
        .online_since
        .map_or(String::new(), |at| format!(" since {}", ago(at)));
    let mut counts = format!("{} accepted", mqtt.accepted);
    for (count, what) in [
        (mqtt.duplicates, "duplicates"),
        (mqtt.rejected, "rejected"),
        (mqtt.open, "open"),
    ] {
        if count > 0 {
            counts = format!("{counts}, {count} {what}");
        }
    }
    let broker = plain(&mqtt.broker, CHARS_MAX);
    format!(
        "mqtt     {broker} {}{version}{since}, {counts}",
        tinted(word, tone, fancy)
    )
}

fn describe_session(session: &SessionStatus, fancy: bool, lines: &mut Vec<String>) {
    let (word, tone) = match session.state {
        SessionState::Online => ("online", Tone::Good),
        SessionState::Connecting => ("connecting", Tone::Wait),
        SessionState::Pairing => ("pairing", Tone::Wait),
        SessionState::Waiting => ("waiting", Tone::Wait),
        SessionState::Unpaired => ("not paired", Tone::Bad),
        SessionState::Stopped => ("stopped", Tone::Bad),
    };
    let account = session
        .account
        .as_ref()
        .map_or(String::new(), |account| format!("  {account}"));
    let since = session
        .online_since
        .map_or(String::new(), |at| format!("  since {}", ago(at)));
    lines.push(format!(
        "session {}  {}{account}{since}",
        session.name,
        tinted(word, tone, fancy)
    ));
    if !session.detail.is_empty() {
        lines.push(format!("  {}", plain(&session.detail, CHARS_MAX)));
    }
    // Aligned before they are coloured: an escape sequence has no width.
    for layer in &session.layers {
        let age = layer.proof_age_ms.map_or("no proof of life yet".into(), |age| {
            format!("proof of life {} ago", span(age))
        });
        let detail = tinted(&layer.detail, Tone::Dim, fancy);
        lines.push(format!("  {:<12} {age:<26} {detail}", layer.layer));
    }
    if let Some(next) = &session.next {
        lines.push(format!("  next         {} in {}", next.reason, span(next.in_ms)));
    }
    if let Some(end) = &session.last_end {
        lines.push(format!(
            "  last end     {}: {} ({}), {}{}",
            ago(end.at),
            end.cause,
            end.origin,
            end.verdict,
            if end.detail.is_empty() {
                String::new()
            } else {
                format!("; {}", plain(&end.detail, CHARS_MAX))
            }
        ));
    }
    lines.push(format!(
        "  lines opened: {}, messages received: {}",
        session.lines, session.inbound_recorded
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_between_words_and_never_too_long() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrapped("ab cdefgh", 4), ["ab", "cdef", "gh"]);
        assert_eq!(wrapped("", 4), [""]);
        for width in 1..12 {
            let text = "a bb ccc dddd  eeeee ffffff ggggggggggggggg h";
            let lines = wrapped(text, width);
            assert!(
                lines.iter().all(|line| line.chars().count() <= width),
                "{width}: {lines:?}"
            );
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&lines.concat()), letters(text));
        }
    }
}
