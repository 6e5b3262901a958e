//! What is there of the nightly toolchain, which nothing but sanitizers and libFuzzer needs.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{failure::Failure, run};

/// The machine that this runs on, as compilers name it.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Whether `cargo +nightly` builds with `sanitizer`; else why not.
pub(crate) fn has(sanitizer: &str) -> Result<(), String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err(format!("sanitizers are tried on {TARGET} alone"));
    }
    let mut rustc = Command::new("rustc");
    let output =
        rustc.args(["+nightly", "--print", "target-libdir", "--target", TARGET]).stderr(Stdio::null()).output();
    let directory = match output {
        Ok(output) if output.status.success() => PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()),
        _ => return Err("there is no nightly toolchain (rustup toolchain install nightly)".into()),
    };
    let names = std::fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let runtime = format!("rt.{sanitizer}.a");
    let found = names.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(&runtime));
    if found { Ok(()) } else { Err(format!("the nightly toolchain has no runtime of this sanitizer ({runtime})")) }
}

/// `cargo +nightly`, in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let stable = run::cargo(arguments);
    // The cargo that runs this is stable's own; the one that rustup puts on the path takes a toolchain by name.
    let mut nightly = Command::new("cargo");
    nightly.current_dir(run::root()).arg("+nightly").args(arguments);
    for (name, _) in stable.get_envs().filter(|(_, value)| value.is_none()) {
        nightly.env_remove(name);
    }
    for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC"] {
        nightly.env_remove(name);
    }
    nightly
}

/// Says that something was not done, and why: never silently.
pub(crate) fn skipped(what: &str, why: &str) -> Result<(), Failure> {
    println!("skipped: {what}: {why}");
    Ok(())
}
