//! CRC-32C (Castagnoli), one byte at a time: a start reads a few megabytes with it, a commit a few hundred bytes.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    /// The polynomial with its bits reversed.
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ POLYNOMIAL
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// The checksum of `parts`, one after the other.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut value = !0_u32;
    for part in parts {
        for byte in *part {
            value = (value >> 8) ^ TABLE[usize::from(value as u8 ^ byte)];
        }
    }
    !value
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// The check value of the catalogue, and the vectors of RFC 3720, B.4.
    #[test]
    fn known_values() {
        assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xE306_9283);
        assert_eq!(crc32c(&[&[0; 32]]), 0x8A91_36AA);
        assert_eq!(crc32c(&[&[0xFF; 32]]), 0x62A8_AB43);
    }
}
