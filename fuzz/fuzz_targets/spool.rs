//! Files in the spool: `tautline::spool::fuzzing::entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tautline::spool::fuzzing::entry(data);
});
