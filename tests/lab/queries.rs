//! What a logged-in client sends: queries are answered here, everything else goes to the router.
//!
//! A query nobody here knows gets an error, and stays in the stanza log for whoever wonders.

use std::time::Instant;

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use wacore_libsignal::crypto::CryptographicHash;

use super::faults::NoKeys;
use super::node::{
    attr, bytes_of, child_bytes, children, id3, iq_error, iq_result, jid_attr, leaf, now_s, number_from,
};
use super::pairing::number_jid;
use super::signal::Bundle;
use super::world::{Device, LineState, Naming, Out, World};
use super::{adv, groups, login, media, people, phone, router};

/// Seconds a client may keep a device list.
const DEVICES_REFRESH_S: u32 = 86_400;
/// One-time prekeys the server keeps for a device.
const ONE_TIME_MAX: usize = 2000;

/// One stanza from the client on `line`.
pub fn on_stanza(world: &mut World, line: u64, node: &Node) {
    let Some(device) = world.device_on(line) else {
        if matches!(
            world.lines.get(&line).map(|l| &l.state),
            Some(LineState::Registering(_))
        ) && node.tag == "iq"
        {
            super::pairing::on_iq(world, line, node);
        }
        return;
    };
    if world.companion(device).is_none_or(|c| !c.linked) {
        return;
    }
    match &*node.tag {
        "iq" => on_iq(world, line, device, node),
        "message" => router::on_message(world, line, device, node),
        "receipt" => router::on_receipt(world, line, device, node),
        "ack" => router::on_ack(world, device, node),
        // Noted in the log, answered by nothing: presence, chatstate, ib, call.
        _ => {}
    }
}

fn on_iq(world: &mut World, line: u64, device: Device, node: &Node) {
    let kind = attr(node, "type").unwrap_or_default();
    if kind == "result" || kind == "error" {
        return;
    }
    let xmlns = attr(node, "xmlns").unwrap_or_default();
    if xmlns == "w:p" {
        world.counters.pings += 1;
        if let Some(entry) = world.lines.get_mut(&line) {
            entry.pings += 1;
        }
        if !world.standing.withhold_pongs {
            world.send(line, iq_result(node, vec![]));
        }
        return;
    }
    if world.standing.zombie {
        return;
    }
    if xmlns == "encrypt" && kind == "get" && keys_wanted(node).is_some() {
        return give_keys(world, line, node);
    }
    let reply = match people::withheld(world, node) {
        Some(None) => return,
        Some(Some(error)) => error,
        None => answer(world, device, node, &xmlns, kind == "set"),
    };
    world.send(line, reply);
    if xmlns == "passive" && node.get_optional_child("active").is_some() {
        login::activate(world, line);
    }
    if xmlns == "md" && node.get_optional_child("remove-companion-device").is_some() {
        unlink(world, device);
        world.push(line, Out::Close(1000));
    }
}

fn answer(world: &mut World, device: Device, node: &Node, xmlns: &str, set: bool) -> Node {
    match (xmlns, set) {
        ("encrypt", true) => {
            upload_keys(world, device, node);
            iq_result(node, vec![])
        }
        ("encrypt", false) => encrypt_get(world, device, node),
        ("usync", _) => usync(world, node),
        ("abt", _) => {
            let prop = NodeBuilder::new("prop")
                .attr("config_code", "10518")
                .attr("config_value", "0")
                .build();
            let props = NodeBuilder::new("props")
                .attr("protocol", "1")
                .attr("hash", "lab0")
                .attr("refresh", "86400");
            iq_result(node, vec![props.attr("refresh_id", "1").children([prop]).build()])
        }
        ("blocklist", _) => iq_result(node, vec![NodeBuilder::new("list").attr("dhash", "none").build()]),
        ("privacy", false) => iq_result(node, vec![privacy()]),
        ("w:sync:app:state", _) => iq_result(node, vec![app_state(node)]),
        ("w:g2", _) => groups::on_query(world, device, node),
        ("w:m", true) => media::connection(world, node),
        ("passive" | "privacy" | "urn:xmpp:whatsapp:dirty" | "md" | "w:stats" | "urn:xmpp:whatsapp:push", true) => {
            iq_result(node, vec![])
        }
        ("w:profile:picture" | "status", false) => iq_error(node, 404, "item-not-found"),
        _ => iq_error(node, 501, "feature-not-implemented"),
    }
}

