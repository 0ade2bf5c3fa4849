//! The section `[heartbeat]`.

use std::time::Duration;

use super::reader::{At, Reader, Value};
use crate::config::Url;

const KEYS_HEARTBEAT: &[&str] = &["url", "interval"];

#[derive(Debug)]
pub(in crate::config) struct DraftHeartbeat {
    pub url: At<Url>,
    pub interval: Option<At<Duration>>,
}

impl Reader<'_> {
    pub(super) fn heartbeat(&mut self, value: Value) -> Option<DraftHeartbeat> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type("heartbeat", value, "a section [heartbeat]");
            return None;
        };
        self.look_for_unknown("heartbeat", table, KEYS_HEARTBEAT);
        let url = match table.get("url") {
            Some(url) => self.parsed("heartbeat.url", url, "a URL like \"https://host/path\""),
            None => {
                let text = "is missing; expected a URL like \"https://host/path\"";
                self.fault("heartbeat.url", value.span(), text);
                None
            }
        };
        let interval = table
            .get("interval")
            .and_then(|value| self.span("heartbeat.interval", value));
        Some(DraftHeartbeat { url: url?, interval })
    }
}
