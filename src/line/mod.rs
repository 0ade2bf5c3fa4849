//! One connection's life: schedule, causes and verdicts, backoff, supervision. Pure: instants and a seed come in.

mod backoff;
mod cause;
mod liveness;
mod pairing;
mod schedule;
mod supervisor;

pub use cause::{Cause, Origin, Stop, Verdict};
pub use pairing::PairEvent;
pub use schedule::{ApplicationSchedule, RedialSchedule, Schedule, StepDeadlines, TcpSchedule, WebSocketSchedule};
pub use supervisor::{Input, Layer, Output, Reason, State, Supervisor};
