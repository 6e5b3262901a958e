//! What the licences of everything that is built ask for.

use std::path::PathBuf;

use super::Finding;
use crate::{failure::Failure, run};

/// Licences that ask for no more than their text to be kept. Whoever adds one here has read it.
const FINE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Asks cargo for the licence of every package of the workspace and of what they need, tests included.
pub(super) fn check() -> Result<Vec<Finding>, Failure> {
    let tree = [
        "tree",
        "--quiet",
        "--workspace",
        "--all-features",
        "--edges",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}\t{l}",
    ];
    Ok(unfit(&run::output(&mut run::cargo(&tree))?))
}

/// The packages of `tree` whose licence cannot be had on fine terms; one per line, a tab between it and its licence.
fn unfit(tree: &str) -> Vec<Finding> {
    let mut lines: Vec<_> = tree.lines().filter_map(|line| line.split_once('\t')).collect();
    lines.sort_unstable();
    lines.dedup();
    let of = |(package, licence): (&str, &str)| Finding {
        file: PathBuf::from("Cargo.lock"),
        line: 1,
        message: format!("`{package}` has the licence `{licence}`: one of {} is needed", FINE.join(", ")),
    };
    // `(*)` marks what was listed before.
    let bare = |(package, licence): &(&str, &str)| is_fine(licence.trim_end_matches("(*)")) || package.is_empty();
    lines.into_iter().filter(|line| !bare(line)).map(of).collect()
}

/// Whether an expression can be satisfied: by one of its alternatives, all of whose parts are fine.
fn is_fine(licence: &str) -> bool {
    let licence = licence.replace(['(', ')'], " ").replace('/', " OR ");
    // An alternative binds weaker than it does in the expression where parentheses were; both are asked for then.
    licence.split(" AND ").all(|part| part.split(" OR ").any(|one| FINE.contains(&one.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alternative_is_enough_and_each_part_is_needed() {
        for fine in
            ["MIT", "MIT OR Apache-2.0", "MIT/GPL-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "LGPL-2.1 OR MIT"]
        {
            assert!(is_fine(fine), "{fine}");
        }
        for not in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND AGPL-3.0", "Apache-2.0 WITH something"] {
            assert!(!is_fine(not), "{not}");
        }
    }

    #[test]
    fn a_package_that_does_not_fit_is_named_once() {
        let found = unfit("a v1.0.0\tMIT\nb v2.0.0\tGPL-3.0\nb v2.0.0\tGPL-3.0\nc v1.0.0\tMIT (*)\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`b v2.0.0` has the licence `GPL-3.0`"), "{}", found[0].message);
    }

    #[test]
    fn everything_that_is_built_fits() {
        assert_eq!(check().unwrap(), []);
    }
}
