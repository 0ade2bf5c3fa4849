//! A mail on its way in: its texts in memory, its files written beside it as they come.

use std::sync::Arc;

use smol::lock::Semaphore;

use crate::blobs::{Blobs, Draft};
use crate::dialect::mail::{FilePiece, Reducer};
use crate::gateway::files::{Beside, Files};

/// What is collected before it is written, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Takes a mail piece by piece. Whatever goes wrong with a file costs the file, and not the mail.
pub(super) struct MailFiles {
    reducer: Reducer,
    to: Option<(Blobs, Arc<Semaphore>)>,
    beside: Beside,
}

impl MailFiles {
    /// Without `files` those of the mail are left out.
    pub fn new(files: Option<&Files>) -> Self {
        Self {
            reducer: match files {
                Some(_) => Reducer::with_files(),
                None => Reducer::default(),
            },
            to: files.map(|files| (files.blobs.clone(), Arc::clone(&files.bodies))),
            beside: Beside::default(),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reducer.push(bytes);
    }

    /// Writes what has come of files once it is enough.
    pub async fn write_some(&mut self) {
        if self.reducer.waiting_bytes() >= PIECE_BYTES {
            let pieces = self.reducer.take_pieces();
            self.write(pieces).await;
        }
    }

    /// The mail without its files, and these, once all of it was pushed.
    pub async fn finish(mut self) -> (Vec<u8>, Beside) {
        let (mail, last) = std::mem::take(&mut self.reducer).finish_with_files();
        self.write(last).await;
        (mail, self.beside)
    }

    async fn write(&mut self, pieces: Vec<FilePiece>) {
        let Some((blobs, places)) = &self.to else { return };
        if pieces.is_empty() {
            return;
        }
        let Beside { files, place } = &mut self.beside;
        if place.is_none() {
            *place = places.try_acquire_arc();
        }
        let (blobs, has_place, mut known) = (blobs.clone(), place.is_some(), std::mem::take(files));
        *files = smol::unblock(move || {
            for piece in pieces {
                add(&blobs, has_place, &mut known, piece);
            }
            known
        })
        .await;
    }
}

fn add(blobs: &Blobs, has_place: bool, files: &mut Vec<Option<Result<Draft, String>>>, piece: FilePiece) {
    if files.len() <= piece.file {
        files.resize_with(piece.file + 1, || None);
    }
    let known = files[piece.file].take();
    let draft = known.unwrap_or_else(|| match has_place {
        true => blobs.draft().map_err(|error| error.to_string()),
        false => Err("too many files come at once".to_owned()),
    });
    let written = draft.and_then(|mut draft| match draft.write(&piece.bytes) {
        Ok(()) => Ok(draft),
        Err(error) => Err(error.to_string()),
    });
    files[piece.file] = Some(written);
}
