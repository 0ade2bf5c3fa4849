//! Disappearing messages: what we send into a chat with a timer carries that timer, as the apps do it. A message
//! without one would stay for ever where its readers expect it to go.
//!
//! The server tells the timer of a group when it is asked, and each change. Nobody can be
//! asked about a chat with one person: its timer is learned from what comes in, since each message of such a chat
//! carries it, and kept on disk.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use wacore::proto_helpers::MessageExt as _;
use wacore::types::events::InboundMessage;
use wacore::types::message::MessageInfo;
use wacore_binary::{Jid, JidExt as _};
use waproto::whatsapp::message::protocol_message::Type;
use waproto::whatsapp::{ContextInfo, Message};
use whatsapp_rust::{Client, GroupError, IqError};

use super::directory::{lid_of, number_of};
use crate::alert::SessionName;
use crate::store::timers::{TIMERS_MAX, Timer, forget, keep, load};
use crate::store::{Store, StoreError};
use crate::util::{lock, within};

/// How long the server's word on a group is waited for. The message that waits for it has 25 s in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// A group is asked about again after this: changes are told, and a notification can be lost all the same.
const GROUP_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// After a question without an answer, or one that the server has no time for, no group is asked about for so long: the
/// message itself asks the server the same way.
const SILENCE: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Default)]
struct State {
    /// By the address of the chat, without a device.
    known: BTreeMap<String, Timer>,
    /// When each group was last asked about.
    asked: BTreeMap<String, Instant>,
    /// Until when no group is asked about.
    silence: Option<Instant>,
}

/// The timers of one session's chats.
pub(super) struct Timers {
    store: Store,
    session: SessionName,
    state: Mutex<State>,
}

impl Timers {
    /// With those that were kept.
    pub(super) fn open(store: Store, session: SessionName) -> Self {
        let kept = load(store.view(), &session).unwrap_or_else(|error| {
            log::warn!("session {session}: the timers of its chats cannot be read: {error}");
            Vec::new()
        });
        let state = State {
            known: kept.into_iter().collect(),
            ..State::default()
        };
        Self {
            store,
            session,
            state: Mutex::new(state),
        }
    }

    /// Learns from messages that came in. What is new is on disk when this returns, where the disk takes it.
    pub(super) async fn learn_from(&self, messages: &[InboundMessage]) {
        let told = messages
            .iter()
            .filter_map(|message| told_by(&message.info, &message.message));
        self.learn(told.collect()).await;
    }

    /// A group's timer was changed.
    pub(super) async fn on_group_changed(&self, group: &Jid, seconds: u32, at_s: i64) {
        let timer = Timer {
            seconds,
            told_at_s: at_s,
            set_at_s: None,
        };
        self.learn(vec![(group.to_non_ad_string(), timer)]).await;
    }

    /// Forgets all of them: the next account has chats of its own.
    pub(super) async fn forget(&self) {
        *self.state() = State::default();
        if let Err(error) = forget(&self.store, &self.session).await {
            log::debug!("session {}: timers of chats were not forgotten: {error}", self.session);
        }
    }

    /// `message` as it goes to `chat`, with the timer that is in force there and what it quotes.
    pub(super) async fn timed(
        &self,
        client: &Client,
        chat: &Jid,
        message: Message,
        quoted: Option<ContextInfo>,
    ) -> Message {
        let timer = self.of(client, chat).await;
        with_context(message, timer, quoted)
    }

    async fn of(&self, client: &Client, chat: &Jid) -> Option<Timer> {
        let address = chat.to_non_ad_string();
        if chat.is_group() {
            if self.is_to_be_asked(&address) {
                self.ask(client, chat).await;
            }
            return self.state().known.get(&address).copied();
        }
        let other = if chat.is_lid() {
            number_of(client, &chat.user)
                .await
                .map(|number| Jid::pn(number.as_str()))
        } else {
            lid_of(client, &chat.user).await.map(|lid| Jid::lid(lid.as_str()))
        };
        let state = self.state();
        let names = [Some(address), other.map(|jid| jid.to_non_ad_string())];
        let timers = names.iter().flatten().filter_map(|name| state.known.get(name));
        timers.max_by_key(|timer| timer.told_at_s).copied()
    }

