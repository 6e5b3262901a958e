//! What each fuzz target does with its bytes: `body` of each module takes any bytes, and panics where a promise is broken.
//!
//! The same functions run under libFuzzer (`fuzz/fuzz_targets`), under the mutator of this crate, which needs no nightly
//! toolchain (`cargo xtask fuzz`), and over the kept corpora as a test. What crosses a process boundary in strait is read by one
//! of them.

mod archive;
mod config;
mod envelope;
mod handshake;
mod mpmc_cells;
pub mod mutator;
mod observe;
mod region_attach;
mod ring_consumer;
mod rpc_header;
mod slots_consumer;
mod snapshot_header;

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its corpus, of its binary, and on the command line.
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    /// Takes any bytes; panics where a promise is broken.
    pub body: fn(&[u8]),
}

/// All of them, in the order of their names.
pub const TARGETS: &[Target] = &[
    Target { name: "archive", about: "rkyv and postcard messages of nested types", body: archive::body },
    Target { name: "config", about: "configurations: TOML, environment, properties", body: config::body },
    Target { name: "envelope", about: "the 16 bytes before each payload", body: envelope::body },
    Target { name: "handshake", about: "control frames, and a socket's first bytes", body: handshake::body },
    Target { name: "mpmc_cells", about: "the words of a shared queue", body: mpmc_cells::body },
    Target { name: "observe", about: "segments of others, and what a tool reads there", body: observe::body },
    Target { name: "region_attach", about: "descriptors and headers of memory", body: region_attach::body },
    Target { name: "ring_consumer", about: "a ring's words and its reader's head", body: ring_consumer::body },
    Target { name: "rpc_header", about: "what comes before each rpc body", body: rpc_header::body },
    Target { name: "slots_consumer", about: "a typed ring's cursors", body: slots_consumer::body },
    Target {
        name: "snapshot_header",
        about: "the words of a published value, and its readers' pins",
        body: snapshot_header::body,
    },
];

/// The target of that name.
///
/// ```
/// assert!(strait_fuzz_bodies::target("envelope").is_some());
/// assert!(strait_fuzz_bodies::target("nothing").is_none());
/// ```
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The next step of an input, until it is used up. (What makes values of bytes would go on with zeros for ever.)
fn next<T: for<'a> arbitrary::Arbitrary<'a>>(input: &mut arbitrary::Unstructured<'_>) -> Option<T> {
    if input.is_empty() { None } else { input.arbitrary().ok() }
}

/// Where the kept corpora are: one directory per target, one file per input.
pub fn corpora() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("corpus")
}

/// The kept inputs of a target, by the names of their files.
///
/// # Errors
///
/// What the file system says; a target without a corpus has none.
pub fn corpus(target: &Target) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = std::fs::read_dir(corpora().join(target.name))?.collect::<Result<_, _>>()?;
    paths.sort_by_key(std::fs::DirEntry::file_name);
    paths.into_iter().map(|entry| std::fs::read(entry.path())).collect()
}
