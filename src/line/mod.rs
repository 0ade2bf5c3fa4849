//! One connection's life: schedule, causes and verdicts, backoff, supervision. Pure: instants and a seed come in.

mod schedule;

pub use schedule::{ApplicationSchedule, RedialSchedule, Schedule, StepDeadlines, TcpSchedule, WebSocketSchedule};
