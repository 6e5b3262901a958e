//! Whether the primitives really need no standard library.

use crate::{failure::Failure, run};

/// The package in `xtask/no-std` is a program without the standard library, with a panic handler of its own. A crate that
/// brings the standard library along brings a second one, and the build fails.
///
/// It is built without an allocator and with one; and once with the standard library, to see that this fails.
pub(crate) fn check() -> Result<(), Failure> {
    run::must(&mut build(&[]))?;
    run::must(&mut build(&["--features", "alloc"]))?;
    let mut with_std = build(&["--features", "std", "--quiet"]);
    let output = with_std.output().map_err(|error| Failure::because("cargo could not be started".to_owned(), error))?;
    if output.status.success() {
        return Err(Failure::DidNotHold("a program with the standard library passes as one without it".to_owned()));
    }
    let message = String::from_utf8_lossy(&output.stderr);
    if !message.contains("panic_impl") {
        return Err(Failure::DidNotHold(format!(
            "a program with the standard library fails for another reason: {message}"
        )));
    }
    println!("the primitives build without the standard library; with it, the compiler finds two panic handlers");
    Ok(())
}

fn build(features: &[&str]) -> std::process::Command {
    let mut command = run::cargo(&["build", "--locked", "--manifest-path", "xtask/no-std/Cargo.toml"]);
    command.args(features).env("CARGO_TARGET_DIR", run::target_dir().join("no-std"));
    command
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_primitives_need_no_standard_library() {
        super::check().unwrap();
    }
}
