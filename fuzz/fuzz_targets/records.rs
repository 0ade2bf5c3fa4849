//! Every record's decoder: `tautline::state::fuzzing::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tautline::state::fuzzing::records(data));
