//! What a file is, from its first bytes.

use crate::alert::MediaKind;

/// What the content says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileType {
    pub mime: &'static str,
    pub kind: MediaKind,
}

/// How many bytes of a file are enough.
pub const HEAD_BYTES: usize = 64;

/// By the first bytes: those, what it is, how the apps show it.
const STARTS: &[(&[u8], &str, MediaKind)] = &[
    (b"\xff\xd8\xff", "image/jpeg", MediaKind::Image),
    (b"\x89PNG\r\n\x1a\n", "image/png", MediaKind::Image),
    // The apps take these as stickers or as videos, and otherwise not.
    (b"GIF87a", "image/gif", MediaKind::Document),
    (b"GIF89a", "image/gif", MediaKind::Document),
    (b"BM", "image/bmp", MediaKind::Document),
    (b"ID3", "audio/mpeg", MediaKind::Audio),
    (b"\xff\xfb", "audio/mpeg", MediaKind::Audio),
    (b"\xff\xf3", "audio/mpeg", MediaKind::Audio),
    (b"\xff\xf2", "audio/mpeg", MediaKind::Audio),
    (b"\xff\xf1", "audio/aac", MediaKind::Audio),
    (b"\xff\xf9", "audio/aac", MediaKind::Audio),
    (b"#!AMR", "audio/amr", MediaKind::Audio),
    (b"\x1aE\xdf\xa3", "video/webm", MediaKind::Document),
    (b"fLaC", "audio/flac", MediaKind::Document),
    (b"%PDF-", "application/pdf", MediaKind::Document),
    (b"PK\x03\x04", "application/zip", MediaKind::Document),
    (b"\x1f\x8b", "application/gzip", MediaKind::Document),
];

/// What `bytes`, the start of a file or all of it, are.
pub fn file_type(bytes: &[u8]) -> FileType {
    let of = |mime, kind| FileType { mime, kind };
    if let Some(brand) = bytes.get(8..12).filter(|_| bytes.get(4..8) == Some(b"ftyp")) {
        return match brand {
            b"heic" | b"heix" | b"heim" | b"heis" | b"mif1" | b"msf1" => of("image/heic", MediaKind::Document),
            b"avif" | b"avis" => of("image/avif", MediaKind::Document),
            b"M4A " | b"M4B " => of("audio/mp4", MediaKind::Audio),
            b"qt  " => of("video/quicktime", MediaKind::Document),
            _ if brand.starts_with(b"3g") => of("video/3gpp", MediaKind::Video),
            _ => of("video/mp4", MediaKind::Video),
        };
    }
    if bytes.starts_with(b"OggS") {
        // The apps play Opus alone.
        return match bytes.windows(8).take(HEAD_BYTES).any(|at| at == b"OpusHead") {
            true => of("audio/ogg", MediaKind::Audio),
            false => of("application/ogg", MediaKind::Document),
        };
    }
    if bytes.starts_with(b"RIFF") {
        return match bytes.get(8..12) {
            Some(b"WEBP") => of("image/webp", MediaKind::Document),
            Some(b"WAVE") => of("audio/wav", MediaKind::Document),
            _ => of("application/octet-stream", MediaKind::Document),
        };
    }
    let known = STARTS.iter().find(|(start, ..)| bytes.starts_with(start));
    match known {
        Some((_, mime, kind)) => of(mime, *kind),
        None if !crate::alert::charset::is_binary(bytes) => of("text/plain", MediaKind::Document),
        None => of("application/octet-stream", MediaKind::Document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_says_what_a_file_is() {
        for (bytes, mime, kind) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], "image/jpeg", MediaKind::Image),
            (b"\x89PNG\r\n\x1a\n\0\0", "image/png", MediaKind::Image),
            (b"\0\0\0\x20ftypisom\0\0", "video/mp4", MediaKind::Video),
            (b"\0\0\0\x20ftypheic\0\0", "image/heic", MediaKind::Document),
            (b"\0\0\0\x20ftypM4A \0\0", "audio/mp4", MediaKind::Audio),
            (
                b"OggS\0\x02........................OpusHead",
                "audio/ogg",
                MediaKind::Audio,
            ),
            (
                b"OggS\0\x02........................vorbis--",
                "application/ogg",
                MediaKind::Document,
            ),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav", MediaKind::Document),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", MediaKind::Document),
            (b"ID3\x04\0", "audio/mpeg", MediaKind::Audio),
            (b"%PDF-1.7", "application/pdf", MediaKind::Document),
            (b"disk full", "text/plain", MediaKind::Document),
            (b"\0\x01\x02\x03", "application/octet-stream", MediaKind::Document),
            (b"", "text/plain", MediaKind::Document),
        ] {
            assert_eq!(file_type(bytes), FileType { mime, kind }, "{bytes:?}");
        }
    }
}
