//! The section `[attachments]`.

use super::reader::{At, Reader, Value};
use crate::config::attachments::{Largest, Prefix, Size};

const KEYS_ATTACHMENTS: &[&str] = &["max", "total", "fetch"];

#[derive(Debug, Default)]
pub(in crate::config) struct DraftAttachments {
    pub max: Option<At<Largest>>,
    pub total: Option<At<Size>>,
    pub fetch: Option<At<Vec<Prefix>>>,
}

impl Reader<'_> {
    pub(super) fn attachments(&mut self, value: Value) -> DraftAttachments {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type("attachments", value, "a section [attachments]");
            return DraftAttachments::default();
        };
        self.look_for_unknown("attachments", table, KEYS_ATTACHMENTS);
        let size = "a size like \"16MB\"";
        DraftAttachments {
            max: table
                .get("max")
                .and_then(|value| self.parsed("attachments.max", value, size)),
            total: table
                .get("total")
                .and_then(|value| self.parsed("attachments.total", value, size)),
            fetch: table
                .get("fetch")
                .and_then(|value| self.list("attachments.fetch", value, "a list like [\"http://camera.lan/\"]")),
        }
    }
}
