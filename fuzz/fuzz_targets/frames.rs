//! The log's reader: `tautline::store::fuzzing::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tautline::store::fuzzing::frames(data));