/// The notification that a companion's one-time keys run low.
pub fn ask_for_pre_keys(world: &mut World, device: Device) {
    let left = world.companion(device).map_or(0, |companion| companion.one_time.len());
    let count = NodeBuilder::new("count").attr("value", left as u64).build();
    let node = NodeBuilder::new("notification")
        .attr("from", super::node::server_jid())
        .attr("type", "encrypt")
        .attr("id", world.stanza_id())
        .attr("t", super::node::now_s())
        .children([count])
        .build();
    super::router::deliver(world, device, node);
}

fn privacy() -> Node {
    let names = [
        "readreceipts",
        "last",
        "online",
        "profile",
        "status",
        "groupadd",
        "calladd",
    ];
    let category = |name: &str| {
        NodeBuilder::new("category")
            .attr("name", name)
            .attr("value", "all")
            .build()
    };
    NodeBuilder::new("privacy").children(names.map(category)).build()
}

/// App state is always empty: every collection is at the version the client has.
fn app_state(node: &Node) -> Node {
    let asked = node.get_optional_child("sync").map(children).unwrap_or_default();
    let collections = asked.iter().map(|collection| {
        NodeBuilder::new("collection")
            .attr("name", attr(collection, "name").unwrap_or_default())
            .attr("version", attr(collection, "version").unwrap_or_else(|| "0".into()))
            .attr("type", "result")
            .attr("has_more_patches", "false")
            .build()
    });
    NodeBuilder::new("sync").children(collections).build()
}

/// `encrypt set`: prekeys, or a rotated signed prekey.
fn upload_keys(world: &mut World, device: Device, node: &Node) {
    let Some(companion) = world.companion(device) else {
        return;
    };
    let rotated = node.get_optional_child("rotate");
    if let Some(skey) = rotated.unwrap_or(node).get_optional_child("skey") {
        let (id, value) = (
            child_bytes(skey, "id"),
            child_bytes(skey, "value").and_then(|v| v.try_into().ok()),
        );
        if let (Some(id), Some(value), Some(signature)) = (id, value, child_bytes(skey, "signature")) {
            companion.keys.signed_id = number_from(&id);
            companion.keys.signed_public = value;
            companion.keys.signature = signature;
        }
    }
    if let Some(registration) = child_bytes(node, "registration") {
        companion.keys.registration = number_from(&registration);
    }
    for key in node.get_optional_child("list").map(children).unwrap_or_default() {
        let value = child_bytes(key, "value").and_then(|v| v.try_into().ok());
        let Some((id, value)) = child_bytes(key, "id").map(|id| number_from(&id)).zip(value) else {
            continue;
        };
        companion.one_time.retain(|(known, _)| *known != id);
        if companion.one_time.len() < ONE_TIME_MAX {
            companion.one_time.push_back((id, value));
        }
    }
}

/// Whose keys a question is for, if it is one for keys.
fn keys_wanted(node: &Node) -> Option<Vec<Jid>> {
    let asked = node
        .get_optional_child("key")
        .or_else(|| node.get_optional_child("key_fetch"))?;
    let users = children(asked).iter();
    Some(users.filter_map(|user| jid_attr(user, "jid")).collect())
}

/// Answers a question for keys, when the server has come to it, as the faults want it.
fn give_keys(world: &mut World, line: u64, node: &Node) {
    let wanted = keys_wanted(node).unwrap_or_default();
    world.keys_asked += wanted.len() as u64;
    let mut users = Vec::with_capacity(wanted.len());
    let mut whole = None;
    let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
    for jid in wanted {
        let fault = world.resolve(&jid).and_then(|device| key_fault(world, device));
        let error = |code: u16| NodeBuilder::new("error").attr("code", u32::from(code)).build();
        match fault {
            None => users.extend(bundle_of(world, jid)),
            Some(NoKeys::Absent) => {}
            Some(NoKeys::Refused(code)) => {
                users.push(
                    NodeBuilder::new("user")
                        .attr("jid", jid)
                        .children([error(code)])
                        .build(),
                );
            }
            Some(NoKeys::BadSignature) => users.extend(bundle_of(world, jid).map(spoil_signature)),
            Some(fault @ (NoKeys::WholeList(_) | NoKeys::Silence)) => whole = Some(fault),
        }
    }
    let reply = match whole {
        Some(NoKeys::Silence) => return,
        Some(NoKeys::WholeList(code)) => iq_error(node, code, "no keys"),
        _ => iq_result(node, vec![NodeBuilder::new("list").children(users).build()]),
    };
    let pace = world.standing.key_pace;
    if pace.each_answer.is_zero() && pace.each_key.is_zero() {
        return world.send(line, reply);
    }
    let now = Instant::now();
    let free = world.keys_busy_until.map_or(now, |until| until.max(now)) + pace.each_key * count;
    world.keys_busy_until = Some(free);
    world.push(line, Out::Later(free + pace.each_answer, reply));
}

