//! What a refusal of the server means: whether it passes, and what a person can do. One table, looked up by the code.
//!
//! The codes are those of WhatsApp Web's own answers (`wacore::protocol::nack`) and those that its server was seen to
//! send. A code can come as the answer to a message, and as the answer to one of the questions that a send begins with
//! (who is in the group, which devices, which keys); the same number does not always mean the same in both.

/// Why the server lets nothing through to a recipient for a long time, although the line is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The account asks or sends too much for WhatsApp's taste. Time alone ends it.
    RateLimited,
    /// The recipient has to write to this account first.
    NotWritten,
    /// The account has begun too many chats with people who have not written to it.
    NewChatsCapped,
}

impl Hold {
    /// Whether it is over when the recipient writes.
    pub(super) fn ends_when_they_write(self) -> bool {
        match self {
            Self::RateLimited => false,
            Self::NotWritten | Self::NewChatsCapped => true,
        }
    }
}

/// What is to be done about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It would be the same for ever, unless what is known of the recipient here is out of date: once more with all of
    /// it asked anew, then it is final.
    Final,
    /// The server's own trouble: tried again soon, for ever.
    Passing,
    /// Nobody here knows what it means. Trying once too often does less harm than a lost alert: as for trouble that
    /// passes, and once with everything asked anew.
    Unknown,
    /// Not before a long pause that grows, whatever becomes of the line.
    Hold(Hold),
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The message itself, by its ack.
    Message,
    /// A question that comes before it.
    Question,
}

struct Row {
    code: u16,
    message: Judgement,
    question: Judgement,
    /// For a person: what it is, and what helps.
    words: &'static str,
}

const fn row(code: u16, message: Judgement, question: Judgement, words: &'static str) -> Row {
    Row {
        code,
        message,
        question,
        words,
    }
}

use Judgement::{Final, Passing};

const LIMITED: Judgement = Judgement::Hold(Hold::RateLimited);

/// In the order of the codes.
const ROWS: &[Row] = &[
    // Malformed, by what the server now expects: a number whose LID has changed is addressed wrongly until it is asked
    // anew (`refresh_lid`). A question without the right form is our library's fault, and another version may mend it.
    row(
        400,
        Final,
        Passing,
        "WhatsApp calls the message malformed; if others to this recipient go out, please report it",
    ),
    // No member of the group that is asked for. To a message it was never seen.
    row(
        401,
        Final,
        Final,
        "this account may not see that group; let somebody add it again",
    ),
    // Not in the group, or not allowed to write in it.
    row(
        403,
        Final,
        Final,
        "this account may not write there; let an admin add it to the group or allow it to write",
    ),
    // No such number, group or device. A device list that is out of date names devices that are gone.
    row(
        404,
        Final,
        Final,
        "WhatsApp knows no such number or group; compare with `tautline chats`",
    ),
    row(
        405,
        Final,
        Passing,
        "WhatsApp does not allow such a message to this recipient; name another one in the route",
    ),
    // Also the answer for a device that is no longer registered, which asking anew leaves out.
    row(
        406,
        Final,
        Final,
        "WhatsApp does not accept messages to this recipient; ask them whether their account still works",
    ),
    row(
        408,
        Passing,
        Passing,
        "WhatsApp's server ran out of time; it is tried again",
    ),
    row(
        410,
        Final,
        Final,
        "that number or group is gone; take it out of the route",
    ),
    row(413, Final, Passing, "too large for WhatsApp; shorten the text"),
    // A group where only admins write, or a community's parent, in which nobody does. Rights may have been given since
    // the group was last asked about.
    row(
        420,
        Final,
        Final,
        "only admins may write there, and nobody may in a community's parent; make this account an admin, or name another group",
    ),
    // `StaleGroupAddressingMode`: the group's members are addressed by LID now, or by number again. Cured by asking.
    row(
        421,
        Final,
        Passing,
        "WhatsApp says that the group has changed, also after it was asked about anew; try `tautline queue retry` later",
    ),
    row(
        429,
        LIMITED,
        LIMITED,
        "WhatsApp is limiting this account; it is tried again after pauses that grow",
    ),
    // `MissingTcToken`: no token of the contact's, and the account is under a "reach-out timelock".
    row(
        463,
        Judgement::Hold(Hold::NotWritten),
        Passing,
        "they must write to you first; it goes out at once when they do, and is tried again after hours",
    ),
    // `NewChatMessagesCapped`.
    row(
        475,
        Judgement::Hold(Hold::NewChatsCapped),
        Passing,
        "WhatsApp lets this account begin no more new chats for now; it goes out when they write to you, or the cap ends",
    ),
    // `SmaxInvalid`: some field has a wrong form, such as an address of the wrong kind. Which kind is right is asked
    // anew.
    row(
        479,
        Final,
        Passing,
        "WhatsApp calls a field of the message malformed; if others to this recipient go out, please report it",
    ),
    // 487 to 491 and 493: the message or a part of it was not understood.
    row(
        487,
        Final,
        Passing,
        "WhatsApp could not read the message; please report it",
    ),
    row(
        488,
        Final,
        Passing,
        "WhatsApp does not know this kind of message; please report it",
    ),
    row(
        489,
        Final,
        Passing,
        "WhatsApp does not know this class of message; please report it",
    ),
    row(
        490,
        Final,
        Passing,
        "WhatsApp does not know this type of message; please report it",
    ),
    row(
        491,
        Final,
        Passing,
        "WhatsApp could not read the content of the message; please report it",
    ),
    row(
        493,
        Final,
        Passing,
        "WhatsApp takes no such message for a hosted account's device; please report it",
    ),
    // 495, 496 and 499 speak of a message that was received, and pass with the next attempt, which is encrypted anew.
    row(
        495,
        Passing,
        Passing,
        "a device lacks the message's secret; it is tried again",
    ),
    row(
        496,
        Passing,
        Passing,
        "a device has seen a later message already; it is tried again",
    ),
    row(
        499,
        Passing,
        Passing,
        "a device has deleted the message; it is tried again",
    ),
    row(
        500,
        Passing,
        Passing,
        "WhatsApp's server has trouble; it is tried again",
    ),
    row(
        503,
        Passing,
        Passing,
        "WhatsApp's server is not available; it is tried again",
    ),
    row(
        504,
        Passing,
        Passing,
        "WhatsApp's server ran out of time; it is tried again",
    ),
    // Only an admin's deletion is ever refused so, which is never sent here.
    row(
        550,
        Final,
        Passing,
        "WhatsApp does not let this account delete there; please report it",
    ),
    // The group is addressed in a way that it does not know yet, or no more.
    row(
        551,
        Final,
        Passing,
        "WhatsApp does not take messages to this group from this kind of device; name another group",
    ),
    row(
        552,
        Passing,
        Passing,
        "WhatsApp's database has trouble; it is tried again",
    ),
];

