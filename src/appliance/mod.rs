//! The shell: clocks, signals, systemd, and the run that ties the rooms together.

mod clock;
mod courier;
mod ids;
mod notify;
mod relay;
mod run;
mod signals;
pub mod status;

pub use run::{Console, RunError, RunOptions, run};
