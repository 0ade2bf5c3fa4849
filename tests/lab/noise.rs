//! The responder's side of Noise: XX for strangers, IK for those who know our static key, XXfallback when they know an
//! old one. Bytes in, bytes out; no socket here.

use wacore_binary::consts::{NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::{NoiseCipher, NoiseHandshake};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::{self as wa, cert_chain::noise_certificate, handshake_message::ServerHello};

use super::node::{now_s, public32};

/// A day, in seconds.
const DAY_S: u64 = 86_400;

/// The server's long-lived keys and the chain that vouches for the leaf.
///
/// The chain ends in a root of the lab's own, so a client with the real root compiled in refuses it: XX needs a client
/// built without the chain check, IK needs one that was told [`ServerKeys::public`] beforehand.
#[derive(Clone)]
pub struct ServerKeys {
    leaf: KeyPair,
    chain: Vec<u8>,
}

impl ServerKeys {
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        let (root, intermediate, leaf) = (
            KeyPair::generate(&mut rng),
            KeyPair::generate(&mut rng),
            KeyPair::generate(&mut rng),
        );
        let certificate = |serial, issuer_serial, subject: &KeyPair, issuer: &KeyPair| {
            let details = noise_certificate::Details {
                serial: Some(serial),
                issuer_serial: Some(issuer_serial),
                key: Some(public32(&subject.public_key).to_vec()),
                not_before: Some(now_s() - DAY_S),
                not_after: Some(now_s() + 365 * DAY_S),
            }
            .encode_to_vec();
            let signature = issuer
                .calculate_signature(&details, &mut rand::rng())
                .expect("a fresh key signs")
                .to_vec();
            MessageField::some(wa::cert_chain::NoiseCertificate {
                details: Some(details),
                signature: Some(signature),
            })
        };
        let chain = wa::CertChain {
            leaf: certificate(2, 1, &leaf, &intermediate),
            intermediate: certificate(1, 0, &intermediate, &root),
        }
        .encode_to_vec();
        Self { leaf, chain }
    }

    /// The leaf key: what IK calls the server's static key.
    pub fn public(&self) -> [u8; 32] {
        public32(&self.leaf.public_key)
    }
}

/// The two ciphers of a line, with their frame counters.
pub struct Transport {
    read: NoiseCipher,
    write: NoiseCipher,
    read_counter: u32,
    write_counter: u32,
}

impl Transport {
    /// Decrypts one frame's body.
    pub fn open(&mut self, body: &mut Vec<u8>) -> Result<(), String> {
        self.read
            .decrypt_in_place_with_counter(self.read_counter, body)
            .map_err(|e| e.to_string())?;
        self.read_counter += 1;
        Ok(())
    }

    /// Encrypts one frame's body.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let sealed = self
            .write
            .encrypt_with_counter(self.write_counter, plain)
            .map_err(|e| e.to_string())?;
        self.write_counter += 1;
        Ok(sealed)
    }
}

/// Who shook hands with us, and what it said about itself.
pub struct Shaken {
    pub transport: Transport,
    pub client_static: [u8; 32],
    pub payload: wa::ClientPayload,
    /// True when the client used IK and we accepted it.
    pub resumed: bool,
}

/// What follows our serverHello.
pub enum Next {
    /// XX and XXfallback: the clientFinish is due.
    Finish(Box<PendingFinish>),
    /// IK: nothing more is due.
    Done(Box<Shaken>),
}

/// The state between serverHello and clientFinish.
pub struct PendingFinish {
    noise: NoiseHandshake,
    ephemeral: KeyPair,
}

/// Answers a clientHello. Returns the serverHello's bytes and what comes next.
///
/// # Errors
/// The bytes are no clientHello, or a key in it has the wrong length.
pub fn answer_hello(keys: &ServerKeys, hello: &[u8]) -> Result<(Vec<u8>, Next), String> {
    let message = wa::HandshakeMessage::decode_from_slice(hello).map_err(|e| format!("not a handshake: {e}"))?;
    let hello = message.client_hello.into_option().ok_or("no clientHello")?;
    let client_ephemeral = key32(hello.ephemeral.as_deref())?;
    if let (Some(sealed_static), Some(sealed_payload)) = (hello.r#static, hello.payload) {
        if let Ok(done) = answer_ik(keys, &client_ephemeral, &sealed_static, &sealed_payload) {
            return Ok(done);
        }
        // The client sealed its hello for a key that is no longer ours.
        return answer_xx(keys, NOISE_PATTERN_XXFALLBACK, &client_ephemeral);
    }
    answer_xx(keys, NOISE_PATTERN_XX, &client_ephemeral)
}

