//! PNG.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use super::picture::{BYTES_MAX, EDGE_MAX, NoPicture, Picture, check_edges};
use super::pixels::Pixels;

/// Pixels that are decoded, row by row.
const PIXELS_MAX: u64 = 64_000_000;

/// The most pixels of the interlaced kind, which is held whole.
const INTERLACED_PIXELS_MAX: u64 = 8_000_000;

/// What the decoder may hold beside the pixels: a row, and texts that are thrown away.
const DECODER_BYTES_MAX: usize = 16 << 20;

impl From<png::DecodingError> for NoPicture {
    fn from(error: png::DecodingError) -> Self {
        Self::new(format!("its PNG cannot be read: {error}"))
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Picture, NoPicture> {
    let limits = Limits {
        bytes: DECODER_BYTES_MAX,
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info()?;
    let (width, height, interlaced) = {
        let info = reader.info();
        (info.width, info.height, info.interlaced)
    };
    check_edges(width, height)?;
    let pixels_max = if interlaced { INTERLACED_PIXELS_MAX } else { PIXELS_MAX };
    if u64::from(width) * u64::from(height) > pixels_max {
        return Err(NoPicture::new(format!("{width} × {height} pixels are too many")));
    }
    let (colours, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err(NoPicture::new("its colours cannot be read"));
    }
    let pixels = if interlaced {
        let size = reader
            .output_buffer_size()
            .ok_or_else(|| NoPicture::new("it is too large"))?;
        let mut frame = vec![0; size];
        reader.next_frame(&mut frame)?;
        Pixels {
            width,
            height,
            rgb: frame
                .chunks_exact(colours.samples())
                .flat_map(|pixel| rgb(colours, pixel))
                .collect(),
        }
    } else {
        // By how much its edges are divided while it is read, so that what is held is no more than four times what is
        // wanted.
        let by = (width.max(height) / EDGE_MAX).max(1);
        let mut rows = Rows::new(width, height, by);
        while let Some(row) = reader.next_row()? {
            rows.add(
                row.data()
                    .chunks_exact(colours.samples())
                    .map(|pixel| rgb(colours, pixel)),
            );
        }
        rows.finish()?
    };
    if width.max(height) <= EDGE_MAX && bytes.len() <= BYTES_MAX {
        return Ok(Picture {
            bytes: without_metadata(bytes)?,
            mime: "image/png",
            width,
            height,
            thumbnail: pixels.thumbnail()?,
        });
    }
    let pixels = pixels.shrunk(EDGE_MAX);
    Ok(Picture {
        bytes: pixels.jpeg()?,
        mime: "image/jpeg",
        width: pixels.width,
        height: pixels.height,
        thumbnail: pixels.thumbnail()?,
    })
}

/// A pixel on white.
fn rgb(colours: ColorType, pixel: &[u8]) -> [u8; 3] {
    let on_white = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha)) / 255) as u8
    };
    match (colours, pixel) {
        (ColorType::Grayscale | ColorType::Indexed, [grey, ..]) => [*grey; 3],
        (ColorType::GrayscaleAlpha, [grey, alpha, ..]) => [on_white(*grey, *alpha); 3],
        (ColorType::Rgb, [red, green, blue, ..]) => [*red, *green, *blue],
        (ColorType::Rgba, [red, green, blue, alpha, ..]) => [*red, *green, *blue].map(|value| on_white(value, *alpha)),
        _ => [255; 3],
    }
}

/// Rows as they come, made into fewer and shorter ones.
struct Rows {
    width: u32,
    height: u32,
    by: u32,
    /// The sums of the rows that become the next one.
    sums: Vec<[u32; 3]>,
    summed: u32,
    seen: u32,
    rgb: Vec<u8>,
}

impl Rows {
    fn new(width: u32, height: u32, by: u32) -> Self {
        Self {
            width,
            height,
            by,
            sums: vec![[0; 3]; (width / by).max(1) as usize],
            summed: 0,
            seen: 0,
            rgb: Vec::new(),
        }
    }

    fn add(&mut self, row: impl Iterator<Item = [u8; 3]>) {
        // What is over at the right edge, less than one new pixel, is left out.
        for (at, pixel) in row.enumerate() {
            let Some(sum) = self.sums.get_mut(at / self.by as usize) else {
                break;
            };
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += u32::from(value);
            }
        }
        self.summed += 1;
        self.seen += 1;
        if self.summed == self.by || (self.seen == self.height && self.rgb.is_empty()) {
            let across = self.by.min(self.width);
            let count = across * self.summed;
            let row = self.sums.iter().flat_map(|sum| sum.map(|sum| (sum / count) as u8));
            self.rgb.extend(row);
            self.sums.fill([0; 3]);
            self.summed = 0;
        }
    }

    fn finish(self) -> Result<Pixels, NoPicture> {
        if self.seen < self.height {
            return Err(NoPicture::new("it ends too early"));
        }
        let width = self.sums.len() as u32;
        Ok(Pixels {
            width,
            height: (self.rgb.len() / 3) as u32 / width,
            rgb: self.rgb,
        })
    }
}

/// The same picture without the chunks that tell of it: texts, EXIF, the time.
fn without_metadata(bytes: &[u8]) -> Result<Vec<u8>, NoPicture> {
    const HEAD: usize = 8;
    /// Length, name and checksum.
    const AROUND: usize = 12;
    let broken = || NoPicture::new("its chunks cannot be read");
    let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or_else(broken)?;
    let mut out = head.to_vec();
    loop {
        let length = rest.first_chunk::<4>().ok_or_else(broken)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| broken())?;
        let end = length.checked_add(AROUND).ok_or_else(broken)?;
        let (chunk, left) = rest.split_at_checked(end).ok_or_else(broken)?;
        rest = left;
        let name = &chunk[4..8];
        if ![&b"tEXt"[..], b"zTXt", b"iTXt", b"eXIf", b"tIME"].contains(&name) {
            out.extend_from_slice(chunk);
        }
        if name == b"IEND" {
            return Ok(out);
        }
    }
}
