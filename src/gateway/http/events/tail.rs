//! How far a subscriber has been told of the journal. Pure: what was read comes in, what is to be told comes out.

use std::collections::VecDeque;

use crate::gateway::api::{EventView, StreamWord};

/// Entries that are read at once.
const PAGE: usize = 32;

/// One thing to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Entry(EventView),
    /// The journal no longer has these.
    Gap {
        from: u64,
        to: u64,
    },
}

/// Where a subscriber stands. It is read for from here, so that live entries never pass older ones and nothing waits
/// in memory.
#[derive(Debug)]
pub(super) struct Tail {
    /// All up to this number is told, or is not wanted.
    after: u64,
    window: Option<Window>,
}

/// Entries that may be told without being acknowledged.
#[derive(Debug)]
struct Window {
    size: usize,
    told: VecDeque<u64>,
}

impl Tail {
    /// Goes on after this number, with a window if the client paces.
    pub fn new(after: u64, window: Option<usize>) -> Self {
        let window = window.map(|size| Window {
            size,
            told: VecDeque::new(),
        });
        Self { after, window }
    }

    pub fn after(&self) -> u64 {
        self.after
    }

    /// How many entries may be read now.
    pub fn room(&self) -> usize {
        let window = self.window.as_ref();
        let room = window.map_or(PAGE, |window| window.size.saturating_sub(window.told.len()));
        room.min(PAGE)
    }

    /// What is to be told of the entries that were read after [`after`](Self::after), oldest first. A number that is
    /// missing between them is a gap, whoever it would have been for: nobody knows any more.
    pub fn take(&mut self, read: Vec<EventView>, fits: impl Fn(&EventView) -> bool) -> Vec<Item> {
        let mut told = Vec::new();
        for event in read {
            // Whatever was read: nothing is told twice.
            if event.number <= self.after {
                continue;
            }
            if event.number > self.after + 1 {
                let (from, to) = (self.after + 1, event.number - 1);
                told.push(Item::Gap { from, to });
            }
            self.after = event.number;
            if fits(&event) {
                if let Some(window) = &mut self.window {
                    window.told.push_back(event.number);
                }
                told.push(Item::Entry(event));
            }
        }
        told
    }

    /// The client has done with all up to this number.
    pub fn acknowledge(&mut self, number: u64) {
        let Some(window) = &mut self.window else { return };
        while window.told.front().is_some_and(|told| *told <= number) {
            window.told.pop_front();
        }
    }

    /// Where a client may go on that knows nothing but what it has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let first = self.window.as_ref().and_then(|window| window.told.front());
        first.map_or(self.after, |first| first - 1)
    }
}

impl Item {
    /// Where one may resume from after it.
    pub fn number(&self) -> u64 {
        match self {
            Self::Entry(event) => event.number,
            Self::Gap { to, .. } => *to,
        }
    }

    pub fn json(&self) -> String {
        // Strings and numbers always are JSON.
        let text = match self {
            Self::Entry(event) => serde_json::to_string(event),
            Self::Gap { from, to } => serde_json::to_string(&StreamWord::Gap { from: *from, to: *to }),
        };
        text.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
