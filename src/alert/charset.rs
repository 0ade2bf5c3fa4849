//! From bytes to text, in whatever encoding a sender writes. Nothing here fails: a text with a wrong character in it is
//! worth more than none.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::oem;

/// How files begin that are sent as a body and are no text (pictures, archives, documents). Most others have a NUL.
const SIGNATURES: &[&[u8]] = &[
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"%PDF-",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"BZh9",
    b"7z\xbc\xaf\x27\x1c",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
    b"OggS",
    b"\x7fELF",
];

/// A header's or a query's value: UTF-8 where it is, else windows-1252, which is what PowerShell 5, Node's fetch and
/// old boxes write. Every byte has a character there.
pub fn value(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// A body as text: by the charset that its sender names, if it is a known one and fits, else by what the bytes look
/// like.
pub fn text<'a>(bytes: &'a [u8], charset: Option<&str>) -> Cow<'a, str> {
    let named = charset.map(|label| label.trim().trim_matches('"')).filter(|label| {
        // What calls itself ASCII and has other bytes is something else.
        !label.eq_ignore_ascii_case("us-ascii") && !label.eq_ignore_ascii_case("ascii")
    });
    if let Some(text) = named
        .and_then(|label| oem::text(bytes, label))
        .or_else(|| utf32(bytes, named))
    {
        return Cow::Owned(text);
    }
    let named = named.and_then(|label| Encoding::for_label_no_replacement(label.as_bytes()));
    match named.filter(|encoding| *encoding != UTF_8) {
        None => guessed(bytes),
        Some(encoding) => {
            let (text, _, malformed) = encoding.decode(bytes);
            match malformed {
                true => std::str::from_utf8(bytes).map_or(text, Cow::Borrowed),
                false => text,
            }
        }
    }
}

/// Whether a charset of this name is one in which texts have NULs.
pub fn is_wide(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    ["utf-16", "utf-32"].iter().any(|wide| label.contains(wide))
}

/// Is a body no text, whatever its encoding?
pub fn is_binary(bytes: &[u8]) -> bool {
    // A text has hardly a control character besides line ends, tabs and the escapes of terminals. What is UTF-8 may
    // have more, and NULs: names from `find -print0` are a text.
    let odd = |byte: &&u8| matches!(**byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
    let odd = bytes.iter().filter(odd).count();
    let is_utf8 = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // Only the end of it is missing, as where a long body is kept in part.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    // However it begins: "OggS stream stopped" is what somebody says about a file.
    if is_utf8 && odd == 0 {
        return false;
    }
    let brand = |at: usize, name: &[u8]| bytes.get(at..at + name.len()) == Some(name);
    if SIGNATURES.iter().any(|signature| bytes.starts_with(signature))
        // MP4, HEIC and their kin; WebP, WAV and AVI.
        || brand(4, b"ftyp")
        || (brand(0, b"RIFF") && [b"WEBP", b"WAVE", b"AVI "].iter().any(|kind| brand(8, *kind)))
    {
        return true;
    }
    if utf16(bytes).is_some() || utf32(bytes, None).is_some() {
        return false;
    }
    let percent = odd * 100 / bytes.len().max(1);
    match is_utf8 {
        true => percent > 30,
        false => bytes.contains(&0) || percent > 10,
    }
}

fn guessed(bytes: &[u8]) -> Cow<'_, str> {
    if let Some(encoding) = utf16(bytes) {
        return encoding.decode(bytes).0;
    }
    if std::str::from_utf8(bytes).is_ok() {
        return UTF_8.decode(bytes).0;
    }
    // One broken character, as where somebody cut a text to a number of bytes, does not make a text windows-1252.
    let (mut whole, mut broken) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        whole += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    let cut_at_the_end = broken == 1 && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none());
    match cut_at_the_end || whole > broken {
        true => UTF_8.decode(bytes).0,
        false => WINDOWS_1252.decode(bytes).0,
    }
}

/// UTF-16 is known by its mark, or by every second byte being NUL, as Windows writes files and PowerShell pipes.
fn utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    match Encoding::for_bom(bytes) {
        Some((encoding, _)) if encoding != UTF_8 => return Some(encoding),
        Some(_) | None => {}
    }
    let zeros = |offset: usize| bytes.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (pairs, even, odd) = (bytes.len() / 2, zeros(0), zeros(1));
    let mostly = |count: usize| pairs >= 2 && count * 10 >= pairs * 7;
    match (even, odd) {
        (0, odd) if mostly(odd) => Some(UTF_16LE),
        (even, 0) if mostly(even) => Some(UTF_16BE),
        _ => None,
    }
}

