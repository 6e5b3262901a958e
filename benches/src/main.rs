//! The benchmarks, without other libraries.

use std::process::ExitCode;

fn main() -> ExitCode {
    strait_benches::main(Vec::new())
}