    fn is_to_be_asked(&self, group: &str) -> bool {
        let (state, now) = (self.state(), Instant::now());
        let fresh = state
            .asked
            .get(group)
            .is_some_and(|at| now.duration_since(*at) < GROUP_FOR);
        !fresh && state.silence.is_none_or(|until| until <= now)
    }

    /// Without an answer what was known stays: a timer costs no alert.
    async fn ask(&self, client: &Client, group: &Jid) {
        let groups = client.groups();
        let asking = async { groups.get_metadata(group).await };
        let late = || Err(GroupError::Iq(IqError::Timeout));
        match within(ANSWER_WITHIN, asking).await.unwrap_or_else(late) {
            Ok(metadata) => {
                self.state().asked.insert(group.to_non_ad_string(), Instant::now());
                let timer = metadata.ephemeral.and_then(|settings| settings.expiration);
                // By the server's clock, which the answer does not tell: no later than what it may tell next.
                let known = self.state().known.get(&group.to_non_ad_string()).copied();
                let told_at_s = known.map_or(0, |known| known.told_at_s);
                self.on_group_changed(group, timer.unwrap_or(0), told_at_s).await;
            }
            Err(error) => {
                log::debug!("session {}: the timer of a group is not told: {error}", self.session);
                self.on_not_told(&group.to_non_ad_string(), &error);
            }
        }
    }

    /// A refusal is about its group alone, which may have been left or dissolved; the others are still asked about.
    fn on_not_told(&self, group: &str, error: &GroupError) {
        let mut state = self.state();
        if is_about_the_group(error) {
            state.asked.insert(group.to_owned(), Instant::now());
        } else {
            state.silence = Some(Instant::now() + SILENCE);
        }
    }

