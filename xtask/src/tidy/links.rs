//! Relative links in Markdown files.

use std::path::{Component, Path, PathBuf};

use super::Finding;

/// Checks that every relative link of one Markdown file leads to a file or directory below `root`.
pub(super) fn check(root: &Path, file: &Path, text: &str) -> Vec<Finding> {
    let directory = file.parent().unwrap_or(Path::new(""));
    let broken = |target: &str| match resolve(directory, target) {
        None => Some(format!("link to {target} leads out of the repository")),
        Some(path) if !root.join(&path).exists() => Some(format!("link to {target}: there is no {}", path.display())),
        Some(_) => None,
    };
    targets(text)
        .into_iter()
        .filter(|(_, target)| is_relative(target))
        .filter_map(|(line, target)| {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            Some(Finding { file: file.to_path_buf(), line, message: broken(path)? })
        })
        .collect()
}

/// Whether a link's target is a path, and not an address or a place in the same file.
fn is_relative(target: &str) -> bool {
    let scheme = target.split(['/', '#', '?']).next().unwrap_or_default();
    !(target.is_empty() || target.starts_with('#') || scheme.contains(':'))
}

/// The path that a link means, from the root; `None` where it leads above it.
fn resolve(directory: &Path, target: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    let from = if target.starts_with('/') { Path::new("") } else { directory };
    for part in from.components().chain(Path::new(target).components()) {
        match part {
            Component::ParentDir if !path.pop() => return None,
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    Some(path)
}

/// The targets of `[text](target)` and `[name]: target`, with their lines, outside code.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        if mark.is_some() && (fence.is_none() || fence == mark) {
            fence = if fence.is_none() { mark } else { None };
            continue;
        }
        if fence.is_some() {
            continue;
        }
        let prose = without_code_spans(line);
        let inline = prose.match_indices("](").filter_map(|(at, open)| {
            let rest = &prose[at + open.len()..];
            rest.split([')', ' ']).next().map(str::to_owned)
        });
        let definition = prose.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        let definition = definition.and_then(|(_, rest)| rest.split_whitespace().next()).map(str::to_owned);
        let found = inline.chain(definition).map(|target| target.trim_matches(['<', '>']).to_owned());
        targets.extend(found.map(|target| (index + 1, target)));
    }
    targets
}

/// A line without what stands between backquotes.
fn without_code_spans(line: &str) -> String {
    line.split('`').enumerate().filter(|(index, _)| index % 2 == 0).map(|(_, part)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lines(text: &str, expected: &[usize]) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("docs/deep")).unwrap();
        std::fs::write(root.path().join("docs/there.md"), "").unwrap();
        let found = check(root.path(), Path::new("docs/deep/page.md"), text);
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), expected, "of {text:?}: {found:?}");
    }

    #[test]
    fn links_lead_somewhere() {
        lines("[a](../there.md), [b](../there.md#part) and\n[c](../gone.md)", &[2]);
        lines("[a](.) [b](../deep/) [c](/docs/there.md) ![d](/there.md)", &[1]);
        lines("[a]: ../there.md\n[b]: ../gone.md \"title\"\n[c](<../gone.md>)", &[2, 3]);
    }

    #[test]
    fn links_stay_inside_the_repository() {
        lines("[a](../../there.md)\n[b](../../../there.md)", &[1, 2]);
    }

    #[test]
    fn addresses_anchors_and_code_are_left_alone() {
        lines("[a](https://example.org/x) [b](mailto:a@b.c) [c](#part)", &[]);
        lines("```text\n[a](gone.md)\n```\n`[b](gone.md)` and `[c]`[d](gone.md)", &[4]);
    }
}
