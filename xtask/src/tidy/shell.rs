//! Shell samples in Markdown pages: what they name is there.
//!
//! Of `cargo xtask …` the whole command must be one that this program understands; of other `cargo` commands the packages,
//! programs, examples and tests must exist; of `strait …` the command; and of any command the paths into this repository.
//! In running text the names and flags of `cargo xtask …` are looked at.

use std::{iter::Peekable, path::Path};

use clap::{CommandFactory, Parser, error::ErrorKind};

use super::{Finding, markdown::Page, targets::Targets};
use crate::Cli;

/// The languages of fences that hold commands.
const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

/// Checks the commands of one page.
pub(super) fn check(root: &Path, file: &Path, page: &Page, targets: &Targets) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |line: usize, wrong: Option<String>| {
        findings.extend(wrong.map(|message| Finding { file: file.to_path_buf(), line, message }));
    };
    for fence in page.fences.iter().filter(|fence| SHELLS.contains(&fence.language())) {
        for (line, text) in logical_lines(&fence.code) {
            let Some(words) = shlex::split(&text) else {
                found(fence.line + line, Some(format!("`{text}`: a quote is not closed")));
                continue;
            };
            for command in words.split(|word| ["|", "&&", "||", ";", "&"].contains(&word.as_str())) {
                found(fence.line + line, wrong_command(root, command, targets));
            }
        }
    }
    for (line, span) in &page.spans {
        found(*line, wrong_span(span));
    }
    findings
}

/// The lines of a script with their numbers from 0, a line that ends in `\` being one with the next; without prompts.
fn logical_lines(code: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in code.lines().enumerate() {
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let (from, mut text) = open.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\') {
            Some(more) => {
                text.push_str(more);
                open = Some((from, text));
            }
            None => {
                text.push_str(line);
                lines.push((from, text));
            }
        }
    }
    lines.extend(open);
    lines
}

/// What a command names that is not there.
fn wrong_command(root: &Path, words: &[String], targets: &Targets) -> Option<String> {
    let assignment =
        |word: &&String| word.split_once('=').is_some_and(|(name, _)| name.chars().all(super::source::is_word));
    let command: Vec<&str> = words.iter().skip_while(assignment).map(String::as_str).collect();
    let wrong = match &command[..] {
        ["cargo", "xtask", rest @ ..] => wrong_xtask(rest),
        ["cargo", rest @ ..] => wrong_cargo(rest, targets),
        ["strait", rest @ ..] => wrong_strait(rest.first().copied(), targets),
        _ => None,
    };
    wrong.or_else(|| {
        let missing = command.iter().find(|word| leads_nowhere(root, word))?;
        Some(format!("`{missing}` is not in the repository"))
    })
}

/// Whether a word is a path whose first part is in the repository, and the whole is not.
fn leads_nowhere(root: &Path, word: &str) -> bool {
    let Some((first, _)) = word.trim_start_matches("./").split_once('/') else { return false };
    let ours = !first.is_empty() && !first.starts_with(['.', '~', '$']) && !first.starts_with("target");
    ours && root.join(first).exists() && !root.join(word).exists()
}

fn wrong_xtask(arguments: &[&str]) -> Option<String> {
    let error = Cli::try_parse_from(["cargo xtask"].iter().chain(arguments)).err()?;
    let told = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let first = error.to_string().lines().next().unwrap_or_default().to_owned();
    (!told).then(|| format!("`cargo xtask {}`: {first}", arguments.join(" ")))
}

/// What a command of cargo names, that is not there. What follows `--` is the program's own.
fn wrong_cargo(arguments: &[&str], targets: &Targets) -> Option<String> {
    let ours = arguments.iter().copied().take_while(|word| *word != "--").collect::<Vec<_>>();
    let package = value(&mut ours.iter().copied().peekable(), &["-p", "--package"]);
    if let Some(package) = package.filter(|package| !targets.has_package(package)) {
        return Some(format!("there is no package `{package}`"));
    }
    ["--bin", "--example", "--test"].into_iter().find_map(|kind| {
        let name = value(&mut ours.iter().copied().peekable(), &[kind])?;
        let there = targets.has(&kind[2..], package, name);
        (!there).then(|| {
            format!("`{kind} {name}`: there is none{}", package.map(|of| format!(" in {of}")).unwrap_or_default())
        })
    })
}

/// What follows one of `options`, as a word of its own or behind `=`.
fn value<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, options: &[&str]) -> Option<&'a str> {
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some((option, value)) if options.contains(&option) => return Some(value),
            _ if options.contains(&word) => return words.peek().copied(),
            _ => {}
        }
    }
    None
}

