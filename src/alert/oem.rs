//! The code pages of the DOS and Windows command line, which browsers never knew and so `encoding_rs` does not. Scripts
//! there write them and, with luck, say so.

/// The upper halves of code pages 850 and 437, from 0x80 on.
const CP850: &str = concat!(
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐",
    "└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}"
);
const CP437: &str = concat!(
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐",
    "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}"
);

/// The bytes as text, where `label` names such a code page.
pub(super) fn text(bytes: &[u8], label: &str) -> Option<String> {
    let label = label.to_ascii_lowercase().replace(['-', '_'], "");
    let digits = ["ibm", "cp", "dos", "oem"]
        .iter()
        .find_map(|before| label.strip_prefix(before));
    let upper = match digits.unwrap_or(&label) {
        // They differ in the sign of the euro alone.
        "850" | "858" | "00858" => CP850,
        "437" => CP437,
        _ => return None,
    };
    let euro = label.ends_with("858");
    let read = |byte: &u8| match *byte {
        byte if byte.is_ascii() => char::from(byte),
        0xd5 if euro => '€',
        byte => upper
            .chars()
            .nth(usize::from(byte & 0x7f))
            .unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    Some(bytes.iter().map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_a_character() {
        for upper in [CP850, CP437] {
            assert_eq!(upper.chars().count(), 128);
        }
        for (bytes, label, expected) in [
            (&b"Gr\x81\xe1e"[..], "ibm850", "Grüße"),
            (b"Gr\x81\xe1e", "CP-850", "Grüße"),
            (b"Gr\x81\xe1e", "437", "Grüße"),
            (b"5 \xd5", "cp858", "5 €"),
            (b"5 \xd5", "IBM00858", "5 €"),
            (b"5 \xd5", "cp850", "5 ı"),
            (b"\xc9\xcd\xbb", "cp437", "╔═╗"),
            (b"\xff\x80", "cp850", "\u{a0}Ç"),
        ] {
            assert_eq!(text(bytes, label).as_deref(), Some(expected), "{label}");
        }
        for label in ["utf-8", "windows-1252", "ibm866", "", "8501"] {
            assert_eq!(text(b"x", label), None, "{label}");
        }
    }
}
