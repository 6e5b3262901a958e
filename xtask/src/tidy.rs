//! `cargo xtask tidy`: the rules of the house that no compiler checks.

mod book;
mod licences;
mod links;
mod markdown;
mod rules;
mod shell;
mod source;
mod targets;
mod trees;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use self::{markdown::Page, targets::Targets};
use crate::{failure::Failure, run};

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// The file, from the root of the workspace.
    file: PathBuf,
    /// The line, from 1.
    line: usize,
    /// What is wrong, and what to do.
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// Checks every file of the workspace, and prints what it finds.
pub(crate) fn run() -> Result<(), Failure> {
    let root = run::root();
    let (mut findings, files) =
        check(&root).map_err(|error| Failure::because(format!("cannot read {}", root.display()), error))?;
    findings.extend(trees::check()?);
    findings.extend(licences::check()?);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {files} files hold to the rules");
            Ok(())
        }
        count => Err(Failure::DidNotHold(format!("tidy found {count} places that break a rule of the house"))),
    }
}

/// Every finding below `root`, and how many files were read.
fn check(root: &Path) -> std::io::Result<(Vec<Finding>, usize)> {
    let mut findings = Vec::new();
    for directory in fs::read_dir(root.join("crates"))? {
        findings.extend(crate_has_what_it_needs(root, &directory?.path()));
    }
    let files = files_below(root)?;
    let targets = Targets::of(root, &files)?;
    for file in &files {
        let text = fs::read_to_string(root.join(file))?;
        if file.extension().is_some_and(|extension| extension == "rs") {
            findings.extend(rules::check(file, &text));
        } else {
            let page = Page::parse(&text);
            findings.extend(links::check(root, file, &page));
            findings.extend(shell::check(root, file, &page, &targets));
        }
    }
    findings.extend(book::check(root, &files)?);
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok((findings, files.len()))
}

/// A README, and the promise of those crates that need no unsafe code.
fn crate_has_what_it_needs(root: &Path, directory: &Path) -> Vec<Finding> {
    const WITHOUT_UNSAFE: [&str; 4] = ["strait", "strait-rpc", "strait-channel", "strait-cli"];
    let at = |file: &str, message: &str| {
        let file = directory.join(file);
        let file = file.strip_prefix(root).unwrap_or(&file).to_path_buf();
        Finding { file, line: 1, message: message.to_owned() }
    };
    let mut findings = Vec::new();
    if !directory.join("README.md").is_file() {
        findings.push(at("README.md", "missing: a crate stands alone, and its README says what it does"));
    }
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if WITHOUT_UNSAFE.contains(&name.as_str()) {
        let root_file = if name == "strait-cli" { "src/main.rs" } else { "src/lib.rs" };
        let text = fs::read_to_string(directory.join(root_file)).unwrap_or_default();
        if !source::code(&text).contains("#![forbid(unsafe_code)]") {
            findings.push(at(root_file, "lacks `#![forbid(unsafe_code)]`: this crate needs no unsafe code"));
        }
    }
    findings
}

/// The Rust and Markdown files below `root`, relative to it; without what is built and what is hidden.
pub(crate) fn files_below(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
                directories.push(entry.path());
            } else if kind.is_file() && (name.ends_with(".rs") || name.ends_with(".md")) {
                let path = entry.path();
                files.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn a_crate_needs_a_readme_and_the_facade_forbids_unsafe() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "crates/strait/src/lib.rs", "//! Not here: #![forbid(unsafe_code)]\n");
        let (findings, files) = check(root.path()).unwrap();
        let found: Vec<_> = findings.iter().map(|finding| finding.file.to_str().unwrap()).collect();
        assert_eq!(found, ["crates/strait/README.md", "crates/strait/src/lib.rs"]);
        assert_eq!(files, 1);

        write(root.path(), "crates/strait/src/lib.rs", "//! The facade.\n#![forbid(unsafe_code)]\n");
        write(root.path(), "crates/strait/README.md", "# strait\n");
        assert_eq!(check(root.path()).unwrap(), (vec![], 2));
    }

    #[test]
    fn what_is_built_or_hidden_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        for file in ["target/a.rs", "target-x/b.rs", ".git/c.md", "docs/d.md", "e.rs", "f.txt"] {
            write(root.path(), file, "");
        }
        assert_eq!(files_below(root.path()).unwrap(), [PathBuf::from("docs/d.md"), PathBuf::from("e.rs")]);
    }
}
