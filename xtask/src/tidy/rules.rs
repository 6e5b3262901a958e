//! The rules for Rust files.

use std::path::Path;

use super::{
    Finding,
    source::{code, without_tests, words},
};

/// Longest file in lines.
const MAX_LINES: usize = 700;
/// How far above an `unsafe` its reason may stand.
const SAFETY_REACH_LINES: usize = 8;
/// How far above an atomic ordering its reason may stand.
const ORDERING_REACH_LINES: usize = 10;
/// Macros that mark code as not finished, or as being looked at.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];
/// The atomic orderings, by name.
const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// Checks one Rust file. `file` is its path from the root of the workspace.
pub(super) fn check(file: &Path, text: &str) -> Vec<Finding> {
    let code = code(text);
    let mut findings = Vec::new();
    let mut found = |line: usize, message: String| findings.push(Finding { file: file.to_path_buf(), line, message });
    let lines = text.lines().count();
    if lines > MAX_LINES {
        found(MAX_LINES + 1, format!("{lines} lines, at most {MAX_LINES} allowed: split it by concept"));
    }
    for (index, line) in code.lines().enumerate() {
        for macro_name in UNFINISHED.into_iter().filter(|name| words(line, name).next().is_some()) {
            found(index + 1, format!("`{macro_name}`: finish it, or leave it out"));
        }
    }
    if in_a_crates_source(file) {
        for line in unreasoned_unsafe(text, &code) {
            found(
                line,
                format!("`unsafe` without `SAFETY:` in the {SAFETY_REACH_LINES} lines above: say why it is sound"),
            );
        }
        for line in unreasoned_orderings(text, &code) {
            found(
                line,
                format!(
                    "atomic ordering without `ORDERING` or `SAFETY` in the {ORDERING_REACH_LINES} lines above: \
                     name its partner, or say why it is enough"
                ),
            );
        }
    }
    findings
}

/// Whether the file is `crates/<name>/src/…`.
fn in_a_crates_source(file: &Path) -> bool {
    let mut parts = file.iter();
    parts.next().is_some_and(|part| part == "crates") && parts.nth(1).is_some_and(|part| part == "src")
}

/// The lines of unsafe blocks and implementations that nothing above them justifies.
fn unreasoned_unsafe(text: &str, code: &str) -> Vec<usize> {
    let opens = |line: &str| {
        words(line, "unsafe").any(|at| {
            let rest = line[at + "unsafe".len()..].trim_start();
            rest.starts_with('{') || rest.starts_with("impl ") || rest.starts_with("impl<")
        })
    };
    without_reason(text, code, opens, SAFETY_REACH_LINES, &["SAFETY:"])
}

/// The lines that use an atomic ordering outside tests and imports, and that nothing above them justifies.
fn unreasoned_orderings(text: &str, code: &str) -> Vec<usize> {
    let code = without_imports(&without_tests(code));
    let ordering = |before: &str| before.ends_with("Ordering::") || !before.ends_with("::");
    let uses = |line: &str| ORDERINGS.iter().any(|name| words(line, name).any(|at| ordering(&line[..at])));
    without_reason(text, &code, uses, ORDERING_REACH_LINES, &["ORDERING", "SAFETY"])
}

/// `code` with its `use` items replaced by spaces.
fn without_imports(code: &str) -> String {
    let mut inside = false;
    let mut kept = String::with_capacity(code.len());
    for line in code.lines() {
        let item = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        inside |= item.starts_with("use ");
        if !inside {
            kept.push_str(line);
        }
        inside &= !line.contains(';');
        kept.push('\n');
    }
    kept
}

/// The lines of `code` that `uses` something while no `reason` stands in them or in the `reach` lines above.
fn without_reason(text: &str, code: &str, uses: impl Fn(&str) -> bool, reach: usize, reasons: &[&str]) -> Vec<usize> {
    let text: Vec<&str> = text.lines().collect();
    let reasoned = |index: usize| {
        let above = &text[index.saturating_sub(reach)..=index];
        above.iter().any(|line| reasons.iter().any(|reason| line.contains(reason)))
    };
    let lines = code.lines().enumerate();
    lines.filter(|(index, line)| uses(line) && !reasoned(*index)).map(|(index, _)| index + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lines(file: &str, text: &str, expected: &[usize]) {
        let found: Vec<usize> = check(Path::new(file), text).into_iter().map(|finding| finding.line).collect();
        assert_eq!(found, expected, "of {text:?}");
    }

    const SOURCE: &str = "crates/strait-x/src/ring/cell.rs";

    #[test]
    fn unfinished_code_is_found_and_mentions_are_not() {
        lines("xtask/src/a.rs", "fn a() {\n    todo!(\"later\")\n}", &[2]);
        lines("xtask/src/a.rs", "// todo!(\nlet a = \"dbg!(\"; my_dbg!(a)", &[]);
    }

    #[test]
    fn unsafe_needs_its_reason_near() {
        lines(SOURCE, "// SAFETY: checked above.\nlet a = unsafe { b };", &[]);
        lines(SOURCE, "let a = unsafe { b };", &[1]);
        lines(SOURCE, "unsafe impl Send for A {}\nunsafe impl<T> Sync for B<T> {}", &[1, 2]);
        lines(SOURCE, "/// # Safety\npub unsafe fn a();\npub unsafe trait B {}", &[]);
        lines(SOURCE, &format!("// SAFETY: far.\n{}unsafe {{ a }}", "b;\n".repeat(8)), &[10]);
        lines("crates/strait-x/tests/a.rs", "unsafe { a }", &[]);
    }

    #[test]
    fn orderings_need_their_reason_near() {
        lines(SOURCE, "a.load(Ordering::Acquire);", &[1]);
        lines(SOURCE, "use Ordering::{Acquire,\n    Relaxed};\na.load(Relaxed);", &[3]);
        lines(SOURCE, "// ORDERING: Acquire; pairs with `b`.\na.load(\n    Acquire)", &[]);
        lines(SOURCE, "a.load(Relaxed) // ORDERING: only we write it.", &[]);
        lines(SOURCE, "fence(SeqCst)", &[1]);
    }

    #[test]
    fn other_orderings_tests_and_other_types_need_no_reason() {
        lines(SOURCE, "match a.cmp(b) { Ordering::Less => c, _ => Error::Release }", &[]);
        lines(SOURCE, "struct ReleaseLog;\n#[cfg(test)]\nmod tests { fn a() { b.load(Relaxed); } }", &[]);
        lines("demo/src/a.rs", "a.load(Relaxed)", &[]);
    }

    #[test]
    fn a_file_that_is_too_long_is_found() {
        lines("demo/src/a.rs", &"a\n".repeat(700), &[]);
        lines("demo/src/a.rs", &"a\n".repeat(701), &[701]);
    }
}
