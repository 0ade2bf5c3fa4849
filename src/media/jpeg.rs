//! JPEG.

use std::borrow::Cow;

use jpeg_decoder::{CodingProcess, Decoder, ImageInfo, PixelFormat};

use super::exif::{Orientation, orientation};
use super::picture::{BYTES_MAX, EDGE_MAX, NoPicture, Picture, THUMBNAIL_EDGE, check_edges};
use super::pixels::Pixels;

/// Pixels that are decoded: 64 million are more than any camera of a house has, and are decoded at an eighth of their
/// edges.
const PIXELS_MAX: u64 = 64_000_000;

/// The most pixels of the progressive kind, which is held whole before it is made smaller.
const PROGRESSIVE_PIXELS_MAX: u64 = 16_000_000;

impl From<jpeg_decoder::Error> for NoPicture {
    fn from(error: jpeg_decoder::Error) -> Self {
        Self::new(format!("its JPEG cannot be read: {error}"))
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Picture, NoPicture> {
    let mut decoder = Decoder::new(bytes);
    decoder.read_info()?;
    let info = decoder.info().ok_or_else(|| NoPicture::new("it has no head"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_edges(width, height)?;
    let pixels_max = match info.coding_process {
        CodingProcess::DctProgressive => PROGRESSIVE_PIXELS_MAX,
        CodingProcess::DctSequential | CodingProcess::Lossless => PIXELS_MAX,
    };
    if u64::from(width) * u64::from(height) > pixels_max {
        return Err(NoPicture::new(format!("{width} × {height} pixels are too many")));
    }
    let orientation = decoder.exif_data().map_or(Orientation(1), orientation);
    let too_large = width.max(height) > EDGE_MAX || bytes.len() > BYTES_MAX;
    let as_it_is = !too_large && orientation == Orientation(1);
    let pixels = decode(decoder, if as_it_is { THUMBNAIL_EDGE } else { EDGE_MAX })?;
    if as_it_is {
        return Ok(Picture {
            bytes: without_metadata(bytes)?,
            mime: "image/jpeg",
            width,
            height,
            thumbnail: pixels.thumbnail()?,
        });
    }
    let pixels = pixels.shrunk(EDGE_MAX).upright(orientation);
    Ok(Picture {
        bytes: pixels.jpeg()?,
        mime: "image/jpeg",
        width: pixels.width,
        height: pixels.height,
        thumbnail: pixels.thumbnail()?,
    })
}

/// Decodes as little as is needed for a longer edge of `edge`.
fn decode(mut decoder: Decoder<&[u8]>, edge: u32) -> Result<Pixels, NoPicture> {
    let edge = u16::try_from(edge).unwrap_or(u16::MAX);
    decoder.scale(edge, edge)?;
    let decoded = decoder.decode()?;
    let info = decoder.info().ok_or_else(|| NoPicture::new("it has no head"))?;
    let rgb = rgb(&info, decoded);
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if rgb.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(NoPicture::new("it ends too early"));
    }
    Ok(Pixels { width, height, rgb })
}

fn rgb(info: &ImageInfo, decoded: Vec<u8>) -> Vec<u8> {
    match info.pixel_format {
        PixelFormat::RGB24 => decoded,
        PixelFormat::L8 => decoded.into_iter().flat_map(|grey| [grey; 3]).collect(),
        // In the order of this machine's bytes.
        PixelFormat::L16 => {
            let high = if cfg!(target_endian = "little") { 1 } else { 0 };
            decoded.chunks_exact(2).flat_map(|grey| [grey[high]; 3]).collect()
        }
        PixelFormat::CMYK32 => {
            let mixed = |ink: &[u8]| {
                let of = |colour: u8| (u16::from(255 - colour) * u16::from(255 - ink[3]) / 255) as u8;
                [of(ink[0]), of(ink[1]), of(ink[2])]
            };
            decoded.chunks_exact(4).flat_map(mixed).collect()
        }
    }
}

/// The same picture without the segments that tell of it: EXIF and XMP, which have the place, and comments. What the
/// colours mean (JFIF, Adobe's and the ICC profile) stays.
fn without_metadata(bytes: &[u8]) -> Result<Vec<u8>, NoPicture> {
    const ICC: &[u8] = b"ICC_PROFILE\0";
    let broken = || NoPicture::new("its segments cannot be read");
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    let mut take = |count: usize| -> Result<Cow<'_, [u8]>, NoPicture> {
        let (taken, left) = rest.split_at_checked(count).ok_or_else(broken)?;
        rest = left;
        Ok(Cow::Borrowed(taken))
    };
    out.extend_from_slice(&take(2)?);
    loop {
        let head = take(4)?;
        if head[0] != 0xFF {
            return Err(broken());
        }
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let body = take(length.checked_sub(2).ok_or_else(broken)?)?;
        let kept = match head[1] {
            0xE0 | 0xEE => true,
            0xE2 => body.starts_with(ICC),
            0xE1..=0xEF | 0xFE => false,
            _ => true,
        };
        if kept {
            out.extend_from_slice(&head);
            out.extend_from_slice(&body);
        }
        if head[1] == 0xDA {
            break;
        }
    }
    // From the first scan on there is nothing but the picture; what a camera has put behind its end goes.
    let end = rest.windows(2).rposition(|pair| pair == [0xFF, 0xD9]);
    out.extend_from_slice(&rest[..end.map_or(rest.len(), |end| end + 2)]);
    Ok(out)
}
