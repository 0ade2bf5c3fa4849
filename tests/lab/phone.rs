//! A simulated phone: device 0 of an account, with real Signal state. It decrypts what it is sent, remembers each
//! message once, answers with receipts, asks for what it cannot read, and writes messages of its own.

use std::collections::{HashMap, HashSet};

use wacore::messages::{MessageUtils, decode_plaintext, unwrap_device_sent, wrap_device_sent};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use wacore_libsignal::protocol::SignalProtocolError;
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::answers::{self, ReactionSeen};
use super::media::{self, MediaSeen};
use super::node::{attr, child_bytes, leaf, message_id, now_s, number_from};
use super::people;
use super::queries::bundle_nodes;
use super::router::{deliver, envelope};
use super::signal::{Bundle, EncKind, SignalState};
use super::world::{Device, Naming, World};

/// The version of message padding, the `v` of `<enc>`.
const PADDING_VERSION: u8 = 2;
/// How often a phone asks again for one message it cannot read.
const RETRIES_MAX: u8 = 5;

/// A message that the phone has decrypted. Each (chat, sender, id) is here once, as in the real app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub id: String,
    /// The sender's number, without `+`. The phone's own number for what its companions sent.
    pub from: String,
    /// The sender's device; 0 is its phone.
    pub from_device: u16,
    /// The other side's number, or the group's address.
    pub chat: String,
    /// The text; for an attachment, its kind in brackets and its caption.
    pub text: String,
    pub media: Option<MediaSeen>,
    /// The id of the message that it quotes, and the text that stands for that.
    pub quoted: Option<(String, String)>,
    /// Seconds after which the message disappears, as the app reads them.
    pub timer: Option<u32>,
    /// Counts up per phone, in the order of decryption.
    pub seq: u64,
}

/// A receipt for a message that this phone sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptSeen {
    pub id: String,
    /// The device that sent it: its account's number and its own.
    pub from: String,
    pub device: u16,
    /// None is "delivered".
    pub kind: Option<String>,
}

/// Which receipts the phone sends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoReceipts {
    pub delivered: bool,
    pub read: bool,
}

pub struct PhoneState {
    pub signal: SignalState,
    pub received: Vec<Received>,
    pub reactions: Vec<ReactionSeen>,
    /// How often each id has come over the wire.
    pub wire: HashMap<String, usize>,
    /// What the phone could not decrypt: id and why.
    pub unreadable: Vec<(String, String)>,
    pub receipts: Vec<ReceiptSeen>,
    pub auto: AutoReceipts,
    /// Messages still to be spoilt on their way out.
    pub garble_next: usize,
    /// The timers of chats that were set here, by account or group.
    pub timers: HashMap<String, u32>,
    seen: HashSet<(String, usize, String)>,
    origins: HashMap<String, Incoming>,
    sent: HashMap<String, (Chat, wa::Message)>,
    retries: HashMap<String, u8>,
    /// Asks at once for what it cannot read; else when it is told to.
    pub asks_again: bool,
    /// What it could not read, without the ciphertext.
    unread: HashMap<String, Incoming>,
    /// Devices that have our sender key, by group.
    pub distributed: HashSet<(String, Device)>,
}

impl PhoneState {
    pub fn new() -> Self {
        Self {
            signal: SignalState::generate(),
            received: Vec::new(),
            reactions: Vec::new(),
            wire: HashMap::new(),
            unreadable: Vec::new(),
            receipts: Vec::new(),
            auto: AutoReceipts {
                delivered: true,
                read: false,
            },
            garble_next: 0,
            timers: HashMap::new(),
            seen: HashSet::new(),
            origins: HashMap::new(),
            sent: HashMap::new(),
            retries: HashMap::new(),
            asks_again: true,
            unread: HashMap::new(),
            distributed: HashSet::new(),
        }
    }
}

/// Where a message goes.
#[derive(Clone, Debug)]
pub enum Chat {
    Account(usize),
    Group(String),
}

/// A message on its way into a phone.
#[derive(Clone)]
pub struct Incoming {
    pub id: String,
    pub from: Device,
    /// The name the sender used for us.
    pub naming: Naming,
    pub group: Option<String>,
    pub encs: Vec<(EncKind, Vec<u8>)>,
}

