//! An alert while a dialect puts it together. What is done here is done for every dialect.

use std::time::Duration;

use super::Request;
use super::file::{File, Source};
use super::form::Form;
use super::markdown;
use crate::alert::hygiene::{
    self, CLICK_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX, TEXT_BYTES_MAX, TITLE_CHARS_MAX, one_line,
};
use crate::alert::{Alert, Attachment, Priority, Status, render};

/// Characters of a value that is quoted in a warning or a note.
const QUOTED_CHARS_MAX: usize = 64;

/// Characters of a file's name.
const FILE_NAME_CHARS_MAX: usize = 128;

/// Labels of an alert, and characters of one's name and value. More than a monitoring program gives one; none is shown.
const LABELS_MAX: usize = 32;
const LABEL_CHARS_MAX: usize = 64;
const LABEL_VALUE_CHARS_MAX: usize = 256;

const SENDER_CHARS_MAX: usize = 128;

/// The shortest time to live: less is no time in which anything could be sent.
const TTL_MIN: Duration = Duration::from_secs(1);

/// The longest that counts; more than anybody waits.
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The shortest and the longest delay, as ntfy has them. What a sender asks for beyond them is more likely a mistake,
/// of its clock or of this box's, than a wish, and an alert that goes out at once is not lost.
const DELAY_MIN: Duration = Duration::from_secs(10);
const DELAY_MAX: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// From here on a number is a time, in Unix seconds, and no span: 2001.
const TIME_MIN: u64 = 1_000_000_000;

/// What a dialect makes of a request: what stands beside the text never costs the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// The route that the request names, where it does so itself.
    pub topic: Option<String>,
    /// In the order in which the sender gave them; all of them are kept, or none is.
    pub alerts: Vec<Alert>,
    /// What could not be kept or done, each in one line for the sender. Where a person would miss it, the text of the
    /// alert says so too.
    pub warnings: Vec<String>,
    /// Files that came with the first alert, to be [attached](Self::attach) or [left out](Self::leave_out). Its text
    /// may be empty until then.
    pub files: Vec<File>,
}

impl Parsed {
    /// Gives the first alert an attachment. One that had no text gets the file's name for it.
    pub fn attach(&mut self, attachment: Attachment) {
        let Some(alert) = self.alerts.first_mut() else { return };
        if alert.text.is_empty() {
            alert.text = match attachment.name.as_str() {
                "" => attachment.kind.to_string(),
                name => name.to_owned(),
            };
        }
        alert.attachments.push(attachment);
    }

    /// Says that a file is not sent: to the sender, and in the text to whoever would miss it.
    pub fn leave_out(&mut self, file: &File, why: &str) {
        self.warnings.push(file.warning(why));
        if let Some(alert) = self.alerts.first_mut() {
            if !alert.text.is_empty() {
                alert.text.push('\n');
            }
            alert.text.push_str(&format!("[{}]", file.note()));
        }
    }

    /// All files left out for one reason, where there is no place to keep them.
    #[must_use]
    pub fn without_files(mut self, why: &str) -> Self {
        for file in std::mem::take(&mut self.files) {
            let why = match file.source {
                Source::Missing(why) => why,
                _ => why,
            };
            self.leave_out(&file, why);
        }
        self
    }
}

/// An alert that is being read: takes the fields as the sender wrote them, keeps what can be kept, and collects what is
/// to be said about the rest.
#[derive(Debug, Default)]
pub struct Draft {
    alert: Alert,
    warnings: Vec<String>,
    notes: Vec<String>,
    files: Vec<File>,
    /// Only the start of the text was kept.
    in_part: bool,
    /// The text is Markdown.
    is_markdown: bool,
}

impl Draft {
    /// Tells the sender that something was not kept or done. One line.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Tells the person who reads the alert: becomes a line in brackets behind the text. One line.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Takes the title; one that is too long is cut.
    pub fn title(&mut self, given: &str) {
        let (title, cut) = hygiene::shortened(given, TITLE_CHARS_MAX);
        if cut {
            self.warn(format!("the title was cut to {TITLE_CHARS_MAX} characters"));
        }
        self.alert.title = title;
    }

    /// Takes a priority on ntfy's scale, as a number or a word; what is neither becomes the default one.
    pub fn priority(&mut self, given: &str) {
        match given.parse() {
            _ if given.trim().is_empty() => {}
            Ok(priority) => self.alert.priority = priority,
            Err(_) => {
                let given = quoted(given);
                self.warn(format!(
                    "the priority {given:?} is none of 1 to 5, min, low, default, high, max, urgent: default was taken"
                ));
                self.alert.priority = Priority::Default;
            }
        }
    }

