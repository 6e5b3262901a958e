//! The fail points in the sources.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{failure::Failure, tidy};

const OPENS: &str = "fail_point!(\"";

/// Every `fail_point!("…")` under `crates/*/src`, by name, with its file and line. A name stands for one place.
pub(super) fn find(crates: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let mut points = BTreeMap::new();
    let failed = |error| Failure::because(format!("reading {}", crates.display()), error);
    for file in tidy::files_below(crates).map_err(failed)? {
        let shown = Path::new("crates").join(&file).display().to_string();
        if !shown.contains("/src/") || !shown.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(crates.join(&file)).map_err(failed)?;
        for (name, line) in scan(&text) {
            let place = format!("{shown}:{line}");
            if let Some(other) = points.insert(name.clone(), place.clone()) {
                return Err(Failure::DidNotHold(format!("the point {name} is in two places: {other} and {place}")));
            }
        }
    }
    Ok(points)
}

/// The names in a text, with their lines; those in comments are none.
fn scan(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (at, _) in line.match_indices(OPENS) {
            if let Some((name, _)) = line[at + OPENS.len()..].split_once('"') {
                found.push((name.to_owned(), number + 1));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run;

    #[test]
    fn points_are_found_in_code_and_not_in_comments() {
        let text =
            "a();\n    fail_point!(\"ring.claimed\");\n/// fail_point!(\"no.point\");\nOk(()) => fail_point!(\"b.c\"),";
        assert_eq!(scan(text), [("ring.claimed".to_owned(), 2), ("b.c".to_owned(), 4)]);
    }

    #[test]
    fn the_sources_have_points_and_none_twice() {
        let points = find(&run::root().join("crates")).unwrap();
        assert!(points.len() > 100 && points.contains_key("ring.committed"), "{} points", points.len());
    }
}
