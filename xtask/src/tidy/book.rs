//! The book under `docs/`: no page is forgotten, and no sample is taken on trust.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Finding, markdown::Page};

/// The table of contents, which mdBook and readers go by.
const SUMMARY: &str = "docs/SUMMARY.md";
/// Whose doctests the Rust samples are.
const SAMPLES: &str = "docs/samples/src/lib.rs";
/// Where samples of other libraries lie, which nothing of the workspace depends on.
const PEERS: &str = "benches/peers/examples";

/// Checks the pages among `files`, which are paths from `root`.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> io::Result<Vec<Finding>> {
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let contents: BTreeSet<PathBuf> =
        Page::parse(&read(SUMMARY)).links.into_iter().map(|(_, target)| Path::new("docs").join(target)).collect();
    let samples = read(SAMPLES);
    let peers = texts(&root.join(PEERS))?;
    let is_page =
        |file: &&PathBuf| file.starts_with("docs") && file.extension().is_some_and(|extension| extension == "md");
    let mut findings = Vec::new();
    for file in files.iter().filter(is_page).filter(|file| *file != Path::new(SUMMARY)) {
        let mut found = |line: usize, message: String| findings.push(Finding { file: file.clone(), line, message });
        if !contents.contains(file) {
            found(1, format!("{SUMMARY} does not list this page"));
        }
        let page = Page::parse(&fs::read_to_string(root.join(file))?);
        for (line, heading) in &page.repeated {
            found(*line, format!("`{heading}` is the name of a heading above: a link leads to that one"));
        }
        let mut rust = page.fences.iter().filter(|fence| fence.language() == "rust").peekable();
        let included =
            file.strip_prefix("docs").is_ok_and(|page| samples.contains(&format!("\"../../{}\"", page.display())));
        if let Some(first) = rust.peek()
            && !included
        {
            found(first.line, format!("{SAMPLES} does not include this page, so that nothing compiles its samples"));
        }
        for fence in rust.filter(|fence| fence.info.contains("ignore") && !peers.contains(&fence.code)) {
            found(fence.line, format!("an ignored sample must be a file of {PEERS}, to the letter"));
        }
    }
    Ok(findings)
}

/// What the files of a directory hold; nothing where there is none.
fn texts(directory: &Path) -> io::Result<BTreeSet<String>> {
    if !directory.is_dir() {
        return Ok(BTreeSet::new());
    }
    fs::read_dir(directory)?.map(|entry| fs::read_to_string(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lines(page: &str, summary: &str, samples: &str, expected: &[usize]) {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("docs/guide/page.md", page);
        write(SUMMARY, summary);
        write(SAMPLES, samples);
        write("benches/peers/examples/peer.rs", "peer::call();\n");
        let files = ["docs/SUMMARY.md", "docs/guide/page.md", SAMPLES].map(PathBuf::from);
        let found = check(root.path(), &files).unwrap();
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), expected, "of {page:?}: {found:?}");
    }

    const LISTED: &str = "- [Page](guide/page.md)\n";
    const INCLUDED: &str = "#[doc = include_str!(\"../../guide/page.md\")]\nmod page {}\n";

    #[test]
    fn a_page_is_listed() {
        lines("# A\n", LISTED, "", &[]);
        lines("# A\n", "- [Page](guide/other.md)\n", "", &[1]);
    }

    #[test]
    fn a_heading_is_the_only_one_of_its_name() {
        lines("# A\n\n## B\n\n## C\n", LISTED, "", &[]);
        lines("# A\n\n## B\n\n## B\n", LISTED, "", &[5]);
    }

    #[test]
    fn a_page_with_samples_is_compiled() {
        lines("# A\n\n```rust\nb\n```\n", LISTED, INCLUDED, &[]);
        lines("# A\n\n```rust\nb\n```\n", LISTED, "", &[4]);
        lines("# A\n\n```text\nb\n```\n", LISTED, "", &[]);
    }

    #[test]
    fn an_ignored_sample_is_a_file_that_can_be_compiled() {
        lines("# A\n\n```rust,ignore\npeer::call();\n```\n", LISTED, INCLUDED, &[]);
        lines("# A\n\n```rust,ignore\npeer::gone();\n```\n", LISTED, INCLUDED, &[4]);
    }
}
