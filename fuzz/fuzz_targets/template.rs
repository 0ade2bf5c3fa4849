//! Templates: `tautline::dialect::fuzzing::template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tautline::dialect::fuzzing::template(data);
});
