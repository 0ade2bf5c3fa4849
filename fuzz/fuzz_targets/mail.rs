//! Mails: `tautline::dialect::fuzzing::mail`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tautline::dialect::fuzzing::mail(data);
});
