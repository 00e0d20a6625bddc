//! The collector that tcollector runs; see the library of the same name.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    psstat_tcollector::main()
}
