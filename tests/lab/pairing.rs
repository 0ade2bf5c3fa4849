//! Pairing, by QR code and by pair code. The lab plays two roles here: the server and the phone.
//!
//! Both ways end alike: `pair-success` with an identity signed by the phone, `pair-device-sign` from the companion, and
//! a stream error 515 that makes it log in as what it now is.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wacore::pair::PairUtils;
use wacore::pair_code::PairCodeUtils;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, Server};
use wacore_libsignal::crypto::aes_256_gcm_decrypt;
use wacore_libsignal::protocol::{KeyPair, PublicKey};
use waproto::whatsapp as wa;

use super::node::{attr, child_bytes, iq_result, leaf, now_s, number_from, public32, random, server_jid};
use super::signal::Bundle;
use super::world::{Companion, Device, LineState, Naming, Out, Shared, World};
use super::{adv, phone};

/// How long the phone waits for its new companion to do its part.
const COMPANION_TIMEOUT: Duration = Duration::from_secs(20);
/// Refs in one `pair-device`.
const REFS: usize = 6;

/// An unpaired client on a line, and what its ClientPayload said.
pub struct Registration {
    noise_public: [u8; 32],
    keys: Bundle,
    /// The phone has answered; `pair-device-sign` is due.
    awaited: Option<Awaited>,
    /// What became of it.
    outcome: Option<Result<Device, String>>,
}

struct Awaited {
    stanza: String,
    account: usize,
    device: u16,
    identity: wa::ADVSignedDeviceIdentity,
}

/// A pair code on offer.
pub struct CodePairing {
    line: u64,
    reference: Vec<u8>,
    wrapped_ephemeral: Vec<u8>,
    /// What the companion answered: the wrapped key bundle and its identity.
    finish: Option<(Node, Vec<u8>)>,
}

/// Reads the registration part of a ClientPayload; None when a key in it is missing or misshapen.
pub fn registration(noise_public: [u8; 32], payload: &wa::ClientPayload) -> Option<Registration> {
    let data = payload.device_pairing_data.as_option()?;
    let keys = Bundle {
        registration: number_from(data.e_regid.as_deref()?),
        identity: data.e_ident.as_deref()?.try_into().ok()?,
        signed_id: number_from(data.e_skey_id.as_deref()?),
        signed_public: data.e_skey_val.as_deref()?.try_into().ok()?,
        signature: data.e_skey_sig.clone()?,
        one_time: None,
        device_identity: None,
    };
    Some(Registration {
        noise_public,
        keys,
        awaited: None,
        outcome: None,
    })
}

/// Offers six refs to an unpaired client.
pub fn offer(world: &mut World, line: u64) {
    let refs: Vec<String> = (0..REFS)
        .map(|_| format!("2@{}", BASE64_STANDARD.encode(random::<60>())))
        .collect();
    let children = refs.iter().map(|r| NodeBuilder::new("ref").bytes(r.as_bytes()).build());
    let node = NodeBuilder::new("iq")
        .attr("from", server_jid())
        .attr("type", "set")
        .attr("id", world.stanza_id())
        .attr("xmlns", "md")
        .children([NodeBuilder::new("pair-device").children(children).build()])
        .build();
    world.refs.extend(refs.into_iter().map(|r| (r, line)));
    world.send(line, node);
}

/// The phone scans a QR code. Returns the new companion's device number.
///
/// # Errors
/// The payload is no QR code of a client on this lab, or the companion did not finish the pairing.
pub fn scan(shared: &Shared, account: usize, qr: &str) -> Result<u16, String> {
    let (reference, noise, identity) = PairUtils::parse_qr_code(qr.trim()).map_err(|e| e.to_string())?;
    let secret = qr
        .trim()
        .split(',')
        .nth(3)
        .and_then(|field| BASE64_STANDARD.decode(field).ok());
    let secret = secret.ok_or("the QR code has no ADV secret")?;
    let line = {
        let mut world = shared.lock();
        let line = *world
            .refs
            .get(&reference)
            .ok_or("nobody on this lab shows that QR code")?;
        vouch(&mut world, line, account, &secret, &identity, Some(&noise))?;
        line
    };
    paired(shared, line)
}

