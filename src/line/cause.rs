//! Why a line ended, and what to do about it. The table of reactions is [`Cause::verdict`]; it has no wildcard arm, so
//! a new cause must be given a reaction.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A ban is waited out for as long as the server says, but a number from the network is not trusted with more: after
/// this one try asks again.
pub const BAN_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// Who ended it. Kept apart from the cause because the cure differs: a server's word is obeyed, a path is retried, and
/// what we decided ourselves must never look like either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    Server,
    Path,
    Us,
}

/// Why a line ended or did not come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// End of stream without a close frame, close 1000 or 1001, `</stream>`: the server recycles lines as a routine.
    Recycled,
    /// A close frame with another code.
    Closed(u16),
    /// `stream:error` 515. After pairing, or when the server moves.
    RestartRequired,
    /// The phone unlinked this device: `device_removed`, stream errors 401 and 516, login failure 401.
    Unlinked,
    /// The same credentials logged in elsewhere: `conflict type=replaced`.
    Replaced,
    /// Login failure 403: locked or banned.
    Locked,
    /// Login failure 402.
    TemporaryBan(Duration),
    /// Login failure 405: this client is too old.
    Outdated,
    /// Any other login failure that repeating cannot cure.
    Rejected(u16),
    /// 429.
    RateLimited,
    /// Server trouble: 500, 503 as failure or stream error, and 5xx at the upgrade.
    ServerTrouble(u16),
    /// `<stream:error><ack>`: the server is owed an ack.
    AckOwed,
    /// `<xml-not-well-formed>`, or bytes from the server that make no sense.
    OutOfStep,
    /// A stream error or failure that is in no table, recorded whole.
    Unclassified(String),

    /// The name did not resolve.
    Unresolved,
    /// No connection: refused, no route, or not within the deadline.
    Unreachable,
    /// The proxy refused or did not answer.
    ProxyFailed,
    /// TLS did not come up.
    TlsFailed,
    /// A certificate is not yet valid or no longer, which on a board without a clock means the clock.
    ClockSuspect,
    /// The WebSocket upgrade was answered with something else, or not at all.
    UpgradeFailed,
    /// Reading or writing failed under a line that was up.
    PathBroken,

    /// The login did not complete in time.
    LoginTimeout,
    /// The application's ping went unanswered.
    PongTimeout,
    /// A WebSocket ping went unanswered by a peer that had answered before.
    WebSocketPongTimeout,
    /// A write did not leave in time.
    WriteTimeout,
    /// Alerts were written and never acked.
    AckTimeout,
    /// Pings are answered, questions whose answer has content are not.
    Zombie,
    /// The end of the offline queue never came.
    NeverDrained,
    /// The host slept: the line is dropped without asking.
    Suspended,
    /// The attempt had begun on another path.
    PathChanged,
    /// The clock is before this program was built, so no certificate can be checked.
    ClockUnset,
    /// This build, or a plain `ws://`, does not go there.
    Forbidden,
    /// What is kept of the session cannot be used, as a rule for want of room on the disk: in words.
    StateUnusable(String),
    /// All QR codes or the pair code ran out.
    PairingEnded,
    /// A person or a shutdown asked for it.
    Requested,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Dial again at once, unless that happens too often.
    RedialNow,
    /// Dial again after the next pause.
    BackOff,
    /// Dial again after the longest pause; the pause is not shortened by a network change.
    BackOffLong,
    /// Dial once after this time.
    HoldUntil(Duration),
    /// Dial when the clock has been set, else after the longest pause; not held against the path.
    AwaitClock,
    /// Never dial again by itself. The advice says what a person can do.
    Stop(Stop),
}

/// Why a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The credentials are dead: set aside, pair again.
    Unlinked,
    /// The same: and the account itself needs attention.
    Locked,
    /// Someone else uses these credentials.
    Replaced,
    /// The server will not have this client as it is.
    Rejected,
    /// The endpoint is one that this build never dials.
    Forbidden,
    /// Not paired, and nobody scanned.
    PairingEnded,
    /// Asked for.
    Requested,
}

