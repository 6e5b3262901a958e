//! What a tool sees of a process: its segments, by the links of its descriptors.

use std::{fs, os::fd::OwnedFd};

use strait_transport::observe::{EndReading, Observed, Reading};

/// The segments of a kind, of service `pair`, that process `pid` has open: (side, segment), clients first.
pub fn segments(pid: u32, kind: &str) -> Vec<(String, Observed)> {
    let name = format!("/memfd:strait:{kind}:pair:");
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let found = entries.filter_map(|entry| {
        // Whatever is closed meanwhile is no segment any more.
        let link = fs::read_link(entry.path()).ok()?;
        let side = link.to_str()?.strip_prefix(&name)?.split(':').next()?.to_owned();
        let file = fs::File::open(entry.path()).ok()?;
        Some((side, Observed::open(OwnedFd::from(file)).expect("a segment of ours")))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

/// Client's and server's segment of the one connection of this process.
#[track_caller]
pub fn both(kind: &str) -> (Observed, Observed) {
    let mut found = segments(std::process::id(), kind);
    assert_eq!(found.len(), 2, "{kind}");
    let (server, client) = (found.pop().unwrap(), found.pop().unwrap());
    assert_eq!((&*client.0, &*server.0), ("client", "server"));
    (client.1, server.1)
}

#[track_caller]
pub fn end(observed: &Observed) -> EndReading {
    match observed.read() {
        Reading::End(end) => end,
        other => panic!("{other:?}"),
    }
}
