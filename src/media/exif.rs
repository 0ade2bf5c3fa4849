//! How the camera was held, out of a picture's EXIF. Nothing else of it is wanted.

/// What brings a picture upright, as EXIF numbers it: 1 is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orientation(pub u8);

const ORIENTATION: u16 = 0x0112;

/// The orientation of a TIFF structure; upright where it cannot be read.
pub(super) fn orientation(tiff: &[u8]) -> Orientation {
    Orientation(find(tiff).filter(|value| (1..=8).contains(value)).unwrap_or(1))
}

fn find(tiff: &[u8]) -> Option<u8> {
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes: [u8; 2] = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let u32_at = |at: usize| {
        let bytes: [u8; 4] = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    let directory = usize::try_from(u32_at(4)?).ok()?;
    let count = usize::from(u16_at(directory)?);
    for index in 0..count {
        let entry = directory.checked_add(2 + index * 12)?;
        if u16_at(entry)? == ORIENTATION {
            return u8::try_from(u16_at(entry + 8)?).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orientation_is_found_in_either_order_of_bytes_and_nonsense_is_upright() {
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0";
        assert_eq!(orientation(little), Orientation(6));
        assert_eq!(orientation(big), Orientation(8));
        for end in 0..little.len() {
            assert!((1..=8).contains(&orientation(&little[..end]).0));
        }
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), Orientation(1));
        assert_eq!(orientation(b""), Orientation(1));
    }
}