/// UTF-32: by the name of its charset, by its mark, or where every four bytes are a character and most of them plain.
/// Browsers do not know it, and so neither does `encoding_rs`.
fn utf32(bytes: &[u8], label: Option<&str>) -> Option<String> {
    let label = label.map(str::to_ascii_lowercase);
    let named = label.as_deref().is_some_and(|label| label.starts_with("utf-32"));
    let marked = match bytes {
        [0xff, 0xfe, 0, 0, ..] => Some(false),
        [0, 0, 0xfe, 0xff, ..] => Some(true),
        _ => None,
    };
    let (units, rest) = bytes.as_chunks::<4>();
    let all = |is_plain: fn(&[u8; 4]) -> bool| units.len() >= 2 && rest.is_empty() && units.iter().all(is_plain);
    let is_big = match marked {
        Some(is_big) => is_big,
        None if named => !label.is_some_and(|label| label.ends_with("le")) && !all(|unit| unit[2..] == [0, 0]),
        None if all(|unit| unit[0] != 0 && unit[1..] == [0, 0, 0]) => false,
        None if all(|unit| unit[..3] == [0, 0, 0] && unit[3] != 0) => true,
        None => return None,
    };
    let character = |unit: &[u8; 4]| {
        let number = match is_big {
            true => u32::from_be_bytes(*unit),
            false => u32::from_le_bytes(*unit),
        };
        char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    let text: String = units.iter().map(character).collect();
    let wrong = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
    // What only calls itself so is read as what it looks like.
    let fits = wrong * 2 <= units.len() && (rest.is_empty() || wrong == 0);
    (fits && !units.is_empty()).then(|| text.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_utf_8_or_windows_1252() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            ("Grüße 🔥".as_bytes(), "Grüße 🔥"),
            (b"Gr\xfc\xdfe", "Grüße"),
            (b"5 \x80 \x96 \x93x\x94", "5 € – “x”"),
        ] {
            assert_eq!(value(bytes), expected);
        }
        assert_eq!(value(&(0..=255).collect::<Vec<u8>>()).chars().count(), 256);
    }

    #[test]
    fn bodies_are_read_by_their_charset_or_by_their_looks() {
        let utf16 = |text: &str, mark: bool| -> Vec<u8> {
            let mark = mark.then_some(0xfeff).into_iter();
            mark.chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
        };
        let utf32 = |text: &str, big: Option<bool>| -> Vec<u8> {
            let characters = big.map(|_| '\u{feff}').into_iter().chain(text.chars());
            let bytes = |c: char| match big {
                Some(true) => u32::from(c).to_be_bytes(),
                Some(false) | None => u32::from(c).to_le_bytes(),
            };
            characters.flat_map(bytes).collect()
        };
        let swapped: Vec<u8> = "disk".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, charset, expected) in [
            (&b"Gr\xfc\xdfe"[..], Some("iso-8859-1"), "Grüße"),
            (b"Gr\xfc\xdfe", Some("\"ISO-8859-15\""), "Grüße"),
            (b"Gr\xfc\xdfe", None, "Grüße"),
            (b"Gr\xfc\xdfe", Some("utf-8"), "Grüße"),
            (b"Gr\xfc\xdfe", Some("no-such-charset"), "Grüße"),
            ("Grüße".as_bytes(), None, "Grüße"),
            ("Grüße".as_bytes(), Some("us-ascii"), "Grüße"),
            ("\u{feff}Grüße".as_bytes(), None, "Grüße"),
            (b"\xd0\xd2\xc9\xd7\xc5\xd4", Some("koi8-r"), "привет"),
            (b"\x93\xfa\x96\x7b", Some("shift_jis"), "日本"),
            (b"disk \xff full", None, "disk ÿ full"),
            (b"Gr\xc3\xbc\xc3\x9fe \xff", None, "Grüße \u{fffd}"),
            (b"half \xc3", None, "half \u{fffd}"),
            (b"half \xf0\x9f\x94", None, "half \u{fffd}"),
            (&utf16("disk voll ü", true), None, "disk voll ü"),
            (&utf16("disk full", false), None, "disk full"),
            (&swapped, None, "disk"),
            (&utf16("日本", false), Some("utf-16le"), "日本"),
            (b"", Some("utf-16"), ""),
            (b"Gr\x81\xe1e", Some("ibm850"), "Grüße"),
            (&utf32("Grüße 🔥", Some(false)), Some("utf-32"), "Grüße 🔥"),
            (&utf32("Grüße 🔥", Some(true)), None, "Grüße 🔥"),
            (&utf32("Grüße 🔥", None), Some("UTF-32LE"), "Grüße 🔥"),
            (&utf32("disk full", None), None, "disk full"),
            (&utf32("disk full", None), Some("no-such-charset"), "disk full"),
            (b"\0\0\0d\0\0\0k", Some("utf-32"), "dk"),
            (b"\0\0\0d\0\0\0k", None, "dk"),
            (b"disk full", Some("utf-32"), "disk full"),
            ("Grüße!".as_bytes(), Some("utf-32be"), "Grüße!"),
        ] {
            assert_eq!(text(bytes, charset), expected, "{bytes:?} {charset:?}");
            assert!(!is_binary(bytes) || charset.is_some(), "{bytes:?}");
        }
    }

    #[test]
    fn files_are_told_from_texts() {
        for bytes in [
            &b"\xff\xd8\xff\xe0\x00\x10JFIF"[..],
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
            b"GIF89a\x01\0\x01\0",
            b"OggS\0\x02",
            b"PK\x03\x04",
            b"\x1f\x8b\x08",
            b"\0\0\0\x20ftypheic",
            b"RIFF\x10\x20\x30\x40WEBP",
            b"abc\0def\xff",
            b"\0\0\0",
            b"\x01\x02\x03\x80\x81",
        ] {
            assert!(is_binary(bytes), "{bytes:?}");
        }
        for bytes in [
            &b""[..],
            b"PK is a text",
            b"%PDF-1.7 conversion failed on srv1",
            b"GIF89a: logo conversion failed",
            b"BZh91 archive broken",
            b"OggS stream stopped",
            b"    ftyp camera stopped",
            b"RIFFxxxxWAVE alert text",
            b"RIFF raff",
            b"./one file\0./another\0",
            b"\x1b[31mred\x1b[0m",
            b"Gr\xfc\xdfe",
            b"\xff\xfeo\0k\0",
            "日本".as_bytes(),
        ] {
            assert!(!is_binary(bytes), "{bytes:?}");
        }
    }
}
