//! A body that is longer than is held in memory, on its way into a file.

use std::sync::Arc;

use smol::lock::{Semaphore, SemaphoreGuardArc};

use crate::blobs::{BlobError, Blobs, Draft};
use crate::gateway::mail_files::MailFiles;

/// What is collected before it is written, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What a form in parts has around its files.
const AROUND_BYTES: u64 = 64 * 1024;

/// Takes the bytes of one body beyond what is held. Whatever goes wrong with it costs the file, and not the request.
#[derive(Default)]
pub(super) struct BodyFile {
    to: Option<(Blobs, Arc<Semaphore>)>,
    draft: Option<Draft>,
    place: Option<SemaphoreGuardArc>,
    piece: Vec<u8>,
    why_not: Option<String>,
    /// It is a mail: this takes all of it, in place of a file.
    mail: Option<MailFiles>,
    /// What is held was given to that as well.
    has_begun: bool,
}

impl std::fmt::Debug for BodyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyFile({:?})", self.draft)
    }
}

impl BodyFile {
    /// One that keeps what comes, if there is a place among `places` when it does.
    pub fn new(blobs: Blobs, places: Arc<Semaphore>) -> Self {
        Self {
            to: Some((blobs, places)),
            ..Self::default()
        }
    }

    /// The body is a mail.
    pub fn of_mail(mail: MailFiles) -> Self {
        Self {
            mail: Some(mail),
            ..Self::default()
        }
    }

    /// More has come. Before the first of it are those that are held, `held` and then `last`.
    pub fn push(&mut self, held: &[u8], last: &[u8], more: &[u8]) {
        if let Some(mail) = &mut self.mail {
            if !std::mem::replace(&mut self.has_begun, true) {
                mail.push(held);
                mail.push(last);
            }
            return mail.push(more);
        }
        let Some((_, places)) = &self.to else { return };
        if self.why_not.is_some() {
            return;
        }
        if self.place.is_none() {
            self.place = places.try_acquire_arc();
            if self.place.is_none() {
                self.why_not = Some("too many files come at once".to_owned());
                return;
            }
            self.piece.extend_from_slice(held);
            self.piece.extend_from_slice(last);
        }
        self.piece.extend_from_slice(more);
    }

    /// Writes what has been collected once it is enough.
    pub async fn write_some(&mut self) {
        if let Some(mail) = &mut self.mail {
            return mail.write_some().await;
        }
        if self.piece.len() >= PIECE_BYTES {
            self.write_all().await;
        }
    }

    pub async fn write_all(&mut self) {
        let Some((blobs, _)) = &self.to else { return };
        if self.piece.is_empty() || self.why_not.is_some() {
            return;
        }
        let (blobs, draft, mut piece) = (blobs.clone(), self.draft.take(), std::mem::take(&mut self.piece));
        let written = smol::unblock(move || {
            let mut draft = match draft {
                Some(draft) => draft,
                None => blobs.draft_around(AROUND_BYTES)?,
            };
            draft.write(&piece)?;
            piece.clear();
            Ok::<_, BlobError>((draft, piece))
        });
        match written.await {
            Ok((draft, piece)) => {
                self.draft = Some(draft);
                self.piece = piece;
            }
            Err(error) => {
                self.why_not = Some(error.to_string());
                self.place = None;
            }
        }
    }

    /// All of the body, or why it is not there. `None`: it was short, or nobody wanted it.
    pub fn take(&mut self) -> Option<Result<Draft, String>> {
        match (self.draft.take(), self.why_not.take()) {
            (Some(draft), _) => Some(Ok(draft)),
            (None, Some(why)) => Some(Err(why)),
            (None, None) => None,
        }
    }

    /// The mail, all of which has come; `held` is what there is of it in memory.
    pub fn take_mail(&mut self, held: &[u8]) -> Option<MailFiles> {
        let mut mail = self.mail.take()?;
        if !self.has_begun {
            mail.push(held);
        }
        Some(mail)
    }

    /// The whole body, if it is there.
    pub fn draft(&mut self) -> Option<&mut Draft> {
        self.draft.as_mut()
    }

    pub fn put_back(&mut self, draft: Draft) {
        self.draft = Some(draft);
    }
}
