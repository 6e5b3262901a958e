//! What commands can name: the packages of the repository with their programs, examples and tests, and the commands of `strait`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::source;

/// What is there to be named.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// The names of packages, by their directory.
    packages: BTreeMap<PathBuf, String>,
    /// Kind (`bin`, `example`, `test`), package and name.
    targets: BTreeSet<(&'static str, String, String)>,
    strait_commands: BTreeSet<String>,
}

impl Targets {
    /// Looks through `files`, paths from `root`.
    pub(super) fn of(root: &Path, files: &[PathBuf]) -> io::Result<Self> {
        let mut all = Self::default();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
            if let Some((package, rest)) = all.package_of(root, file)? {
                all.targets.extend(target(&rest).map(|(kind, name)| match name {
                    Some(name) => (kind, package.clone(), name),
                    None => (kind, package.clone(), package.clone()),
                }));
            }
            if file.starts_with("crates/strait-cli/src") {
                all.strait_commands.extend(subcommands(&fs::read_to_string(root.join(file))?));
            }
        }
        Ok(all)
    }

    /// Whether a package is called so.
    pub(super) fn has_package(&self, name: &str) -> bool {
        self.packages.values().any(|package| package == name)
    }

    /// Whether `package`, or any where there is none, has such a target. A `*` at the end of the name stands for anything.
    pub(super) fn has(&self, kind: &str, package: Option<&str>, name: &str) -> bool {
        self.targets.iter().any(|(its_kind, its_package, its_name)| {
            let named = name.strip_suffix('*').map_or(name == its_name, |start| its_name.starts_with(start));
            named && *its_kind == kind && package.is_none_or(|package| package == its_package)
        })
    }

    /// The commands of `strait`; none where that program is not here.
    pub(super) fn strait_commands(&self) -> &BTreeSet<String> {
        &self.strait_commands
    }

    /// The package that a file belongs to, and the file's path in there.
    fn package_of(&mut self, root: &Path, file: &Path) -> io::Result<Option<(String, PathBuf)>> {
        for directory in file.ancestors().skip(1) {
            if !self.packages.contains_key(directory) {
                self.read_manifest(root, directory)?;
            }
            if let Some(package) = self.packages.get(directory) {
                return Ok(Some((package.clone(), file.strip_prefix(directory).unwrap_or(file).to_path_buf())));
            }
        }
        Ok(None)
    }

    /// Takes in the package in `directory`, if there is one, and the programs that its manifest names.
    fn read_manifest(&mut self, root: &Path, directory: &Path) -> io::Result<()> {
        let manifest = root.join(directory).join("Cargo.toml");
        if !manifest.exists() {
            return Ok(());
        }
        let table: toml::Table = fs::read_to_string(manifest)?.parse().map_err(io::Error::other)?;
        let name = |table: &toml::Value| table.get("name").and_then(toml::Value::as_str).map(str::to_owned);
        if let Some(package) = table.get("package").and_then(name) {
            let programs = table.get("bin").and_then(toml::Value::as_array).into_iter().flatten().filter_map(name);
            self.targets.extend(programs.map(|program| ("bin", package.clone(), program)));
            self.packages.insert(directory.to_path_buf(), package);
        }
        Ok(())
    }
}

/// What a file in a package is a target of: its kind, and its name if that is not the package's.
fn target(file: &Path) -> Option<(&'static str, Option<String>)> {
    let parts: Vec<_> = file.iter().map(|part| part.to_string_lossy()).collect();
    let parts: Vec<&str> = parts.iter().map(|part| part.as_ref()).collect();
    let (kind, rest) = match &parts[..] {
        ["src", "main.rs"] => return Some(("bin", None)),
        ["src", "bin", rest @ ..] => ("bin", rest),
        ["examples", rest @ ..] => ("example", rest),
        ["tests", rest @ ..] => ("test", rest),
        _ => return None,
    };
    match rest {
        [file] => file.strip_suffix(".rs").map(|name| (kind, Some(name.to_owned()))),
        [directory, "main.rs"] => Some((kind, Some((*directory).to_owned()))),
        _ => None,
    }
}

/// The variants of every enum in `text` that derives clap's `Subcommand`, as one types them.
fn subcommands(text: &str) -> Vec<String> {
    let code = source::code(text);
    let mut names = Vec::new();
    for (at, _) in code.match_indices("#[derive(") {
        let Some((derived, rest)) = code[at..].split_once(")]") else { continue };
        let next = rest.split_once('{').map(|(head, body)| (head.contains("enum "), body));
        if let (Some((true, body)), true) = (next, derived.contains("Subcommand")) {
            names.extend(variants(body).map(|name| kebab(&name)));
        }
    }
    names
}

/// The names of the variants in the body of an enum, which ends at its closing brace.
fn variants(body: &str) -> impl Iterator<Item = String> {
    let (mut depth, mut awaited, mut names) = (0_usize, true, vec![]);
    for c in body.chars() {
        match c {
            '}' if depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => awaited = true,
            c if depth == 0 && source::is_word(c) => {
                if std::mem::take(&mut awaited) {
                    names.push(String::new());
                }
                names.last_mut().expect("the first word begins one").push(c);
            }
            _ => {}
        }
    }
    names.into_iter()
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_uppercase() && index > 0 {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_subcommands_are_commands() {
        let text = "#[derive(Debug, Subcommand)]\npub(crate) enum Command {\n    /// Help, with (a) comma.\n    \
                    #[command(flatten, name = \"x\")]\n    Top(Args),\n    ReadMe { a: u8, b: Vec<u8> },\n    Ls,\n}\n\
                    #[derive(Debug)]\nenum Other { No }\n#[derive(Args)]\nstruct Subcommand { no: u8 }\n";
        assert_eq!(subcommands(text), ["top", "read-me", "ls"]);
    }

    #[test]
    fn targets_are_found_where_cargo_finds_them() {
        let named = |kind, name: &str| Some((kind, Some(name.to_owned())));
        assert_eq!(target(Path::new("src/main.rs")), Some(("bin", None)));
        assert_eq!(target(Path::new("src/bin/a.rs")), named("bin", "a"));
        assert_eq!(target(Path::new("tests/a/main.rs")), named("test", "a"));
        assert_eq!(target(Path::new("tests/a/part.rs")), None);
        assert_eq!(target(Path::new("src/lib.rs")), None);
    }
}
