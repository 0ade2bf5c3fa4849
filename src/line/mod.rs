//! One connection's life: schedule, causes and verdicts, backoff, liveness, supervision, watchdog. Pure: instants and a
//! seed come in, decisions come out. No deadline in this room knows the wall clock, so none can hide a dead line or
//! kill a live one; [`ClockMonitor`] alone looks at its numbers, and judges the clock by them.

mod acks;
mod backoff;
mod budget;
mod cadence;
mod cause;
mod clock_monitor;
mod display;
mod io;
mod liveness;
mod pairing;
mod phase;
mod record;
mod schedule;
mod supervisor;
mod timer;
mod undecoded;
mod watchdog;

pub use acks::OWED_AFTER as ACK_OWED_AFTER;
pub use backoff::Backoff;
pub use cadence::{Flapping, Guess};
pub use cause::{Cause, Origin, Stop, Verdict, printable};
pub use clock_monitor::{ClockMonitor, Reading, Unset};
pub use io::{HostEvent, Input, Layer, Output, Question, State};
pub use liveness::PROBE_PATIENCE;
pub use pairing::PairEvent;
pub use record::{Ages, EndRecord};
pub use schedule::{ApplicationSchedule, RedialSchedule, Schedule, StepDeadlines, TcpSchedule, WebSocketSchedule};
pub use supervisor::Supervisor;
pub use timer::Reason;
pub use watchdog::{Lost, Progress, Watchdog, WatchdogInput, WatchdogOutput};
