//! The shell: clocks, signals, systemd, and the run that ties the rooms together.

mod clock;
pub mod detect;
mod dispatcher;
mod findings;
mod heartbeat;
mod hooks;
mod host_monitor;
mod ids;
mod news;
mod notify;
mod pair;
mod process;
mod proofs;
mod relay;
mod routes;
mod run;
mod signals;
mod status;
mod tokens;
mod watchdog;

pub use detect::board_in_force;
pub use pair::pair_alone;
pub use run::{Console, RunError, RunOptions, run};
pub use tokens::alone as tokens_alone;
