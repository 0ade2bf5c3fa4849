//! What is sent to keep a line alive: the supervisor's questions, and acks that the library forgets. Each is sent by a
//! task of its own: a write that blocks must hold nobody up, and silence is the supervisor's to judge.

use std::sync::Arc;

use wacore::iq::keepalive::KeepaliveSpec;
use wacore_binary::OwnedNodeRef;
use wacore_binary::builder::NodeBuilder;

use super::client::LiveClient;
use super::parts::ClientParts;
use crate::line::Question;

/// Sends `question` to the server.
pub(super) fn send(client: &LiveClient, parts: &ClientParts, question: Question) {
    match question {
        Question::ApplicationPing => ping(client, parts),
        Question::WebSocketPing => client.ping_websocket(&parts.executor),
        Question::ContentProbe => probe(client, parts),
        Question::Presence => announce_unavailable(client, parts),
    }
}

/// Its answer is seen as a stanza like any other.
fn ping(client: &LiveClient, parts: &ClientParts) {
    let (client, deadline) = (Arc::clone(&client.client), parts.schedule.application.pong);
    let asking = async move {
        let _ = client.execute(KeepaliveSpec::with_timeout(deadline)).await;
    };
    parts.executor.spawn(asking).detach();
}

/// Asks for the account's properties: an answer that only a session that works can give.
fn probe(client: &LiveClient, parts: &ClientParts) {
    let client = Arc::clone(&client.client);
    let asking = async move {
        if let Err(error) = client.fetch_props().await {
            log::debug!("the content probe was not answered: {error}");
        }
    };
    parts.executor.spawn(asking).detach();
}

fn announce_unavailable(client: &LiveClient, parts: &ClientParts) {
    let node = NodeBuilder::new("presence")
        .attr("type", "unavailable")
        .attr("name", client.name())
        .build();
    let client = Arc::clone(&client.client);
    let announcing = async move {
        if let Err(error) = client.send_node(node).await {
            log::debug!("presence unavailable was not sent: {error}");
        }
    };
    parts.executor.spawn(announcing).detach();
}

/// Acks a stanza that nobody else does. Without it the server sends it again at every login and in the end gives up the
/// line.
pub(super) fn acknowledge(client: &LiveClient, parts: &ClientParts, stanza: Arc<OwnedNodeRef>) {
    let client = Arc::clone(&client.client);
    let acking = async move {
        if let Err(error) = client.acknowledge_stanza(stanza.get()).await {
            log::debug!("a stanza without content was not acked: {error}");
        }
    };
    parts.executor.spawn(acking).detach();
}
