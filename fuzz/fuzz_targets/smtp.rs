//! All that a client of SMTP says: `tautline::gateway::fuzzing::smtp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tautline::gateway::fuzzing::smtp(data);
});
