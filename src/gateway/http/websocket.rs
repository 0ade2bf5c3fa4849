//! The way from an HTTP request to a WebSocket (RFC 6455).

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::answer::{Answer, Body, Problem};
use super::head::{Head, Value};
use super::slot::Slot;
use crate::gateway::socket::Socket;

/// What a subscriber may say in one message: it has little to say.
pub(super) const MESSAGE_MAX_BYTES: usize = 4 * 1024;
/// The longest text in JSON of one event on its way out.
const WRITE_MAX_BYTES: usize = 1024 * 1024;

/// What the key of a handshake is answered with.
///
/// # Errors
/// It is none that we can answer. `instead` says what needs no WebSocket.
pub(super) fn accept(head: &Head, instead: &str) -> Result<String, Problem> {
    if !is_wanted(head) || !has(head, "connection", "upgrade") || head.old {
        return Err(Problem::new(426, format!("a WebSocket is expected here: {instead}")));
    }
    if !has(head, "sec-websocket-version", "13") {
        return Err(Problem::new(426, "the version of the WebSocket is to be 13").at("Sec-WebSocket-Version"));
    }
    let key = match head.value("sec-websocket-key") {
        Value::Text(key) => key.trim(),
        Value::Absent | Value::Unreadable => "",
    };
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(derive_accept_key(key.as_bytes())),
        Ok(_) | Err(_) => Err(Problem::new(400, "the key is to be 16 bytes in base64").at("Sec-WebSocket-Key")),
    }
}

/// Whether a WebSocket is asked for.
pub(super) fn is_wanted(head: &Head) -> bool {
    has(head, "upgrade", "websocket")
}

/// Whether the client offers to speak this subprotocol.
pub(super) fn speaks(head: &Head, protocol: &str) -> bool {
    has(head, "sec-websocket-protocol", protocol)
}

/// Whether the header `name` lists `wanted`.
fn has(head: &Head, name: &str, wanted: &str) -> bool {
    match head.value(name) {
        Value::Text(text) => text.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted)),
        Value::Absent | Value::Unreadable => false,
    }
}

/// The answer to a handshake: `talk` goes on with the socket, which has the place `slot`.
pub(super) fn answer<F: Future<Output = ()> + Send + 'static>(
    accept: String,
    slot: Slot,
    talk: impl FnOnce(WebSocketStream<Socket>) -> F + Send + 'static,
) -> Answer {
    let body = Body::upgrade(move |socket, ahead| async move {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_MAX_BYTES))
            .max_frame_size(Some(MESSAGE_MAX_BYTES))
            .read_buffer_size(MESSAGE_MAX_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_MAX_BYTES);
        talk(WebSocketStream::from_partially_read(socket, ahead, Role::Server, Some(config)).await).await;
    });
    let mut answer = Answer::new(101, "", body);
    answer.headers = vec![
        ("Upgrade", "websocket".into()),
        ("Connection", "Upgrade".into()),
        ("Sec-WebSocket-Accept", accept),
    ];
    answer.subscriber = Some(slot);
    answer
}
