//! `cargo xtask bench --report`: the tables and plots of a run in the documentation, and its rows kept beside them.
//!
//! A table of `docs/BENCHMARKS.md` stands between `<!-- bench NAME -->` and `<!-- /bench NAME -->`; what is written around those
//! markers is nobody's but its author's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Args, add_options};
use crate::{failure::Failure, run};

/// Tables, and the scenarios that are in each: calls stand in one table with their floors.
const TABLES: [(&str, &[&str]); 10] = [
    ("calls", &["floor", "rpc", "wake"]),
    ("clients", &["clients"]),
    ("connections", &["connections"]),
    ("stream", &["stream"]),
    ("slow", &["slow"]),
    ("state", &["state"]),
    ("queue", &["queue"]),
    ("primitives", &["primitives"]),
    ("syscalls", &["syscalls"]),
    ("instructions", &["instructions"]),
];

/// The table of the aims, from the rows of all others.
const AIMS: &str = "aims";

/// Runs what was asked for, table by table.
pub(super) fn run(args: &Args, benches: fn() -> Command) -> Result<(), Failure> {
    let document = run::root().join("docs/BENCHMARKS.md");
    let asked = |name: &&str| args.scenarios.is_empty() || args.scenarios.iter().any(|scenario| scenario == name);
    let tables =
        TABLES.map(|(table, scenarios)| (table, scenarios.iter().filter(|name| asked(name)).collect::<Vec<_>>()));
    let tables: Vec<_> = tables.into_iter().filter(|(_, scenarios)| !scenarios.is_empty()).collect();
    // Before an hour is spent: is there a place for each of them?
    let text = read(&document)?;
    for table in tables.iter().map(|(table, _)| *table).chain([AIMS]) {
        replaced(&text, table, "")?;
    }
    let date = run::output(Command::new("date").arg("+%F"))?.trim().to_owned();
    let rows = rows_of(&date, &args.scenarios)?;
    for (table, scenarios) in tables {
        let mut command = benches();
        command.args(&scenarios).arg("--rows").arg(&rows);
        add_options(args, &mut command);
        // A table is kept as it is printed: a failed engine is in it, by that word.
        let ran = command.stderr(std::process::Stdio::inherit()).output();
        let ran = ran.map_err(|error| Failure::because(format!("{table} could not be measured"), error))?;
        let printed = String::from_utf8_lossy(&ran.stdout);
        print!("{printed}");
        if printed.trim().is_empty() {
            return Err(Failure::because(format!("{table} could not be measured"), ran.status));
        }
        let asked = scenarios.iter().map(|name| **name).collect::<Vec<_>>().join(" ");
        let beside = if args.compare { " --compare" } else { "" };
        put(&document, table, &format!("`cargo xtask bench {asked}{beside}`, {date}"), &printed)?;
        if !ran.status.success() {
            eprintln!("error: some of {table} failed; the table says which");
        }
    }
    // The aims are about all of it.
    if args.scenarios.is_empty() {
        let printed = run::output(benches().arg("--aims").arg(&rows))?;
        print!("{printed}");
        put(&document, AIMS, &format!("Of the tables below, {date}"), &printed)?;
    }
    run::must(benches().arg("--plot").arg(&rows).arg("--into").arg(run::root().join("docs/plots")))?;
    println!("rows: {}", rows.display());
    Ok(())
}

/// Puts what was printed into the place of its table.
fn put(document: &Path, table: &str, what: &str, printed: &str) -> Result<(), Failure> {
    let block = format!("{what}, {}\n\n```text\n{}\n```\n", machine(), printed.trim_matches('\n'));
    let text = replaced(&read(document)?, table, &block)?;
    fs::write(document, text).map_err(|error| Failure::because(document.display(), error))
}

fn read(document: &Path) -> Result<String, Failure> {
    fs::read_to_string(document).map_err(|error| Failure::because(document.display(), error))
}

/// The file of this machine, date and, where not all were asked for, these scenarios: begun anew, so that it holds one run.
fn rows_of(date: &str, scenarios: &[String]) -> Result<PathBuf, Failure> {
    let words: Vec<String> = machine()
        .to_lowercase()
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let dir = run::root().join("docs/results");
    let of = scenarios.iter().map(|scenario| format!("-{scenario}")).collect::<String>();
    let rows = dir.join(format!("{}-{date}{of}.jsonl", words.join("-")));
    let begun = fs::create_dir_all(&dir).and_then(|()| fs::write(&rows, ""));
    begun.map(|()| rows).map_err(|error| Failure::because(dir.display(), error))
}

/// The processor, how many of it, and the kernel's version, without what only this installation is called.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let release = read("/proc/sys/kernel/osrelease");
    let version = release.split('.').take(2).collect::<Vec<_>>().join(".");
    format!("{cores} cores of {model}, Linux {}", version.trim())
}

/// The document with another block between the markers of a table.
fn replaced(text: &str, table: &str, block: &str) -> Result<String, Failure> {
    let (begin, end) = (format!("<!-- bench {table} -->"), format!("<!-- /bench {table} -->"));
    let missing =
        || Failure::Usage(format!("docs/BENCHMARKS.md has no place for {table}: expected the lines {begin} and {end}"));
    let (before, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n{block}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_put_between_its_markers_and_nothing_else_changes() {
        let text = "a\n<!-- bench rpc -->\nold\n<!-- /bench rpc -->\nb\n<!-- bench slow -->\n<!-- /bench slow -->\n";
        let new = "a\n<!-- bench rpc -->\nnew\n<!-- /bench rpc -->\nb\n<!-- bench slow -->\n<!-- /bench slow -->\n";
        assert_eq!(replaced(text, "rpc", "new\n").unwrap(), new);
        assert!(matches!(replaced(text, "queue", ""), Err(Failure::Usage(_))));
    }
}
