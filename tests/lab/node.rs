//! Small helpers: reading and building stanzas, time, random bytes.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::RngExt as _;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, NodeContent, Server};
use wacore_libsignal::protocol::PublicKey;

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The raw 32 bytes of a Curve25519 public key.
pub fn public32(key: &PublicKey) -> [u8; 32] {
    key.public_key_bytes()
        .try_into()
        .expect("a Curve25519 key has 32 bytes")
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// A message id as an Android phone makes them: 32 hexadecimal digits.
pub fn message_id() -> String {
    random::<16>().iter().map(|b| format!("{b:02X}")).collect()
}

/// The server itself. As a `from` it must be a JID on the wire, not a string token: whatsmeow ignores it otherwise.
pub fn server_jid() -> Jid {
    Jid::new("", Server::Pn)
}

pub fn attr(node: &Node, name: &str) -> Option<String> {
    node.attrs.get(name).map(|v| v.as_str().into_owned())
}

pub fn jid_attr(node: &Node, name: &str) -> Option<Jid> {
    node.attrs.get(name).and_then(|v| v.to_jid())
}

/// The content of `node` as bytes; text counts as its UTF-8.
pub fn bytes_of(node: &Node) -> Vec<u8> {
    match &node.content {
        Some(NodeContent::Bytes(bytes)) => bytes.clone(),
        Some(NodeContent::String(text)) => text.as_bytes().to_vec(),
        Some(NodeContent::Nodes(_)) | None => Vec::new(),
    }
}

/// The bytes of the child `tag`, if there is one.
pub fn child_bytes(node: &Node, tag: &str) -> Option<Vec<u8>> {
    node.get_optional_child(tag).map(bytes_of)
}

pub fn children(node: &Node) -> &[Node] {
    node.children().unwrap_or_default()
}

/// `<iq type=result>` to the query `asked`.
pub fn iq_result(asked: &Node, content: Vec<Node>) -> Node {
    let from = jid_attr(asked, "to").unwrap_or_else(server_jid);
    let reply = NodeBuilder::new("iq")
        .attr("from", from)
        .attr("type", "result")
        .attr("id", attr(asked, "id").unwrap_or_default());
    if content.is_empty() {
        reply.build()
    } else {
        reply.children(content).build()
    }
}

/// `<iq type=error>` to the query `asked`.
pub fn iq_error(asked: &Node, code: u16, text: &str) -> Node {
    let error = NodeBuilder::new("error")
        .attr("code", u32::from(code))
        .attr("text", text)
        .build();
    NodeBuilder::new("iq")
        .attr("from", jid_attr(asked, "to").unwrap_or_else(server_jid))
        .attr("type", "error")
        .attr("id", attr(asked, "id").unwrap_or_default())
        .children([error])
        .build()
}

/// `<ib from=server><child/></ib>`.
pub fn ib(child: Node) -> Node {
    NodeBuilder::new("ib")
        .attr("from", server_jid())
        .children([child])
        .build()
}

/// A leaf with bytes in it.
pub fn leaf(tag: &'static str, bytes: impl Into<Vec<u8>>) -> Node {
    NodeBuilder::new(tag).bytes(bytes).build()
}

/// A prekey id: 3 bytes, big endian.
pub fn id3(id: u32) -> Vec<u8> {
    id.to_be_bytes()[1..].to_vec()
}

pub fn number_from(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| (n << 8) | u32::from(*b))
}