fn answer_xx(keys: &ServerKeys, pattern: &str, client_ephemeral: &[u8; 32]) -> Result<(Vec<u8>, Next), String> {
    let text = |e: wacore_noise::HandshakeError| e.to_string();
    let mut noise = NoiseHandshake::new(pattern, &WA_CONN_HEADER).map_err(text)?;
    noise.authenticate(client_ephemeral);
    let ephemeral = KeyPair::generate(&mut rand::rng());
    noise.authenticate(&public32(&ephemeral.public_key));
    noise
        .mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)
        .map_err(text)?;
    let sealed_static = noise.encrypt(&keys.public()).map_err(text)?;
    noise
        .mix_shared_secret(keys.leaf.private_key.serialize(), client_ephemeral)
        .map_err(text)?;
    let payload = noise.encrypt(&keys.chain).map_err(text)?;
    let reply = server_hello(&ephemeral, Some(sealed_static), payload);
    Ok((reply, Next::Finish(Box::new(PendingFinish { noise, ephemeral }))))
}

fn answer_ik(
    keys: &ServerKeys,
    client_ephemeral: &[u8; 32],
    sealed_static: &[u8],
    sealed_payload: &[u8],
) -> Result<(Vec<u8>, Next), String> {
    let text = |e: wacore_noise::HandshakeError| e.to_string();
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER).map_err(text)?;
    noise.authenticate(&keys.public());
    noise.authenticate(client_ephemeral);
    noise
        .mix_shared_secret(keys.leaf.private_key.serialize(), client_ephemeral)
        .map_err(text)?;
    let client_static = key32(Some(&noise.decrypt(sealed_static).map_err(text)?))?;
    noise
        .mix_shared_secret(keys.leaf.private_key.serialize(), &client_static)
        .map_err(text)?;
    let payload = noise.decrypt(sealed_payload).map_err(text)?;
    let ephemeral = KeyPair::generate(&mut rand::rng());
    noise.authenticate(&public32(&ephemeral.public_key));
    noise
        .mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)
        .map_err(text)?;
    noise
        .mix_shared_secret(ephemeral.private_key.serialize(), &client_static)
        .map_err(text)?;
    let chain = noise.encrypt(&keys.chain).map_err(text)?;
    let reply = server_hello(&ephemeral, None, chain);
    Ok((
        reply,
        Next::Done(Box::new(shaken(noise, client_static, &payload, true)?)),
    ))
}

/// Reads the clientFinish that ends XX and XXfallback.
///
/// # Errors
/// The bytes are no clientFinish or do not decrypt.
pub fn finish(pending: PendingFinish, finish: &[u8]) -> Result<Shaken, String> {
    let text = |e: wacore_noise::HandshakeError| e.to_string();
    let message = wa::HandshakeMessage::decode_from_slice(finish).map_err(|e| format!("not a handshake: {e}"))?;
    let finish = message.client_finish.into_option().ok_or("no clientFinish")?;
    let mut noise = pending.noise;
    let sealed_static = finish.r#static.ok_or("clientFinish without static")?;
    let client_static = key32(Some(&noise.decrypt(&sealed_static).map_err(text)?))?;
    noise
        .mix_shared_secret(pending.ephemeral.private_key.serialize(), &client_static)
        .map_err(text)?;
    let payload = noise
        .decrypt(&finish.payload.ok_or("clientFinish without payload")?)
        .map_err(text)?;
    shaken(noise, client_static, &payload, false)
}

fn shaken(noise: NoiseHandshake, client_static: [u8; 32], payload: &[u8], resumed: bool) -> Result<Shaken, String> {
    let payload = wa::ClientPayload::decode_from_slice(payload).map_err(|e| format!("not a payload: {e}"))?;
    // The initiator's view: what it writes is what we read.
    let (read, write) = noise.finish().map_err(|e| e.to_string())?;
    let transport = Transport {
        read,
        write,
        read_counter: 0,
        write_counter: 0,
    };
    Ok(Shaken {
        transport,
        client_static,
        payload,
        resumed,
    })
}

fn server_hello(ephemeral: &KeyPair, sealed_static: Option<Vec<u8>>, payload: Vec<u8>) -> Vec<u8> {
    wa::HandshakeMessage {
        server_hello: MessageField::some(ServerHello {
            ephemeral: Some(public32(&ephemeral.public_key).to_vec()),
            r#static: sealed_static,
            payload: Some(payload),
            ..Default::default()
        }),
        ..Default::default()
    }
    .encode_to_vec()
}

fn key32(bytes: Option<&[u8]>) -> Result<[u8; 32], String> {
    bytes
        .and_then(|b| b.try_into().ok())
        .ok_or_else(|| "a key of 32 bytes was due".into())
}
