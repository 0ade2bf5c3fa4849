//! Pictures: `tautline::media::fuzzing::picture_of`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tautline::media::fuzzing::picture_of(data);
});
