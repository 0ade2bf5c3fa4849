//! The reader of backups, and what a restore makes of one: `tautline::store::fuzzing::backup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tautline::store::fuzzing::backup(data));
