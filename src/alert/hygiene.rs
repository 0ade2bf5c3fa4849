//! What every dialect does to what a sender wrote before a person reads it: nothing unseen stays in it, and nothing
//! is too long. What is cut or left out is said in the text and to the sender.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// How every token of ours begins, as those of ntfy do. One is for the relay alone and never part of a text.
pub const TOKEN_START: &str = "tk_";

/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 1024;
/// Tags of an alert, and characters of one.
pub const TAGS_MAX: usize = 32;
pub const TAG_CHARS_MAX: usize = 64;
/// Characters of a link.
pub const CLICK_CHARS_MAX: usize = 2048;
/// Characters of a de-duplication key.
pub const KEY_CHARS_MAX: usize = 256;
/// Largest text of an alert, in bytes. WhatsApp takes 65 536 characters in all.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Characters of a long key that stay readable; the rest is in its hash.
const KEY_CHARS_SHOWN: usize = 64;
/// Tag characters behind a black flag: six letters of a region and the end, as in the flag of Scotland.
const FLAG_TAGS_MAX: usize = 7;
const ELLIPSIS: char = '…';

/// Without what a person does not see and what makes them see something else: control characters other than newline and
/// tab, and the format characters that turn the order of letters around or take no room.
///
/// Joiners stay (emoji and Persian need them), as do marks of direction, which Hebrew and Arabic need and which turn
/// nothing around, and variation selectors.
pub fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{2029}'], "\n");
    // How many tag characters may still follow.
    let mut tags = 0;
    let kept = |c: &char| {
        let is_tag = matches!(c, '\u{E0000}'..='\u{E007F}');
        tags = match c {
            '\u{1F3F4}' => FLAG_TAGS_MAX,
            _ if is_tag => {
                let allowed = tags > 0;
                tags = tags.saturating_sub(1);
                return allowed;
            }
            _ => 0,
        };
        (!c.is_control() || matches!(c, '\n' | '\t')) && !is_unseen(*c)
    };
    text.chars().filter(kept).collect()
}

fn is_unseen(c: char) -> bool {
    matches!(
        c,
        // Overrides, embeddings and isolates of direction.
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        // No width: soft hyphen, zero width space, word joiner and invisible operators, byte order mark.
        | '\u{AD}' | '\u{200B}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{180E}'
        // Deprecated format characters, annotations, and letters that are blank.
        | '\u{206A}'..='\u{206F}' | '\u{FFF9}'..='\u{FFFB}' | '\u{3164}' | '\u{FFA0}'
    )
}

/// The same on one line.
pub fn one_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ").trim().to_owned()
}

/// At most `max` characters on one line; the last is `…` if something was cut.
pub fn shortened(text: &str, max: usize) -> (String, bool) {
    let line = one_line(text);
    if line.chars().nth(max).is_none() {
        return (line, false);
    }
    let mut kept: String = line.chars().take(max.saturating_sub(1)).collect();
    kept.push(ELLIPSIS);
    (kept, true)
}

/// `text` cut between two characters, so that it fits with `mark` behind it. `None` if it fits without.
pub fn cut(text: &str, bytes_max: usize, units_max: usize, mark: &str) -> Option<String> {
    let units: usize = text.chars().map(char::len_utf16).sum();
    if text.len() <= bytes_max && units <= units_max {
        return None;
    }
    Some(marked(text, bytes_max, units_max, mark))
}

/// `text` with `mark` behind it, cut between two characters so that both fit.
pub fn marked(text: &str, bytes_max: usize, units_max: usize, mark: &str) -> String {
    let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
    let mut bytes = bytes_max.saturating_sub(mark.len());
    let mut room = units_max.saturating_sub(units(mark));
    let fits = |c: &char| {
        let fits = c.len_utf8() <= bytes && c.len_utf16() <= room;
        (bytes, room) = match fits {
            true => (bytes - c.len_utf8(), room - c.len_utf16()),
            false => (0, 0),
        };
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.truncate(kept.trim_end().len());
    kept.push_str(mark);
    kept
}

/// A de-duplication key. One that is too long, or had characters that nobody sees, ends with a hash of all of it: two
/// different keys stay different.
pub fn key(given: &str) -> String {
    let given = given.trim();
    let line = one_line(given);
    if line == given && line.chars().nth(KEY_CHARS_MAX).is_none() {
        return line;
    }
    let mut key: String = line.chars().take(KEY_CHARS_SHOWN).collect();
    key.push('#');
    for byte in Sha256::digest(given.as_bytes()) {
        // Writing into a String cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} KB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_goes_and_what_writing_needs_stays() {
        for (text, expected) in [
            ("a\u{0}b\u{1b}[31mc\td\u{85}\ne", "ab[31mc\td\ne"),
            ("one\r\ntwo\rthree\u{2028}four", "one\ntwo\nthree\nfour"),
            ("gnp.\u{202E}exe\u{202C}", "gnp.exe"),
            ("\u{2066}a\u{2069}\u{200B}b\u{2060}\u{FEFF}\u{AD}c", "abc"),
            ("ad\u{E0061}min\u{E0001}", "admin"),
            // Emoji of several characters, a region's flag, Persian, Hebrew.
            ("👩\u{200D}🚒 ❤\u{FE0F}", "👩\u{200D}🚒 ❤\u{FE0F}"),
            (
                "\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
                "\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
            ),
            ("می\u{200C}خواهم", "می\u{200C}خواهم"),
            ("שלום\u{200F}!", "שלום\u{200F}!"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        let hidden = format!("\u{1F3F4}{}", "\u{E0061}".repeat(50));
        assert_eq!(clean(&hidden).chars().count(), 1 + FLAG_TAGS_MAX);
        assert_eq!(one_line(" a\nb\tc "), "a b c");
    }

    #[test]
    fn what_is_cut_is_marked_and_fits_to_the_character() {
        assert_eq!(shortened("üüü", 3), ("üüü".into(), false));
        assert_eq!(shortened("üüüü", 3), ("üü…".into(), true));
        assert_eq!(cut("abc", 3, 3, "…"), None);
        for (text, bytes, units, expected) in [
            ("abcdef", 99, 5, "abcd…"),
            ("abcdef", 5, 6, "ab…"),
            ("üüüü", 7, 9, "üü…"),
            ("🔥🔥🔥", 99, 5, "🔥🔥…"),
            ("a  bc", 99, 4, "a…"),
            ("abc", 0, 0, "…"),
        ] {
            assert_eq!(cut(text, bytes, units, "…").as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn keys_stay_apart() {
        assert_eq!(key(" k1 "), "k1");
        assert_eq!(key(&"ü".repeat(KEY_CHARS_MAX)), "ü".repeat(KEY_CHARS_MAX));
        let long = |end: &str| key(&format!("{}{end}", "x".repeat(KEY_CHARS_MAX)));
        let keys = [
            long("a"),
            long("b"),
            key("a\u{1}"),
            key("a\u{2}"),
            key("a"),
            key("a\u{200B}"),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(key.chars().count() <= KEY_CHARS_MAX);
            assert!(!keys[..index].contains(key), "{key}");
        }
        // It is kept on disk for a day: another version must make the same of it.
        assert_eq!(
            key("a\u{1}"),
            "a#6023e54cda16371a6fc1257eb30c1585dcda4a1ea89ce2a7b540c2fe21c127fd"
        );
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in [(7, "7 bytes"), (70_000, "70 KB"), (5_242_880, "5.2 MB")] {
            assert_eq!(size(bytes), expected);
        }
    }
}