fn key_fault(world: &World, device: Device) -> Option<NoKeys> {
    let number = &world.accounts[device.account].number;
    let mut faults = world.standing.keys.iter();
    let fault = faults.find(|fault| {
        fault.number.as_ref().is_none_or(|of| of == number) && fault.device.is_none_or(|of| of == device.device)
    });
    fault.map(|fault| fault.instead)
}

fn spoil_signature(mut user: Node) -> Node {
    let Some(wacore_binary::NodeContent::Nodes(parts)) = &mut user.content else {
        return user;
    };
    for part in parts.iter_mut().filter(|part| part.tag == "skey") {
        let mut spoilt = child_bytes(part, "signature").unwrap_or_default();
        spoilt.iter_mut().for_each(|byte| *byte ^= 0x55);
        let (id, value) = (child_bytes(part, "id"), child_bytes(part, "value"));
        *part = NodeBuilder::new("skey")
            .children([
                leaf("id", id.unwrap_or_default()),
                leaf("value", value.unwrap_or_default()),
                leaf("signature", spoilt),
            ])
            .build();
    }
    user
}

fn encrypt_get(world: &mut World, device: Device, node: &Node) -> Node {
    let Some(companion) = world.companion(device) else {
        return iq_error(node, 404, "item-not-found");
    };
    if node.get_optional_child("count").is_some() {
        let count = NodeBuilder::new("count")
            .attr("value", companion.one_time.len() as u64)
            .build();
        return iq_result(node, vec![count]);
    }
    if node.get_optional_child("digest").is_some() {
        if companion.one_time.is_empty() {
            return iq_error(node, 404, "item-not-found");
        }
        return iq_result(node, vec![digest(&companion.keys, companion.one_time.iter())]);
    }
    iq_error(node, 501, "feature-not-implemented")
}

/// The SHA-1 is over identity, signed prekey, its signature and all prekeys, in order.
fn digest<'a>(keys: &Bundle, one_time: impl Iterator<Item = &'a (u32, [u8; 32])>) -> Node {
    let mut hash = CryptographicHash::new("SHA-1").expect("libsignal knows SHA-1");
    hash.update(&keys.identity);
    hash.update(&keys.signed_public);
    hash.update(&keys.signature);
    let mut ids = Vec::new();
    for (id, public) in one_time {
        hash.update(public);
        ids.push(leaf("id", id3(*id)));
    }
    NodeBuilder::new("digest")
        .children([
            leaf("registration", keys.registration.to_be_bytes()),
            leaf("type", [5]),
            leaf("identity", keys.identity),
            signed_prekey(keys),
            NodeBuilder::new("list").children(ids).build(),
            leaf("hash", hash.finalize()),
        ])
        .build()
}

fn bundle_of(world: &mut World, jid: Jid) -> Option<Node> {
    let device = world.resolve(&jid)?;
    let bundle = world.take_bundle(device)?;
    Some(
        NodeBuilder::new("user")
            .attr("jid", jid)
            .attr("t", now_s())
            .children(bundle_nodes(&bundle))
            .build(),
    )
}

/// The children that describe a bundle: of `<user>` in an answer, and of `<keys>` in a retry receipt.
pub fn bundle_nodes(bundle: &Bundle) -> Vec<Node> {
    let mut nodes = vec![
        leaf("registration", bundle.registration.to_be_bytes()),
        leaf("type", [5]),
        leaf("identity", bundle.identity),
        signed_prekey(bundle),
    ];
    if let Some((id, public)) = &bundle.one_time {
        nodes.push(
            NodeBuilder::new("key")
                .children([leaf("id", id3(*id)), leaf("value", *public)])
                .build(),
        );
    }
    if let Some(identity) = &bundle.device_identity {
        nodes.push(leaf("device-identity", identity.clone()));
    }
    nodes
}

