//! An alert as the text of a WhatsApp message.
//!
//! ```text
//! ❗ ⚠️ *Title*            priority mark (high ❗, max ‼️), emoji of known tags, title in bold
//! _raised 26 Nov 14:02_    where it goes out late
//! The text.
//! https://the.link/        click
//! tags: backup, nas        tags that are no emoji
//! ```
//!
//! Marks and emoji stand before the text when there is no title. The same alert always gives the same text, because a
//! message that is sent again must be the same message.

use super::{Alert, Priority, emoji};

/// Longest text of one WhatsApp message, counted in UTF-16 units as the apps do.
pub const MESSAGE_UNITS_MAX: usize = 65_536;

/// Longest text that goes as the caption of a picture or file, in the same units. The apps let people write 1 024; the
/// rest is for the line that tells when a late alert was raised.
pub const CAPTION_UNITS_MAX: usize = 960;

/// Stands for what was cut.
const ELLIPSIS: &str = "…";

/// The whole message for `alert`, which was `raised` at a time that has to be said: at most [`MESSAGE_UNITS_MAX`] long.
/// What is too long loses the end of its text; link and tags stay.
pub fn text(alert: &Alert, raised: Option<&str>) -> String {
    let (mut head, tail) = (head(alert), tail(alert));
    if let Some(raised) = raised {
        head.push_str(&format!("_{raised}_\n"));
    }
    // Dialects leave room for all but that line, and say what they cut for it; this is for it, and for alerts that an
    // earlier version has kept.
    let text = cut(
        &alert.text,
        MESSAGE_UNITS_MAX.saturating_sub(units(&head) + units(&tail)),
    );
    // Dialects bound title, link and tags; this holds for an alert from anywhere.
    cut(&format!("{head}{text}{tail}"), MESSAGE_UNITS_MAX)
}

/// UTF-16 units that the text of `alert` may have beside its title, link and tags.
pub fn room(alert: &Alert) -> usize {
    MESSAGE_UNITS_MAX.saturating_sub(units(&head(alert)) + units(&tail(alert)))
}

/// How many messages `alert` takes to each recipient, in their order: the first attachment with the text as its
/// caption, then the others. The text goes before them in a message of its own where it is
/// [too long](CAPTION_UNITS_MAX) for a caption, or the first attachment is one that can have none.
pub fn parts(alert: &Alert) -> u16 {
    let parts = match alert.attachments.first() {
        None => 1,
        Some(first) => {
            let text_apart = !first.kind.has_caption() || units(&text(alert, None)) > CAPTION_UNITS_MAX;
            alert.attachments.len() + usize::from(text_apart)
        }
    };
    u16::try_from(parts).unwrap_or(u16::MAX)
}

/// What stands before an urgent alert.
pub(super) fn mark(priority: Priority) -> Option<&'static str> {
    match priority {
        Priority::Min | Priority::Low | Priority::Default => None,
        Priority::High => Some("❗"),
        Priority::Max => Some("‼️"),
    }
}

/// A text that is a whole message, cut where it is too long for one.
pub(super) fn whole(text: &str) -> String {
    cut(text, MESSAGE_UNITS_MAX)
}

/// Everything before the text, with what separates it.
fn head(alert: &Alert) -> String {
    let mark = mark(alert.priority);
    let emoji = alert.tags.iter().filter_map(|tag| emoji::find(tag));
    let mut head: String = mark.into_iter().chain(emoji).flat_map(|sign| [sign, " "]).collect();
    let title = alert.title.trim();
    if !title.is_empty() {
        head.push_str(&bold(title));
        head.push('\n');
    }
    head
}

/// A title with a `*` of its own stays plain: WhatsApp has no escape, and half a title in bold reads worse than none.
pub(super) fn bold(title: &str) -> String {
    if title.contains('*') {
        title.to_owned()
    } else {
        format!("*{title}*")
    }
}

