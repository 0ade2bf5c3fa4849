use super::pixels::Pixels;
use super::*;

/// A picture in colours that go from left to right and from top to bottom.
fn pixels(width: u32, height: u32) -> Pixels {
    let row = |y: u32| (0..width).flat_map(move |x| [(x * 255 / width) as u8, (y * 255 / height) as u8, 40]);
    Pixels {
        width,
        height,
        rgb: (0..height).flat_map(row).collect(),
    }
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    pixels(width, height).jpeg().unwrap()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(::png::ColorType::Rgb);
    encoder
        .add_text_chunk("Location".into(), "48.137N 11.575E".into())
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels(width, height).rgb).unwrap();
    writer.finish().unwrap();
    bytes
}

/// With EXIF in it that says how the camera was held, and where.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    exif.extend(b"GPS 48.137N 11.575E");
    let mut out = jpeg[..2].to_vec();
    out.extend([0xFF, 0xE1]);
    out.extend(((exif.len() + 2) as u16).to_be_bytes());
    out.extend(exif);
    out.extend(&jpeg[2..]);
    out
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// What a thumbnail must be, whatever it is of.
fn check_thumbnail(picture: &Picture) {
    let small = super::picture(&picture.thumbnail).unwrap();
    assert!(small.width.max(small.height) <= 100 && picture.thumbnail.len() <= 10_000);
    let ratio = |width: u32, height: u32| f64::from(width) / f64::from(height);
    let off = ratio(small.width, small.height) / ratio(picture.width, picture.height);
    assert!((0.9..1.12).contains(&off), "{off}");
}

#[test]
fn a_picture_that_fits_stays_as_it_is_without_its_place() {
    let plain = jpeg(640, 480);
    let found = picture(&with_exif(&plain, 1)).unwrap();
    assert_eq!(
        (found.bytes.as_slice(), found.width, found.height),
        (&plain[..], 640, 480)
    );
    check_thumbnail(&found);
    let given = png(320, 200);
    assert!(has(&given, b"48.137N"));
    let found = picture(&given).unwrap();
    assert_eq!((found.mime, found.width, found.height), ("image/png", 320, 200));
    assert!(!has(&found.bytes, b"48.137N"));
    assert_eq!(
        picture(&found.bytes).unwrap().bytes,
        found.bytes,
        "it can still be read"
    );
    check_thumbnail(&found);
}

#[test]
fn one_that_was_held_otherwise_is_turned_and_a_large_one_is_made_smaller() {
    let found = picture(&with_exif(&jpeg(64, 48), 6)).unwrap();
    assert_eq!((found.width, found.height), (48, 64));
    assert!(!has(&found.bytes, b"48.137N"));
    for (given, edges) in [
        (jpeg(3200, 1800), (1600, 900)),
        (with_exif(&jpeg(3000, 2000), 8), (1067, 1600)),
        (png(4000, 500), (1600, 200)),
        (png(1700, 1000), (1600, 941)),
    ] {
        let found = picture(&given).unwrap();
        assert_eq!((found.width, found.height), edges);
        assert_eq!(found.mime, "image/jpeg");
        let again = picture(&found.bytes).unwrap();
        assert_eq!((again.width, again.height), edges);
        check_thumbnail(&found);
    }
}

#[test]
fn a_poisoned_picture_is_none() {
    let (jpeg, png) = (jpeg(200, 100), png(200, 100));
    for whole in [&jpeg, &png] {
        for end in (0..whole.len() - 2).step_by(whole.len() / 60) {
            assert!(
                picture(&whole[..end]).is_err() || end > whole.len() - 40,
                "{end} of {}",
                whole.len()
            );
        }
    }
    // Edges that no picture has, with hardly anything behind them.
    let edges = |width: u16, height: u16| {
        let at = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        let mut bytes = jpeg.clone();
        bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
        bytes[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
        bytes
    };
    for (width, height) in [(65_535, 65_535), (1, 65_535), (65_535, 1), (0, 5), (10_000, 10_000)] {
        assert!(picture(&edges(width, height)).is_err(), "{width} × {height}");
    }
    let bomb = |width: u32, height: u32| {
        let mut bytes = png.clone();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        bytes
    };
    for (width, height) in [(1, 100_000), (100_000, 100_000), (u32::MAX, u32::MAX)] {
        assert!(picture(&bomb(width, height)).is_err(), "{width} × {height}");
    }
    assert!(picture(b"GIF89a").is_err() && picture(b"").is_err());
}
