//! Attachments on their way to WhatsApp's media servers, each uploaded once, however many messages need it.
//!
//! A message with an attachment is sent like any other once the upload is done. Until then the session answers that it
//! is [uploading](crate::outbox::SendFailure::Uploading), and says when that is over: so an upload holds nobody else
//! up, and what it does is no sign of a dead line. It goes on while the line is down; only the question where to upload
//! needs one.
//!
//! An upload that fails too often, or takes too long, costs the attachment and not its text, which goes out with the
//! reason.

mod source;
mod wire;

pub(super) use wire::addressed;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_io::Timer;
use event_listener::Event;
use futures_lite::future;
use smol::Executor;
use smol::lock::Semaphore;
use wacore::proto_helpers::MessageBuilderExt as _;
use waproto::whatsapp::Message;
use whatsapp_rust::upload::UploadResponse;
use whatsapp_rust::{Client, ErrorChainExt as _};

use super::handle::Notice;
use super::runtime::lab_minute;
use crate::alert::{Attachment, BlobHash, MediaKind, SessionName};
use crate::blobs::Blobs;
use crate::line::printable;
use crate::net::offload;
use crate::outbox::{self, Content, MessageId};
use crate::store::Store;
use crate::store::uploads::{self, Upload, UploadKey, Uploaded};
use crate::util::{lock, wall_ms};

/// What is no larger is uploaded beside what is: a snapshot does not wait for a recording of an hour.
const SMALL_BYTES_MAX: u64 = 2 << 20;

/// The unit of the deadlines below, which tests make shorter.
const MINUTE: Duration = Duration::from_secs(60);

/// How many minutes an attachment may hold up its text while there is a line; what is large has more, by
/// [`BYTES_PER_SECOND_MIN`].
const WAIT_MAX_MINUTES: u32 = 4;

/// The pauses between tries, as parts of a minute. Each try goes to every host that the server names.
const PAUSE_PARTS: [u32; 2] = [20, 4];

/// A line that is slower than this (1 Mbit/s) is too slow for large files.
const BYTES_PER_SECOND_MIN: u64 = 128 << 10;

/// For so many minutes after an upload was given up, others get one try and one minute: while nothing can be uploaded,
/// alerts shall not be late by several, one after the other.
const TROUBLE_MINUTES: u32 = 5;

/// Time with a line is told from time without one in so many parts of a minute.
const TICK_PARTS: u32 = 60;

/// Messages of which it is remembered that their attachment was given up, and uploads that are in memory beside the
/// disk.
const GIVEN_UP_MAX: usize = 1000;
const RECENT_MAX: usize = 16;

/// A thumbnail has a few KiB. It goes out in every message, for every device.
const THUMBNAIL_BYTES_MAX: usize = 32 << 10;

/// The longest reason that a phone shows.
const REASON_CHARS_MAX: usize = 160;

/// What a message is to be sent as.
pub(super) enum Prepared {
    Ready(Said),
    /// Its attachment has to be uploaded first.
    Uploading,
}

/// What is sent.
pub(super) enum Said {
    Text(String),
    Media(Box<Media>),
    /// On a message of ours.
    Reaction {
        to: MessageId,
        emoji: String,
    },
}

/// An attachment that is uploaded.
pub(super) struct Media {
    attachment: Attachment,
    caption: String,
    /// What it was taken as.
    kind: MediaKind,
    media_key: [u8; 32],
    uploaded: Uploaded,
}

/// Why an upload came to nothing.
enum Failure {
    /// It would be the same again.
    Final(String),
    /// The server does not take it as what it is; as a document it may.
    NotAs(String),
    Passing(String),
}

#[derive(Default)]
struct State {
    /// Uploads that are under way or wait for their turn, and the messages that wait for them.
    under_way: BTreeMap<UploadKey, BTreeSet<MessageId>>,
    given_up: VecDeque<(MessageId, String)>,
    /// What the server took as a document alone.
    only_as_document: BTreeSet<UploadKey>,
    recent: VecDeque<(UploadKey, Upload)>,
    /// The client of the line that is up.
    client: Option<Arc<Client>>,
    in_trouble_until: Option<Instant>,
}

/// The uploads of one session.
pub(super) struct Uploads {
    session: SessionName,
    store: Store,
    blobs: Blobs,
    executor: Arc<Executor<'static>>,
    notices: async_channel::Sender<(SessionName, Notice)>,
    state: Mutex<State>,
    /// Notified when there is a line, and when an upload is over.
    changed: Event,
    small: Semaphore,
    large: Semaphore,
}

