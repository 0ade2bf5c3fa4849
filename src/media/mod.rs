//! What a file is, told from its content, and pictures as WhatsApp's apps take them. Pure: bytes in, bytes out, and no more
//! memory than its limits say, whatever the bytes are.

mod exif;
#[doc(hidden)]
pub mod fuzzing;
mod jpeg;
mod kind;
mod pixels;
mod png;

pub use kind::{Told, tell};

/// The longer edge of a picture as the apps send it.
const EDGE_MAX: u32 = 1600;

/// A picture that is longer is made smaller.
const BYTES_MAX: usize = 5_000_000;

/// The longer edge of a thumbnail.
const THUMBNAIL_EDGE: u32 = 100;

/// A thumbnail travels inside every copy of a message.
const THUMBNAIL_BYTES_MAX: usize = 10_000;

/// How many times as long as wide a picture may be. What is beyond is none that a phone could show.
const RATIO_MAX: u32 = 20;

/// Qualities of JPEG: of a picture that was made smaller, and of a thumbnail, the first that is small enough.
const QUALITY: u8 = 85;
const THUMBNAIL_QUALITIES: [u8; 3] = [60, 35, 10];

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
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Reads a JPEG or PNG: turned as its camera was held, made smaller where it is too large, and without what tells where and by whom
/// it was taken. The time that it takes grows with the picture; it must not hold up anybody.
///
/// # Errors
/// It is of another kind, is damaged, or has more pixels than are decoded.
pub fn picture(bytes: &[u8]) -> Result<Picture, NoPicture> {
    match tell(bytes).mime {
        "image/jpeg" => jpeg::read(bytes),
        "image/png" => png::read(bytes),
        other => Err(NoPicture::new(format!("{other} is not read as a picture"))),
    }
}

/// Whether the edges are such that a phone can show it.
fn check_edges(width: u32, height: u32) -> Result<(), NoPicture> {
    let (short, long) = (width.min(height), width.max(height));
    match short {
        0 => Err(NoPicture::new("it has no pixels")),
        _ if long / short > RATIO_MAX => Err(NoPicture::new(format!("{width} × {height} pixels cannot be shown"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
