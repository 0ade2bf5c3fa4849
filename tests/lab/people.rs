//! What the server says of numbers when it is asked, and the groups and timers that a chat can have.

use std::collections::{BTreeMap, BTreeSet};

use wacore_binary::Jid;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::node::{attr, bytes_of, children, iq_error, message_id, now_s};
use super::phone::Chat;
use super::router;
use super::world::{Device, Direction, World};
use super::{Lab, Phone, groups, phone};

/// How the server answers who is behind a number.
#[derive(Default)]
pub struct People {
    /// Numbers as people write them, and the account's own: Brazil's ninth digit, Mexico's old 1.
    also: BTreeMap<String, String>,
    /// Accounts that have left WhatsApp, by number.
    gone: BTreeSet<String>,
    /// The question is answered with this error.
    refused: Option<u16>,
    /// The question is not answered at all.
    silent: bool,
    /// How many questions about groups are still answered with the same error.
    groups_refused: usize,
    /// Answers do not repeat the number that was asked for.
    terse: bool,
    /// Nobody is told which number is behind a hidden id.
    pub hide_numbers: bool,
    /// Messages to nobody are acknowledged like any other, as the real server does.
    pub ack_unknown: bool,
}

impl People {
    /// The number of the account behind `number`, whether or not there is one.
    pub fn actual<'a>(&'a self, number: &'a str) -> &'a str {
        self.also.get(number).map_or(number, String::as_str)
    }

    pub fn is_gone(&self, number: &str) -> bool {
        self.gone.contains(number)
    }

    /// `<contact>` of an answer about `user`, who asked for nobody by number if that has no content.
    pub fn contact(&self, user: &Node, there: bool) -> Node {
        let contact = NodeBuilder::new("contact").attr("type", if there { "in" } else { "out" });
        match user.get_optional_child("contact").filter(|_| !self.terse) {
            Some(asked) => contact.bytes(bytes_of(asked)).build(),
            None => contact.build(),
        }
    }
}

/// A question that asks whether numbers are on WhatsApp.
fn asks_for_contacts(node: &Node) -> bool {
    let query = node
        .get_optional_child("usync")
        .and_then(|usync| usync.get_optional_child("query"));
    query.is_some_and(|query| query.get_optional_child("contact").is_some())
}

/// What becomes of a question instead of an answer: `Some(None)` is silence.
pub fn withheld(world: &mut World, node: &Node) -> Option<Option<Node>> {
    let asks_again = matches!(attr(node, "xmlns").as_deref(), Some("w:g2" | "usync"));
    if asks_again && world.standing.nack_until_asked.is_some_and(|stale| stale.given) {
        world.standing.nack_until_asked = None;
    }
    if attr(node, "xmlns").as_deref() == Some("w:g2") && world.people.groups_refused > 0 {
        world.people.groups_refused -= 1;
        return Some(Some(iq_error(node, 429, "rate-overlimit")));
    }
    if !asks_for_contacts(node) {
        return None;
    }
    match (world.people.silent, world.people.refused) {
        (true, _) => Some(None),
        (false, Some(code)) => Some(Some(iq_error(node, code, "rate-overlimit"))),
        (false, None) => None,
    }
}

/// What one group is beside its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupKind {
    /// Only admins may write.
    pub announce: bool,
    /// The parent of a community.
    pub parent: bool,
    /// Seconds until a message disappears; 0 for never.
    pub timer: u32,
}

impl GroupKind {
    /// The children of `<group>` that say so.
    pub fn nodes(self) -> Vec<Node> {
        let mut nodes = Vec::new();
        nodes.extend(self.announce.then(|| NodeBuilder::new("announcement").build()));
        nodes.extend(self.parent.then(|| NodeBuilder::new("parent").build()));
        nodes.extend((self.timer > 0).then(|| ephemeral(self.timer)));
        nodes
    }

    /// The error of a message by a member, if it is refused.
    pub fn refuses(self, is_admin: bool) -> Option<u16> {
        match self {
            Self { parent: true, .. } => Some(420),
            Self { announce: true, .. } if !is_admin => Some(403),
            _ => None,
        }
    }
}

fn ephemeral(timer: u32) -> Node {
    NodeBuilder::new("ephemeral").attr("expiration", timer).build()
}

impl Lab {
    /// `asked` is another way to write the number of the account `number`: asked for it, the server names that.
    pub fn also_known_as(&self, asked: &str, number: &str) {
        self.shared.lock().people.also.insert(asked.into(), number.into());
    }

    /// The account leaves WhatsApp, or is back: the server says so when it is asked.
    pub fn set_registered(&self, number: &str, on: bool) {
        let gone = &mut self.shared.lock().people.gone;
        if on {
            gone.remove(number)
        } else {
            gone.insert(number.into())
        };
    }

    /// The question whether numbers are on WhatsApp is answered with this error.
    pub fn refuse_contacts(&self, code: Option<u16>) {
        self.shared.lock().people.refused = code;
    }

    /// The same question is not answered at all.
    pub fn withhold_contacts(&self, on: bool) {
        self.shared.lock().people.silent = on;
    }

    /// The next `count` questions about groups are answered with 429.
    pub fn refuse_groups(&self, count: usize) {
        self.shared.lock().people.groups_refused = count;
    }

    /// Answers to a question about numbers do not repeat the number that was asked for.
    pub fn terse_contacts(&self, on: bool) {
        self.shared.lock().people.terse = on;
    }

