//! What a finding is about, for who is told of it.

use super::table::Code;
use crate::alert::SessionName;

/// What an episode is of. All that a session can suffer is one: from offline to banned is no end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Session(SessionName),
    Whole(Code),
}

impl Subject {
    pub fn of(code: Code, session: Option<&SessionName>) -> Self {
        match (code, session) {
            (
                Code::SessionOffline | Code::SessionStopped | Code::SessionTrouble | Code::SessionUnpaired,
                Some(session),
            ) => Self::Session(session.clone()),
            (code, _) => Self::Whole(code),
        }
    }
}
