//! `tautline chats`: groups and contacts, to find what goes into a route's `to`.

use clap::Args;

use crate::gateway::api::Chat;
use crate::gateway::query;

use super::client::Client;
use super::output::{plain, print, print_json, say, table};
use super::{Failure, Global};

/// Asking WhatsApp for every group's name takes its time.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(90);
const NAME_CHARS_MAX: usize = 60;
const NOTE_CHARS_MAX: usize = 80;

#[derive(Debug, Args)]
pub(super) struct ChatsArgs {
    /// Only this session's.
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
}

pub(super) fn execute(global: &Global, args: &ChatsArgs) -> Result<(), Failure> {
    let target = match &args.session {
        Some(session) => format!("/v1/chats?{}", query::encode(&[("session", session)])),
        None => "/v1/chats".into(),
    };
    let chats: Vec<Chat> = smol::block_on(async {
        let client = Client::find(global).await?;
        client.call("GET", &target, Vec::new(), DEADLINE).await
    })?;
    if global.json {
        return print_json(&chats);
    }
    if chats.is_empty() {
        say(format_args!("no groups or contacts are known yet"));
        return Ok(());
    }
    let rows: Vec<_> = chats
        .iter()
        .map(|chat| {
            vec![
                plain(&chat.to, 80),
                chat.kind.clone(),
                chat.session.clone(),
                plain(&chat.name, NAME_CHARS_MAX),
                note(chat),
            ]
        })
        .collect();
    print(table(&["TO", "KIND", "SESSION", "NAME", "NOTE"], &rows))
}

/// What is to be known of a chat beside its name.
fn note(chat: &Chat) -> String {
    let lid = chat.lid.as_ref().filter(|lid| **lid != chat.to);
    let also = lid.map(|lid| format!("also {lid}"));
    let words: Vec<String> = [also, Some(chat.note.clone()).filter(|note| !note.is_empty())]
        .into_iter()
        .flatten()
        .collect();
    plain(&words.join("; "), NOTE_CHARS_MAX)
}