    /// Nobody is told any more which number is behind a hidden id.
    pub fn hide_numbers(&self, on: bool) {
        self.shared.lock().people.hide_numbers = on;
    }

    /// Messages to nobody are acknowledged like any other, as the real server does; else they are refused with 404.
    pub fn ack_unknown(&self, on: bool) {
        self.shared.lock().people.ack_unknown = on;
    }

    /// The numbers of each question whether numbers are on WhatsApp, oldest first.
    pub fn contacts_asked(&self) -> Vec<Vec<String>> {
        let asked = |seen: super::Seen| {
            let usync = seen.node.get_optional_child("usync");
            let users = usync.and_then(|usync| usync.get_optional_child("list")).map(children);
            let numbers = users.unwrap_or_default().iter().filter_map(|user| {
                let contact = user.get_optional_child("contact")?;
                let text = String::from_utf8_lossy(&bytes_of(contact)).into_owned();
                Some(text.trim_start_matches('+').to_owned())
            });
            numbers.collect()
        };
        let log = self.stanza_log().into_iter();
        log.filter(|seen| seen.direction == Direction::FromClient && asks_for_contacts(&seen.node))
            .map(asked)
            .collect()
    }

    /// Changes what a group is. Its members' companions are told of the timer alone, as `notify` wishes.
    pub fn set_group_kind(&self, group: &str, kind: GroupKind, notify: bool) {
        let mut world = self.shared.lock();
        let id = group.trim_end_matches("@g.us").to_owned();
        let entry = world.groups.get_mut(&id).expect("a group of this lab");
        let changed = entry.kind.timer != kind.timer;
        entry.kind = kind;
        if notify && changed {
            tell_timer(&mut world, &id, kind.timer);
        }
    }

    /// Makes a member an admin of a group, or no more.
    pub fn set_admin(&self, group: &str, phone: &Phone, on: bool) {
        let mut world = self.shared.lock();
        let entry = world.groups.get_mut(group.trim_end_matches("@g.us"));
        let admins = &mut entry.expect("a group of this lab").admins;
        if on {
            admins.insert(phone.account)
        } else {
            admins.remove(&phone.account)
        };
    }
}

/// The notification that a group's timer was changed, by its first member.
fn tell_timer(world: &mut World, id: &str, timer: u32) {
    let Some(group) = world.groups.get(id) else { return };
    let (members, naming) = (group.members.clone(), group.naming);
    let by = world.jid(
        Device {
            account: members[0],
            device: 0,
        },
        naming,
    );
    let child = match timer {
        0 => NodeBuilder::new("not_ephemeral").build(),
        timer => ephemeral(timer),
    };
    let node = NodeBuilder::new("notification")
        .attr("from", Jid::group(id))
        .attr("type", "w:gp2")
        .attr("id", message_id())
        .attr("participant", by)
        .attr("addressing_mode", groups::mode(naming))
        .attr("t", now_s())
        .children([child])
        .build();
    let devices: Vec<_> = members
        .into_iter()
        .flat_map(|member| world.devices_of(member))
        .collect();
    for device in devices.into_iter().filter(|device| !device.is_phone()) {
        router::deliver(world, device, node.clone());
    }
}

impl Phone {
    /// Switches disappearing messages on or off (0) in the chat with `to`: both sides are told, and what this phone
    /// writes there carries the timer from now on.
    pub fn set_timer(&self, to: &str, seconds: u32) {
        self.set_timer_quietly(to, seconds);
        let mut world = self.shared.lock();
        let chat = super::chat_of(&world, to);
        let setting = wa::message::ProtocolMessage {
            r#type: Some(wa::message::protocol_message::Type::EPHEMERAL_SETTING),
            ephemeral_expiration: Some(seconds),
            ephemeral_setting_timestamp: Some(i64::try_from(now_s()).unwrap_or(0)),
            ..Default::default()
        };
        let message = wa::Message {
            protocol_message: MessageField::some(setting),
            ..Default::default()
        };
        phone::send(&mut world, self.account, chat, message);
    }

    /// What this phone writes in the chat with `to` carries a timer from now on; nobody is told that it does.
    pub fn set_timer_quietly(&self, to: &str, seconds: u32) {
        let mut world = self.shared.lock();
        let key = timer_key(&super::chat_of(&world, to));
        world.accounts[self.account].phone.timers.insert(key, seconds);
    }
}

/// By what a phone remembers the timer of a chat.
pub fn timer_key(chat: &Chat) -> String {
    match chat {
        Chat::Account(account) => account.to_string(),
        Chat::Group(group) => group.clone(),
    }
}

/// A text as an app writes it in a chat with this timer.
pub fn with_timer(message: wa::Message, seconds: u32) -> wa::Message {
    use wacore::proto_helpers::MessageExt as _;
    let mut message = message;
    message.set_ephemeral_expiration(seconds);
    message
}

/// The timer that a message carries, where an app looks for it.
pub fn timer_of(message: &wa::Message) -> Option<u32> {
    let text = message.extended_text_message.as_option();
    let image = message.image_message.as_option();
    let video = message.video_message.as_option();
    let audio = message.audio_message.as_option();
    let document = message.document_message.as_option();
    let context = text.map(|it| &it.context_info);
    let context = context.or(image.map(|it| &it.context_info));
    let context = context.or(video.map(|it| &it.context_info));
    let context = context.or(audio.map(|it| &it.context_info));
    let context = context.or(document.map(|it| &it.context_info));
    context?.as_option()?.expiration
}