/// Takes in one message, and answers it as the phone is set to.
pub fn receive(world: &mut World, me: usize, incoming: Incoming) {
    *world.accounts[me].phone.wire.entry(incoming.id.clone()).or_default() += 1;
    let mut read = Vec::new();
    for (kind, sealed) in &incoming.encs {
        match open(world, me, &incoming, *kind, sealed) {
            Ok(Some(found)) => read.push(found),
            Ok(None) => {}
            // The very ciphertext once more: read before, so it only wants its receipt.
            Err(SignalProtocolError::DuplicatedMessage(..)) => {}
            Err(error) => {
                world.accounts[me]
                    .phone
                    .unreadable
                    .push((incoming.id.clone(), error.to_string()));
                let unread = Incoming {
                    encs: Vec::new(),
                    ..incoming.clone()
                };
                let phone = &mut world.accounts[me].phone;
                phone.unread.insert(incoming.id.clone(), unread);
                if phone.asks_again {
                    ask_again(world, me, &incoming);
                }
                return;
            }
        }
    }
    for found in read {
        remember(world, me, &incoming, found);
    }
    let auto = world.accounts[me].phone.auto;
    let (id, from) = (incoming.id.clone(), incoming.from);
    world.accounts[me].phone.origins.insert(
        id.clone(),
        Incoming {
            encs: Vec::new(),
            ..incoming
        },
    );
    if from.account == me {
        // What a companion sent is confirmed to it whatever the recipient's phone does.
        return send_receipt(world, me, &id, Some("sender"));
    }
    if auto.delivered {
        send_receipt(world, me, &id, None);
    }
    if auto.read {
        send_receipt(world, me, &id, Some("read"));
    }
}

/// What was in a message.
struct Found {
    chat: String,
    text: String,
    media: Option<MediaSeen>,
    timer: Option<u32>,
    quoted: Option<(String, String)>,
    /// As `answers::reaction_in` reads it.
    reaction: Option<(String, bool, String)>,
}

/// Decrypts one `<enc>`. `None` where there is nothing for people in it.
fn open(
    world: &mut World,
    me: usize,
    incoming: &Incoming,
    kind: EncKind,
    sealed: &[u8],
) -> Result<Option<Found>, SignalProtocolError> {
    let sender = world.signal_name(incoming.from);
    let numbers = (
        world.accounts[me].number.clone(),
        world.accounts[incoming.from.account].number.clone(),
    );
    let signal = &mut world.accounts[me].phone.signal;
    let group = incoming.group.as_deref();
    let padded = match (kind, group) {
        (EncKind::SkMsg, group) => signal.group_decrypt(group.unwrap_or_default(), &sender, sealed)?,
        (EncKind::PkMsg | EncKind::Msg, _) => signal.decrypt(&sender, kind, sealed)?,
    };
    let bad = |e| SignalProtocolError::InvalidArgument(format!("no message in the plaintext: {e}"));
    let message = decode_plaintext(&padded, PADDING_VERSION).map_err(bad)?;
    let own = message
        .device_sent_message
        .as_option()
        .and_then(|sent| sent.destination_jid.clone());
    let message = unwrap_device_sent(message);
    if let Some(distribution) = message.sender_key_distribution_message.as_option() {
        let bytes = distribution
            .axolotl_sender_key_distribution_message
            .as_deref()
            .unwrap_or_default();
        signal.accept_distribution(group.unwrap_or_default(), &sender, bytes)?;
    }
    let chat = match (group, own.and_then(|jid| jid.parse::<Jid>().ok())) {
        (Some(group), _) => format!("{group}@g.us"),
        (None, Some(jid)) => world
            .resolve(&jid.to_non_ad())
            .map_or(numbers.0, |d| world.accounts[d.account].number.clone()),
        (None, None) => numbers.1,
    };
    let media = media::seen(world, &message);
    let text = match &media {
        Some(media) => Some(format!("[{}] {}", media.kind, media.caption).trim_end().to_owned()),
        None => answers::text_of(&message),
    };
    let timer = people::timer_of(&message);
    let quoted = answers::quoted_in(&message);
    let reaction = answers::reaction_in(&message);
    let text = text.or_else(|| reaction.as_ref().map(|_| String::new()));
    Ok(text.map(|text| Found {
        chat,
        text,
        media,
        timer,
        quoted,
        reaction,
    }))
}

