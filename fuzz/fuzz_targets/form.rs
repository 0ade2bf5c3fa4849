//! Forms, and files in them: `tautline::dialect::fuzzing::form`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tautline::dialect::fuzzing::form(data);
});
