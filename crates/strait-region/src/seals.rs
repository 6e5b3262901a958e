//! Which seals a region needs, and their names.

use rustix::fs::SealFlags;

/// The seals of every region.
///
/// `GROW | SHRINK` fix the size, `FUTURE_WRITE` keeps everybody from writing except through mappings that exist already
/// (the maker's), and from punching holes; `SEAL` keeps the set as it is.
pub(crate) const REQUIRED: SealFlags =
    SealFlags::GROW.union(SealFlags::SHRINK).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// The seals of frozen memory: as above, and nobody at all can write, the maker neither.
pub(crate) const FROZEN: SealFlags =
    SealFlags::GROW.union(SealFlags::SHRINK).union(SealFlags::WRITE).union(SealFlags::SEAL);

/// Names `seals` as fcntl(2) does, without `F_SEAL_`: `GROW|SHRINK`, or `none`.
pub(crate) fn names(seals: SealFlags) -> String {
    const NAMES: [(SealFlags, &str); 6] = [
        (SealFlags::GROW, "GROW"),
        (SealFlags::SHRINK, "SHRINK"),
        (SealFlags::WRITE, "WRITE"),
        (SealFlags::FUTURE_WRITE, "FUTURE_WRITE"),
        (SealFlags::EXEC, "EXEC"),
        (SealFlags::SEAL, "SEAL"),
    ];
    let mut rest = seals;
    let mut names = Vec::new();
    for (seal, name) in NAMES {
        if rest.contains(seal) {
            rest.remove(seal);
            names.push(name.to_owned());
        }
    }
    if !rest.is_empty() {
        names.push(format!("{:#x}", rest.bits()));
    }
    if names.is_empty() { "none".to_owned() } else { names.join("|") }
}

#[cfg(test)]
mod tests {
    use rustix::fs::SealFlags;

    #[test]
    fn seals_are_named_and_unknown_ones_shown_as_bits() {
        assert_eq!(super::names(SealFlags::empty()), "none");
        assert_eq!(super::names(super::REQUIRED), "GROW|SHRINK|FUTURE_WRITE|SEAL");
        assert_eq!(super::names(SealFlags::WRITE | SealFlags::from_bits_retain(0x4000)), "WRITE|0x4000");
    }
}
