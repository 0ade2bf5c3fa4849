//! Decoded pictures: made smaller, turned, written as JPEG.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::exif::Orientation;
use super::picture::{NoPicture, QUALITY, THUMBNAIL_BYTES_MAX, THUMBNAIL_EDGE, THUMBNAIL_QUALITIES};

/// Red, green and blue, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pixels {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// The edges that this has when its longer one is at most `edge`.
    fn within(&self, edge: u32) -> (u32, u32) {
        let long = self.width.max(self.height);
        if long <= edge {
            return (self.width, self.height);
        }
        let scaled = |side: u32| {
            let side = (u64::from(side) * u64::from(edge) + u64::from(long) / 2) / u64::from(long);
            u32::try_from(side).unwrap_or(edge).max(1)
        };
        (scaled(self.width), scaled(self.height))
    }

    /// Made so small that its longer edge is at most `edge`: each pixel is the mean of those that it stands for.
    pub fn shrunk(&self, edge: u32) -> Self {
        let (width, height) = self.within(edge);
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        // Where the pixel `at` of `new` begins among `old` ones.
        let begins = |at: u32, old: u32, new: u32| (u64::from(at) * u64::from(old) / u64::from(new)) as usize;
        let row_bytes = self.width as usize * 3;
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        for y in 0..height {
            let rows = begins(y, self.height, height)..begins(y + 1, self.height, height);
            for x in 0..width {
                let columns = begins(x, self.width, width)..begins(x + 1, self.width, width);
                let mut sums = [0u64; 3];
                for row in rows.clone() {
                    let row = &self.rgb[row * row_bytes..(row + 1) * row_bytes];
                    for pixel in row[columns.start * 3..columns.end * 3].chunks_exact(3) {
                        for (sum, value) in sums.iter_mut().zip(pixel) {
                            *sum += u64::from(*value);
                        }
                    }
                }
                let count = (rows.len() * columns.len()).max(1) as u64;
                rgb.extend(sums.map(|sum| (sum / count) as u8));
            }
        }
        Self { width, height, rgb }
    }

    /// As it was seen when it was taken.
    pub fn upright(self, Orientation(orientation): Orientation) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        let turned = orientation >= 5;
        let (new_width, new_height) = if turned { (height, width) } else { (width, height) };
        if orientation == 1 {
            return self;
        }
        let mut rgb = Vec::with_capacity(self.rgb.len());
        for y in 0..new_height {
            for x in 0..new_width {
                let (from_x, from_y) = match orientation {
                    2 => (width - 1 - x, y),
                    3 => (width - 1 - x, height - 1 - y),
                    4 => (x, height - 1 - y),
                    5 => (y, x),
                    6 => (y, height - 1 - x),
                    7 => (width - 1 - y, height - 1 - x),
                    8 => (width - 1 - y, x),
                    _ => (x, y),
                };
                let at = (from_y * width + from_x) * 3;
                rgb.extend_from_slice(&self.rgb[at..at + 3]);
            }
        }
        Self {
            width: new_width as u32,
            height: new_height as u32,
            rgb,
        }
    }

    fn encoded(&self, quality: u8) -> Result<Vec<u8>, NoPicture> {
        let sides = (u16::try_from(self.width), u16::try_from(self.height));
        let (Ok(width), Ok(height)) = sides else {
            return Err(NoPicture::new("it is too large for a JPEG"));
        };
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, quality);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder
            .encode(&self.rgb, width, height, ColorType::Rgb)
            .map_err(|error| NoPicture::new(error.to_string()))?;
        Ok(bytes)
    }

    /// As a JPEG.
    pub fn jpeg(&self) -> Result<Vec<u8>, NoPicture> {
        self.encoded(QUALITY)
    }

    /// A thumbnail, as a JPEG.
    pub fn thumbnail(&self) -> Result<Vec<u8>, NoPicture> {
        let small = self.shrunk(THUMBNAIL_EDGE);
        for quality in THUMBNAIL_QUALITIES {
            let bytes = small.encoded(quality)?;
            if bytes.len() <= THUMBNAIL_BYTES_MAX {
                return Ok(bytes);
            }
        }
        Err(NoPicture::new("its thumbnail is too large"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pixel's red says where it was: 10 times its row, and its column.
    fn numbered(width: u32, height: u32) -> Pixels {
        let at = |y: u32| (0..width).flat_map(move |x| [(y * 10 + x) as u8, 0, 0]);
        Pixels {
            width,
            height,
            rgb: (0..height).flat_map(at).collect(),
        }
    }

    fn reds(pixels: &Pixels) -> Vec<u8> {
        pixels.rgb.iter().step_by(3).copied().collect()
    }

    #[test]
    fn every_orientation_is_brought_upright() {
        for (orientation, expected) in [
            (1, [0, 1, 2, 10, 11, 12]),
            (2, [2, 1, 0, 12, 11, 10]),
            (3, [12, 11, 10, 2, 1, 0]),
            (4, [10, 11, 12, 0, 1, 2]),
            (5, [0, 10, 1, 11, 2, 12]),
            (6, [10, 0, 11, 1, 12, 2]),
            (7, [12, 2, 11, 1, 10, 0]),
            (8, [2, 12, 1, 11, 0, 10]),
        ] {
            let turned = numbered(3, 2).upright(Orientation(orientation));
            assert_eq!(reds(&turned), expected, "{orientation}");
            let edges = if orientation < 5 { (3, 2) } else { (2, 3) };
            assert_eq!((turned.width, turned.height), edges);
        }
    }

    #[test]
    fn a_smaller_picture_is_the_mean_and_keeps_its_shape() {
        let small = numbered(4, 2).shrunk(2);
        assert_eq!((small.width, small.height, reds(&small)), (2, 1, vec![5, 7]));
        let long = numbered(1, 20).shrunk(10);
        assert_eq!((long.width, long.height), (1, 10));
        assert_eq!(numbered(3, 2).shrunk(3), numbered(3, 2));
    }
}
