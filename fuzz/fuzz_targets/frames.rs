//! The log's reader: `tautline::state::fuzzing::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tautline::state::fuzzing::frames(data));
