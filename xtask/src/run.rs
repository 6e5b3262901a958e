//! Running cargo, and where things are.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::failure::Failure;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    xtask.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo builds to.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs this command, in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    // What cargo sets for this process describes xtask; for another package it would be wrong, and make it build anew.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_PRIMARY_PACKAGE" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `command` with this process's output, and wants it to succeed.
pub(crate) fn must(command: &mut Command) -> Result<(), Failure> {
    let line = shown(command);
    let status = command.status().map_err(|error| Failure::because(format!("`{line}` could not be started"), error))?;
    if status.success() { Ok(()) } else { Err(Failure::because(format!("`{line}` failed"), status)) }
}

/// Runs `command` and returns what it wrote to standard output; what it writes to standard error is passed on.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let line = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::because(format!("`{line}` could not be started"), error))?;
    if !output.status.success() {
        return Err(Failure::because(format!("`{line}` failed"), output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| Failure::because(format!("`{line}` did not write text"), error))
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
