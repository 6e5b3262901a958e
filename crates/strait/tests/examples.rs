//! Every example that runs alone does, to its good end.

use std::{path::PathBuf, process::Command};

fn runs(name: &str, says: &str) {
    runs_with(name, &[], says);
}

fn runs_with(name: &str, arguments: &[&str], says: &str) {
    let runtime_dir = tempfile::tempdir().unwrap();
    // Cargo puts the examples beside the directory of this test.
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(name);
    if !path.exists() {
        // `cargo test` builds them all, `cargo test --test examples` does not.
        let built = Command::new(env!("CARGO"))
            .args(["build", "-q", "-p", "strait", "--all-features", "--example", name])
            .status();
        assert!(built.is_ok_and(|status| status.success()), "cannot build the example {name}");
    }
    let output = Command::new(&path).args(arguments).env("XDG_RUNTIME_DIR", runtime_dir.path()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(says), "{said}");
}

macro_rules! examples {
    ($($name:ident says $says:literal;)*) => {
        $(#[test] fn $name() { runs(stringify!($name), $says); })*
    };
}

examples! {
    batch says "10000 calls in batches";
    blocking_events says "server: that client is gone";
    blocking_streams says "client: 229";
    hash_files says "equal to those of a single process";
    health says "calls: 3";
    in_place says "in place: true";
    json_calls says "42";
    limits says "turned away";
    methods says "hello strait! hello strait!";
    on_demand says "its server is process";
    reconnect says "doubled is";
    state_in_place says "version 10: 1048576 bytes in place";
    stream_copy says ": equal";
    stream_graph says "in one process: the sum is 166666666650000";
    unvalidated says "publish over shared memory";
}

#[test]
fn stream_graph_between_processes() {
    runs_with("stream_graph", &["--shared"], "in four processes: the sum is 166666666650000");
}

#[cfg(feature = "tokio")]
examples! {
    cancel says "nobody waits any more: dropped";
    notifications says "client: tick 4";
    streaming says "client: 2401";
}

#[cfg(feature = "tower")]
examples! {
    tower_client says "client:";
}
