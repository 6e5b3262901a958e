//! `cargo xtask loom`: the models of the lock-free code, and the mutants that must fail.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{failure::Failure, run};

/// Model check the lock-free code: every test file `crates/*/tests/loom_*.rs`.
///
/// A model runs the real code under every interleaving that loom finds within its bounds; beside it stand the mutants, the
/// same code with one ordering or fence weakened, which must fail.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  cargo xtask loom                  every crate that has models\n  \
                        cargo xtask loom strait-sync      one crate")]
pub(crate) struct Args {
    /// The crate to check; all that have models, where none is given
    #[arg(value_name = "CRATE")]
    package: Option<String>,
}

/// Runs the models of the crates that were asked for.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let models = discover(&run::root().join("crates"))?;
    for (package, tests) in select(models, args.package.as_deref())? {
        println!("models of {package}: {}", tests.join(", "));
        let mut command = run::cargo(&["test", "--release", "-p", &package]);
        for test in &tests {
            command.args(["--test", test]);
        }
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        command
            .env("RUSTFLAGS", format!("{flags} --cfg strait_loom").trim_start())
            .env("CARGO_TARGET_DIR", run::target_dir().join("loom"))
            // Models are small and run once: link time optimisation costs more than it gives.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        run::must(&mut command)?;
    }
    Ok(())
}

/// The models, by crate: the files `loom_*.rs` in each crate's `tests` directory.
fn discover(crates: &Path) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let unreadable = |error| Failure::because(format!("cannot list {}", crates.display()), error);
    let mut models = BTreeMap::new();
    for entry in fs::read_dir(crates).map_err(unreadable)? {
        let directory = entry.map_err(unreadable)?;
        let Ok(tests) = fs::read_dir(directory.path().join("tests")) else { continue };
        let mut names: Vec<String> = tests
            .filter_map(Result::ok)
            .filter_map(|test| test.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
            .filter(|name| name.starts_with("loom_"))
            .collect();
        if !names.is_empty() {
            names.sort();
            models.insert(directory.file_name().to_string_lossy().into_owned(), names);
        }
    }
    Ok(models)
}

/// The models of one crate, or all of them.
fn select(
    mut models: BTreeMap<String, Vec<String>>,
    package: Option<&str>,
) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let Some(package) = package else { return Ok(models) };
    match models.remove(package) {
        Some(tests) => Ok(BTreeMap::from([(package.to_owned(), tests)])),
        None => {
            let known = models.into_keys().collect::<Vec<_>>().join(", ");
            Err(Failure::Usage(format!("{package} has no models; the crates that have some are: {known}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates() -> tempfile::TempDir {
        let crates = tempfile::tempdir().unwrap();
        for file in
            ["a/tests/loom_ring.rs", "a/tests/loom_close.rs", "a/tests/words.rs", "b/tests/words.rs", "c/src/lib.rs"]
        {
            let file = crates.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        crates
    }

    #[test]
    fn only_files_named_loom_are_models() {
        let models = discover(crates().path()).unwrap();
        assert_eq!(models, BTreeMap::from([("a".to_owned(), vec!["loom_close".to_owned(), "loom_ring".to_owned()])]));
    }

    #[test]
    fn a_crate_without_models_is_wrong_usage_and_the_others_are_named() {
        let models = discover(crates().path()).unwrap();
        let failure = select(models, Some("b")).unwrap_err();
        assert!(matches!(&failure, Failure::Usage(_)));
        assert_eq!(failure.to_string(), "b has no models; the crates that have some are: a");
    }
}