/// The phone types a pair code. Returns the new companion's device number.
///
/// # Errors
/// No client asked for a code for this number, the code is wrong, or the companion did not finish the pairing.
pub fn enter_code(shared: &Shared, account: usize, code: &str) -> Result<u16, String> {
    let code: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_uppercase();
    let number = shared.lock().accounts[account].number.clone();
    let (line, reference, wrapped) = shared
        .wait(COMPANION_TIMEOUT, |w| {
            w.codes
                .get(&number)
                .map(|c| (c.line, c.reference.clone(), c.wrapped_ephemeral.clone()))
        })
        .ok_or("no client has asked for a pair code for this number")?;
    let companion_ephemeral =
        PairCodeUtils::decrypt_primary_ephemeral_pub(&wrapped, &code).map_err(|e| e.to_string())?;
    let ephemeral = KeyPair::generate(&mut rand::rng());
    let offer = PairCodeUtils::encrypt_ephemeral_pub(&public32(&ephemeral.public_key), &code);
    {
        let mut world = shared.lock();
        let identity = world.accounts[account].phone.signal.identity_public();
        let node = NodeBuilder::new("notification")
            .attr("from", server_jid())
            .attr("type", "link_code_companion_reg")
            .attr("id", world.stanza_id())
            .attr("t", now_s())
            .children([NodeBuilder::new("link_code_companion_reg")
                .attr("stage", "primary_hello")
                .children([
                    leaf("link_code_pairing_wrapped_primary_ephemeral_pub", offer.to_vec()),
                    leaf("primary_identity_pub", identity),
                    leaf("link_code_pairing_ref", reference),
                ])
                .build()])
            .build();
        world.send(line, node);
    }
    let (wrapped_bundle, companion_identity) = shared
        .wait(COMPANION_TIMEOUT, |w| {
            w.codes.get_mut(&number).and_then(|c| c.finish.take())
        })
        .and_then(|(node, identity)| Some((child_bytes(&node, "link_code_pairing_wrapped_key_bundle")?, identity)))
        .ok_or("the companion did not answer the pair code")?;
    let own = shared.lock().accounts[account].phone.signal.identity_pair();
    let secret = open_key_bundle(
        &own,
        &ephemeral,
        &companion_ephemeral,
        &companion_identity,
        &wrapped_bundle,
    )?;
    let companion_identity = companion_identity
        .try_into()
        .map_err(|_| "the companion's identity is not 32 bytes")?;
    {
        let mut world = shared.lock();
        world.codes.remove(&number);
        vouch(&mut world, line, account, &secret, &companion_identity, None)?;
    }
    paired(shared, line)
}

/// Opens the companion's key bundle and derives the ADV secret that both sides now share.
fn open_key_bundle(
    own: &KeyPair,
    ephemeral: &KeyPair,
    companion_ephemeral: &[u8; 32],
    companion_identity: &[u8],
    wrapped: &[u8],
) -> Result<[u8; 32], String> {
    let agree = |pair: &KeyPair, theirs: &[u8]| {
        let theirs = PublicKey::from_djb_public_key_bytes(theirs).map_err(|e| e.to_string())?;
        pair.calculate_agreement(&theirs).map_err(|e| e.to_string())
    };
    let (salt, rest) = wrapped.split_at_checked(32).ok_or("the key bundle is too short")?;
    let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or("the key bundle is too short")?;
    let shared_ephemeral = agree(ephemeral, companion_ephemeral)?;
    let key = hkdf(
        &shared_ephemeral,
        Some(salt),
        b"link_code_pairing_key_bundle_encryption_key",
    )?;
    let mut bundle = Vec::new();
    aes_256_gcm_decrypt(&key, nonce, b"", sealed, &mut bundle).map_err(|_| "the pair code is wrong")?;
    if bundle.len() != 96 || bundle[..32] != *companion_identity || bundle[32..64] != public32(&own.public_key) {
        return Err("the key bundle names other identities".into());
    }
    let shared_identity = agree(own, companion_identity)?;
    hkdf(
        &[&shared_ephemeral[..], &shared_identity, &bundle[64..]].concat(),
        None,
        b"adv_secret",
    )
}

fn hkdf(secret: &[u8], salt: Option<&[u8]>, info: &[u8]) -> Result<[u8; 32], String> {
    let mut out = [0; 32];
    wacore::crypto::hkdf_sha256_into(secret, salt, info, &mut out).map_err(|e| format!("hkdf: {e:?}"))?;
    Ok(out)
}

/// The phone signs for the client on `line`, and the server sends it `pair-success`.
fn vouch(
    world: &mut World,
    line: u64,
    account: usize,
    secret: &[u8],
    identity: &[u8; 32],
    noise: Option<&[u8; 32]>,
) -> Result<(), String> {
    let stanza = world.stanza_id();
    let owner = world.accounts.get_mut(account).ok_or("no such account")?;
    let device = owner.next_device;
    owner.next_device += 1;
    let signed = adv::sign_identity(&owner.phone.signal.identity_pair(), owner.raw_id, device, identity);
    let sealed = adv::seal(&signed, secret);
    let entry = world.lines.get_mut(&line).ok_or("that client has gone")?;
    let LineState::Registering(registration) = &mut entry.state else {
        return Err("that client is paired already".into());
    };
    if registration.keys.identity != *identity || noise.is_some_and(|noise| registration.noise_public != *noise) {
        return Err("the keys shown are not those of the client on that line".into());
    }
    registration.awaited = Some(Awaited {
        stanza: stanza.clone(),
        account,
        device,
        identity: signed,
    });
    let whose = Device { account, device };
    let node = NodeBuilder::new("iq")
        .attr("from", server_jid())
        .attr("type", "set")
        .attr("id", stanza)
        .attr("t", now_s())
        .children([NodeBuilder::new("pair-success")
            .children([
                leaf("device-identity", sealed),
                NodeBuilder::new("platform").attr("name", "android").build(),
                NodeBuilder::new("device")
                    .attr("jid", world.jid(whose, Naming::Pn))
                    .attr("lid", world.jid(whose, Naming::Lid))
                    .build(),
            ])
            .build()])
        .build();
    world.send(line, node);
    Ok(())
}