/// For a code without a row.
const UNKNOWN_WORDS: &str = "WhatsApp refuses it for a reason that is not known here; it is tried again";

/// What a refusal with `code` means for what was `refused`. The code is what stood in the stanza, and may be anything.
pub(super) fn judge(code: &str, refused: Refused) -> Judgement {
    row_of(code).map_or(Judgement::Unknown, |row| match refused {
        Refused::Message => row.message,
        Refused::Question => row.question,
    })
}

/// The note for it: words, and the code in parentheses.
pub(super) fn note(code: &str, refused: Refused) -> String {
    let words = row_of(code).map_or(UNKNOWN_WORDS, |row| row.words);
    // Anybody's bytes: a note is one short line.
    let code: String = code.chars().filter(|c| c.is_ascii_graphic()).take(16).collect();
    match refused {
        Refused::Message => format!("{words} (code {code})"),
        Refused::Question => format!("{words} (a question before sending was answered with code {code})"),
    }
}

fn row_of(code: &str) -> Option<&'static Row> {
    let code: u16 = code.trim().parse().ok()?;
    ROWS.iter().find(|row| row.code == code)
}

#[cfg(test)]
mod tests {
    use super::super::record::NOTE_CHARS_MAX;
    use super::*;

    #[test]
    fn the_table_is_in_order_and_every_row_has_words_that_fit_a_note() {
        assert!(ROWS.is_sorted_by(|a, b| a.code < b.code));
        for row in ROWS {
            assert!(row.words.len() > 20 && !row.words.ends_with('.'), "{}", row.code);
            for refused in [Refused::Message, Refused::Question] {
                let note = note(&row.code.to_string(), refused);
                assert!(note.contains(&row.code.to_string()), "{note}");
                assert!(note.chars().count() <= NOTE_CHARS_MAX, "{note}");
            }
            let says_again = row.words.contains("tried again") || row.words.contains("goes out");
            let ends = row.message == Judgement::Final;
            assert_ne!(says_again, ends, "{}: the words tell whether it is over", row.code);
        }
    }

    #[test]
    fn every_code_of_the_protocol_has_a_row() {
        // `wacore::protocol::nack::NackReason`, and what servers were seen to answer.
        let known = [
            400, 401, 403, 404, 405, 406, 410, 413, 420, 421, 429, 463, 475, 479, 487, 488, 489, 490, 491, 493, 495,
            496, 499, 500, 503, 550, 551, 552,
        ];
        for code in known {
            let code = format!("{code}");
            for refused in [Refused::Message, Refused::Question] {
                assert_ne!(judge(&code, refused), Judgement::Unknown, "{code}");
            }
        }
    }

    #[test]
    fn what_is_no_known_code_is_unknown_and_never_final() {
        for code in ["", " ", "nonsense", "-1", "70000", "402", "417", "599", "4O4", "404.5"] {
            assert_eq!(judge(code, Refused::Message), Judgement::Unknown, "{code:?}");
            assert_eq!(judge(code, Refused::Question), Judgement::Unknown, "{code:?}");
        }
        assert_eq!(judge(" 404 ", Refused::Message), Judgement::Final);
    }

    #[test]
    fn every_number_has_a_judgement_and_only_those_of_the_table_end_a_delivery() {
        for code in 0..=u16::MAX {
            let row = ROWS.iter().find(|row| row.code == code);
            let ends = judge(&code.to_string(), Refused::Message) == Judgement::Final;
            assert_eq!(ends, row.is_some_and(|row| row.message == Judgement::Final), "{code}");
        }
    }

    #[test]
    fn a_code_of_strange_bytes_makes_a_short_plain_note() {
        let note = note(&format!("\u{1b}[31m\n{}", "9".repeat(500)), Refused::Message);
        assert!(note.chars().count() <= NOTE_CHARS_MAX && !note.contains('\u{1b}') && !note.contains('\n'));
    }

    #[test]
    fn the_table_in_the_manual_says_the_same() {
        let manual = include_str!("../../docs/operations.md");
        for row in ROWS {
            let line = format!("| {} | {} |", row.code, row.words);
            assert!(manual.contains(&line), "docs/operations.md lacks the line: {line}");
        }
    }
}
