//! Format 6 of an alert's record: what format 5 holds, and after it whether what the alert is about turned too often.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::v5::{AlertRecordV5, Notes};
use crate::alert::NameError;
use crate::outbox::{AlertRecord, Flap};
use crate::util::millis;

#[derive(Serialize, Deserialize)]
pub(super) struct AlertRecordV6<'a> {
    before: AlertRecordV5<'a>,
    flap: Option<FlapV6>,
}

#[derive(Serialize, Deserialize)]
struct FlapV6 {
    turns: u32,
    /// Milliseconds.
    span: u64,
    /// Milliseconds.
    hold: u64,
}

impl<'a> AlertRecordV6<'a> {
    pub(super) fn of(record: &'a AlertRecord, notes: Notes) -> Self {
        Self {
            before: AlertRecordV5::of(record, notes),
            flap: record.flap.as_deref().map(|flap| FlapV6 {
                turns: flap.turns,
                span: millis(flap.span),
                hold: millis(flap.hold),
            }),
        }
    }
}

impl TryFrom<AlertRecordV6<'_>> for AlertRecord {
    type Error = NameError;

    fn try_from(stored: AlertRecordV6<'_>) -> Result<Self, NameError> {
        let flap = stored.flap.map(|flap| {
            Box::new(Flap {
                turns: flap.turns,
                span: Duration::from_millis(flap.span),
                hold: Duration::from_millis(flap.hold),
            })
        });
        Ok(Self {
            flap,
            ..Self::try_from(stored.before)?
        })
    }
}
