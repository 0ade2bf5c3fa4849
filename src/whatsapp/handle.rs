//! What others hold of a running session: commands go in, a view can be looked at, notices come out.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use event_listener::{Event, EventListener};

use super::again::Again;
use super::directory::Directory;
use crate::alert::{Chat, Recipient, SessionName};
use crate::line::{EndRecord, HostEvent, PairEvent, State};
use crate::outbox::{Answer, Message, MessageId, ReceiptKind, SendFailure};
use crate::store::StoreError;
use crate::util::lock;

/// Commands that wait at once; whoever sends one more waits.
pub(super) const COMMANDS_MAX: usize = 256;

/// What a session can be asked to do.
pub enum Command {
    /// Send `message`. Perhaps some [`Notice::Asking`], then a [`Notice::Written`] or [`Notice::SendFailed`] follows,
    /// unless the line goes down first.
    Send {
        message: Message,
        /// Ask the server anew for all that is known of the recipient before.
        fresh: bool,
    },
    SendAgain(Again),
    /// Start or join pairing; with `phone` (digits) by code.
    Pair {
        phone: Option<String>,
        events: async_channel::Sender<PairEvent>,
    },
    Chats {
        answer: async_channel::Sender<Result<Vec<Chat>, String>>,
    },
    /// Alerts stay unacked: the line is probably dead.
    Suspect,
    /// News of the host or its network.
    Host(HostEvent),
    /// Answer at once: the task takes turns.
    Turn {
        answer: async_channel::Sender<()>,
    },
    /// End the line and the session's task.
    Shutdown,
}

/// What a session tells the dispatcher.
#[derive(Debug, Clone)]
pub enum Notice {
    Up,
    Down,
    /// A line that was online has ended; `cause` is the stable code. For the journal: [`Notice::Down`] has come before.
    Offline {
        cause: &'static str,
    },
    /// It will not dial again by itself. For the journal.
    NeedsPerson {
        cause: &'static str,
    },
    /// The phone has linked it. For the journal.
    Paired,
    /// The send asks the server for what it needs, and gets answers. The first comes before the first question.
    Asking {
        message_id: MessageId,
    },
    /// It was sent, and not every device of the recipient can read it; `words` for people.
    Incomplete {
        message_id: MessageId,
        words: String,
    },
    /// The bytes left for the socket. No proof of anything.
    Written {
        message_id: MessageId,
    },
    SendFailed {
        message_id: MessageId,
        failure: SendFailure,
    },
    /// What a send [waited for](SendFailure::Uploading) is uploaded, or given up.
    Uploaded {
        message_id: MessageId,
    },
    /// The server's word on a message; with `error` it refused.
    Ack {
        message_id: MessageId,
        error: Option<String>,
    },
    Receipt {
        message_id: MessageId,
        kind: ReceiptKind,
        /// Every name that a route may have for its sender.
        from: Vec<Recipient>,
    },
    /// A device could not read a message, and the protocol library will not send it again.
    AskedAgain {
        message_id: MessageId,
        /// As in [`Notice::Receipt`].
        from: Vec<Recipient>,
        /// The device's address, for [`Command::SendAgain`].
        by: String,
    },
    /// They have written to the account, or have given it leave to write.
    Heard {
        /// Every name that a route may have for them.
        from: Vec<Recipient>,
    },
    /// Somebody has written what may acknowledge an alert. WhatsApp's server is told that we have it only after `done`
    /// says that what it means is on disk.
    Answered {
        answer: Box<Answer>,
        done: async_channel::Sender<Result<(), StoreError>>,
    },
}

/// How a session stands, for status.
#[derive(Debug, Clone)]
pub struct SessionView {
    pub state: State,
    pub paired: bool,
    /// Digits of the linked number.
    pub account: Option<String>,
    /// Unix milliseconds.
    pub online_since: Option<u64>,
    /// Since when there has been no line, when there is none.
    pub offline_since: Option<Instant>,
    /// The line is kept although the server has not said that all that had waited there is through.
    pub undrained: bool,
    pub lines: u64,
    /// How the last line ended, in this run or before it.
    pub last_end: Option<EndRecord>,
    pub deadline: Option<(Instant, crate::line::Reason)>,
    /// Since when the server has waited for the oldest ack that is overdue.
    pub ack_owed_since: Option<Instant>,
    pub tcp_proof: Option<Instant>,
    pub websocket_proof: Option<Instant>,
    pub application_proof: Option<Instant>,
    pub tcp_tuning: String,
    pub tcp_refused: Vec<String>,
    /// What is shown for pairing now.
    pub pairing: Option<PairEvent>,
    /// Why the credentials cannot be loaded or saved, when they cannot.
    pub trouble: Option<String>,
}

impl Default for SessionView {
    fn default() -> Self {
        Self {
            state: State::Idle,
            paired: false,
            account: None,
            online_since: None,
            offline_since: None,
            undrained: false,
            lines: 0,
            last_end: None,
            deadline: None,
            ack_owed_since: None,
            tcp_proof: None,
            websocket_proof: None,
            application_proof: None,
            tcp_tuning: String::new(),
            tcp_refused: Vec::new(),
            pairing: None,
            trouble: None,
        }
    }
}

/// Held by the dispatcher and the gateway.
#[derive(Clone)]
pub struct SessionHandle {
    pub name: SessionName,
    /// Who is who among those whom this session knows.
    pub directory: Arc<Directory>,
    pub(super) commands: async_channel::Sender<Command>,
    pub(super) view: Arc<Mutex<SessionView>>,
    pub(super) changed: Arc<Event>,
}

impl SessionHandle {
    /// Tells when the session's state changes next.
    pub fn state_change(&self) -> EventListener {
        self.changed.listen()
    }

    /// How it stands now.
    pub fn view(&self) -> SessionView {
        lock(&self.view).clone()
    }

    /// Waits for room among the commands. `false` when the session's task has ended.
    pub async fn command(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// `false` when too many commands wait already, or the session's task has ended.
    pub fn try_command(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }
}