fn tail(alert: &Alert) -> String {
    let mut tail = String::new();
    if let Some(click) = &alert.click {
        tail.push('\n');
        tail.push_str(click);
    }
    let words: Vec<&str> = alert
        .tags
        .iter()
        .map(String::as_str)
        .filter(|tag| emoji::find(tag).is_none())
        .collect();
    if !words.is_empty() {
        tail.push_str("\ntags: ");
        tail.push_str(&words.join(", "));
    }
    tail
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// `text` in at most `max` units, cut between characters.
fn cut(text: &str, max: usize) -> String {
    if units(text) <= max {
        return text.to_owned();
    }
    let mut room = max.saturating_sub(units(ELLIPSIS));
    let fits = |c: &char| {
        let fits = c.len_utf16() <= room;
        room = if fits { room - c.len_utf16() } else { 0 };
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push_str(ELLIPSIS);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Attachment, BlobHash, MediaKind};

    fn alert(title: &str, text: &str, priority: Priority, tags: &[&str], click: Option<&str>) -> Alert {
        Alert {
            title: title.into(),
            text: text.into(),
            priority,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            click: click.map(str::to_owned),
            ..Alert::default()
        }
    }

    #[test]
    fn examples() {
        use Priority::{Default, High, Low, Max};
        for (given, expected) in [
            (alert("", "disk full", Default, &[], None), "disk full"),
            (alert("NAS", "disk full", Default, &[], None), "*NAS*\ndisk full"),
            (
                alert("NAS", "disk full", Low, &["warning"], None),
                "⚠️ *NAS*\ndisk full",
            ),
            (
                alert("NAS", "disk full", High, &["warning", "nas"], None),
                "❗ ⚠️ *NAS*\ndisk full\ntags: nas",
            ),
            (alert("", "fire", Max, &["fire", "skull"], None), "‼️ 🔥 💀 fire"),
            (
                alert("", "look", Default, &["a", "b"], Some("https://x.test/")),
                "look\nhttps://x.test/\ntags: a, b",
            ),
            (alert("5 * 3", "text", Default, &[], None), "5 * 3\ntext"),
            (alert("  ", "text", Default, &[], None), "text"),
        ] {
            assert_eq!(text(&given, None), expected);
        }
    }

    #[test]
    fn too_long_a_text_is_cut_between_characters_and_keeps_its_link() {
        let whole = alert("", &"x".repeat(MESSAGE_UNITS_MAX), Priority::Default, &[], None);
        assert_eq!(text(&whole, None), whole.text);
        for filling in ["x", "ü", "👋"] {
            let long = alert(
                "T",
                &filling.repeat(MESSAGE_UNITS_MAX),
                Priority::Default,
                &["t"],
                Some("https://x.test/"),
            );
            let cut = text(&long, None);
            assert!(
                (MESSAGE_UNITS_MAX - 1..=MESSAGE_UNITS_MAX).contains(&units(&cut)),
                "{filling}: {}",
                units(&cut)
            );
            assert!(cut.ends_with("…\nhttps://x.test/\ntags: t"));
            let late = text(&long, Some("raised 26 Nov 14:02"));
            assert!(late.starts_with("*T*\n_raised 26 Nov 14:02_\n") && units(&late) <= MESSAGE_UNITS_MAX);
            assert!(late.ends_with("…\nhttps://x.test/\ntags: t"));
        }
    }

    #[test]
    fn nothing_makes_a_message_too_long() {
        let huge = "👋".repeat(MESSAGE_UNITS_MAX);
        assert!(
            units(&text(
                &alert(&huge, &huge, Priority::Max, &[&huge], Some(&huge)),
                Some(&huge)
            )) <= MESSAGE_UNITS_MAX
        );
    }

    #[test]
    fn each_attachment_is_a_message_and_the_text_goes_with_the_first_where_it_can() {
        let file = |kind| Attachment {
            hash: BlobHash([0; 32]),
            bytes: 1,
            name: String::new(),
            mime: "image/jpeg".into(),
            kind,
            width: 0,
            height: 0,
            thumbnail: None,
        };
        let album = |text: &str, kinds: &[MediaKind]| Alert {
            text: text.to_owned(),
            attachments: kinds.iter().map(|kind| file(*kind)).collect(),
            ..Alert::default()
        };
        use MediaKind::{Audio, Document, Image, Video};
        let long = "x".repeat(CAPTION_UNITS_MAX + 1);
        for (text, kinds, count) in [
            ("person", &[][..], 1),
            (&long, &[], 1),
            ("person", &[Image], 1),
            ("person", &[Document, Audio], 2),
            ("person", &[Video, Image, Image], 3),
            ("person", &[Audio], 2),
            (&long, &[Image], 2),
            (&long, &[Image, Image], 3),
        ] {
            assert_eq!(parts(&album(text, kinds)), count, "{kinds:?}");
        }
    }
}
