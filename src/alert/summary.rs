//! Several alerts as the text of one WhatsApp message.
//!
//! ```text
//! ❗ *12 alerts: DiskFull*         the mark of the most urgent, how many, and what all have in common
//! _raised 26 Nov 14:02_            where the first of them goes out late
//! - ❗ Disk full on nas: 4 % free  the most urgent first, then in the order in which they came
//! - 3 × web is down
//! - and 8 more
//! ```
//!
//! The same alerts always give the same text, as for [one](super::render).

use super::hygiene::shortened;
use super::{Alert, Priority, Status, render};

/// Characters of a line.
const LINE_CHARS_MAX: usize = 160;

/// Why they are in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They came together.
    Group,
    /// Quiet hours have held them.
    Digest,
}

/// The message for `alerts`, of which at most `lines_max` have a line of their own; those that read the same share one.
/// The first of those that are late was `raised` then.
pub fn text<'a>(alerts: impl Iterator<Item = &'a Alert>, kind: Kind, lines_max: usize, raised: Option<&str>) -> String {
    let mut alerts: Vec<&Alert> = alerts.collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse(alert.priority));
    let mut lines: Vec<(String, usize)> = Vec::new();
    let mut shown = 0;
    for line in alerts.iter().map(|alert| line(alert)) {
        let lines_len = lines.len();
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, count)) => *count += 1,
            None if lines_len < lines_max => lines.push((line, 1)),
            None => continue,
        }
        shown += 1;
    }
    let mut text = heading(&alerts, kind);
    if let Some(raised) = raised {
        text.push_str(&format!("\n_{raised}_"));
    }
    for (line, count) in lines {
        text.push_str("\n- ");
        if count > 1 {
            text.push_str(&format!("{count} × "));
        }
        text.push_str(&line);
    }
    match alerts.len() - shown {
        0 => {}
        more => text.push_str(&format!("\n- and {more} more")),
    }
    render::whole(&text)
}

fn heading(alerts: &[&Alert], kind: Kind) -> String {
    let mark = alerts
        .first()
        .map_or("", |alert| render::mark(alert.priority).unwrap_or_default());
    let resolved = alerts.iter().filter(|alert| alert.status == Status::Resolved).count();
    let counted = match (alerts.len(), resolved) {
        (all, 0) => format!("{all} alerts"),
        (all, resolved) if all == resolved => format!("{all} resolved"),
        (all, resolved) => format!("{all} alerts, {resolved} of them resolved"),
    };
    let counted = match kind {
        Kind::Group => counted,
        Kind::Digest => format!("{counted} while it was quiet"),
    };
    let named = match common(alerts) {
        Some(name) => format!("{counted}: {}", shortened(&name, LINE_CHARS_MAX).0),
        None => counted,
    };
    let space = if mark.is_empty() { "" } else { " " };
    format!("{mark}{space}{}", render::bold(&named))
}

/// What all of them are called.
fn common(alerts: &[&Alert]) -> Option<String> {
    let same = |of: &dyn Fn(&Alert) -> Option<String>| {
        let first = of(alerts.first()?)?;
        alerts
            .iter()
            .all(|alert| of(alert).as_ref() == Some(&first))
            .then_some(first)
    };
    let title = |alert: &Alert| Some(alert.title.trim().to_owned()).filter(|title| !title.is_empty());
    same(&|alert| alert.labels.get("alertname").cloned()).or_else(|| same(&title))
}

/// An alert in one line: its title and the beginning of its text.
fn line(alert: &Alert) -> String {
    let text = alert
        .text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let title = alert.title.trim();
    let said = match (title.is_empty(), text.is_empty() || text == title) {
        (true, _) => text.to_owned(),
        (false, true) => title.to_owned(),
        (false, false) => format!("{title}: {text}"),
    };
    let (said, _) = shortened(&said, LINE_CHARS_MAX);
    match alert.priority {
        Priority::High | Priority::Max => format!("{} {said}", render::mark(alert.priority).unwrap_or_default()),
        Priority::Min | Priority::Low | Priority::Default => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(title: &str, text: &str, priority: Priority) -> Alert {
        Alert {
            title: title.into(),
            text: text.into(),
            priority,
            ..Alert::default()
        }
    }

    #[test]
    fn the_urgent_stand_first_and_nothing_goes_uncounted() {
        let mut alerts = vec![
            alert("web", "is down", Priority::Default),
            alert("", "\n  first line\nsecond", Priority::Low),
            alert("web", "is down", Priority::Default),
            alert("nas", "4 % free", Priority::High),
        ];
        let all = text(alerts.iter(), Kind::Group, 20, None);
        assert_eq!(
            all,
            "❗ *4 alerts*\n- ❗ nas: 4 % free\n- 2 × web: is down\n- first line"
        );
        let few = text(alerts.iter(), Kind::Digest, 1, Some("raised 26 Nov 14:02"));
        let expected = "❗ *4 alerts while it was quiet*\n_raised 26 Nov 14:02_\n- ❗ nas: 4 % free\n- and 3 more";
        assert_eq!(few, expected);
        for alert in &mut alerts {
            alert.labels.insert("alertname".into(), "Down".into());
            alert.priority = Priority::Default;
        }
        alerts[0].status = Status::Resolved;
        let named = text(alerts.iter(), Kind::Group, 2, None);
        assert_eq!(
            named,
            "*4 alerts, 1 of them resolved: Down*\n- 2 × web: is down\n- first line\n- and 1 more"
        );
    }

    #[test]
    fn no_number_of_long_alerts_makes_a_message_too_long() {
        let long = alert(&"*👋".repeat(9000), &"👋".repeat(9000), Priority::Max);
        let alerts = vec![long; 500];
        let text = text(alerts.iter(), Kind::Group, usize::MAX, None);
        assert!(text.encode_utf16().count() <= render::MESSAGE_UNITS_MAX);
        assert!(text.contains("500 × "));
    }
}
