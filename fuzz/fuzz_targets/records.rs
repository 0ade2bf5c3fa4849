//! Every record's decoder: `tautline::store::fuzzing::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tautline::store::fuzzing::records(data));
