//! The reader of backups, and what a restore makes of one: `tautline::state::fuzzing::backup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tautline::state::fuzzing::backup(data));