impl Stop {
    /// Whether the credentials can never be used again and are to be quarantined.
    pub fn credentials_dead(self) -> bool {
        match self {
            Self::Unlinked | Self::Locked => true,
            Self::Replaced | Self::Rejected | Self::Forbidden | Self::PairingEnded | Self::Requested => false,
        }
    }

    /// One line that says what to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unlinked => "the phone unlinked this device; link it again with `tautline pair`",
            Self::Locked => "whatsapp locked or banned the account; look at the phone, then `tautline pair`",
            Self::Replaced => {
                "the same credentials are connected elsewhere; stop the other program, then restart this one"
            }
            Self::Rejected => "whatsapp rejects this client; upgrade tautline, then restart it",
            Self::Forbidden => "the endpoint is one that this build never dials; change it in the configuration",
            Self::PairingEnded => "not paired; run `tautline pair`",
            Self::Requested => "stopped on request",
        }
    }
}

impl Cause {
    /// Who ended the line.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Recycled
            | Self::Closed(_)
            | Self::RestartRequired
            | Self::Unlinked
            | Self::Replaced
            | Self::Locked
            | Self::TemporaryBan(_)
            | Self::Outdated
            | Self::Rejected(_)
            | Self::RateLimited
            | Self::ServerTrouble(_)
            | Self::AckOwed
            | Self::OutOfStep
            | Self::Unclassified(_) => Origin::Server,
            Self::Unresolved
            | Self::Unreachable
            | Self::ProxyFailed
            | Self::TlsFailed
            | Self::ClockSuspect
            | Self::UpgradeFailed
            | Self::PathBroken => Origin::Path,
            Self::LoginTimeout
            | Self::PongTimeout
            | Self::WebSocketPongTimeout
            | Self::WriteTimeout
            | Self::AckTimeout
            | Self::Zombie
            | Self::NeverDrained
            | Self::Suspended
            | Self::PathChanged
            | Self::ClockUnset
            | Self::Forbidden
            | Self::StateUnusable(_)
            | Self::PairingEnded
            | Self::Requested => Origin::Us,
        }
    }

    /// The reaction.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Recycled | Self::RestartRequired => Verdict::RedialNow,
            Self::Unlinked => Verdict::Stop(Stop::Unlinked),
            Self::Locked => Verdict::Stop(Stop::Locked),
            Self::Replaced => Verdict::Stop(Stop::Replaced),
            Self::Rejected(_) => Verdict::Stop(Stop::Rejected),
            Self::Forbidden => Verdict::Stop(Stop::Forbidden),
            Self::PairingEnded => Verdict::Stop(Stop::PairingEnded),
            Self::Requested => Verdict::Stop(Stop::Requested),
            Self::TemporaryBan(expires) => Verdict::HoldUntil(*expires),
            // A new version may be accepted without a restart (the version is fetched), but not by hurrying.
            Self::Outdated | Self::RateLimited => Verdict::BackOffLong,
            // The path died under a line that had worked: the first redial is at once, the backoff guards the rest.
            Self::PathBroken
            | Self::PongTimeout
            | Self::WebSocketPongTimeout
            | Self::WriteTimeout
            | Self::AckTimeout
            | Self::Zombie
            | Self::NeverDrained
            | Self::Suspended
            | Self::PathChanged => Verdict::RedialNow,
            // Verification is never skipped, and waiting for the time is no failure.
            Self::ClockSuspect | Self::ClockUnset => Verdict::AwaitClock,
            Self::Closed(_)
            | Self::ServerTrouble(_)
            | Self::AckOwed
            | Self::OutOfStep
            | Self::Unclassified(_)
            | Self::Unresolved
            | Self::Unreachable
            | Self::ProxyFailed
            | Self::TlsFailed
            | Self::UpgradeFailed
            | Self::LoginTimeout
            | Self::StateUnusable(_) => Verdict::BackOff,
        }
    }

    /// A login `<failure reason=code>`. `expire` is a temporary ban's, in seconds.
    pub fn from_failure(code: u16, expire: Option<u64>) -> Self {
        match code {
            401 => Self::Unlinked,
            402 => Self::TemporaryBan(Duration::from_secs(expire.unwrap_or(3600)).min(BAN_MAX)),
            403 => Self::Locked,
            405 => Self::Outdated,
            429 => Self::RateLimited,
            500..=599 => Self::ServerTrouble(code),
            400 | 406 | 409 | 411 => Self::Rejected(code),
            other => Self::Unclassified(format!("failure {other}")),
        }
    }

    /// Whether a line that fails so may be the fault of this client's own state, which a fresh client has not.
    pub(super) fn may_be_ours(&self) -> bool {
        match self {
            Self::LoginTimeout
            | Self::OutOfStep
            | Self::AckOwed
            | Self::Unclassified(_)
            | Self::Zombie
            | Self::NeverDrained
            | Self::AckTimeout => true,
            Self::Recycled
            | Self::Closed(_)
            | Self::RestartRequired
            | Self::Unlinked
            | Self::Replaced
            | Self::Locked
            | Self::TemporaryBan(_)
            | Self::Outdated
            | Self::Rejected(_)
            | Self::RateLimited
            | Self::ServerTrouble(_)
            | Self::Unresolved
            | Self::Unreachable
            | Self::ProxyFailed
            | Self::TlsFailed
            | Self::ClockSuspect
            | Self::UpgradeFailed
            | Self::PathBroken
            | Self::PongTimeout
            | Self::WebSocketPongTimeout
            | Self::WriteTimeout
            | Self::Suspended
            | Self::PathChanged
            | Self::ClockUnset
            | Self::Forbidden
            | Self::StateUnusable(_)
            | Self::PairingEnded
            | Self::Requested => false,
        }
    }

    /// Whether the server leaves the line standing after such a word. It carries nothing any more.
    pub(super) fn leaves_line_standing(&self) -> bool {
        match self {
            Self::ServerTrouble(_) | Self::Unclassified(_) | Self::AckOwed | Self::OutOfStep | Self::RateLimited => {
                true
            }
            Self::Recycled
            | Self::Closed(_)
            | Self::RestartRequired
            | Self::Unlinked
            | Self::Replaced
            | Self::Locked
            | Self::TemporaryBan(_)
            | Self::Outdated
            | Self::Rejected(_)
            | Self::Unresolved
            | Self::Unreachable
            | Self::ProxyFailed
            | Self::TlsFailed
            | Self::ClockSuspect
            | Self::UpgradeFailed
            | Self::PathBroken
            | Self::LoginTimeout
            | Self::PongTimeout
            | Self::WebSocketPongTimeout
            | Self::WriteTimeout
            | Self::AckTimeout
            | Self::Zombie
            | Self::NeverDrained
            | Self::Suspended
            | Self::PathChanged
            | Self::ClockUnset
            | Self::Forbidden
            | Self::StateUnusable(_)
            | Self::PairingEnded
            | Self::Requested => false,
        }
    }

    /// A `<stream:error>`: its code, the tag of its first child, and that child's `type`.
    pub fn from_stream_error(code: Option<u16>, child: Option<&str>, kind: Option<&str>) -> Self {
        match (code, child, kind) {
            (_, Some("conflict"), Some("replaced")) | (Some(409 | 440), ..) => Self::Replaced,
            (_, Some("conflict"), Some("device_removed")) | (Some(401 | 516), ..) => Self::Unlinked,
            (Some(515), ..) => Self::RestartRequired,
            (Some(429), ..) => Self::RateLimited,
            (Some(code @ 500..=514), ..) => Self::ServerTrouble(code),
            (_, Some("ack"), _) => Self::AckOwed,
            (_, Some("xml-not-well-formed"), _) => Self::OutOfStep,
            (code, child, _) => Self::Unclassified(format!(
                "stream error {} {}",
                code.map_or_else(String::new, |code| code.to_string()),
                printable(child.unwrap_or("without a child")),
            )),
        }
    }
}

