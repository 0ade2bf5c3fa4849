//! Arguments → command → exit code. Everything else is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tautline::cli::main()
}