    /// Takes a severity in the words of monitoring programs; one that is not known changes nothing.
    pub fn severity(&mut self, word: &str) {
        self.alert.priority = match word.trim().to_ascii_lowercase().as_str() {
            "emergency" | "emerg" | "panic" | "fatal" | "disaster" | "max" | "urgent" => Priority::Max,
            "critical" | "crit" | "alert" | "alerting" | "error" | "err" | "failure" | "failed" | "fail" | "high"
            | "major" | "page" | "down" | "danger" | "problem" => Priority::High,
            "low" | "debug" | "trace" | "minor" => Priority::Low,
            "min" | "none" => Priority::Min,
            _ => return,
        };
    }

    /// The same for one of several alerts: the priority only goes up.
    pub fn raise(&mut self, word: &str) {
        let before = self.alert.priority;
        self.severity(word);
        self.alert.priority = self.alert.priority.max(before);
    }

    /// Sets a priority that the dialect has read by a scale of its own.
    pub fn set_priority(&mut self, priority: Priority) {
        self.alert.priority = priority;
    }

    /// Takes a file that came with the alert; where only its length is known, `bytes` is that.
    pub fn file(&mut self, name: &str, bytes: Option<u64>, source: Source) {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let (name, _) = hygiene::shortened(name, FILE_NAME_CHARS_MAX);
        self.files.push(File { name, bytes, source });
    }

