//! Jitter. Enough to keep a fleet from moving in step, and nothing to keep a secret with.

use std::time::Duration;

/// A xorshift64, started from a spread seed: neighbouring seeds must not give neighbouring jitter.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero is the generator's one fixed point.
        Self((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1)
    }

    /// From `min` to below `max`.
    pub(crate) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        min + max.saturating_sub(min).mul_f64(self.share())
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f64 / f64::from(1u32 << 24)
    }

    /// Another generator's seed.
    pub(crate) fn fork(&mut self) -> u64 {
        let _ = self.share();
        self.0
    }
}
