//! The real core against a model of everything around it, from one seed: server, path, clocks, the shell and the host.
//!
//! A run is years of one session in virtual time, full of faults, and ends with a calm phase in which the line must
//! come up. Whatever breaks a property ends the run with a sentence; the same seed, board and days give the same run.

pub mod checks;
pub mod faults;
pub mod shell;
pub mod world;

use tautline::board::Board;

/// What a run saw, so that a run that tested nothing shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    pub days: u64,
    pub events: u64,
    pub lines: u64,
    pub deaths: u64,
    pub zombies: u64,
    pub detection_max_ms: u64,
    pub recovery_max_ms: u64,
    pub messages_per_hour_max: u64,
    pub attempts_per_hour_max: u64,
    pub stops: u64,
    pub feeds: u64,
    pub withheld: u64,
    /// While a line was logged in, and what was sent to keep it.
    pub online_ms: u64,
    pub application_pings: u64,
    pub websocket_pings: u64,
    pub presences: u64,
    pub probes: u64,
}

impl Summary {
    pub fn add(&mut self, other: &Self) {
        self.days += other.days;
        self.events += other.events;
        self.lines += other.lines;
        self.deaths += other.deaths;
        self.zombies += other.zombies;
        self.stops += other.stops;
        self.feeds += other.feeds;
        self.withheld += other.withheld;
        self.online_ms += other.online_ms;
        self.application_pings += other.application_pings;
        self.websocket_pings += other.websocket_pings;
        self.presences += other.presences;
        self.probes += other.probes;
        self.detection_max_ms = self.detection_max_ms.max(other.detection_max_ms);
        self.recovery_max_ms = self.recovery_max_ms.max(other.recovery_max_ms);
        self.messages_per_hour_max = self.messages_per_hour_max.max(other.messages_per_hour_max);
        self.attempts_per_hour_max = self.attempts_per_hour_max.max(other.attempts_per_hour_max);
    }
}

/// The board that a seed runs on: all of them in turn.
pub fn board_of(seed: u64) -> &'static Board {
    let boards = Board::all();
    &boards[usize::try_from(seed % boards.len() as u64).unwrap_or(0)]
}

/// `days` of faults, then calm.
///
/// # Errors
/// The property that was violated, with the virtual time.
pub fn run(seed: u64, days: u64) -> Result<Summary, String> {
    world::World::new(seed, board_of(seed)).run(days)
}
