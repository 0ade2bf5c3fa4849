//! `GET /`: the page for a browser, from `web/`. With scripts `page.js` shows what the API says, live; without them
//! there is what is made here, whole.

use std::fmt::{self, Display, Write};

use super::alerts;
use super::answer::{Answer, Problem};
use super::auth::Scope;
use super::call::{Call, Outcome};
use super::status;
use crate::gateway::api::words::{span, utc};
use crate::gateway::api::{AlertView, HistoryEntry, OutboxCounts, SessionState, SessionStatus, Status};
use crate::gateway::relay::Refusal;
use crate::outbox::Step;
use crate::util::wall_ms;

const INDEX: &str = include_str!("../../../web/index.html");
const STYLE: &str = include_str!("../../../web/page.css");
const SCRIPT: &str = include_str!("../../../web/page.js");
const CLIENT: &str = include_str!("../../../web/tautline.js");
const PLACE: &str = "<!-- view -->";

/// Nothing from elsewhere, nothing inline, nobody's frame, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// To whoever may see nothing yet, and has no scripts.
const NOT_SHOWN: &str = "<p>A token is needed here. To log in, the page needs scripts; programs send it as \
                         <code>Authorization: Bearer …</code></p>";

const ALERTS_SHOWN: usize = 20;
const LINES_SHOWN: usize = 10;
/// Characters of a message in the table.
const EXCERPT: usize = 160;

/// `GET /`.
pub(super) async fn page(mut call: Call<'_, '_>) -> Answer {
    if !call.caller.may(Scope::Read, None) {
        return html(INDEX.replacen(PLACE, NOT_SHOWN, 1));
    }
    // What it shows takes that right, as everywhere.
    call.scope = Scope::Read;
    let (call, relay) = (&call, &call.context.relay);
    let status = status::theirs(call).await;
    let alerts = alerts::newest(call, false, ALERTS_SHOWN).await;
    // Without them the rest is still worth showing.
    let lines = relay.lines(None, LINES_SHOWN);
    let now_ms = wall_ms();
    let mut view = String::new();
    // Writing into a String cannot fail.
    let _ = render(&mut view, &status, &lines, &alerts, now_ms);
    let title = if status.healthy { "Tautline" } else { "⚠ Tautline" };
    let html_text = INDEX
        .replacen("<title>Tautline</title>", &format!("<title>{title}</title>"), 1)
        .replacen(PLACE, &view, 1);
    html(html_text)
}

fn html(text: String) -> Answer {
    let mut answer = Answer::new(200, "text/html; charset=utf-8", text);
    answer.headers.push(("Content-Security-Policy", POLICY.into()));
    answer.headers.push(("Referrer-Policy", "no-referrer".into()));
    answer
}

/// `GET /web/{file}`.
pub(super) fn asset(name: &str) -> Outcome {
    match name {
        "page.css" => Ok(Answer::new(200, "text/css; charset=utf-8", STYLE)),
        "tautline.js" => Ok(Answer::new(200, "text/javascript; charset=utf-8", CLIENT)),
        "page.js" => Ok(Answer::new(200, "text/javascript; charset=utf-8", SCRIPT)),
        _ => Err(Problem::new(404, format!("there is nothing at /web/{name}"))),
    }
}

