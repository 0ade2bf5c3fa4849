//! The boards themselves, as `build.rs` has read them.

use std::time::Duration;

use super::{EventsNumbers, FIELDS, Field, OutboxNumbers, StoreNumbers, Values, detection_worst};
use crate::line::Schedule;

/// One kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// What the config calls it.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    pub values: Values,
    /// In the order of [`FIELDS`]: why, and the board whose file says so.
    whys: &'static [(&'static str, &'static str)],
}

/// One number with its why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    pub field: &'static Field,
    pub value: u64,
    pub why: &'static str,
    /// The board whose file says so: this one or its base.
    pub from: &'static str,
}

static BOARDS: &[Board] = include!(concat!(env!("OUT_DIR"), "/boards.rs"));

impl Board {
    /// Every board there is, `generic` first.
    pub fn all() -> &'static [Board] {
        BOARDS
    }

    pub fn named(name: &str) -> Option<&'static Board> {
        BOARDS.iter().find(|board| board.name == name)
    }

    /// The board for a host that is not known.
    pub fn generic() -> &'static Board {
        // The build fails without it.
        &BOARDS[0]
    }

    pub fn schedule(&self) -> Schedule {
        self.values.schedule()
    }

    pub fn store(&self) -> StoreNumbers {
        self.values.store()
    }

    pub fn outbox(&self) -> OutboxNumbers {
        self.values.outbox()
    }

    pub fn events(&self) -> EventsNumbers {
        self.values.events()
    }

    /// The longest that a silent death goes unnoticed.
    pub fn detection_worst(&self) -> Duration {
        detection_worst(&self.schedule())
    }

    /// Every number, in the order of the files.
    pub fn numbers(&self) -> impl Iterator<Item = Number> {
        let whys = self.whys.iter();
        let numbers = FIELDS.iter().zip(self.values.list()).zip(whys);
        numbers.map(|((field, value), (why, from))| Number {
            field,
            value,
            why,
            from,
        })
    }
}
