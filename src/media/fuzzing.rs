//! What the fuzz target for pictures runs: bytes that may be anything go in, and a panic is a failure. Not for other
//! use.

use super::picture::{EDGE_MAX, THUMBNAIL_BYTES_MAX};
use super::{file_type, picture};

/// A file. Whether it is a picture that can be sent.
///
/// # Panics
/// What is made of it is too large, or is no picture itself.
pub fn picture_of(data: &[u8]) -> bool {
    file_type(data);
    let Ok(made) = picture(data) else { return false };
    assert!(made.width.max(made.height) <= EDGE_MAX && made.thumbnail.len() <= THUMBNAIL_BYTES_MAX);
    picture(&made.thumbnail).expect("a thumbnail is a picture");
    true
}
