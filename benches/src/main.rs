//! The benchmarks, without other libraries.

use std::process::ExitCode;

fn main() -> ExitCode {
    strait_benches::main(strait_benches::Peers::default())
}