fn signed_prekey(bundle: &Bundle) -> Node {
    NodeBuilder::new("skey")
        .children([
            leaf("id", id3(bundle.signed_id)),
            leaf("value", bundle.signed_public),
            leaf("signature", bundle.signature.clone()),
        ])
        .build()
}

/// What is known about users (`usync`). Every part of the query has its empty echo in `<result>`.
fn usync(world: &World, node: &Node) -> Node {
    let Some(asked) = node.get_optional_child("usync") else {
        return iq_error(node, 400, "bad-request");
    };
    let parts: Vec<String> = asked
        .get_optional_child("query")
        .map(children)
        .unwrap_or_default()
        .iter()
        .map(|p| p.tag.to_string())
        .collect();
    let echo = parts.iter().map(|part| {
        let echo = NodeBuilder::new_dynamic(part.clone());
        if part == "devices" {
            echo.attr("refresh", DEVICES_REFRESH_S).build()
        } else {
            echo.build()
        }
    });
    let users = asked.get_optional_child("list").map(children).unwrap_or_default();
    let users = users.iter().filter_map(|user| usync_user(world, user, &parts));
    let mut reply = NodeBuilder::new("usync");
    for name in ["sid", "index", "last", "mode", "context"] {
        reply = reply.attr(name, attr(asked, name).unwrap_or_default());
    }
    let reply = reply.children([
        NodeBuilder::new("result").children(echo).build(),
        NodeBuilder::new("list").children(users).build(),
    ]);
    iq_result(node, vec![reply.build()])
}

fn usync_user(world: &World, user: &Node, parts: &[String]) -> Option<Node> {
    let number = || {
        let contact = user.get_optional_child("contact")?;
        let digits: String = String::from_utf8_lossy(&bytes_of(contact))
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        Some(number_jid(world.people.actual(&digits)))
    };
    let jid = jid_attr(user, "jid").or_else(number)?;
    let known = world.resolve(&jid.to_non_ad());
    let mut answers = Vec::new();
    for part in parts {
        match (part.as_str(), known) {
            ("devices", Some(device)) => answers.push(devices_node(world, device.account)),
            ("lid", Some(device)) if !world.people.hide_numbers => {
                let lid = world.jid(Device { device: 0, ..device }, Naming::Lid);
                answers.push(NodeBuilder::new("lid").attr("val", lid).build());
            }
            ("contact", known) => {
                let there = known.is_some() && !world.people.is_gone(&jid.user);
                answers.push(world.people.contact(user, there));
            }
            // Nobody here is a business, and nobody has a status or a picture.
            _ => {}
        }
    }
    Some(NodeBuilder::new("user").attr("jid", jid).children(answers).build())
}

fn devices_node(world: &World, account: usize) -> Node {
    let devices: Vec<u16> = world.devices_of(account).iter().map(|d| d.device).collect();
    let list = devices.iter().map(|device| {
        let node = NodeBuilder::new("device").attr("id", u32::from(*device));
        if *device == 0 {
            node.build()
        } else {
            node.attr("key-index", adv::key_index(*device)).build()
        }
    });
    let hash = format!("2:lab{}", devices.len());
    let owner = &world.accounts[account];
    let companions: Vec<u16> = devices.iter().copied().filter(|d| *d != 0).collect();
    let signed = adv::key_index_list(&owner.phone.signal.identity_pair(), owner.raw_id, &companions);
    NodeBuilder::new("devices")
        .children([
            NodeBuilder::new("device-list")
                .attr("hash", hash)
                .children(list)
                .build(),
            NodeBuilder::new("key-index-list")
                .attr("ts", now_s())
                .bytes(signed)
                .build(),
        ])
        .build()
}

/// The companion is no device of its account any more.
pub fn unlink(world: &mut World, device: Device) {
    if let Some(companion) = world.companion(device) {
        companion.linked = false;
        companion.pending.clear();
    }
    phone::devices_changed(world, device.account, device.device);
}