    /// Takes the tags; empty ones and those that are too many are left out.
    pub fn tags<'t>(&mut self, given: impl IntoIterator<Item = &'t str>) {
        let mut tags: Vec<String> = given.into_iter().map(one_line).filter(|tag| !tag.is_empty()).collect();
        if tags.len() > TAGS_MAX {
            self.warn(format!("of {} tags {TAGS_MAX} were taken", tags.len()));
            tags.truncate(TAGS_MAX);
        }
        let mut any_cut = false;
        for tag in &mut tags {
            let (short, cut) = hygiene::shortened(tag, TAG_CHARS_MAX);
            *tag = short;
            any_cut |= cut;
        }
        if any_cut {
            self.warn(format!("a tag was cut to {TAG_CHARS_MAX} characters"));
        }
        self.alert.tags = tags;
    }

    /// Takes the link to open. Half a link leads somewhere else: one that is too long is left out.
    pub fn click(&mut self, given: &str) {
        let click = one_line(given);
        if click.chars().nth(CLICK_CHARS_MAX).is_some() {
            self.warn(format!(
                "the link is longer than {CLICK_CHARS_MAX} characters and was left out"
            ));
            self.note("a link was too long and is left out");
            return;
        }
        self.alert.click = Some(click).filter(|click| !click.is_empty());
    }

    /// Takes the sender's de-duplication key.
    pub fn key(&mut self, given: &str) {
        if given.chars().nth(hygiene::KEY_CHARS_MAX).is_some() {
            self.warn("the key is long and is kept as its hash; it counts as any other");
        }
        self.alert.key = Some(hygiene::key(given)).filter(|key| !key.is_empty());
    }

    /// Takes how long the alert is worth sending: `90`, which are seconds, or `10m`, `24h`, `7d`.
    pub fn ttl(&mut self, given: &str) {
        let given = given.trim();
        if given.is_empty() {
            return;
        }
        let seconds = given.parse().map(Duration::from_secs);
        match seconds.ok().or_else(|| humantime::parse_duration(given).ok()) {
            Some(ttl) if ttl >= TTL_MIN => self.alert.ttl = Some(ttl.min(TTL_MAX)),
            Some(_) | None => {
                let given = quoted(given);
                self.warn(format!(
                    "the time to live {given:?} is no time of a second or more, like 90, 10m or 24h: none was taken"
                ));
            }
        }
    }

    /// Takes when the alert is to go out: after a time like `30m` or `2 hours`, or at one in Unix seconds, where the
    /// clock shows `now_ms`. What cannot be done is no reason to keep it back: it goes out at once, and where that
    /// matters to whoever reads it the text says so.
    pub fn delay(&mut self, given: &str, now_ms: u64) {
        let given = given.trim();
        if given.is_empty() {
            return;
        }
        let shown = quoted(given);
        let delay = match given.parse::<u64>() {
            Ok(seconds) if seconds >= TIME_MIN => {
                let left = seconds.saturating_mul(1000).checked_sub(now_ms);
                left.map_or(Duration::ZERO, Duration::from_millis)
            }
            Ok(_) | Err(_) => match span(given) {
                Some(span) => span,
                None => {
                    self.warn(format!(
                        "the delay {shown:?} is no time like 30m, 2h or 1d, and no Unix time: it is sent at once"
                    ));
                    self.note(format!("meant for later: {shown}"));
                    return;
                }
            },
        };
        if delay < DELAY_MIN {
            self.warn(format!(
                "the delay {shown:?} is over, or shorter than 10s: it is sent at once"
            ));
        } else if delay > DELAY_MAX {
            self.warn(format!("the delay {shown:?} is longer than 3 days: it is sent at once"));
            self.note(format!("meant for later: {shown}"));
        } else {
            self.alert.delay = Some(delay);
        }
    }

    /// Says whether the thing is so, or over.
    pub fn status(&mut self, status: Status) {
        self.alert.status = status;
    }

    /// Takes what the sender calls the thing that the alert is about, the same each time.
    pub fn sequence(&mut self, given: &str) {
        self.alert.sequence = Some(hygiene::key(given)).filter(|sequence| !sequence.is_empty());
    }

    /// Takes the name of the program or person that it comes from.
    pub fn sender(&mut self, given: &str) {
        let (sender, _) = hygiene::shortened(given, SENDER_CHARS_MAX);
        self.alert.sender = Some(sender).filter(|sender| !sender.is_empty());
    }

    /// Takes a label by which a route can group; of long ones the beginning counts.
    pub fn label(&mut self, name: &str, value: &str) {
        let (name, _) = hygiene::shortened(name, LABEL_CHARS_MAX);
        let (value, _) = hygiene::shortened(value, LABEL_VALUE_CHARS_MAX);
        let labels = &mut self.alert.labels;
        if !name.is_empty() && !value.is_empty() && (labels.len() < LABELS_MAX || labels.contains_key(&name)) {
            labels.insert(name, value);
        }
    }

    /// Tells that the text is only the start of what came. It gets the mark of one that is cut even if it would fit: of
    /// a text in UTF-16 half as many bytes are left once it is read.
    pub fn in_part(&mut self) {
        self.in_part = true;
    }

    /// Tells that the text is Markdown: it is shown as such, as far as the apps can.
    pub fn markdown(&mut self) {
        self.is_markdown = true;
    }

    /// [`finish`](Self::finish) for what came in a form: what of it could not be read is said, files are left out.
    /// Where the dialect has found no text, one under another name counts, as a later version of the sender may have
    /// it; then whatever else there is, and then the title is the text.
    pub(super) fn finish_form(
        mut self,
        form: &Form<'_>,
        mut text: String,
        request: &Request<'_>,
        empty: &str,
    ) -> Parsed {
        for file in form.files() {
            self.file(&file.name, file.bytes, file.source);
        }
        if form.is_binary {
            self.file("", Some(request.body_bytes), Source::Body);
        }
        if form.ends_in_text {
            self.in_part();
        }
        for fault in &form.faults {
            self.warn(fault.clone());
        }
        if text.is_empty() {
            let title = &mut self.alert.title;
            let other = form
                .other_text()
                .or_else(|| Some(form.everything()).filter(|all| !all.is_empty()));
            text = other.unwrap_or_else(|| std::mem::take(title));
        }
        let bytes = if self.in_part { request.body_bytes } else { 0 };
        self.finish(text, bytes, empty)
    }

    /// The alert with this text and the notes behind it, cut so that the whole message fits. `given_bytes` is how long
    /// the text was when it came, `empty` what an alert says that has neither text nor notes.
    pub fn finish(mut self, text: String, given_bytes: u64, empty: &str) -> Parsed {
        self.alert.text = self.text(text, given_bytes, empty);
        Parsed {
            topic: None,
            alerts: vec![self.alert],
            warnings: self.warnings,
            files: self.files,
        }
    }

    fn text(&mut self, text: String, given_bytes: u64, empty: &str) -> String {
        let mut notes = String::new();
        for note in &self.notes {
            notes.push_str(&format!("\n[{note}]"));
        }
        if text.is_empty() && notes.is_empty() && !self.in_part {
            return if self.files.is_empty() {
                empty.to_owned()
            } else {
                String::new()
            };
        }
        // Each of them may yet become a note.
        let reserved: usize = self.files.iter().map(|file| file.note().len() + "\n[]".len()).sum();
        let whole = hygiene::size(given_bytes.max(text.len() as u64));
        let text = if self.is_markdown {
            markdown::to_whatsapp(&text)
        } else {
            text
        };
        let bytes = TEXT_BYTES_MAX.saturating_sub(notes.len() + reserved);
        // A note has at most as many units as bytes.
        let units = render::room(&self.alert).saturating_sub(notes.len() + reserved);
        let mark = format!("… [cut, it was {whole} long]");
        let cut = match self.in_part {
            true => Some(hygiene::marked(&text, bytes, units, &mark)),
            false => hygiene::cut(&text, bytes, units, &mark),
        };
        let text = match cut {
            None => text,
            Some(cut) => {
                self.warn(format!(
                    "the message of {whole} was cut to {}",
                    hygiene::size(cut.len() as u64)
                ));
                cut
            }
        };
        format!("{text}{notes}").trim_start().to_owned()
    }
}

/// A span as senders write it: `30m`, `2 hours`, also `in 1 day`. An `M` is a minute, and no month.
fn span(given: &str) -> Option<Duration> {
    let given = given.to_ascii_lowercase();
    let given = given.strip_prefix("in ").unwrap_or(&given);
    humantime::parse_duration(given.trim()).ok()
}

/// A value as it may stand in a warning or a note: on one line, and short.
pub(super) fn quoted(value: &str) -> String {
    hygiene::shortened(value, QUOTED_CHARS_MAX).0
}
