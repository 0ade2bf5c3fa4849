//! What a picture is here, and the limits of one.

/// The longer edge of a picture as the apps send it.
pub(super) const EDGE_MAX: u32 = 1600;

/// A picture that is longer is made smaller.
pub(super) const BYTES_MAX: usize = 5_000_000;

/// The longer edge of a thumbnail.
pub(super) const THUMBNAIL_EDGE: u32 = 100;

/// A thumbnail travels inside every copy of a message.
pub(super) const THUMBNAIL_BYTES_MAX: usize = 10_000;

/// How many times as long as wide a picture may be. What is beyond is none that a phone could show.
pub(super) const RATIO_MAX: u32 = 20;

/// Qualities of JPEG: of a picture that was made smaller, and of a thumbnail, the first that is small enough.
pub(super) const QUALITY: u8 = 85;
pub(super) const THUMBNAIL_QUALITIES: [u8; 3] = [60, 35, 10];

/// A picture as it can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub bytes: Vec<u8>,
    pub mime: &'static str,
    /// In pixels.
    pub width: u32,
    pub height: u32,
    /// A small JPEG.
    pub thumbnail: Vec<u8>,
}

/// Why a file is no picture that can be sent as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoPicture(String);

impl NoPicture {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Whether the edges are such that a phone can show it.
pub(super) fn check_edges(width: u32, height: u32) -> Result<(), NoPicture> {
    let (short, long) = (width.min(height), width.max(height));
    match short {
        0 => Err(NoPicture::new("it has no pixels")),
        _ if long / short > RATIO_MAX => Err(NoPicture::new(format!("{width} × {height} pixels cannot be shown"))),
        _ => Ok(()),
    }
}