impl Uploads {
    pub(super) fn new(
        session: SessionName,
        store: Store,
        blobs: Blobs,
        executor: Arc<Executor<'static>>,
        notices: async_channel::Sender<(SessionName, Notice)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            session,
            store,
            blobs,
            executor,
            notices,
            state: Mutex::default(),
            changed: Event::new(),
            small: Semaphore::new(1),
            large: Semaphore::new(1),
        })
    }

    /// There is a line: what waits for one goes on.
    pub(super) fn line_up(self: &Arc<Self>, client: &Arc<Client>) {
        self.state().client = Some(Arc::clone(client));
        self.changed.notify(usize::MAX);
        let this = Arc::clone(self);
        let forgetting = async move {
            if let Err(error) = uploads::forget_old(&this.store, &this.session, wall_ms()).await {
                log::debug!("session {}: old uploads were not forgotten: {error}", this.session);
            }
        };
        self.executor.spawn(forgetting).detach();
    }

    pub(super) fn line_down(&self) {
        self.state().client = None;
    }

    /// Forgets all of them: the next account uploads for itself.
    pub(super) async fn forget(&self) {
        let under_way = std::mem::take(&mut self.state().under_way);
        *self.state() = State {
            under_way,
            ..State::default()
        };
        if let Err(error) = uploads::forget(&self.store, &self.session).await {
            log::debug!("session {}: uploads were not forgotten: {error}", self.session);
        }
    }

    /// What `message` is to be sent as, as things stand.
    pub(super) fn prepare(&self, message: &outbox::Message) -> Prepared {
        let (attachment, caption) = match &message.content {
            Content::Text(text) => return Prepared::Ready(Said::Text(text.clone())),
            Content::Reaction { to, emoji } => {
                let (to, emoji) = (to.clone(), emoji.clone());
                return Prepared::Ready(Said::Reaction { to, emoji });
            }
            Content::Media { attachment, caption } => (attachment, caption),
        };
        if let Some(why) = self.given_up(&message.id) {
            return Prepared::Ready(Said::Text(wire::without(attachment, caption, &why)));
        }
        let key = self.key_of(attachment);
        match self.known(key) {
            Some(Upload {
                media_key,
                done: Some(uploaded),
                ..
            }) => Prepared::Ready(Said::Media(Box::new(Media {
                attachment: attachment.clone(),
                caption: caption.clone(),
                kind: key.kind,
                media_key,
                uploaded,
            }))),
            Some(Upload { done: None, .. }) | None => Prepared::Uploading,
        }
    }

    /// Why the attachment of this message was given up, if it was.
    pub(super) fn given_up(&self, id: &MessageId) -> Option<String> {
        let state = self.state();
        let found = state.given_up.iter().find(|(known, _)| known == id);
        found.map(|(_, why)| why.clone())
    }

    /// Sees to it that the attachment of `message` is uploaded. [`Notice::Uploaded`] follows.
    pub(super) fn wait_for(self: &Arc<Self>, message: &outbox::Message) {
        let Content::Media { attachment, .. } = &message.content else {
            return;
        };
        let key = self.key_of(attachment);
        let mut state = self.state();
        if let Some(waiting) = state.under_way.get_mut(&key) {
            waiting.insert(message.id.clone());
            return;
        }
        state.under_way.insert(key, BTreeSet::from([message.id.clone()]));
        drop(state);
        let (this, attachment) = (Arc::clone(self), attachment.clone());
        self.executor
            .spawn(async move { this.run(key, attachment).await })
            .detach();
    }

    /// What `message` is sent as, once that is known.
    pub(super) async fn settled(self: &Arc<Self>, message: &outbox::Message) -> Said {
        loop {
            let changed = self.changed.listen();
            match self.prepare(message) {
                Prepared::Ready(said) => return said,
                Prepared::Uploading => self.wait_for(message),
            }
            changed.await;
        }
    }

    /// As a message of the protocol.
    pub(super) async fn message(&self, said: Said) -> Message {
        let Media {
            attachment,
            caption,
            kind,
            media_key,
            uploaded,
        } = match said {
            Said::Text(text) => return Message::text(text),
            Said::Reaction { to, emoji } => return wire::reaction(to.0, emoji),
            Said::Media(media) => *media,
        };
        let thumbnail = match attachment.thumbnail {
            Some(hash) => self.thumbnail(hash).await,
            None => None,
        };
        wire::message(kind, (media_key, uploaded), &attachment, caption, thumbnail)
    }

    /// A picture without one is a picture all the same.
    async fn thumbnail(&self, hash: BlobHash) -> Option<Vec<u8>> {
        let path = self.blobs.path(hash);
        let read = offload(move || std::fs::read(path)).await?;
        read.ok().filter(|bytes| bytes.len() <= THUMBNAIL_BYTES_MAX)
    }

    async fn run(self: Arc<Self>, key: UploadKey, attachment: Attachment) {
        let abandoned = Arc::new(AtomicBool::new(false));
        let in_trouble = self
            .state()
            .in_trouble_until
            .is_some_and(|until| Instant::now() < until);
        let turn = match attachment.bytes {
            ..=SMALL_BYTES_MAX => &self.small,
            _ => &self.large,
        };
        let uploading = async {
            let _turn = turn.acquire().await;
            self.upload(key, &attachment, in_trouble, &abandoned).await
        };
        let outcome = future::or(uploading, self.too_late(attachment.bytes, in_trouble)).await;
        // Its thread may still read and write.
        abandoned.store(true, Ordering::Relaxed);
        self.finish(key, outcome).await;
    }

    /// Tries until it is uploaded.
    ///
    /// # Errors
    /// Why it was given up, in words for the recipient.
    async fn upload(
        &self,
        mut key: UploadKey,
        attachment: &Attachment,
        in_trouble: bool,
        abandoned: &Arc<AtomicBool>,
    ) -> Result<(), String> {
        let mut pauses = PAUSE_PARTS.iter().take(if in_trouble { 0 } else { PAUSE_PARTS.len() });
        loop {
            let client = self.client().await;
            match self.try_once(&client, key, attachment, abandoned).await {
                Ok(()) => {
                    self.state().in_trouble_until = None;
                    return Ok(());
                }
                Err(Failure::NotAs(why)) if key.kind != MediaKind::Document => {
                    log::info!("session {}: {why}; it goes as a document", self.session);
                    self.state().only_as_document.insert(key);
                    key.kind = MediaKind::Document;
                }
                Err(Failure::Final(why) | Failure::NotAs(why)) => return Err(why),
                // The line went, and with it the question where to upload.
                Err(Failure::Passing(_)) if !self.is_current(&client) => {}
                Err(Failure::Passing(why)) => {
                    log::info!("session {}: an attachment could not be uploaded: {why}", self.session);
                    let Some(pause) = pauses.next() else {
                        self.note_trouble();
                        return Err(why);
                    };
                    Timer::after(lab_minute(MINUTE) / *pause).await;
                }
            }
        }
    }

    async fn try_once(
        &self,
        client: &Client,
        key: UploadKey,
        attachment: &Attachment,
        abandoned: &Arc<AtomicBool>,
    ) -> Result<(), Failure> {
        let mut upload = match self.known(key) {
            Some(upload) => upload,
            None => {
                let mut media_key = [0; 32];
                let drawn = getrandom::fill(&mut media_key);
                drawn.map_err(|error| Failure::Passing(format!("no random numbers: {error}")))?;
                let upload = Upload {
                    begun_ms: wall_ms(),
                    media_key,
                    done: None,
                };
                self.keep(key, &upload).await;
                upload
            }
        };
        if upload.done.is_some() {
            return Ok(());
        }
        let media_type = wire::media_type(key.kind);
        let (path, media_key) = (self.blobs.path(key.hash), upload.media_key);
        let sealing = path.clone();
        let info = match offload(move || source::seal(&sealing, &media_key, media_type)).await {
            Some(Ok(info)) => info,
            Some(Err(error)) => {
                log::warn!("session {}: an attachment is lost: {error:#}", self.session);
                return Err(Failure::Final("its file is gone".to_owned()));
            }
            None => return Err(Failure::Passing("it could not be encrypted".to_owned())),
        };
        if info.file_sha256 != key.hash.0 {
            log::warn!("session {}: an attachment is damaged: {}", self.session, path.display());
            return Err(Failure::Final("its file is damaged".to_owned()));
        }
        let sealed = source::Sealed {
            path,
            length: info.file_length,
            media_key,
            media_type,
            abandoned: Arc::clone(abandoned),
        };
        let began = Instant::now();
        let uploaded = client
            .upload_stream(sealed, info, media_type)
            .await
            .map_err(|e| judge(&e))?;
        let took = began.elapsed();
        log::debug!(
            "session {}: uploaded {} bytes in {took:.1?}",
            self.session,
            attachment.bytes
        );
        upload.done = Some(done(uploaded));
        self.keep(key, &upload).await;
        Ok(())
    }

    /// Returns when an attachment of this length has held up its text for too long, counted while there is a line.
    async fn too_late(&self, bytes: u64, in_trouble: bool) -> Result<(), String> {
        let minute = lab_minute(MINUTE);
        let large = Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
        let limit = large + minute * if in_trouble { 1 } else { WAIT_MAX_MINUTES };
        let (mut left, tick) = (limit, minute / TICK_PARTS);
        while !left.is_zero() {
            Timer::after(tick).await;
            if self.state().client.is_some() {
                left = left.saturating_sub(tick);
            }
        }
        self.note_trouble();
        Err(format!("it was not uploaded within {} s", limit.as_secs()))
    }

    fn note_trouble(&self) {
        self.state().in_trouble_until = Some(Instant::now() + lab_minute(MINUTE) * TROUBLE_MINUTES);
    }

    async fn finish(&self, key: UploadKey, outcome: Result<(), String>) {
        let waiting = {
            let mut state = self.state();
            let waiting = state.under_way.remove(&key).unwrap_or_default();
            if let Err(why) = &outcome {
                let why: String = printable(why).chars().take(REASON_CHARS_MAX).collect();
                log::warn!(
                    "session {}: an attachment could not be sent, and {} message(s) go out without it: {why}",
                    self.session,
                    waiting.len()
                );
                for id in &waiting {
                    state.given_up.push_back((id.clone(), why.clone()));
                }
                let surplus = state.given_up.len().saturating_sub(GIVEN_UP_MAX);
                state.given_up.drain(..surplus);
            }
            waiting
        };
        self.changed.notify(usize::MAX);
        for message_id in waiting {
            let notice = Notice::Uploaded { message_id };
            let _ = self.notices.send((self.session.clone(), notice)).await;
        }
    }

    /// As what it is uploaded.
    fn key_of(&self, attachment: &Attachment) -> UploadKey {
        let mut key = UploadKey {
            hash: attachment.hash,
            kind: attachment.kind,
        };
        if self.state().only_as_document.contains(&key) {
            key.kind = MediaKind::Document;
        }
        key
    }

    /// An upload that still counts.
    fn known(&self, key: UploadKey) -> Option<Upload> {
        let state = self.state();
        let recent = state.recent.iter().find(|(known, _)| *known == key);
        let found = match recent {
            Some((_, upload)) => Some(upload.clone()),
            None => uploads::get(self.store.view(), &self.session, key).unwrap_or_else(|error| {
                log::debug!("session {}: an upload is made again: {error}", self.session);
                None
            }),
        };
        found.filter(|upload| upload.counts(wall_ms()))
    }

    /// On disk where the disk takes it, and in memory for a while.
    async fn keep(&self, key: UploadKey, upload: &Upload) {
        {
            let mut state = self.state();
            state.recent.retain(|(known, _)| *known != key);
            if state.recent.len() == RECENT_MAX {
                state.recent.pop_front();
            }
            state.recent.push_back((key, upload.clone()));
        }
        if let Err(error) = uploads::keep(&self.store, &self.session, key, upload).await {
            log::debug!("session {}: an upload is not kept: {error}", self.session);
        }
    }

    async fn client(&self) -> Arc<Client> {
        loop {
            let changed = self.changed.listen();
            if let Some(client) = &self.state().client {
                return Arc::clone(client);
            }
            changed.await;
        }
    }

    fn is_current(&self, client: &Arc<Client>) -> bool {
        let state = self.state();
        state
            .client
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, client))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// What the library says of an upload that failed. It has tried every host, and after 401 and 403 asked for leave once
/// more.
fn judge(error: &anyhow::Error) -> Failure {
    let cause: &(dyn std::error::Error + 'static) = error.as_ref();
    match cause.http_status() {
        Some(status @ (413 | 415)) => Failure::NotAs(format!("WhatsApp's media server does not take it ({status})")),
        Some(status) => Failure::Passing(format!("WhatsApp's media server answered {status}")),
        None => Failure::Passing(error.root_cause().to_string()),
    }
}

fn done(response: UploadResponse) -> Uploaded {
    Uploaded {
        url: response.url,
        direct_path: response.direct_path,
        file_sha256: response.file_sha256,
        file_enc_sha256: response.file_enc_sha256,
        file_length: response.file_length,
        media_key_timestamp_s: response.media_key_timestamp,
        streaming_sidecar: response.streaming_sidecar,
    }
}
