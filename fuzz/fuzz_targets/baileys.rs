//! The files of another program's login: `tautline::state::fuzzing::baileys`.
#![no_main]

/// A login of a lab server: its keys open nothing.
const CREDS: &[u8] = include_bytes!("../../tests/fixtures/baileys/auth/creds.json");

libfuzzer_sys::fuzz_target!(|data: &[u8]| tautline::state::fuzzing::baileys(CREDS, data));
