//! The table itself. `docs/operations.md` has its rows and a paragraph for each; a test holds the two together.

use std::time::Duration;

use super::Grade::{self, Error, ErrorAfter, Warning};
use crate::line::ACK_OWED_AFTER;

/// After this long without a line a session counts as ill: long enough for a router's restart or a server's.
const OFFLINE_TOLERATED: Duration = Duration::from_secs(300);

/// An alert that waits this long has a reason, whatever the session says of itself.
const STUCK_AFTER: Duration = Duration::from_secs(900);

/// An alert that was tried, and has a reason why it was not sent, is told of after this.
const TRIED_LONG_ENOUGH: Duration = Duration::from_secs(2 * 60);

/// How long a new route may take to be tried.
const UNPROVEN_TOLERATED: Duration = Duration::from_secs(24 * 60 * 60);

/// A broker that is started again is there after seconds; with the box that it is on, after a minute or two.
const BROKER_TOLERATED: Duration = Duration::from_secs(2 * 60);

const AT_ONCE: Duration = Duration::ZERO;

/// Everything that can be wrong, in the order of the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    AckOwed,
    AlertsFailed,
    ClockUnset,
    ConfigUnknownKey,
    ControlSocket,
    EnvironmentIgnored,
    EverybodyTrusted,
    FallbackFailing,
    HeartbeatFailing,
    HookFailing,
    LabBuild,
    Limited,
    ListenPartial,
    MqttInTheClear,
    MqttOffline,
    MqttRefused,
    NewChatsCapped,
    NobodyAdmitted,
    NotOnWhatsapp,
    OutboxDamaged,
    OutboxFull,
    OutboxOrphaned,
    OutboxStuck,
    RouteUnproven,
    SessionOffline,
    SessionStopped,
    SessionTrouble,
    SessionUndrained,
    SessionUnpaired,
    SpoolAside,
    SpoolHeld,
    StoreFailed,
    StoreFull,
    StoreReadOnly,
    TcpSettingRefused,
    TlsUnusable,
    TokenRefused,
    TokenUnreadable,
    WatchdogWithheld,
    WriteFirst,
}

impl Code {
    /// Its row.
    pub fn condition(self) -> &'static Condition {
        &CONDITIONS[self as usize]
    }

    /// The code of this stable name.
    pub fn named(name: &str) -> Option<Self> {
        CONDITIONS.iter().find(|row| row.name == name).map(|row| row.code)
    }

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        self.condition().name
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Condition {
    pub code: Code,
    /// The stable name of the code, for the HTTP API, metrics and the manual.
    pub name: &'static str,
    /// What it is, without the details that a finding's text has.
    pub title: &'static str,
    pub grade: Grade,
    /// It follows from any of these, of the whole relay or of the same session, and is hidden while one of them is
    /// shown that is no less severe.
    pub follows_from: &'static [Code],
    /// Only what has lasted this long is shown.
    pub shows_after: Duration,
    /// What a person can do.
    pub advice: &'static str,
}

