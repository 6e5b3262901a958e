//! `cargo xtask sanitize`: the tests under AddressSanitizer, the stress tests of the primitives under ThreadSanitizer.

use crate::{failure::Failure, nightly, run};

/// Run the tests with a sanitizer of the nightly toolchain.
///
/// AddressSanitizer: the tests of every crate. ThreadSanitizer: the stress tests of the primitives; it sees races of the threads of
/// one process and one mapping, not those between processes. Where the toolchain or a runtime is missing, that part is
/// skipped, and a line says so.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask sanitize\n  cargo xtask sanitize --only address\n  cargo xtask sanitize --short"
)]
pub(crate) struct Args {
    /// One of the two
    #[arg(long, value_enum)]
    only: Option<Sanitizer>,
    /// AddressSanitizer alone, over the primitives and the transport: what `cargo xtask ci` runs
    #[arg(long, conflicts_with = "only")]
    short: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sanitizer {
    Address,
    Thread,
}

impl Args {
    /// The short form, for `cargo xtask ci`.
    pub(crate) fn short() -> Self {
        Self { only: None, short: true }
    }
}

/// What `--short` covers.
const SHORT: &[&str] = &[
    "strait-sync",
    "strait-frame",
    "strait-spsc",
    "strait-mpmc",
    "strait-seqlock",
    "strait-region",
    "strait-transport",
];
/// What else has tests of its own.
const REST: &[&str] = &["strait-rpc", "strait-channel", "strait", "strait-fuzz-bodies"];

/// Tests that threads of one process do to one memory, with atomics alone.
const STRESS: &[(&str, &[&str])] =
    &[("strait-spsc", &["stress", "slots_stress"]), ("strait-mpmc", &["stress"]), ("strait-seqlock", &["stress"])];

/// Runs what was asked for.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.only != Some(Sanitizer::Thread) {
        match nightly::has("asan") {
            Ok(()) => address(args.short)?,
            Err(why) => nightly::skipped("AddressSanitizer", &why)?,
        }
    }
    if args.only != Some(Sanitizer::Address) && !args.short {
        match nightly::has("tsan") {
            Ok(()) => thread()?,
            Err(why) => nightly::skipped("ThreadSanitizer", &why)?,
        }
    }
    Ok(())
}

fn address(short: bool) -> Result<(), Failure> {
    const FLAGS: &str = "-Zsanitizer=address --cfg strait_sanitize";
    println!("-- AddressSanitizer");
    if !short {
        // A test that misses them would build them by itself, without the named target.
        let mut examples = cargo("build", "asan");
        run::must(examples.args(["--package", "strait", "--examples"]).env("RUSTFLAGS", FLAGS))?;
    }
    let mut command = test("asan");
    for package in if short { SHORT.iter().chain(&[]) } else { SHORT.iter().chain(REST) } {
        command.args(["--package", package]);
    }
    command.args(["--lib", "--bins", "--tests", "--no-fail-fast"]);
    if short {
        // How often a primitive is killed: a thousand times in `cargo xtask test`.
        command.env("STRAIT_STORM_ROUNDS", "50");
    }
    // The sanitizer locks no memory for anybody: its mlock(2) does nothing.
    command.args(["--", "--skip", "locked_pages"]);
    command.env("RUSTFLAGS", FLAGS);
    // A child that a test kills, or that ends without unwinding, leaves what it had: leaks are counted elsewhere, by the kernel.
    // Signals that a test expects, for memory that is not there, are left to it; where none is, its process ends all the same.
    command.env("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=1:handle_segv=0:handle_sigbus=0");
    run::must(&mut command)
}

fn thread() -> Result<(), Failure> {
    println!("-- ThreadSanitizer");
    for (package, tests) in STRESS {
        let mut command = test("tsan");
        command.args(["--package", package]);
        for name in *tests {
            command.args(["--test", name]);
        }
        // The standard library is built without; what it is blamed for is in the list.
        command.env("RUSTFLAGS", "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg strait_sanitize");
        // Guards hand on through a lock of the standard library, of which the sanitizer sees nothing.
        command.args(["--", "--skip", "guards_that_end_on_other_threads"]);
        let suppressions = run::root().join("xtask/src/tsan.supp");
        command.env("TSAN_OPTIONS", format!("halt_on_error=1 suppressions={}", suppressions.display()));
        run::must(&mut command)?;
    }
    Ok(())
}

fn test(sanitizer: &str) -> std::process::Command {
    cargo("test", sanitizer)
}

/// `cargo +nightly`, in a directory of its own and for a named target: so that build scripts and macros, which this
/// process runs, are built without.
fn cargo(what: &str, sanitizer: &str) -> std::process::Command {
    let mut command = nightly::cargo(&[what, "--quiet", "--target", nightly::TARGET, "--target-dir"]);
    command.arg(run::target_dir().join(sanitizer));
    command
}
