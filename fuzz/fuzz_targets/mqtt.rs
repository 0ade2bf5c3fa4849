//! All that a broker says: `tautline::mqtt::fuzzing::broker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tautline::mqtt::fuzzing::broker(std::time::Instant::now(), data);
});