fn remember(world: &mut World, me: usize, incoming: &Incoming, found: Found) {
    let Found {
        chat,
        text,
        media,
        timer,
        quoted,
        reaction,
    } = found;
    let from = world.accounts[incoming.from.account].number.clone();
    let phone = &mut world.accounts[me].phone;
    if !phone
        .seen
        .insert((chat.clone(), incoming.from.account, incoming.id.clone()))
    {
        return;
    }
    if let Some((to, on_own, emoji)) = reaction {
        let id = incoming.id.clone();
        phone.reactions.push(ReactionSeen {
            id,
            from,
            chat,
            to,
            on_own,
            emoji,
        });
        return;
    }
    let seq = phone.received.len() as u64;
    phone.received.push(Received {
        id: incoming.id.clone(),
        from,
        from_device: incoming.from.device,
        chat,
        text,
        media,
        quoted,
        timer,
        seq,
    });
}

/// Sends a receipt for a received message to the device it came from.
pub fn send_receipt(world: &mut World, me: usize, id: &str, kind: Option<&str>) {
    let Some(origin) = world.accounts[me].phone.origins.get(id).cloned() else {
        return;
    };
    if origin.from.is_phone() {
        let from = world.accounts[me].number.clone();
        let receipt = ReceiptSeen {
            id: id.into(),
            from,
            device: 0,
            kind: kind.map(Into::into),
        };
        world.accounts[origin.from.account].phone.receipts.push(receipt);
        return;
    }
    let node = receipt_from(world, me, &origin);
    let node = match kind {
        Some(kind) => node.attr("type", kind),
        None => node,
    };
    deliver(world, origin.from, node.build());
}

fn receipt_from(world: &World, me: usize, origin: &Incoming) -> NodeBuilder {
    let phone = Device { account: me, device: 0 };
    let node = NodeBuilder::new("receipt")
        .attr("id", origin.id.as_str())
        .attr("t", now_s());
    match origin.group.as_ref().and_then(|id| world.groups.get(id)) {
        Some(group) => node
            .attr("from", Jid::group(group.id.as_str()))
            .attr("participant", world.jid(phone, group.naming)),
        None => node.attr("from", world.jid(phone, origin.naming)),
    }
}

/// Asks the sender for a message that did not decrypt, as often as phones do.
fn ask_again(world: &mut World, me: usize, incoming: &Incoming) {
    let phone = &mut world.accounts[me].phone;
    let count = phone.retries.entry(incoming.id.clone()).or_default();
    *count += 1;
    if incoming.from.is_phone() || *count > RETRIES_MAX {
        return;
    }
    let count = *count;
    ask(world, me, incoming, count, true);
}

/// Asks for an unreadable message, whatever was asked before. False if there is none with this id.
pub fn ask_for(world: &mut World, me: usize, id: &str, count: u8, with_keys: bool) -> bool {
    let Some(incoming) = world.accounts[me].phone.unread.get(id).cloned() else {
        return false;
    };
    ask(world, me, &incoming, count, with_keys);
    true
}

/// A retry receipt, with a bundle of fresh keys or without.
fn ask(world: &mut World, me: usize, incoming: &Incoming, count: u8, with_keys: bool) {
    let phone = &mut world.accounts[me].phone;
    let bundle = phone.signal.bundle();
    let registration = phone.signal.registration();
    let keys = bundle_nodes(&bundle)
        .into_iter()
        .filter(|node| node.tag != "registration");
    let retry = NodeBuilder::new("retry")
        .attr("count", u32::from(count))
        .attr("id", incoming.id.as_str())
        .attr("t", now_s())
        .attr("v", "1")
        .build();
    let mut parts = vec![retry, leaf("registration", registration.to_be_bytes())];
    if with_keys {
        parts.push(NodeBuilder::new("keys").children(keys).build());
    }
    let node = receipt_from(world, me, incoming).attr("type", "retry").children(parts);
    deliver(world, incoming.from, node.build());
}

/// A companion's receipt for something this phone sent.
pub fn on_receipt(world: &mut World, me: usize, from: Device, node: &Node, id: &str, kind: Option<String>) {
    let number = world.accounts[from.account].number.clone();
    let listed = node
        .get_optional_child("list")
        .map(super::node::children)
        .unwrap_or_default();
    let ids = std::iter::once(id.to_owned()).chain(listed.iter().filter_map(|item| attr(item, "id")));
    for id in ids.collect::<Vec<_>>() {
        let receipt = ReceiptSeen {
            id,
            from: number.clone(),
            device: from.device,
            kind: kind.clone(),
        };
        world.accounts[me].phone.receipts.push(receipt);
    }
}

