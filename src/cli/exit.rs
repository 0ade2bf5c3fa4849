//! How a command ends.

use std::fmt::Display;
use std::process::ExitCode;

use crate::store::StoreError;

/// The exit codes that scripts may rely on. clap itself ends with [`Usage`](Exit::Usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// It was tried and did not work: a delivery failed, pairing ended without a link, a file cannot be read.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No relay answers on the control socket.
    Unreachable = 3,
    /// The relay answers, and will not: unknown route, outbox full, message too large. And a relay that does not start
    /// on a damaged state; systemd does not restart that (`RestartPreventExitStatus=4 78`).
    Refused = 4,
    /// Nothing goes out until a person acts: pair the session.
    NotPaired = 5,
    /// `--wait` ran out; the alert is kept and goes its way.
    WaitRanOut = 6,
    /// Another process has the state directory.
    StateInUse = 7,
    /// The one after which systemd never restarts (`RestartPreventExitStatus=4 78`).
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not end with 0: the code for scripts and one line for people.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub text: String,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Display) -> Self {
        Self {
            exit,
            text: text.to_string(),
        }
    }

    /// A command that looks after the state fails where it cannot have it. `run` refuses a damaged one, so that
    /// systemd stops trying.
    pub(super) fn of_store(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Locked(_) => Exit::StateInUse,
            StoreError::Unfit { .. } => Exit::BadConfig,
            StoreError::Open { .. }
            | StoreError::Damaged { .. }
            | StoreError::Newer { .. }
            | StoreError::Read(_)
            | StoreError::Poisoned(_)
            | StoreError::Full(_)
            | StoreError::ReadOnly(_)
            | StoreError::Record { .. }
            | StoreError::TooLarge { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<std::io::Error> for Failure {
    /// For what is written to stdout. Whoever closed the pipe has seen enough.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::new(Exit::Failed, format!("cannot write to stdout: {error}")),
        }
    }
}
