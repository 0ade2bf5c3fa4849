//! Numbers of one-time prekeys for a device whose own count is not to be trusted, because what it was copied from ran
//! on.

use crate::store::StoreError;

/// The numbers of prekeys have 24 bits and begin at 1.
pub(super) const PRE_KEY_ID_MAX: u32 = (1 << 24) - 1;

/// How much further on it goes at least. The library makes 812 at a time: more than a device uses up in years.
const AT_LEAST: u32 = 1 << 17;

/// And up to as much again by chance, so that one copy can be used twice: two that then take 812 numbers each share
/// some once in 5000 times.
const SPREAD: u32 = 1 << 23;

/// How far past its own count such a device goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PreKeyOffset(u32);

impl PreKeyOffset {
    /// # Errors
    /// The system gives no random numbers. A fixed one in their place would send every copy to the same numbers.
    pub(crate) fn draw() -> Result<Self, StoreError> {
        match getrandom::u32() {
            Ok(random) => Ok(Self::of(random)),
            Err(error) => Err(StoreError::Read(format!(
                "the system gives no random numbers ({error}), and numbers of new keys must be drawn"
            ))),
        }
    }

    pub(crate) fn of(random: u32) -> Self {
        Self(AT_LEAST + random % SPREAD)
    }

    /// The number to go on with, where `next` would have been the next. They begin again at 1 after 2^24 - 1.
    pub(super) fn past(self, next: u32) -> u32 {
        (next.saturating_add(self.0).saturating_sub(1) % PRE_KEY_ID_MAX) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_stays_within_24_bits() {
        for (next, offset, expected) in [
            (1, 100_000, 100_001),
            (16_777_215, 1, 1),
            (16_777_000, 100_000, 99_785),
            (u32::MAX, 5, 255),
        ] {
            assert_eq!(PreKeyOffset(offset).past(next), expected, "{next} {offset}");
        }
    }

    #[test]
    fn two_copies_hardly_ever_share_a_number() {
        // 812 numbers each: two draws overlap when they differ by less, on either side.
        const { assert!(SPREAD / (2 * 812 - 1) >= 5000) };
        let (least, most) = (PreKeyOffset::of(0), PreKeyOffset::of(u32::MAX));
        assert_eq!((least.past(1), most.past(1)), (AT_LEAST + 1, AT_LEAST + SPREAD));
        // Even the furthest does not come round to the numbers it began with, were they the first million.
        assert!(most.past(1_000_000) > 1_000_000);
        assert_ne!(PreKeyOffset::draw().unwrap(), PreKeyOffset::draw().unwrap());
    }
}