    async fn learn(&self, told: Vec<(String, Timer)>) {
        let mut new = BTreeMap::new();
        {
            let mut state = self.state();
            for (chat, timer) in told {
                let known = state.known.get(&chat).copied();
                if !is_news(known, timer) {
                    continue;
                }
                // That a chat without a timer still has none is not worth a row, nor the same timer once more a write.
                if known.map_or(timer.seconds > 0, |known| known.seconds != timer.seconds) {
                    new.insert(chat.clone(), timer);
                }
                if known.is_some() || timer.seconds > 0 {
                    state.known.insert(chat, timer);
                }
            }
            while state.known.len() > TIMERS_MAX {
                let oldest = state.known.iter().min_by_key(|(_, timer)| timer.told_at_s);
                let Some(oldest) = oldest.map(|(chat, _)| chat.clone()) else {
                    break;
                };
                state.known.remove(&oldest);
            }
        }
        if new.is_empty() {
            return;
        }
        log::debug!("session {}: {} chat(s) have another timer", self.session, new.len());
        match keep(&self.store, &self.session, new.into_iter().collect()).await {
            Ok(()) => {}
            Err(error @ (StoreError::Full(_) | StoreError::ReadOnly(_))) => {
                log::info!("session {}: a chat's timer is not kept: {error}", self.session);
            }
            Err(error) => log::debug!("session {}: a chat's timer is not kept: {error}", self.session),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Whether the server has answered, and not with the wish for fewer questions.
fn is_about_the_group(error: &GroupError) -> bool {
    match error {
        GroupError::Iq(IqError::ServerError { code, .. }) => !matches!(*code, 429 | 500..),
        GroupError::InvalidRequest(_) => true,
        _ => false,
    }
}

/// Messages that waited at the server come in order; a group's notification may overtake them.
fn is_news(known: Option<Timer>, timer: Timer) -> bool {
    known.is_none_or(|known| known.told_at_s <= timer.told_at_s)
}

/// What a message says of the timer of its chat, if anything.
fn told_by(info: &MessageInfo, message: &Message) -> Option<(String, Timer)> {
    let chat = &info.source.chat;
    if !(chat.is_group() || chat.is_pn() || chat.is_lid()) {
        return None;
    }
    let base = message.get_base_message();
    let (seconds, set_at_s) = if let Some(setting) = setting_in(base) {
        setting
    } else if let Some(seconds) = base.get_ephemeral_expiration() {
        let text = base.extended_text_message.as_option();
        let context = text.and_then(|text| text.context_info.as_option());
        (seconds, context.and_then(|context| context.ephemeral_setting_timestamp))
    } else if info.source.sender.device == 0 && !chat.is_group() && is_plain_text(message) {
        // An app that knows of a timer puts it on every text.
        (0, None)
    } else {
        return None;
    };
    let timer = Timer {
        seconds,
        told_at_s: info.timestamp.timestamp(),
        set_at_s,
    };
    Some((chat.to_non_ad_string(), timer))
}

/// The setting that the message is about, and when it was made.
fn setting_in(message: &Message) -> Option<(u32, Option<i64>)> {
    let protocol = message.protocol_message.as_option()?;
    let is_setting = protocol.r#type == Some(Type::EPHEMERAL_SETTING);
    is_setting.then(|| {
        let seconds = protocol.ephemeral_expiration.unwrap_or(0);
        (seconds, protocol.ephemeral_setting_timestamp)
    })
}

/// A text as an app writes it, in no wrapper but that of its own account's other devices.
fn is_plain_text(message: &Message) -> bool {
    let sent = message.device_sent_message.as_option();
    let inner = sent.and_then(|sent| sent.message.as_option()).unwrap_or(message);
    inner.conversation.as_ref().is_some_and(|text| !text.is_empty()) || inner.extended_text_message.is_set()
}

/// The apps read the timer in the context of what is shown; a plain `conversation` has none.
fn with_context(mut message: Message, timer: Option<Timer>, quoted: Option<ContextInfo>) -> Message {
    let timer = timer.filter(|timer| timer.seconds > 0);
    if timer.is_some() || quoted.is_some() {
        message.set_context_info(ContextInfo {
            expiration: timer.map(|timer| timer.seconds),
            ephemeral_setting_timestamp: timer.and_then(|timer| timer.set_at_s),
            ..quoted.unwrap_or_default()
        });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use wacore::proto_helpers::MessageBuilderExt as _;
    use wacore::types::message::MessageSource;
    use waproto::buffa::MessageField;
    use waproto::whatsapp::message::{
        AudioMessage, DeviceSentMessage, DocumentMessage, FutureProofMessage, ImageMessage, ProtocolMessage,
        VideoMessage,
    };

    fn info(chat: Jid, device: u16) -> MessageInfo {
        MessageInfo {
            source: MessageSource {
                sender: Jid::pn_device("15550100002", device),
                chat,
                ..MessageSource::default()
            },
            ..MessageInfo::default()
        }
    }

    fn setting(seconds: Option<u32>) -> Message {
        Message {
            protocol_message: MessageField::some(ProtocolMessage {
                r#type: Some(Type::EPHEMERAL_SETTING),
                ephemeral_expiration: seconds,
                ephemeral_setting_timestamp: Some(7),
                ..ProtocolMessage::default()
            }),
            ..Message::default()
        }
    }

    fn timed(seconds: u32, set_at_s: Option<i64>) -> Message {
        let timer = Timer {
            seconds,
            told_at_s: 0,
            set_at_s,
        };
        with_context(Message::text("text"), Some(timer), None)
    }

    fn in_wrapper(message: Message) -> Message {
        Message {
            ephemeral_message: MessageField::some(FutureProofMessage {
                message: MessageField::some(message),
            }),
            ..Message::default()
        }
    }

    fn from_own_phone(message: Message) -> Message {
        Message {
            device_sent_message: MessageField::some(DeviceSentMessage {
                message: MessageField::some(message),
                ..DeviceSentMessage::default()
            }),
            ..Message::default()
        }
    }

    #[test]
    fn a_refusal_about_one_group_leaves_the_others_to_be_asked_about() {
        let directory = tempfile::tempdir().unwrap();
        let timers = || {
            let store = Store::open(directory.path(), 1 << 20).unwrap();
            Timers::open(store, "default".parse().unwrap())
        };
        let refused = |code| {
            GroupError::Iq(IqError::ServerError {
                code,
                text: String::new(),
                error_type: None,
                backoff: None,
            })
        };
        // Is the group itself to be asked about again, and is another?
        for (error, again, other) in [
            (refused(403), false, true),
            (refused(404), false, true),
            (refused(429), false, false),
            (refused(503), false, false),
            (GroupError::Iq(IqError::Timeout), false, false),
            (GroupError::Iq(IqError::NotConnected), false, false),
        ] {
            let timers = timers();
            timers.on_not_told("gone@g.us", &error);
            let asked = ["gone@g.us", "other@g.us"].map(|group| timers.is_to_be_asked(group));
            assert_eq!(asked, [again, other], "{error}");
        }
    }

    #[test]
    fn a_timer_is_read_from_settings_and_from_what_carries_it() {
        let chat = || Jid::pn("15550100002");
        let told = |message: &Message| {
            let told = told_by(&info(chat(), 0), message);
            told.map(|(_, timer)| (timer.seconds, timer.set_at_s))
        };
        assert_eq!(told(&setting(Some(86_400))), Some((86_400, Some(7))));
        assert_eq!(told(&setting(Some(0))), Some((0, Some(7))));
        assert_eq!(told(&setting(None)), Some((0, Some(7))));
        assert_eq!(told(&timed(604_800, None)), Some((604_800, None)));
        assert_eq!(told(&timed(604_800, Some(9))), Some((604_800, Some(9))));
        assert_eq!(told(&in_wrapper(timed(90, None))), Some((90, None)));
        assert_eq!(told(&from_own_phone(in_wrapper(timed(90, None)))), Some((90, None)));
        assert_eq!(told(&from_own_phone(setting(Some(5)))), Some((5, Some(7))));
        // A text without one is from a chat without one; what is no text, or wrapped, says nothing.
        assert_eq!(told(&Message::text("text")), Some((0, None)));
        assert_eq!(told(&from_own_phone(Message::text("text"))), Some((0, None)));
        assert_eq!(told(&in_wrapper(Message::text("text"))), None);
        assert_eq!(told(&Message::default()), None);
    }

    #[test]
    fn only_a_phone_in_a_chat_with_one_person_says_no_timer_by_leaving_it_out() {
        let plain = Message::text("text");
        assert!(told_by(&info(Jid::pn("15550100002"), 3), &plain).is_none());
        assert!(told_by(&info(Jid::group("120363000000000001"), 0), &plain).is_none());
        assert!(told_by(&info(Jid::group("120363000000000001"), 0), &timed(90, None)).is_some());
        assert!(told_by(&info(Jid::status_broadcast(), 0), &timed(90, None)).is_none());
        let hidden = told_by(&info(Jid::lid("100000000000002"), 0), &plain);
        assert_eq!(hidden.map(|(chat, _)| chat).as_deref(), Some("100000000000002@lid"));
    }

    #[test]
    fn what_was_said_later_counts() {
        let timer = |told_at_s| Timer {
            seconds: 0,
            told_at_s,
            set_at_s: None,
        };
        assert!(is_news(None, timer(1)) && is_news(Some(timer(1)), timer(1)) && is_news(Some(timer(1)), timer(2)));
        assert!(!is_news(Some(timer(2)), timer(1)));
    }

    #[test]
    fn a_message_without_a_timer_stays_as_short_as_it_was() {
        let plain = with_context(Message::text("text"), None, None);
        assert_eq!(plain.conversation.as_deref(), Some("text"));
        let none = Timer {
            seconds: 0,
            told_at_s: 1,
            set_at_s: None,
        };
        assert!(with_context(Message::text("text"), Some(none), None) == plain);
    }

    #[test]
    fn every_kind_of_message_carries_a_timer() {
        let timer = Some(Timer {
            seconds: 90,
            told_at_s: 0,
            set_at_s: Some(7),
        });
        for message in [
            Message::text("text"),
            Message {
                image_message: MessageField::some(ImageMessage::default()),
                ..Message::default()
            },
            Message {
                video_message: MessageField::some(VideoMessage::default()),
                ..Message::default()
            },
            Message {
                audio_message: MessageField::some(AudioMessage::default()),
                ..Message::default()
            },
            Message {
                document_message: MessageField::some(DocumentMessage::default()),
                ..Message::default()
            },
        ] {
            let timed = with_context(message, timer, None);
            assert_eq!(timed.get_ephemeral_expiration(), Some(90));
        }
    }
}
