//! What a file is, told from its content, and pictures as WhatsApp's apps take them. Pure: bytes in, bytes out, and no
//! more memory than its limits say, whatever the bytes are.

mod exif;
#[doc(hidden)]
pub mod fuzzing;
mod jpeg;
mod kind;
mod picture;
mod pixels;
mod png;

pub use kind::{FileType, file_type};
pub use picture::{NoPicture, Picture};

/// Reads a JPEG or PNG: turned as its camera was held, made smaller where it is too large, and without what tells where
/// and by whom it was taken. The time that it takes grows with the picture; it must not hold up anybody.
///
/// # Errors
/// It is of another kind, is damaged, or has more pixels than are decoded.
pub fn picture(bytes: &[u8]) -> Result<Picture, NoPicture> {
    match file_type(bytes).mime {
        "image/jpeg" => jpeg::read(bytes),
        "image/png" => png::read(bytes),
        other => Err(NoPicture::new(format!("{other} is not read as a picture"))),
    }
}

#[cfg(test)]
mod tests;
