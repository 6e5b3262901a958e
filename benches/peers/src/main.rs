//! The benchmarks with other libraries beside ours, in the same run.

mod mpmc;
mod snapshot;
mod spsc;

use std::process::ExitCode;

fn main() -> ExitCode {
    strait_benches::main([spsc::peers(), mpmc::peers(), snapshot::peers()].into_iter().flatten().collect())
}
