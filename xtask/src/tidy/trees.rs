//! What a primitive brings along.

use std::path::PathBuf;

use super::Finding;
use crate::{failure::Failure, run};

/// The crates that stand alone: of this workspace they need `strait-sync` and no other.
const PRIMITIVES: [&str; 3] = ["strait-spsc", "strait-mpmc", "strait-seqlock"];
/// What none of them may bring along, beside the rest of this workspace.
const TOO_MUCH: [&str; 3] = ["tokio", "mio", "rkyv"];

/// Asks cargo what each primitive depends on, with its default features.
pub(super) fn check() -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    for primitive in PRIMITIVES {
        let tree = ["tree", "--quiet", "--package", primitive, "--edges", "normal", "--prefix", "none"];
        let tree = run::output(&mut run::cargo(&tree))?;
        findings.extend(unwanted(primitive, &tree).map(|name| Finding {
            file: PathBuf::from(format!("crates/{primitive}/Cargo.toml")),
            line: 1,
            message: format!("brings `{name}` along: whoever adds one primitive gets that primitive"),
        }));
    }
    Ok(findings)
}

/// The packages of `tree`, one per line with its version behind it, that `primitive` may not depend on.
fn unwanted<'a>(primitive: &str, tree: &'a str) -> impl Iterator<Item = &'a str> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(move |name| {
        let ours = *name == "strait" || name.starts_with("strait-");
        TOO_MUCH.contains(name) || ours && ![primitive, "strait-sync"].contains(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primitive_brings_no_transport_no_runtime_no_codec_and_no_region() {
        assert_eq!(check().unwrap(), []);
    }

    #[test]
    fn what_is_too_much_is_found() {
        let tree = "strait-spsc v0.1.0 (/a)\nstrait-sync v0.1.0 (/b)\nstrait-region v0.1.0 (/c)\nrkyv v0.8.18\nzerocopy v0.8.63\n";
        assert_eq!(unwanted("strait-spsc", tree).collect::<Vec<_>>(), ["strait-region", "rkyv"]);
        assert_eq!(unwanted("strait-mpmc", "strait-spsc v0.1.0\n").collect::<Vec<_>>(), ["strait-spsc"]);
    }
}
