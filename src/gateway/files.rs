//! The files that come with alerts: kept among the blobs, pictures as the apps take them, before the alert is accepted.

use std::sync::Arc;

use smol::lock::{Semaphore, SemaphoreGuardArc};

use crate::alert::{Attachment, MediaKind};
use crate::blobs::{BlobError, Blobs, Draft, Kept};
use crate::dialect::{File, Parsed, Source};
use crate::gateway::fetch::Fetcher;
use crate::media;

/// Attachments of one alert. Each is a message to each recipient.
const ATTACHMENTS_MAX: usize = 10;

/// Bodies that are on their way into a file at once.
const BODIES_MAX: usize = 4;

/// Why a file is not kept where there is no place for any.
pub(super) const NO_FILES: &str = "no files are kept here";

/// Where files go, and how many are worked on at once.
#[derive(Clone)]
pub(super) struct Files {
    pub blobs: Blobs,
    /// Places for bodies that are larger than is held in memory.
    pub bodies: Arc<Semaphore>,
    /// Held while all of such a body is in memory, as a form is.
    pub whole: Arc<Semaphore>,
    /// Held while a picture is decoded.
    pictures: Arc<Semaphore>,
    fetcher: Arc<Fetcher>,
}

/// What a file holds.
enum Content {
    Draft(Draft),
    Bytes(Vec<u8>),
}

/// A body out of which files may be taken.
#[derive(Default)]
pub(super) struct FromBody {
    /// What is held of it in memory.
    pub held: Vec<u8>,
    /// How long it was.
    pub bytes: u64,
    /// All of it where it is longer, or why that is not there.
    pub file: Option<Result<Draft, String>>,
    /// What came beside it, of a mail.
    pub beside: Beside,
}

/// The files that came beside a mail, by their numbers.
#[derive(Default)]
pub(super) struct Beside {
    pub files: Vec<Option<Result<Draft, String>>>,
    /// Held while they are there: so many mails have files at once.
    pub place: Option<SemaphoreGuardArc>,
}

impl Beside {
    /// The file of this number, or why it is not there.
    ///
    /// # Errors
    /// It is not there.
    pub fn take(&mut self, number: usize) -> Result<Draft, String> {
        let file = self.files.get_mut(number).and_then(Option::take);
        file.unwrap_or_else(|| Err("it is empty".to_owned()))
    }
}

impl Files {
    pub fn new(blobs: Blobs, fetcher: Fetcher) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            blobs,
            bodies: places(BODIES_MAX),
            whole: places(1),
            pictures: places(1),
            fetcher: Arc::new(fetcher),
        }
    }

    /// Attaches the files of `parsed` to its alert, and says of each that cannot be kept why. What is returned has to
    /// live until the alert's record holds the files.
    pub async fn attach(&self, parsed: &mut Parsed, mut body: FromBody) -> Vec<Kept> {
        let mut held = Vec::new();
        for (index, file) in std::mem::take(&mut parsed.files).into_iter().enumerate() {
            if index >= ATTACHMENTS_MAX {
                parsed.leave_out(&file, &format!("an alert has at most {ATTACHMENTS_MAX} attachments"));
                continue;
            }
            let content = match &file.source {
                Source::Body => whole_of(&mut body),
                Source::Part(range) => match body.held.get(range.clone()) {
                    Some(part) => Ok(Content::Bytes(part.to_vec())),
                    None => Err("it did not come whole".to_owned()),
                },
                Source::Beside(number) => body.beside.take(*number).map(Content::Draft),
                Source::Bytes(bytes) => Ok(Content::Bytes(bytes.clone())),
                Source::Link(link) => self
                    .fetcher
                    .fetch(link, self.blobs.limits().file_bytes)
                    .await
                    .map(Content::Bytes),
                Source::Missing(why) => Err((*why).to_owned()),
            };
            let kept = match content {
                Ok(content) => self.keep(&file, content).await,
                Err(why) => Err(why),
            };
            match kept {
                Ok((attachment, warning, mut files)) => {
                    parsed.attach(attachment);
                    parsed.warnings.extend(warning);
                    held.append(&mut files);
                }
                Err(why) => parsed.leave_out(&file, &why),
            }
        }
        held
    }

    async fn keep(&self, file: &File, content: Content) -> Result<(Attachment, Option<String>, Vec<Kept>), String> {
        let (blobs, name) = (self.blobs.clone(), file.name.clone());
        let _one_picture = match media::file_type(content.head()).kind {
            MediaKind::Image => Some(self.pictures.acquire().await),
            MediaKind::Video | MediaKind::Audio | MediaKind::Document => None,
        };
        let kept = smol::unblock(move || keep(&blobs, name, content));
        kept.await.map_err(|error| error.to_string())
    }
}

impl Content {
    fn head(&self) -> &[u8] {
        match self {
            Self::Draft(draft) => draft.head(),
            Self::Bytes(bytes) => &bytes[..bytes.len().min(512)],
        }
    }

    fn finish(self, blobs: &Blobs) -> Result<Kept, BlobError> {
        match self {
            Self::Draft(draft) => draft.finish(),
            Self::Bytes(bytes) => blobs.put(&bytes),
        }
    }

    fn bytes(&mut self) -> Result<std::borrow::Cow<'_, [u8]>, BlobError> {
        match self {
            Self::Draft(draft) => Ok(draft.read_back()?.into()),
            Self::Bytes(bytes) => Ok(bytes.as_slice().into()),
        }
    }
}

fn whole_of(body: &mut FromBody) -> Result<Content, String> {
    match body.file.take() {
        Some(Ok(draft)) => Ok(Content::Draft(draft)),
        Some(Err(why)) => Err(why),
        None if body.held.len() as u64 == body.bytes => Ok(Content::Bytes(std::mem::take(&mut body.held))),
        None => Err("it did not come whole".to_owned()),
    }
}

/// Keeps a file, or the picture that is made of it with its thumbnail. Also says what of it could not be done.
fn keep(
    blobs: &Blobs,
    name: String,
    mut content: Content,
) -> Result<(Attachment, Option<String>, Vec<Kept>), BlobError> {
    let found = media::file_type(content.head());
    let (kind, warning) = match found.kind {
        MediaKind::Image => match media::picture(&content.bytes()?) {
            Ok(picture) => {
                drop(content);
                let (file, thumbnail) = (blobs.put(&picture.bytes)?, blobs.put(&picture.thumbnail)?);
                let attachment = Attachment {
                    hash: file.hash(),
                    bytes: file.bytes(),
                    name,
                    mime: picture.mime.to_owned(),
                    kind: MediaKind::Image,
                    width: picture.width,
                    height: picture.height,
                    thumbnail: Some(thumbnail.hash()),
                };
                return Ok((attachment, None, vec![file, thumbnail]));
            }
            Err(why) => (
                MediaKind::Document,
                Some(format!("a picture is sent as a document: {why}")),
            ),
        },
        kind => (kind, None),
    };
    let file = content.finish(blobs)?;
    let attachment = Attachment {
        hash: file.hash(),
        bytes: file.bytes(),
        name,
        mime: found.mime.to_owned(),
        kind,
        width: 0,
        height: 0,
        thumbnail: None,
    };
    Ok((attachment, warning, vec![file]))
}