/// A command of `strait` that there is not. Where the program is not part of the workspace, there is nothing to compare with.
fn wrong_strait(command: Option<&str>, targets: &Targets) -> Option<String> {
    let command = command.filter(|command| !command.starts_with('-'))?;
    let known = targets.strait_commands();
    let names = || known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    (!known.is_empty() && !known.contains(command)).then(|| format!("`strait {command}`: there are {}", names()))
}

/// What running text names that is not there. Placeholders, such as `cargo xtask loom CRATE`, are left alone.
fn wrong_span(span: &str) -> Option<String> {
    let words: Vec<&str> = span.split_whitespace().collect();
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    match &words[..] {
        ["cargo", "xtask", name, rest @ ..] if is_name(name) && !name.starts_with('-') => {
            let cli = Cli::command();
            let Some(command) = cli.find_subcommand(name) else {
                return Some(format!("there is no `cargo xtask {name}`"));
            };
            let known = |flag: &str| command.get_arguments().any(|argument| argument.get_long() == Some(flag));
            let flags = rest.iter().filter_map(|word| word.trim_start_matches('[').strip_prefix("--"));
            let mut names =
                flags.map(|flag| flag.trim_end_matches(']')).filter(|flag| !flag.is_empty() && *flag != "help");
            names.find(|flag| !known(flag)).map(|flag| format!("`cargo xtask {name}` has no --{flag}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lines(text: &str, expected: &[usize]) {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        write("crates/a/Cargo.toml", "[package]\nname = \"strait-a\"\n");
        write("crates/a/src/main.rs", "");
        write("crates/a/src/bin/b.rs", "");
        write("crates/a/examples/c.rs", "");
        write("crates/a/tests/loom_d.rs", "");
        write("crates/strait-cli/Cargo.toml", "[package]\nname = \"strait-cli\"\n\n[[bin]]\nname = \"strait\"\n");
        write("crates/strait-cli/src/main.rs", "#[derive(Debug, Subcommand)]\nenum Command { Top(top::Args) }");
        let files = super::super::files_below(root.path()).unwrap();
        let targets = Targets::of(root.path(), &files).unwrap();
        let found = check(root.path(), Path::new("page.md"), &Page::parse(text), &targets);
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), expected, "of {text:?}: {found:?}");
    }

    #[test]
    fn commands_of_xtask_are_understood_as_they_stand() {
        lines("```sh\ncargo xtask tidy\ncargo xtask tydi\ncargo xtask crash --seconds 5 # all\n```", &[3]);
        lines("```sh\nA=1 cargo xtask demo --clients many\ncargo xtask ci --help && cargo xtask ic\n```", &[2, 3]);
        lines("```sh\ncargo xtask demo \\\n  --clients 1 \\\n  --payload 5\n```", &[2]);
        lines("```text\ncargo xtask tydi\n```", &[]);
    }

    #[test]
    fn running_text_names_what_there_is() {
        lines("`cargo xtask tidy`, `cargo xtask loom CRATE`, `cargo xtask demo [--clients N] [--json]`", &[]);
        lines("`cargo xtask tydi`\n`cargo xtask demo --klients N`\n`cargo xtask X`", &[1, 2]);
    }

    #[test]
    fn packages_programs_examples_and_tests_exist() {
        lines(
            "```sh\ncargo test -p strait-a --test loom_d\ncargo test -p strait-b\ncargo test --test gone\n```",
            &[3, 4],
        );
        lines("```sh\ncargo run --bin b -- --bin z\ncargo run --bin strait-a\ncargo run --bin z\n```", &[4]);
        lines("```sh\ncargo run -p strait-cli --bin strait\ncargo run -p strait-a --bin strait\n```", &[3]);
        lines("```sh\ncargo run --example c\ncargo run --example=z\ncargo test --test 'loom_*' --test 'x*'\n```", &[3]);
    }

    #[test]
    fn commands_of_strait_exist() {
        lines("```sh\nproducer | strait top --once\nstrait pot\nstrait --help\n```", &[3]);
    }

    #[test]
    fn paths_into_the_repository_exist() {
        lines("```sh\nls crates/a/src\ncat crates/a/gone.rs\ncat /etc/x ../crates/y target/z docs/w\n```", &[3]);
    }

    #[test]
    fn an_open_quote_is_found() {
        lines("```sh\necho 'a\n```", &[2]);
    }
}
