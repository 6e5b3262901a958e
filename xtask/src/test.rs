//! `cargo xtask test`: the tests, as a contributor runs them.

use crate::{failure::Failure, run};

/// Runs every test of the workspace, with the features that are off by default; before that calls as most have them, without. Nothing
/// follows cargo's own summary.
pub(crate) fn run() -> Result<(), Failure> {
    run::must(&mut run::cargo(&["test", "-p", "strait-rpc", "--lib", "--tests"]))?;
    run::must(&mut run::cargo(&["test", "--workspace", "--all-features"]))
}