/// Characters of the server's own words that are kept.
const WORDS_CHARS_MAX: usize = 200;

/// A server's words as a part of one line: what could drive a terminal, begin another line or turn the text around is
/// left out. They go into logs, status and records.
pub fn printable(words: &str) -> String {
    let drives = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    words.chars().filter(|c| !drives(*c)).take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_cannot_drive_a_terminal() {
        let evil = "a\u{1b}[2J\r\nforged: line\u{9b}31m\u{202e}b\u{2028}c\u{7f}";
        let cause = Cause::from_stream_error(Some(777), Some(evil), None);
        assert_eq!(
            cause.to_string(),
            "the server said something unknown: stream error 777 a[2Jforged: line31mbc"
        );
        assert_eq!(printable(&"x".repeat(5000)).len(), WORDS_CHARS_MAX);
    }

    #[test]
    fn stream_errors_as_the_field_saw_them() {
        let cases = [
            ((Some(515), None, None), Cause::RestartRequired),
            ((Some(516), None, None), Cause::Unlinked),
            ((Some(401), Some("conflict"), Some("device_removed")), Cause::Unlinked),
            ((None, Some("conflict"), Some("replaced")), Cause::Replaced),
            ((Some(409), None, None), Cause::Replaced),
            ((Some(440), None, None), Cause::Replaced),
            ((Some(429), None, None), Cause::RateLimited),
            ((Some(503), None, None), Cause::ServerTrouble(503)),
            ((None, Some("ack"), None), Cause::AckOwed),
            ((None, Some("xml-not-well-formed"), None), Cause::OutOfStep),
        ];
        for ((code, child, kind), cause) in cases {
            assert_eq!(Cause::from_stream_error(code, child, kind), cause);
        }
        assert!(matches!(
            Cause::from_stream_error(Some(777), None, None),
            Cause::Unclassified(_)
        ));
    }

    #[test]
    fn a_full_disk_is_not_blamed_on_the_server() {
        let cause = Cause::StateUnusable("there is no room".into());
        assert_eq!((cause.origin(), cause.verdict()), (Origin::Us, Verdict::BackOff));
        assert_eq!(
            cause.to_string(),
            "the session's state cannot be used: there is no room"
        );
    }

    #[test]
    fn what_needs_a_person_never_redials() {
        for code in [400, 401, 403, 406, 409, 411] {
            assert!(
                matches!(Cause::from_failure(code, None).verdict(), Verdict::Stop(_)),
                "{code}"
            );
        }
        assert_eq!(Cause::Replaced.verdict(), Verdict::Stop(Stop::Replaced));
        assert!(!Stop::Replaced.credentials_dead());
    }

    #[test]
    fn what_the_path_did_is_always_retried() {
        for cause in [
            Cause::Unresolved,
            Cause::Unreachable,
            Cause::TlsFailed,
            Cause::PathBroken,
        ] {
            assert_eq!(cause.origin(), Origin::Path);
            assert!(
                matches!(cause.verdict(), Verdict::BackOff | Verdict::RedialNow),
                "{cause}"
            );
        }
    }

    #[test]
    fn a_ban_without_end_is_no_overflow() {
        assert_eq!(Cause::from_failure(402, Some(u64::MAX)), Cause::TemporaryBan(BAN_MAX));
    }

    #[test]
    fn a_temporary_ban_is_waited_out() {
        assert_eq!(
            Cause::from_failure(402, Some(90)).verdict(),
            Verdict::HoldUntil(Duration::from_secs(90))
        );
    }
}
