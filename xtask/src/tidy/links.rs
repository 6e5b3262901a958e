//! Links in Markdown pages.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use super::{Finding, markdown::Page};

/// Checks that every relative link of one page leads to a file or directory below `root`, that every anchor is there, and that
/// what leads elsewhere looks like an address. Nothing is asked of the network.
pub(super) fn check(root: &Path, file: &Path, page: &Page) -> Vec<Finding> {
    let directory = file.parent().unwrap_or(Path::new(""));
    let at = |line: usize, message: String| Finding { file: file.to_path_buf(), line, message };
    let undefined = page.undefined.iter().map(|(line, name)| at(*line, format!("nothing defines [{name}]")));
    let broken = page.links.iter().filter_map(|(line, target)| {
        let wrong = if is_address(target) {
            wrong_address(target).map(str::to_owned)
        } else {
            wrong_path(root, directory, page, target)
        };
        Some(at(*line, format!("link to {target}: {}", wrong?)))
    });
    undefined.chain(broken).collect()
}

/// Whether a target has a scheme before its path.
fn is_address(target: &str) -> bool {
    target.split(['/', '#', '?']).next().is_some_and(|scheme| scheme.contains(':'))
}

/// What is wrong with an address, as far as its form tells.
fn wrong_address(target: &str) -> Option<&'static str> {
    let (scheme, rest) = target.split_once(':')?;
    match scheme {
        "https" | "http" => {
            let host = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '#', '?', ':']).next());
            let good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            let named = host.is_some_and(|host| host.contains('.') && host.split('.').all(good));
            (!named || rest.contains(char::is_whitespace)).then_some("expected https://host.name/path")
        }
        "mailto" => {
            let parts = rest.split_once('@');
            let good = parts.is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
            (!good).then_some("expected mailto:user@host.name")
        }
        _ => Some("expected a path, https: or mailto:"),
    }
}

/// What is wrong with a path and its anchor.
fn wrong_path(root: &Path, directory: &Path, page: &Page, target: &str) -> Option<String> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.is_empty() {
        return anchor.filter(|anchor| !page.anchors.contains(*anchor)).map(|_| "no heading here is called so".into());
    }
    let Some(path) = resolve(directory, path) else { return Some("leads out of the repository".into()) };
    let full = root.join(&path);
    if !full.exists() {
        return Some(format!("there is no {}", path.display()));
    }
    let anchor = anchor?;
    if path.extension().is_none_or(|extension| extension != "md") {
        return Some("an anchor leads into a Markdown file".into());
    }
    let anchors = Page::parse(&fs::read_to_string(full).unwrap_or_default()).anchors;
    (!anchors.contains(anchor)).then(|| format!("no heading of {} is called so", path.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lines(text: &str, expected: &[usize]) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("docs/deep")).unwrap();
        fs::write(root.path().join("docs/there.md"), "# There\n\n## A part\n").unwrap();
        fs::write(root.path().join("docs/code.rs"), "").unwrap();
        let found = check(root.path(), Path::new("docs/deep/page.md"), &Page::parse(text));
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), expected, "of {text:?}: {found:?}");
    }

    #[test]
    fn links_lead_somewhere() {
        lines("[a](../there.md), [b](../there.md#a-part) and\n[c](../gone.md)", &[2]);
        lines("[a](.) [b](../deep/) [c](/docs/there.md) ![d](/there.md)", &[1]);
        lines("[a]: ../there.md\n[b]: ../gone.md \"title\"\n\n[c](<../gone.md>)", &[2, 4]);
        lines("[a][b]\n\n[b]: ../there.md\n\n[c][d]", &[5]);
    }

    #[test]
    fn links_stay_inside_the_repository() {
        lines("[a](../../there.md)\n[b](../../../there.md)", &[1, 2]);
    }

    #[test]
    fn anchors_lead_to_headings() {
        lines("# Here\n[a](#here)\n[b](#there)", &[3]);
        lines("[a](../there.md#there)\n[b](../there.md#part)\n[c](../code.rs#part)", &[2, 3]);
    }

    #[test]
    fn addresses_look_like_addresses() {
        lines("[a](https://example.org/x?y#z) [b](mailto:a@b.c) <https://example.org>", &[]);
        lines(
            "[a](https:/example.org)\n[b](https://example)\n[c](https://exa_mple.org)\n[d](file:///x)",
            &[1, 2, 3, 4],
        );
        lines("[a](mailto:a.b.c)\n[b](mailto:a@b)", &[1, 2]);
    }

    #[test]
    fn code_is_left_alone() {
        lines("```text\n[a](gone.md)\n```\n`[b](gone.md)` and `[c]`[d](gone.md)", &[4]);
    }
}
