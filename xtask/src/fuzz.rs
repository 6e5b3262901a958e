//! `cargo xtask fuzz`: every fuzz target, with libFuzzer where it is there and with a plain mutator where it is not.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{failure::Failure, nightly, run};

/// Try to break what reads a peer's bytes, with inputs that nobody thought of.
///
/// Each target takes bytes and checks a promise: envelope, rpc header, handshake, rings, queue cells, snapshots, memory from
/// a peer, archives, configurations. With cargo-fuzz and a nightly toolchain, libFuzzer looks for inputs that reach new
/// code, under AddressSanitizer. Without, or with --stable, the same targets run with inputs made from the kept ones
/// (fuzz/corpus) by a mutator that sees no coverage.
///
/// It exits with 1 where a target found something; the input is kept below target/fuzz, and the way to run it again is shown.
/// Put it into fuzz/corpus/TARGET when it is mended: then `cargo xtask test` runs it.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask fuzz --seconds 10\n  cargo xtask fuzz ring_consumer --seconds 600\n  \
                        cargo xtask fuzz --stable --seed 7"
)]
pub(crate) struct Args {
    /// Targets; all where none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Seconds of each target
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Where to begin
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,
    /// With the plain mutator, though cargo-fuzz may be there
    #[arg(long)]
    stable: bool,
}

impl Args {
    /// A short run, for `cargo xtask ci`: the targets are built once, without a second toolchain.
    pub(crate) fn short() -> Self {
        Self { targets: Vec::new(), seconds: 2, seed: 1, stable: true }
    }
}

/// Runs the targets, one after the other.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let known = known()?;
    if let Some(unknown) = args.targets.iter().find(|name| !known.contains(name)) {
        return Err(Failure::Usage(format!("no fuzz target `{unknown}`; there are: {}", known.join(", "))));
    }
    let targets = if args.targets.is_empty() { &known } else { &args.targets };
    let seconds = u64::from(args.seconds) * targets.len() as u64;
    println!("{} targets, {} s each: {seconds} s and the time to build them", targets.len(), args.seconds);
    let missing = if args.stable { Err("asked for with --stable".to_owned()) } else { has_libfuzzer() };
    match missing {
        Ok(()) => targets.iter().try_for_each(|target| with_libfuzzer(target, args)),
        Err(why) => {
            println!("without coverage: {why}; the same targets run with inputs made from the kept ones");
            with_mutator(targets, args)
        }
    }
}

/// The names of the targets: of the files in `fuzz/fuzz_targets`.
fn known() -> Result<Vec<String>, Failure> {
    let directory = run::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&directory).map_err(|error| Failure::because(directory.display(), error))?;
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_string_lossy().strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn has_libfuzzer() -> Result<(), String> {
    let cargo_fuzz = Command::new("cargo-fuzz").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !cargo_fuzz.is_ok_and(|status| status.success()) {
        return Err("cargo-fuzz is not installed (cargo install cargo-fuzz)".into());
    }
    nightly::has("asan")
}

/// What is built and found, out of the way of the kept inputs.
fn scratch() -> PathBuf {
    run::target_dir().join("fuzz")
}

fn with_libfuzzer(target: &str, args: &Args) -> Result<(), Failure> {
    println!("-- {target}");
    let new = scratch().join("corpus").join(target);
    let artifacts = scratch().join("artifacts").join(target);
    for directory in [&new, &artifacts] {
        std::fs::create_dir_all(directory).map_err(|error| Failure::because(directory.display(), error))?;
    }
    let mut command = nightly::cargo(&["fuzz", "run", "--fuzz-dir", "fuzz", "--target-dir"]);
    // The first directory takes new inputs, the second is read.
    command.arg(scratch()).arg(target).arg(new).arg(run::root().join("fuzz/corpus").join(target));
    command.arg("--").arg(format!("-max_total_time={}", args.seconds)).arg(format!("-seed={}", args.seed));
    command.args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0"]);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    // What a sanitizer cannot see into is done in plain steps.
    run::must(command.env("RUSTFLAGS", "--cfg strait_sanitize"))
}

fn with_mutator(targets: &[String], args: &Args) -> Result<(), Failure> {
    const PACKAGE: &str = "strait-fuzz-bodies";
    run::must(&mut run::cargo(&["build", "--quiet", "--package", PACKAGE]))?;
    for target in targets {
        let mut command = Command::new(run::target_dir().join("debug").join(PACKAGE));
        command.arg(target).args(["--seconds", &args.seconds.to_string(), "--seed", &args.seed.to_string()]);
        command.arg("--artifacts").arg(scratch().join("artifacts"));
        run::must(&mut command).map_err(|failure| {
            let again = format!("run it again with `cargo run -p {PACKAGE} -- {target} --input FILE`");
            Failure::DidNotHold(format!("{failure}; {again}"))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_there_is_not_is_wrong_usage_and_says_which_there_are() {
        let args = Args { targets: vec!["nothing".into()], seconds: 2, seed: 1, stable: true };
        let Err(Failure::Usage(message)) = run(&args) else { panic!("it is not there") };
        assert!(message.contains("`nothing`") && message.contains("ring_consumer"), "{message}");
    }
}
