//! A copy of the state: `GET /v1/backup`.

use std::fs::File;
use std::io::{Read, Result as IoResult};
use std::time::Duration;

use futures_lite::io::AssertAsync;
use smol::lock::MutexGuardArc;

use super::answer::{Answer, Body, Problem};
use super::call::{Call, Outcome};
use crate::util::within;

/// How long a backup waits for the one before it. Less than the command line waits for an answer.
const BACKUP_TURN: Duration = Duration::from_secs(20);

/// A backup, in memory until it has gone out.
struct Outgoing {
    file: File,
    _turn: MutexGuardArc<()>,
}

impl Read for Outgoing {
    fn read(&mut self, out: &mut [u8]) -> IoResult<usize> {
        self.file.read(out)
    }
}

/// `GET /v1/backup`.
pub(super) async fn backup(call: Call<'_, '_>) -> Outcome {
    let context = call.context;
    // One at a time: whoever reads slowly holds up the next one, and no more memory.
    let turn = within(BACKUP_TURN, context.backups.lock_arc()).await;
    let turn = turn.ok_or_else(|| Problem::new(503, "another backup is on its way out; try again when it is there"))?;
    let (file, bytes) = context.relay.backup().await?;
    // Reading it waits for no disk.
    let file = AssertAsync::new(Outgoing { file, _turn: turn });
    let body = Body::stream(file, Some(bytes));
    Ok(Answer::new(200, "application/octet-stream", body))
}