/// Text between tags or in a quoted attribute. Everything that is not a literal here goes through it.
struct Text<T>(T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

fn render(
    out: &mut String,
    status: &Status,
    lines: &Result<Vec<HistoryEntry>, Refusal>,
    alerts: &[AlertView],
    now_ms: u64,
) -> fmt::Result {
    overview(out, status)?;
    for session in &status.sessions {
        render_session(out, session, now_ms)?;
    }
    outbox(out, &status.outbox)?;
    recent(out, alerts, now_ms)?;
    history(out, lines, now_ms)
}

fn overview(out: &mut String, status: &Status) -> fmt::Result {
    let (class, word) = if status.healthy {
        ("good", "healthy")
    } else {
        ("bad", "not healthy")
    };
    writeln!(
        out,
        "<section><p><span class={class}>{word}</span> · {} · up {}</p>",
        Text(&status.state),
        span(status.uptime_ms)
    )?;
    for entry in &status.health {
        let class = if entry.severity == "error" { "bad" } else { "wait" };
        writeln!(
            out,
            "<p><span class={class}>{}</span> {} <code class=dim title=\"{}\">{}</code><br><span class=dim>{}</span></p>",
            Text(&entry.severity),
            Text(&entry.text),
            Text(&entry.title),
            Text(&entry.code),
            Text(&entry.advice)
        )?;
    }
    writeln!(
        out,
        "<p class=dim>version {} · board {} ({}) · a silent death is noticed within {} · {} · {}{}</p></section>",
        Text(&status.version),
        Text(&status.board.name),
        Text(&status.board.why),
        span(status.board.detection_worst_ms),
        Text(status.places()),
        Text(status.access.words()),
        if status.lab { " · <b>lab build</b>" } else { "" }
    )
}

fn render_session(out: &mut String, session: &SessionStatus, now_ms: u64) -> fmt::Result {
    let (class, word) = match session.state {
        SessionState::Online => ("good", "online"),
        SessionState::Connecting => ("wait", "connecting"),
        SessionState::Waiting => ("wait", "waiting"),
        SessionState::Pairing => ("wait", "pairing"),
        SessionState::Unpaired => ("bad", "not paired"),
        SessionState::Stopped => ("bad", "stopped"),
    };
    writeln!(
        out,
        "<section><h2>Session {} · <span class={class}>{word}</span></h2><p>{}</p>",
        Text(&session.name),
        Text(&session.detail)
    )?;
    let mut facts = vec![format!("{} lines opened", session.lines)];
    facts.extend(session.account.as_ref().map(|account| format!("account {account}")));
    facts.extend(
        session
            .online_since
            .map(|at| format!("online for {}", span(now_ms.saturating_sub(at)))),
    );
    facts.extend(
        session
            .next
            .as_ref()
            .map(|next| format!("next: {} in {}", next.reason, span(next.in_ms))),
    );
    facts.push(format!("{} messages received", session.inbound_recorded));
    writeln!(out, "<p class=dim>{}</p>", Text(facts.join(" · ")))?;
    if let Some(end) = &session.last_end {
        writeln!(
            out,
            "<p class=dim>last line ended {} ago: {} ({}), {}. {}</p>",
            span(now_ms.saturating_sub(end.at)),
            Text(&end.cause),
            Text(&end.origin),
            Text(&end.verdict),
            Text(&end.detail)
        )?;
    }
    if !session.layers.is_empty() {
        out.push_str(
            "<div class=scroll><table><thead><tr><th>layer<th>last proof of life<th>in force</thead><tbody>\n",
        );
        for layer in &session.layers {
            let age = layer
                .proof_age_ms
                .map_or("none yet".into(), |age| format!("{} ago", span(age)));
            writeln!(
                out,
                "<tr><td>{}<td>{age}<td>{}",
                Text(&layer.layer),
                Text(&layer.detail)
            )?;
        }
        out.push_str("</tbody></table></div>");
    }
    out.push_str("</section>\n");
    Ok(())
}

fn outbox(out: &mut String, counts: &OutboxCounts) -> fmt::Result {
    let failed = if counts.failed > 0 { "bad" } else { "dim" };
    write!(
        out,
        "<section><h2>Outbox</h2><p>{} waiting · {} sent · {} delivered · {} read · <span class={failed}>{} failed</span>",
        counts.accepted, counts.sent, counts.delivered, counts.read, counts.failed
    )?;
    if counts.expired > 0 {
        write!(out, " · <span class=bad>{} expired</span>", counts.expired)?;
    }
    if counts.fallback > 0 {
        write!(out, " · <span class=wait>{} by a fallback</span>", counts.fallback)?;
    }
    if counts.superseded > 0 {
        write!(out, " · <span class=dim>{} superseded</span>", counts.superseded)?;
    }
    if counts.dropped > 0 {
        write!(out, " · <span class=dim>{} dropped</span>", counts.dropped)?;
    }
    out.push_str("</p></section>\n");
    Ok(())
}

fn recent(out: &mut String, alerts: &[AlertView], now_ms: u64) -> fmt::Result {
    out.push_str("<section><h2>Recent alerts</h2>");
    if alerts.is_empty() {
        out.push_str("<p class=dim>None yet.</p></section>\n");
        return Ok(());
    }
    out.push_str("<div class=scroll><table><thead><tr><th>when<th>route<th>state<th>message</thead><tbody>\n");
    for alert in alerts {
        let (class, word) = match alert.state {
            Step::Accepted => ("wait", "waiting"),
            Step::Sent => ("good", "sent"),
            Step::Delivered => ("good", "delivered"),
            Step::Read => ("good", "read"),
            Step::Fallback => ("wait", "fallback"),
            Step::Superseded => ("dim", "superseded"),
            Step::Dropped => ("dim", "dropped"),
            Step::Expired => ("bad", "expired"),
            Step::Failed => ("bad", "failed"),
        };
        let title = match alert.title.as_str() {
            "" => String::new(),
            title => format!("<b>{}</b> ", Text(title)),
        };
        writeln!(
            out,
            "<tr><td class=number>{} ago<td>{}<td class={class}>{word}<td class=text>{title}{}",
            span(now_ms.saturating_sub(alert.accepted_at)),
            Text(&alert.route),
            Text(excerpt(&alert.text))
        )?;
    }
    out.push_str("</tbody></table></div></section>\n");
    Ok(())
}

/// The newest first here: a page is read from the top.
fn history(out: &mut String, lines: &Result<Vec<HistoryEntry>, Refusal>, now_ms: u64) -> fmt::Result {
    out.push_str("<section><h2>Ends of lines, and starts</h2>");
    let lines = match lines {
        Ok(lines) if lines.is_empty() => return writeln!(out, "<p class=dim>None yet.</p></section>"),
        Ok(lines) => lines,
        Err(refusal) => return writeln!(out, "<p class=bad>{}</p></section>", Text(refusal)),
    };
    out.push_str("<div class=scroll><table><thead><tr><th>when<th>session<th>what</thead><tbody>\n");
    for entry in lines.iter().rev() {
        write!(
            out,
            "<tr><td class=number title=\"{} UTC\">{} ago<td>{}<td class=text>{}",
            Text(utc(entry.at())),
            span(now_ms.saturating_sub(entry.at())),
            Text(entry.session()),
            Text(entry.headline())
        )?;
        for particular in entry.particulars() {
            write!(out, "<br><span class=dim>{}</span>", Text(particular))?;
        }
        out.push('\n');
    }
    out.push_str("</tbody></table></div></section>\n");
    Ok(())
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_senders_write_never_becomes_markup() {
        assert_eq!(
            Text("<script>\"a\" & 'b'</script>").to_string(),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"
        );
    }

    #[test]
    fn the_place_for_the_view_is_there_once() {
        assert_eq!(INDEX.matches(PLACE).count(), 1);
        assert_eq!(INDEX.matches("<title>Tautline</title>").count(), 1);
    }
}