/// A companion could not read what this phone sent: a new session, and the message once more under its old id.
pub fn on_retry(world: &mut World, me: usize, from: Device, node: &Node) {
    let Some(id) = attr(node, "id") else { return };
    let Some((chat, message)) = world.accounts[me].phone.sent.get(&id).cloned() else {
        return;
    };
    let name = world.signal_name(from);
    let phone = &mut world.accounts[me].phone;
    match bundle_in(node) {
        Some(bundle) => {
            let _ = phone.signal.open_session(&name, &bundle);
        }
        None => phone.signal.forget_session(&name),
    }
    match chat {
        Chat::Account(to) => send_to(world, me, from, &id, to, &message),
        Chat::Group(group) => {
            let message = with_distribution(world, me, &group, message);
            send_sealed(world, me, from, &id, &group, &message, None);
        }
    }
}

/// The keys in a retry receipt, if it has any.
fn bundle_in(node: &Node) -> Option<Bundle> {
    let keys = node.get_optional_child("keys")?;
    let skey = keys.get_optional_child("skey")?;
    let one_time = keys.get_optional_child("key");
    Some(Bundle {
        registration: number_from(&child_bytes(node, "registration")?),
        identity: child_bytes(keys, "identity")?.try_into().ok()?,
        signed_id: number_from(&child_bytes(skey, "id")?),
        signed_public: child_bytes(skey, "value")?.try_into().ok()?,
        signature: child_bytes(skey, "signature")?,
        one_time: one_time.and_then(|k| {
            Some((
                number_from(&child_bytes(k, "id")?),
                child_bytes(k, "value")?.try_into().ok()?,
            ))
        }),
        device_identity: None,
    })
}

/// Sends a message from the phone to every device of the chat and to the phone's own companions. Returns its id.
pub fn send(world: &mut World, me: usize, chat: Chat, message: wa::Message) -> String {
    let id = message_id();
    world.accounts[me]
        .phone
        .sent
        .insert(id.clone(), (chat.clone(), message.clone()));
    match chat {
        Chat::Account(to) => {
            let mut targets = world.devices_of(to);
            targets.extend(world.devices_of(me).into_iter().filter(|d| to != me && !d.is_phone()));
            for target in targets.into_iter().filter(|t| *t != Device { account: me, device: 0 }) {
                send_to(world, me, target, &id, to, &message);
            }
        }
        Chat::Group(group) => send_group(world, me, &group, &id, &message),
    }
    id
}

fn send_to(world: &mut World, me: usize, target: Device, id: &str, to: usize, message: &wa::Message) {
    let from = Device { account: me, device: 0 };
    let recipient = world.jid(Device { account: to, device: 0 }, world.naming);
    let message = if target.account == me && to != me {
        wrap_device_sent(message.clone(), recipient.to_string())
    } else {
        message.clone()
    };
    let Some((kind, sealed)) = seal(world, me, target, &message) else {
        return;
    };
    if target.is_phone() {
        let incoming = Incoming {
            id: id.into(),
            from,
            naming: world.naming,
            group: None,
            encs: vec![(kind, sealed)],
        };
        return receive(world, target.account, incoming);
    }
    let mut sealed = sealed;
    let phone = &mut world.accounts[me].phone;
    if phone.garble_next > 0 {
        phone.garble_next -= 1;
        let middle = sealed.len() / 2;
        sealed[middle] ^= 1;
    }
    let mut node = envelope(world, from, target, id, &recipient, None);
    node.content = Some(wacore_binary::NodeContent::Nodes(vec![enc(kind, sealed)]));
    deliver(world, target, node);
}

/// A message to the phone's own companion about the account itself.
pub fn send_peer(world: &mut World, target: Device, message: &wa::Message) {
    let Some((kind, sealed)) = seal(world, target.account, target, message) else {
        return;
    };
    let from = world.jid(Device { device: 0, ..target }, Naming::Pn);
    let node = NodeBuilder::new("message")
        .attr("from", from)
        .attr("type", "text")
        .attr("category", "peer")
        .attr("id", message_id())
        .attr("t", now_s())
        .children([enc(kind, sealed)])
        .build();
    deliver(world, target, node);
}

/// Tells every companion the account's name.
pub fn tell_name(world: &mut World, me: usize) {
    let name = world.accounts[me].name.clone();
    let from = world.jid(Device { account: me, device: 0 }, Naming::Pn);
    for target in world.devices_of(me).into_iter().filter(|device| !device.is_phone()) {
        let node = NodeBuilder::new("notification")
            .attr("from", from.clone())
            .attr("type", "account_sync")
            .attr("id", message_id())
            .attr("t", now_s())
            .attr("pushname", name.as_str())
            .build();
        deliver(world, target, node);
    }
}