/// Waits for `pair-device-sign`.
fn paired(shared: &Shared, line: u64) -> Result<u16, String> {
    let outcome = shared.wait(COMPANION_TIMEOUT, |w| {
        match w.lines.get_mut(&line).map(|l| &mut l.state) {
            Some(LineState::Registering(registration)) => registration.outcome.take(),
            Some(_) => Some(Err("that client is paired already".into())),
            None => Some(Err("that client has gone".into())),
        }
    });
    let device = outcome.unwrap_or_else(|| Err("the companion did not sign".into()))?;
    // The line is done only now: ending it earlier would take the outcome with it.
    let mut world = shared.lock();
    world.send(line, NodeBuilder::new("stream:error").attr("code", "515").build());
    world.push(line, Out::Close(1000));
    Ok(device.device)
}

/// An `iq` from an unpaired client: our own iqs' results, and the two stages of the pair code.
pub fn on_iq(world: &mut World, line: u64, node: &Node) {
    if attr(node, "type").as_deref() == Some("result") {
        if let Some(sign) = node.get_optional_child("pair-device-sign") {
            on_sign(world, line, node, sign);
        }
        return;
    }
    if let Some(reg) = node.get_optional_child("link_code_companion_reg") {
        on_link_code(world, line, node, reg);
    } else {
        // Unpaired clients ask for next to nothing; a keepalive gets its answer, the rest an empty one.
        world.send(line, iq_result(node, vec![]));
    }
}

fn on_sign(world: &mut World, line: u64, node: &Node, sign: &Node) {
    let Some(entry) = world.lines.get_mut(&line) else {
        return;
    };
    let LineState::Registering(registration) = &mut entry.state else {
        return;
    };
    let Some(awaited) = registration
        .awaited
        .take_if(|a| Some(&a.stanza) == attr(node, "id").as_ref())
    else {
        return;
    };
    let theirs = child_bytes(sign, "device-identity").unwrap_or_default();
    let complete = match adv::countersigned(&awaited.identity, &theirs, &registration.keys.identity) {
        Ok(complete) => complete,
        Err(error) => {
            registration.outcome = Some(Err(error));
            return;
        }
    };
    let companion = Companion {
        noise_public: registration.noise_public,
        keys: Bundle {
            device_identity: Some(complete),
            ..registration.keys.clone()
        },
        one_time: std::collections::VecDeque::new(),
        linked: true,
        greeted: false,
        pending: std::collections::VecDeque::new(),
    };
    registration.outcome = Some(Ok(Device {
        account: awaited.account,
        device: awaited.device,
    }));
    world.accounts[awaited.account]
        .companions
        .insert(awaited.device, companion);
    world.refs.retain(|_, l| *l != line);
    phone::devices_changed(world, awaited.account, awaited.device);
}

fn on_link_code(world: &mut World, line: u64, node: &Node, reg: &Node) {
    let number = super::node::jid_attr(reg, "jid")
        .map(|jid: Jid| jid.user.to_string())
        .unwrap_or_default();
    match attr(reg, "stage").as_deref() {
        Some("companion_hello") => {
            let reference = format!("2@{}", BASE64_STANDARD.encode(random::<24>())).into_bytes();
            let reply = NodeBuilder::new("link_code_companion_reg")
                .attr("stage", "companion_hello")
                .children([leaf("link_code_pairing_ref", reference.clone())])
                .build();
            world.send(line, iq_result(node, vec![reply]));
            let wrapped_ephemeral =
                child_bytes(reg, "link_code_pairing_wrapped_companion_ephemeral_pub").unwrap_or_default();
            world.codes.insert(
                number,
                CodePairing {
                    line,
                    reference,
                    wrapped_ephemeral,
                    finish: None,
                },
            );
        }
        Some("companion_finish") => {
            let identity = child_bytes(reg, "companion_identity_public").unwrap_or_default();
            if let Some(code) = world.codes.get_mut(&number) {
                code.finish = Some((reg.clone(), identity));
            }
            world.send(line, iq_result(node, vec![]));
        }
        _ => world.send(line, super::node::iq_error(node, 400, "bad-request")),
    }
}

/// The address `number@s.whatsapp.net`.
pub fn number_jid(number: &str) -> Jid {
    Jid::new(number, Server::Pn)
}
