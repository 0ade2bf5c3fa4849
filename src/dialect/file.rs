//! Files that come with an alert. A dialect says where each is to be found; to keep it is the gateway's.

use std::ops::Range;

use crate::alert::hygiene::{self, CLICK_CHARS_MAX};

/// Characters of a name in a note or a warning.
const NAME_CHARS_MAX: usize = 64;

/// A file that a sender gave with its alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Without where it was; may be empty.
    pub name: String,
    /// Its length, where it is known.
    pub bytes: Option<u64>,
    /// Where it is.
    pub source: Source,
}

/// Where a file is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is the whole body.
    Body,
    /// It is this part of the body.
    Part(Range<usize>),
    /// It came beside the body, as the file of this number.
    Beside(usize),
    /// It was written in another form, and is here.
    Bytes(Vec<u8>),
    /// It is to be fetched from there.
    Link(String),
    /// Nowhere: only its start came as far as this, or it cannot be read.
    Missing(&'static str),
}

impl File {
    /// What a person is told who would miss it.
    pub(super) fn note(&self) -> String {
        if let Source::Link(link) = &self.source {
            return format!("attachment: {}", hygiene::shortened(link, CLICK_CHARS_MAX).0);
        }
        let size = self.bytes.map(|bytes| format!(", {}", hygiene::size(bytes)));
        format!("left out: {}{}", self.called(), size.unwrap_or_default())
    }

    fn called(&self) -> String {
        match hygiene::shortened(&self.name, NAME_CHARS_MAX).0 {
            name if name.is_empty() => "a file".to_owned(),
            name => name,
        }
    }

    /// What its sender is told.
    pub(super) fn warning(&self, why: &str) -> String {
        match &self.source {
            Source::Link(_) => format!("the link of the attachment was sent in the text: {why}"),
            _ => {
                let size = self.bytes.map(|bytes| format!(" ({})", hygiene::size(bytes)));
                format!("{}{} was left out: {why}", self.called(), size.unwrap_or_default())
            }
        }
    }
}
