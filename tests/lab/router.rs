//! From device to device: messages, receipts, and the acks that both sides owe each other.
//!
//! Whatever goes to a companion is kept until that companion has acknowledged it, and is sent again at each login until
//! then. That is the offline queue; there is no other.

use std::borrow::Cow;

use wacore::messages::MessageUtils;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};

use super::groups;
use super::node::{attr, bytes_of, children, jid_attr, now_s};
use super::phone::{self, Incoming};
use super::signal::EncKind;
use super::world::{AckKey, Device, LineState, Naming, Pending, World};

/// Stanzas kept for a companion that does not come back; the oldest goes first.
const PENDING_MAX: usize = 20_000;

/// Sends `node` to a companion, now or at its next login, until it is acknowledged.
pub fn deliver(world: &mut World, to: Device, node: Node) {
    let key = AckKey {
        class: node.tag.to_string(),
        id: attr(&node, "id").unwrap_or_default(),
        participant: attr(&node, "participant"),
        kind: (node.tag != "message").then(|| attr(&node, "type")).flatten(),
    };
    let Some(companion) = world.companion(to).filter(|c| c.linked) else {
        return;
    };
    if companion.pending.len() == PENDING_MAX {
        companion.pending.pop_front();
    }
    companion.pending.push_back(Pending {
        key,
        node,
        sent_on: None,
    });
    world.generation += 1;
    let Some(line) = world.line_of(to) else { return };
    if matches!(
        world.lines.get(&line).map(|l| &l.state),
        Some(LineState::Open { active: true, .. })
    ) {
        pump(world, to, line, false);
    }
}

/// Writes to `line` whatever `to` has not been sent on it yet.
pub fn pump(world: &mut World, to: Device, line: u64, offline: bool) {
    if world.standing.zombie {
        return;
    }
    let Some(companion) = world.companion(to) else { return };
    let mut nodes = Vec::new();
    for pending in companion.pending.iter_mut().filter(|p| p.sent_on != Some(line)) {
        pending.sent_on = Some(line);
        let mut node = pending.node.clone();
        if offline {
            node.attrs.insert(Cow::Borrowed("offline"), nodes.len().to_string());
        }
        nodes.push(node);
    }
    for node in nodes {
        world.send(line, node);
    }
}

/// The stanzas a companion has been sent on its present line and has not acknowledged: class and id.
pub fn owed(world: &World, device: Device, line: u64) -> Vec<(String, String)> {
    let Some(companion) = world
        .accounts
        .get(device.account)
        .and_then(|a| a.companions.get(&device.device))
    else {
        return Vec::new();
    };
    let on_line = companion.pending.iter().filter(|p| p.sent_on == Some(line));
    on_line.map(|p| (p.key.class.clone(), p.key.id.clone())).collect()
}

/// `<ack>` from a companion.
pub fn on_ack(world: &mut World, from: Device, node: &Node) {
    let key = AckKey {
        class: attr(node, "class").unwrap_or_default(),
        id: attr(node, "id").unwrap_or_default(),
        participant: attr(node, "participant"),
        kind: attr(node, "type"),
    };
    let Some(companion) = world.companion(from) else { return };
    let exact = companion.pending.iter().position(|p| p.key == key);
    // Acks of messages carry no participant in some clients, and a type that ours do not.
    let near = || {
        companion
            .pending
            .iter()
            .position(|p| p.key.class == key.class && p.key.id == key.id)
    };
    match exact.or_else(near) {
        Some(at) => {
            companion.pending.remove(at);
        }
        // A message is acknowledged by its receipt; an ack that follows finds nothing, and that is in order.
        None if key.class != "message" => {
            world.stray_acks.insert(key.id);
        }
        None => {}
    }
}