/// All conditions; the row of a code is at its number.
pub const CONDITIONS: [Condition; 40] = [
    Condition {
        code: Code::AckOwed,
        name: "ack-owed",
        title: "a message cannot be put on disk, and WhatsApp's server waits for its ack",
        grade: Warning,
        // The message cannot be written because nothing can. A full disk is told beside it: its reserve is used up too.
        follows_from: &[Code::StoreFailed, Code::StoreReadOnly],
        shows_after: ACK_OWED_AFTER,
        advice: "look at the disk: it is full or very slow",
    },
    Condition {
        code: Code::AlertsFailed,
        name: "alerts-failed",
        title: "alerts of a route have failed for good, and none has got through since",
        // Their senders were told that they are accepted: nobody else says that they are lost.
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "do what the reason says, then `tautline queue retry ID`; the next alert that gets through ends it",
    },
    Condition {
        code: Code::ClockUnset,
        name: "clock-unset",
        title: "the wall clock cannot be right, and nothing is dialled",
        // A board without a battery starts like this and gets its time from the network in a minute or two.
        grade: ErrorAfter(OFFLINE_TOLERATED),
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "see `timedatectl`: let a time service set the clock, or set it by hand",
    },
    Condition {
        code: Code::ConfigUnknownKey,
        name: "config-unknown-key",
        title: "the configuration has a key that this version does not know",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "run `tautline config check`, correct the key and restart",
    },
    Condition {
        code: Code::ControlSocket,
        name: "control-socket",
        title: "the control socket is gone, or not where it belongs",
        // A socket that was made again, or that is elsewhere, works: these cases are graded as warnings.
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "find out what deletes or moves files in its directory",
    },
    Condition {
        code: Code::EnvironmentIgnored,
        name: "environment-ignored",
        title: "a proxy that the environment names cannot be used and was left aside",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "give the session a `proxy` of its own (\"none\" for no proxy), or unset the variable",
    },
    Condition {
        code: Code::EverybodyTrusted,
        name: "everybody-trusted",
        title: "whoever reaches the relay may publish, from anywhere",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "write the networks of the house into `trusted`, as 192.168.1.0/24",
    },
    Condition {
        code: Code::FallbackFailing,
        name: "fallback-failing",
        title: "a fallback does not take the alerts that it is given",
        // It is asked only while WhatsApp does not work: then there is no way left.
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "do what the reason says; it is asked again by itself",
    },
    Condition {
        code: Code::HeartbeatFailing,
        name: "heartbeat-failing",
        title: "the address of the heartbeat cannot be fetched",
        // Alerts go out, and whoever watches the address believes that they do not.
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "see whether `url` of `[heartbeat]` is right and its server answers",
    },
    Condition {
        code: Code::HookFailing,
        name: "hook-failing",
        title: "a hook does not take what it is told",
        // Alerts go out all the same.
        grade: Warning,
        follows_from: &[],
        shows_after: TRIED_LONG_ENOUGH,
        advice: "see whether `url` of the `[[hook]]` is right and its program answers 2xx; it is asked again by itself",
    },
    Condition {
        code: Code::LabBuild,
        name: "lab-build",
        title: "this program is built for tests and cannot reach WhatsApp",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "build it without `--features lab`",
    },
    Condition {
        code: Code::Limited,
        name: "limited",
        title: "WhatsApp limits this account, and some alerts wait",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "wait; if it comes often, send fewer alerts or to fewer recipients",
    },
    Condition {
        code: Code::ListenPartial,
        name: "listen-partial",
        title: "an address in `listen` cannot be served",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "free the port, or write `listen` without the address",
    },
    Condition {
        code: Code::MqttInTheClear,
        name: "mqtt-in-the-clear",
        title: "the password for the MQTT broker can be read on the network",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "have the broker listen with TLS and write `broker = \"mqtts://…\"`, with `ca_file` for a CA of your own",
    },
    Condition {
        code: Code::MqttOffline,
        name: "mqtt-offline",
        title: "there is no connection to the MQTT broker",
        // Alerts that come otherwise go out, and those of the broker wait with it.
        grade: Warning,
        follows_from: &[],
        shows_after: BROKER_TOLERATED,
        advice: "do what the reason says; it connects again by itself",
    },
    Condition {
        code: Code::MqttRefused,
        name: "mqtt-refused",
        title: "the MQTT broker does not deliver a topic that is asked for",
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "let the user of `[mqtt]` read the topic in the broker's access list",
    },
    Condition {
        code: Code::NewChatsCapped,
        name: "new-chats-capped",
        title: "WhatsApp lets this account begin no more new chats",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "let the recipient write to this account once",
    },
    Condition {
        code: Code::NobodyAdmitted,
        name: "nobody-admitted",
        title: "the relay listens on the network, and nobody there may come in",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "make a token with `tautline token new NAME`, or listen on loopback alone",
    },
    Condition {
        code: Code::NotOnWhatsapp,
        name: "not-on-whatsapp",
        title: "a recipient's number is not on WhatsApp",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "correct the number in the route (a digit, the country code) and restart",
    },
    Condition {
        code: Code::OutboxDamaged,
        name: "outbox-damaged",
        title: "an alert on disk cannot be read",
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "look at the disk (`dmesg`); after a downgrade, go back to the later version",
    },
    Condition {
        code: Code::OutboxFull,
        name: "outbox-full",
        title: "as many alerts wait as may, and new ones are refused",
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "see `tautline queue` for what waits and why; give up what nobody needs with `tautline queue drop ID`",
    },
    Condition {
        code: Code::OutboxOrphaned,
        name: "outbox-orphaned",
        title: "alerts wait for a session that the configuration does not have",
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "give the session its old name back and restart, or give the alerts up with `tautline queue drop ID`",
    },
    Condition {
        code: Code::OutboxStuck,
        name: "outbox-stuck",
        title: "an alert has waited for too long",
        grade: ErrorAfter(STUCK_AFTER),
        follows_from: &[Code::OutboxFull],
        shows_after: TRIED_LONG_ENOUGH,
        advice: "see `tautline queue show ID` for the reason of the last attempt",
    },
    Condition {
        code: Code::RouteUnproven,
        name: "route-unproven",
        title: "a route or a fallback was not seen to work for 90 days, or never",
        grade: Warning,
        follows_from: &[],
        shows_after: UNPROVEN_TOLERATED,
        advice: "run `tautline routes test NAME`; an alert that arrives proves its route too",
    },
    Condition {
        code: Code::SessionOffline,
        name: "session-offline",
        title: "a linked session has no line that is ready",
        grade: ErrorAfter(OFFLINE_TOLERATED),
        follows_from: &[Code::ClockUnset, Code::SessionTrouble],
        shows_after: AT_ONCE,
        advice: "wait a minute; if it stays, see whether the box is on the internet and its clock is right",
    },
    Condition {
        code: Code::SessionStopped,
        name: "session-stopped",
        title: "a session will not dial again by itself",
        grade: Error,
        follows_from: &[Code::SessionTrouble],
        shows_after: AT_ONCE,
        advice: "do what the text says, then restart or run `tautline pair`",
    },
    Condition {
        code: Code::SessionTrouble,
        name: "session-trouble",
        title: "a session's credentials cannot be read, saved or set aside",
        grade: Error,
        follows_from: &[Code::StoreFailed],
        shows_after: AT_ONCE,
        advice: "look at the disk: it is full, read-only or failing",
    },
    Condition {
        code: Code::SessionUndrained,
        name: "session-undrained",
        title: "the server does not say that all that had waited there is through",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "nothing; messages to this account may come late",
    },
    Condition {
        code: Code::SessionUnpaired,
        name: "session-unpaired",
        title: "a session is not linked to an account, and nothing goes out",
        grade: Error,
        follows_from: &[Code::SessionTrouble],
        shows_after: AT_ONCE,
        advice: "run `tautline pair`, with `--session NAME` for another than `default`",
    },
    Condition {
        code: Code::SpoolAside,
        name: "spool-aside",
        title: "files in the spool were no alerts",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "look who writes there, and what; it is gone when the folder `aside` is empty and something new comes",
    },
    Condition {
        code: Code::SpoolHeld,
        name: "spool-held",
        title: "alerts in the spool cannot be taken",
        // Their senders were told that they are kept.
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "do what the reason says and restart: each start tries them again",
    },
    Condition {
        code: Code::StoreFailed,
        name: "store-failed",
        title: "a write or a sync to the disk failed, and nothing is accepted any more",
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "the relay ends and starts again; if that repeats, see `df` and `dmesg`",
    },
    Condition {
        code: Code::StoreFull,
        name: "store-full",
        title: "the disk has no room for a new alert",
        grade: Error,
        follows_from: &[Code::StoreFailed],
        shows_after: AT_ONCE,
        advice: "make room on the volume of the state; it goes on by itself then",
    },
    Condition {
        code: Code::StoreReadOnly,
        name: "store-read-only",
        title: "the file system of the state is read-only",
        grade: Error,
        follows_from: &[Code::StoreFailed],
        shows_after: AT_ONCE,
        advice: "see `dmesg`; have it checked with the relay stopped, or mount it writable",
    },
    Condition {
        code: Code::TcpSettingRefused,
        name: "tcp-setting-refused",
        title: "the kernel refused a setting that lets it notice a dead path",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "nothing in an emulator or old container; on a real kernel, report it",
    },
    Condition {
        code: Code::TlsUnusable,
        name: "tls-unusable",
        title: "the files of the certificate cannot be used",
        // With an earlier one in force it is a warning.
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "put the files right; they are read again when somebody connects",
    },
    Condition {
        code: Code::TokenRefused,
        name: "token-refused",
        title: "somebody came with a token that is not good",
        // Most of the time a sender whose token was revoked or has ended, and whose alerts are lost.
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "give the sender a new token (`tautline token new NAME`), or find out who it is",
    },
    Condition {
        code: Code::TokenUnreadable,
        name: "token-unreadable",
        title: "a token on disk cannot be read, and gives no right",
        grade: Error,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "revoke it and make another; after a downgrade, go back to the later version",
    },
    Condition {
        code: Code::WatchdogWithheld,
        name: "watchdog-withheld",
        title: "the store, the dispatcher or a session makes no progress, and systemd is about to restart the relay",
        grade: Error,
        follows_from: &[],
        // A third of the unit's `WatchdogSec` has passed by then.
        shows_after: AT_ONCE,
        advice: "see `dmesg` for the card or the controller: nearly always a disk hangs",
    },
    Condition {
        code: Code::WriteFirst,
        name: "write-first",
        title: "WhatsApp wants the recipient to write to this account first",
        grade: Warning,
        follows_from: &[],
        shows_after: AT_ONCE,
        advice: "let the recipient send this account any message",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_its_codes_and_says_everything() {
        for (at, condition) in CONDITIONS.iter().enumerate() {
            assert_eq!(condition.code as usize, at, "{}", condition.name);
            assert_eq!(condition.code.condition().name, condition.name);
            for words in [condition.title, condition.advice] {
                assert!(
                    words.len() > 10 && !words.ends_with('.'),
                    "{}: {words:?}",
                    condition.name
                );
            }
            assert!(!condition.follows_from.contains(&condition.code), "{}", condition.name);
        }
        assert!(CONDITIONS.is_sorted_by_key(|condition| condition.name));
    }
}
