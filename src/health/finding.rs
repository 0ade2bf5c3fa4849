//! Conditions that hold now, and which of them a person is shown.

use std::time::Duration;

use super::{Code, Severity, Subject};
use crate::alert::SessionName;

/// A condition that holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    code: Code,
    /// Whose it is; without a session it is the whole relay's.
    session: Option<SessionName>,
    lasts: Duration,
    /// Where this case is graver or milder than its row says.
    severity: Option<Severity>,
    text: String,
}

impl Finding {
    /// A condition of the whole relay, in words for people.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            session: None,
            lasts: Duration::ZERO,
            severity: None,
            text: text.into(),
        }
    }

    /// It is a condition of this session.
    #[must_use]
    pub fn of(mut self, session: &SessionName) -> Self {
        self.session = Some(session.clone());
        self
    }

    /// For how long it has held.
    #[must_use]
    pub fn lasting(mut self, lasts: Duration) -> Self {
        self.lasts = lasts;
        self
    }

    /// This case is graver or milder than its row says.
    #[must_use]
    pub fn graded(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// What it is a condition of.
    pub fn subject(&self) -> Subject {
        Subject::of(self.code, self.session.as_ref())
    }

    fn severity(&self) -> Severity {
        self.severity
            .unwrap_or_else(|| self.code.condition().grade.after(self.lasts))
    }

    /// Whether `self` explains `other`, so that nobody need be told of that too.
    fn explains(&self, other: &Self) -> bool {
        let whole_or_same = self.session.is_none() || self.session == other.session;
        whole_or_same && other.code.condition().follows_from.contains(&self.code) && self.severity() >= other.severity()
    }
}

/// A finding that a person is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub code: Code,
    pub severity: Severity,
    /// Whose it is, as in the finding.
    pub session: Option<SessionName>,
    /// For how long it has held.
    pub lasts: Duration,
    pub text: String,
}

/// What is shown of `findings`, in their order.
pub fn shown(mut findings: Vec<Finding>) -> Vec<Shown> {
    findings.retain(|finding| finding.lasts >= finding.code.condition().shows_after);
    let explained = |finding: &Finding| findings.iter().any(|other| other.explains(finding));
    findings
        .iter()
        .filter(|finding| !explained(finding))
        .map(|finding| Shown {
            code: finding.code,
            severity: finding.severity(),
            session: finding.session.clone(),
            lasts: finding.lasts,
            text: finding.text.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> SessionName {
        name.parse().unwrap()
    }

    fn codes(findings: &[Finding]) -> Vec<Code> {
        shown(findings.to_vec()).iter().map(|shown| shown.code).collect()
    }

    #[test]
    fn a_warning_becomes_an_error_when_it_lasts() {
        let offline = |seconds| Finding::new(Code::SessionOffline, "").lasting(Duration::from_secs(seconds));
        let severity = |finding: Finding| shown(vec![finding])[0].severity;
        assert_eq!(severity(offline(299)), Severity::Warning);
        assert_eq!(severity(offline(300)), Severity::Error);
        assert_eq!(severity(offline(0).graded(Severity::Error)), Severity::Error);
    }

    #[test]
    fn what_has_not_lasted_is_not_shown() {
        let stuck = |seconds| [Finding::new(Code::OutboxStuck, "").lasting(Duration::from_secs(seconds))];
        assert_eq!(codes(&stuck(119)), []);
        assert_eq!(codes(&stuck(120)), [Code::OutboxStuck]);
    }

    #[test]
    fn what_follows_from_another_is_hidden_while_that_stands() {
        let (home, shop) = (session("home"), session("shop"));
        let trouble = Finding::new(Code::SessionTrouble, "").of(&home);
        let unpaired = |name| Finding::new(Code::SessionUnpaired, "").of(name);
        assert_eq!(codes(&[unpaired(&home)]), [Code::SessionUnpaired]);
        assert_eq!(codes(&[unpaired(&home), trouble.clone()]), [Code::SessionTrouble]);
        let of_another = [unpaired(&shop), trouble.clone()];
        assert_eq!(codes(&of_another), [Code::SessionUnpaired, Code::SessionTrouble]);
        // What is hidden itself still explains.
        let failed = Finding::new(Code::StoreFailed, "");
        assert_eq!(codes(&[failed, trouble, unpaired(&home)]), [Code::StoreFailed]);
    }

    #[test]
    fn a_warning_hides_no_error() {
        let home = session("home");
        let clock = |seconds| Finding::new(Code::ClockUnset, "").lasting(Duration::from_secs(seconds));
        let offline = Finding::new(Code::SessionOffline, "").of(&home);
        assert_eq!(codes(&[clock(0), offline.clone()]), [Code::ClockUnset]);
        let banned = offline.graded(Severity::Error);
        assert_eq!(
            codes(&[clock(0), banned.clone()]),
            [Code::ClockUnset, Code::SessionOffline]
        );
        assert_eq!(codes(&[clock(300), banned]), [Code::ClockUnset]);
    }
}