/// `<message>` from a companion: acknowledged to it, then handed to every device it names.
pub fn on_message(world: &mut World, line: u64, from: Device, node: &Node) {
    let (Some(id), Some(to)) = (attr(node, "id"), jid_attr(node, "to")) else {
        return;
    };
    if world.standing.zombie {
        return;
    }
    let group = to.is_group().then(|| to.user.to_string());
    let stale = world.standing.nack_until_asked.as_mut().map(|stale| {
        stale.given = true;
        stale.code
    });
    let error = match (&group, world.standing.nack.or(stale)) {
        (_, Some(error)) => Some(error),
        (Some(group), None) => match world.groups.get(group).filter(|g| g.members.contains(&from.account)) {
            Some(group) => group.kind.refuses(group.is_admin(from.account)),
            None => Some(403),
        },
        (None, None) => {
            let there = world.resolve(&to.to_non_ad()).is_some() && !world.people.is_gone(&to.user);
            (!there && !world.people.ack_unknown).then_some(404)
        }
    };
    if !world.standing.withhold_acks {
        let ack = NodeBuilder::new("ack")
            .attr("class", "message")
            .attr("from", to.clone())
            .attr("id", id.as_str());
        let ack = ack.attr("t", now_s());
        let ack = match error {
            Some(error) => ack.attr("error", u32::from(error)),
            None => match other_hash(world, from, node, &to) {
                Some(hash) => ack.attr("phash", hash),
                None => ack,
            },
        };
        world.send(line, ack.build());
    }
    if error.is_some() {
        return;
    }
    for (target, encs) in targets(world, from, node, &to, group.as_deref()) {
        hand_over(world, from, target, &id, &to, group.clone(), encs, node);
    }
}

/// The hash of the devices that a message should have been made for, when it was not.
fn other_hash(world: &World, from: Device, node: &Node, to: &Jid) -> Option<String> {
    if let Some(hash) = &world.standing.phash {
        return Some(hash.clone());
    }
    // A message to one device alone, such as one that was asked for again, is nobody's business.
    let parts = node.get_optional_child("participants").map(children);
    if to.is_group() {
        let group = world.groups.get(to.user.as_str())?;
        let ours = attr(node, "phash")?;
        let devices = group.members.iter().flat_map(|member| world.devices_of(*member));
        let jids: Vec<Jid> = devices.map(|device| world.jid(device, group.naming)).collect();
        return MessageUtils::participant_list_hash(&jids)
            .ok()
            .filter(|hash| *hash != ours);
    }
    let listed: Vec<Jid> = parts?.iter().filter_map(|part| jid_attr(part, "jid")).collect();
    let account = world.resolve(&to.to_non_ad())?.account;
    let mut devices = world.devices_of(account);
    devices.extend(
        world
            .devices_of(from.account)
            .into_iter()
            .filter(|_| account != from.account),
    );
    devices.retain(|device| *device != from);
    let jids: Vec<Jid> = devices
        .iter()
        .map(|device| world.jid(*device, Naming::of(to)))
        .collect();
    let ours = MessageUtils::participant_list_hash(&listed).ok()?;
    MessageUtils::participant_list_hash(&jids)
        .ok()
        .filter(|hash| *hash != ours)
}

/// Which devices get which `<enc>`s.
fn targets(world: &World, from: Device, node: &Node, to: &Jid, group: Option<&str>) -> Vec<(Device, Vec<Node>)> {
    let direct: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
    let mut listed: Vec<(Device, Vec<Node>)> = Vec::new();
    for entry in node
        .get_optional_child("participants")
        .map(children)
        .unwrap_or_default()
    {
        let Some(device) = jid_attr(entry, "jid").and_then(|jid| world.resolve(&jid)) else {
            continue;
        };
        listed.push((device, entry.get_children_by_tag("enc").cloned().collect()));
    }
    let Some(group) = group else {
        // Peer messages and resends carry their one <enc> themselves.
        if let Some(device) = world.resolve(to).filter(|_| !direct.is_empty()) {
            listed.push((device, direct));
        }
        return listed;
    };
    if let Some(device) = jid_attr(node, "participant").and_then(|jid| world.resolve(&jid)) {
        return vec![(device, direct)];
    }
    let members = world.groups.get(group).map(|g| g.members.clone()).unwrap_or_default();
    let devices = members
        .into_iter()
        .flat_map(|account| world.devices_of(account))
        .filter(|d| *d != from);
    devices
        .map(|device| {
            let own = listed
                .iter()
                .filter(|(d, _)| *d == device)
                .flat_map(|(_, encs)| encs.clone());
            (device, own.chain(direct.clone()).collect())
        })
        .collect()
}