fn send_group(world: &mut World, me: usize, group: &str, id: &str, message: &wa::Message) {
    let Some(members) = world.groups.get(group).map(|g| g.members.clone()) else {
        return;
    };
    let name = world.signal_name(Device { account: me, device: 0 });
    // The sender key must exist before the first message is encrypted with it.
    let signal = &mut world.accounts[me].phone.signal;
    let distribution = signal.distribution(group, &name);
    let sealed = signal.group_encrypt(group, &name, &MessageUtils::encode_and_pad(message));
    let (Ok(_), Ok(sealed)) = (&distribution, sealed) else {
        return;
    };
    let devices: Vec<Device> = members.into_iter().flat_map(|m| world.devices_of(m)).collect();
    let key_only = distribution_message(group, distribution.unwrap_or_default());
    for target in devices.into_iter().filter(|d| *d != Device { account: me, device: 0 }) {
        if world.accounts[me].phone.distributed.insert((group.into(), target)) {
            send_sealed(world, me, target, id, group, &key_only, Some(&sealed));
        } else {
            hand_group(world, me, target, id, group, vec![(EncKind::SkMsg, sealed.clone())]);
        }
    }
}

/// Sends `message` to one device of a group in a session of its own, `sealed` by sender key beside it.
fn send_sealed(
    world: &mut World,
    me: usize,
    target: Device,
    id: &str,
    group: &str,
    message: &wa::Message,
    sealed: Option<&[u8]>,
) {
    let Some(own) = seal(world, me, target, message) else {
        return;
    };
    let encs = std::iter::once(own)
        .chain(sealed.map(|s| (EncKind::SkMsg, s.to_vec())))
        .collect();
    hand_group(world, me, target, id, group, encs);
}

fn hand_group(world: &mut World, me: usize, target: Device, id: &str, group: &str, encs: Vec<(EncKind, Vec<u8>)>) {
    let from = Device { account: me, device: 0 };
    if target.is_phone() {
        let incoming = Incoming {
            id: id.into(),
            from,
            naming: world.naming,
            group: Some(group.into()),
            encs,
        };
        return receive(world, target.account, incoming);
    }
    let mut node = envelope(world, from, target, id, &Jid::group(group), Some(group));
    let encs = encs.into_iter().map(|(kind, sealed)| enc(kind, sealed)).collect();
    node.content = Some(wacore_binary::NodeContent::Nodes(encs));
    deliver(world, target, node);
}

fn distribution_message(group: &str, distribution: Vec<u8>) -> wa::Message {
    wa::Message {
        sender_key_distribution_message: MessageField::some(wa::message::SenderKeyDistributionMessage {
            group_id: Some(format!("{group}@g.us")),
            axolotl_sender_key_distribution_message: Some(distribution),
        }),
        ..Default::default()
    }
}

fn with_distribution(world: &mut World, me: usize, group: &str, message: wa::Message) -> wa::Message {
    let name = world.signal_name(Device { account: me, device: 0 });
    let distribution = world.accounts[me]
        .phone
        .signal
        .distribution(group, &name)
        .unwrap_or_default();
    let distribution = distribution_message(group, distribution).sender_key_distribution_message;
    wa::Message {
        sender_key_distribution_message: distribution,
        ..message
    }
}

/// Encrypts for a device, opening a session from the server's store of keys if there is none yet.
fn seal(world: &mut World, me: usize, target: Device, message: &wa::Message) -> Option<(EncKind, Vec<u8>)> {
    let name = world.signal_name(target);
    if !world.accounts[me].phone.signal.has_session(&name) {
        let bundle = world.take_bundle(target)?;
        world.accounts[me].phone.signal.open_session(&name, &bundle).ok()?;
    }
    world.accounts[me]
        .phone
        .signal
        .encrypt(&name, &MessageUtils::encode_and_pad(message))
        .ok()
}

fn enc(kind: EncKind, sealed: Vec<u8>) -> Node {
    NodeBuilder::new("enc")
        .attr("v", "2")
        .attr("type", kind.name())
        .bytes(sealed)
        .build()
}

/// A device came or went: phones drop what they shared with it. Deliberately absent: `notification type=devices` to
/// others' companions; they learn of new devices when they ask.
pub fn devices_changed(world: &mut World, account: usize, device: u16) {
    let gone = Device { account, device };
    for owner in &mut world.accounts {
        owner.phone.distributed.retain(|(_, d)| *d != gone);
    }
}
