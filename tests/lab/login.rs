//! What follows the handshake: an offer to pair, `success`, or `failure`; and what a fresh login is given.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Server};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;

use super::faults::Failure;
use super::node::{ib, leaf, now_s, random};
use super::pairing;
use super::phone;
use super::router;
use super::world::{Device, LineState, Naming, Out, World};

/// Decides what a client that has shaken hands is.
pub fn enter(world: &mut World, line: u64, client_static: [u8; 32], payload: &wa::ClientPayload, resumed: bool) {
    if let Some(entry) = world.lines.get_mut(&line) {
        entry.resumed = resumed;
        entry.state = LineState::Refused;
    }
    if world.standing.silent_login {
        return;
    }
    if let Some(failure) = world.standing.failure.clone() {
        return refuse(world, line, &failure);
    }
    if payload.device_pairing_data.is_set() {
        match pairing::registration(client_static, payload) {
            Some(registration) => {
                if let Some(entry) = world.lines.get_mut(&line) {
                    entry.state = LineState::Registering(Box::new(registration));
                }
                pairing::offer(world, line);
            }
            None => refuse(world, line, &Failure::code(400)),
        }
        return;
    }
    match companion_of(world, &client_static, payload) {
        Some(device) => admit(world, line, device),
        None => refuse(world, line, &Failure::code(401)),
    }
}

fn companion_of(world: &mut World, client_static: &[u8; 32], payload: &wa::ClientPayload) -> Option<Device> {
    let number = Jid::new(payload.username?.to_string(), Server::Pn);
    let device = Device {
        device: u16::try_from(payload.device?).ok()?,
        ..world.resolve(&number)?
    };
    let companion = world.companion(device)?;
    (companion.linked && companion.noise_public == *client_static).then_some(device)
}

fn refuse(world: &mut World, line: u64, failure: &Failure) {
    let mut node = NodeBuilder::new("failure")
        .attr("reason", u32::from(failure.reason))
        .attr("location", "lab");
    if let Some(expire_s) = failure.expire_s {
        node = node
            .attr("code", u32::from(failure.code.unwrap_or(101)))
            .attr("expire", expire_s);
    }
    world.send(line, node.build());
    world.push(line, Out::Close(1000));
}

fn admit(world: &mut World, line: u64, device: Device) {
    // One line a device: an older one with the same credentials is told so and closed.
    if let Some(older) = world.line_of(device) {
        let conflict = NodeBuilder::new("conflict").attr("type", "replaced").build();
        world.send(older, NodeBuilder::new("stream:error").children([conflict]).build());
        world.push(older, Out::Close(1000));
        if let Some(entry) = world.lines.get_mut(&older) {
            entry.state = LineState::Refused;
        }
    }
    if let Some(entry) = world.lines.get_mut(&line) {
        entry.state = LineState::Open { device, active: false };
    }
    world.counters.logins += 1;
    let success = NodeBuilder::new("success")
        .attr("t", now_s())
        .attr("props", "27")
        .attr("companion_enc_static", "tHHoJQ7ff1MS7w56DaH2Im553lwgNx4bdRZFSgZrwJg=")
        .attr("lid", world.jid(device, Naming::Lid))
        .attr("creation", now_s())
        .attr("location", "lab")
        .build();
    world.send(line, success);
    let routing = NodeBuilder::new("edge_routing")
        .children([leaf("routing_info", [8, 2, 8, 12])])
        .build();
    world.send(line, ib(routing));
    if let Some(error) = world.standing.error_at_login.clone() {
        world.send(line, error);
    }
}

/// The client has left passive mode: it is given what it missed, and from now on what comes.
pub fn activate(world: &mut World, line: u64) {
    let Some(device) = world.device_on(line) else { return };
    let first = world
        .companion(device)
        .is_some_and(|c| !std::mem::replace(&mut c.greeted, true));
    if first || world.share_keys_always {
        greet(world, device);
    }
    if !world.standing.zombie {
        let missed = world.companion(device).map_or(0, |c| c.pending.len());
        if missed > 0 {
            let preview = NodeBuilder::new("offline_preview")
                .attr("count", missed as u64)
                .attr("message", missed as u64);
            let preview = preview
                .attr("appdata", 0u32)
                .attr("notification", 0u32)
                .attr("receipt", 0u32)
                .build();
            world.send(line, ib(preview));
        }
        router::pump(world, device, line, true);
        if !world.standing.no_offline {
            world.send(
                line,
                ib(NodeBuilder::new("offline").attr("count", missed as u64).build()),
            );
        }
    }
    if let Some(LineState::Open { active, .. }) = world.lines.get_mut(&line).map(|l| &mut l.state) {
        *active = true;
    }
}

/// The phone's first words to a new companion: the app state key. Without it whatsapp-rust waits ten seconds before it
/// calls itself connected. Deliberately absent: history, of which a new account has none.
fn greet(world: &mut World, device: Device) {
    use wa::message::{AppStateSyncKey, AppStateSyncKeyData, AppStateSyncKeyFingerprint, AppStateSyncKeyId};
    let raw_id = world.accounts[device.account].raw_id;
    let fingerprint = AppStateSyncKeyFingerprint {
        raw_id: Some(raw_id),
        current_index: Some(0),
        device_indexes: vec![0, u32::from(device.device)],
    };
    let key = AppStateSyncKey {
        key_id: MessageField::some(AppStateSyncKeyId {
            key_id: Some(vec![0, 0, 0, 0, 0, 1]),
        }),
        key_data: MessageField::some(AppStateSyncKeyData {
            key_data: Some(random::<32>().to_vec()),
            fingerprint: MessageField::some(fingerprint),
            timestamp: Some(now_s() as i64),
        }),
    };
    let share = wa::message::ProtocolMessage {
        r#type: Some(wa::message::protocol_message::Type::APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: MessageField::some(wa::message::AppStateSyncKeyShare { keys: vec![key] }),
        ..Default::default()
    };
    let message = wa::Message {
        protocol_message: MessageField::some(share),
        ..Default::default()
    };
    phone::send_peer(world, device, &message);
}

/// The phone has logged this companion out.
pub fn say_removed(world: &mut World, line: u64) {
    let conflict = NodeBuilder::new("conflict").attr("type", "device_removed").build();
    world.send(
        line,
        NodeBuilder::new("stream:error")
            .attr("code", "401")
            .children([conflict])
            .build(),
    );
    world.push(line, Out::Close(1000));
}