#[expect(
    clippy::too_many_arguments,
    reason = "one stanza's parts; a struct would be used here alone"
)]
fn hand_over(
    world: &mut World,
    from: Device,
    target: Device,
    id: &str,
    to: &Jid,
    group: Option<String>,
    encs: Vec<Node>,
    node: &Node,
) {
    if target.is_phone() {
        let parsed = encs
            .iter()
            .filter_map(|enc| Some((EncKind::parse(&attr(enc, "type")?)?, bytes_of(enc))));
        let incoming = Incoming {
            id: id.into(),
            from,
            naming: Naming::of(to),
            group,
            encs: parsed.collect(),
        };
        phone::receive(world, target.account, incoming);
        return;
    }
    let has_pkmsg = encs.iter().any(|enc| attr(enc, "type").as_deref() == Some("pkmsg"));
    let mut content = encs;
    content.extend(
        node.get_optional_child("device-identity")
            .filter(|_| has_pkmsg)
            .cloned(),
    );
    let mut stanza = envelope(world, from, target, id, to, group.as_deref());
    stanza
        .attrs
        .insert("type", attr(node, "type").unwrap_or_else(|| "text".into()));
    if let Some(category) = attr(node, "category") {
        stanza.attrs.insert("category", category);
    }
    stanza.content = Some(wacore_binary::NodeContent::Nodes(content));
    deliver(world, target, stanza);
}

/// The outside of a message as `target` sees it: who it is from, under both names.
pub fn envelope(world: &World, from: Device, target: Device, id: &str, to: &Jid, group: Option<&str>) -> Node {
    let builder = NodeBuilder::new("message")
        .attr("id", id)
        .attr("t", now_s())
        .attr("type", "text")
        .attr("notify", world.accounts[from.account].name.as_str());
    let bare = Device { device: 0, ..from };
    if let Some(group) = group.and_then(|id| world.groups.get(id)) {
        let other = match group.naming {
            Naming::Lid => "participant_pn",
            Naming::Pn => "participant_lid",
        };
        return builder
            .attr("from", Jid::group(group.id.as_str()))
            .attr("participant", world.jid(from, group.naming))
            .attr("addressing_mode", groups::mode(group.naming))
            .attr(other, world.jid(bare, group.naming.other()))
            .build();
    }
    let naming = Naming::of(to);
    let builder = builder.attr("from", world.jid(from, naming));
    if target.account == from.account {
        return builder.attr("recipient", to.to_non_ad()).build();
    }
    let other = match naming {
        Naming::Lid => "sender_pn",
        Naming::Pn => "sender_lid",
    };
    if world.people.hide_numbers {
        return builder.build();
    }
    builder.attr(other, world.jid(bare, naming.other())).build()
}

/// `<receipt>` from a companion: it acknowledges the message, is acknowledged itself, and goes on to the sender.
pub fn on_receipt(world: &mut World, line: u64, from: Device, node: &Node) {
    let (Some(id), Some(to)) = (attr(node, "id"), jid_attr(node, "to")) else {
        return;
    };
    if world.standing.zombie {
        return;
    }
    let (kind, participant) = (attr(node, "type"), jid_attr(node, "participant"));
    if let Some(companion) = world.companion(from) {
        let item_ids: Vec<String> = node
            .get_optional_child("list")
            .map(children)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| attr(item, "id"))
            .collect();
        companion
            .pending
            .retain(|p| p.key.class != "message" || (p.key.id != id && !item_ids.contains(&p.key.id)));
    }
    let mut ack = NodeBuilder::new("ack")
        .attr("class", "receipt")
        .attr("from", to.clone())
        .attr("id", id.as_str());
    if let Some(kind) = &kind {
        ack = ack.attr("type", kind.as_str());
    }
    if let Some(participant) = &participant {
        ack = ack.attr("participant", participant);
    }
    world.send(line, ack.attr("t", now_s()).build());
    let Some(target) = world.resolve(participant.as_ref().unwrap_or(&to)) else {
        return;
    };
    if kind.as_deref() == Some("retry") && target.is_phone() {
        phone::on_retry(world, target.account, from, node);
    } else if target.is_phone() {
        phone::on_receipt(world, target.account, from, node, &id, kind);
    } else if target != from {
        let forwarded = forwarded_receipt(world, from, node, &to, &id, kind);
        deliver(world, target, forwarded);
    }
}

fn forwarded_receipt(world: &World, from: Device, node: &Node, to: &Jid, id: &str, kind: Option<String>) -> Node {
    let naming = Naming::of(to);
    let mut receipt = NodeBuilder::new("receipt").attr("id", id).attr("t", now_s());
    receipt = match world.groups.get(to.user.as_str()).filter(|_| to.is_group()) {
        Some(group) => receipt
            .attr("from", to.clone())
            .attr("participant", world.jid(from, group.naming)),
        None => receipt.attr("from", world.jid(from, naming)),
    };
    if let Some(kind) = kind {
        receipt = receipt.attr("type", kind);
    }
    receipt.apply_content(node.content.clone()).build()
}
