//! The kernel's word on who is dead, asked of real processes.
#![cfg(all(target_os = "linux", not(strait_loom)))]

mod common;

use std::{
    env,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use common::{FILE, ROLE, file, spawn};
use strait_mpmc::shared::{AttachError, Geometry, Identity, Recovered, SharedQueue, process};
use strait_sync::Words;

fn geometry() -> Geometry {
    Geometry::new(16, 64, 8).unwrap()
}

#[test]
fn a_stopped_process_is_not_dead_and_a_killed_one_is() {
    const TEST: &str = "a_stopped_process_is_not_dead_and_a_killed_one_is";
    let queue_bytes = geometry().total_bytes() as usize;
    if env::var_os(ROLE).is_some() {
        let (memory, log) = common::map(&file(env::var_os(FILE).unwrap().as_ref()), queue_bytes);
        let _participant = SharedQueue::open(memory).unwrap().attach(Identity::current()).unwrap();
        let born = Instant::now();
        while log.load(0) == 0 && born.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(5));
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue");
    let shared = file(&path);
    shared.set_len(queue_bytes as u64 + 128).unwrap();
    let (memory, _log) = common::map(&shared, queue_bytes);
    let queue = SharedQueue::create(memory, geometry()).unwrap();
    let mut child = spawn(TEST, "idle", &path);
    let start = Instant::now();
    while queue.participants().count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the child never attached");
        thread::sleep(Duration::from_millis(1));
    }
    let (info, _) = queue.participants().next().unwrap();
    assert_eq!(info.pid, child.id());
    assert_ne!(info.start_time, 0);
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    assert!(!process::is_dead(info.pid, info.start_time));
    assert_eq!(queue.recover(process::liveness), Ok(Recovered::default()));
    assert!(process::is_dead(info.pid, info.start_time - 1), "this pid was another process's");
    child.kill().unwrap();
    let start = Instant::now();
    // A zombie, once the kernel is done with it, is dead before anyone waits for it.
    while !process::is_dead(info.pid, info.start_time) {
        assert!(start.elapsed() < Duration::from_secs(20), "a killed process never counts as dead");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(queue.recover(process::liveness).unwrap().freed_participants, 1);
    child.wait().unwrap();
    assert!(process::is_dead(info.pid, info.start_time), "nobody has this pid now");
    assert_eq!(queue.stats().freed_participants, 1);
}

/// A process in a pid namespace of its own, where the pids of others mean nothing.
#[test]
fn a_process_of_another_pid_namespace_is_refused_and_buries_nobody() {
    const TEST: &str = "a_process_of_another_pid_namespace_is_refused_and_buries_nobody";
    let queue_bytes = geometry().total_bytes() as usize;
    if env::var_os(ROLE).is_some() {
        let (memory, _log) = common::map(&file(env::var_os(FILE).unwrap().as_ref()), queue_bytes);
        let queue = SharedQueue::open(memory).unwrap();
        let (other, _) = queue.participants().next().unwrap();
        assert!(process::is_dead(other.pid, other.start_time), "what it would be without the check");
        assert_eq!(queue.recover(process::liveness), Ok(Recovered::default()));
        assert!(matches!(queue.attach(Identity::current()), Err(AttachError::OtherNamespaces)));
        return;
    }
    if !Command::new("unshare").args(["--pid", "--fork", "true"]).status().is_ok_and(|status| status.success()) {
        println!("skipped: this user cannot make a pid namespace");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("queue");
    let shared = file(&path);
    shared.set_len(queue_bytes as u64 + 128).unwrap();
    let (memory, _log) = common::map(&shared, queue_bytes);
    let queue = SharedQueue::create(memory, geometry()).unwrap();
    let participant = queue.attach(Identity::current()).unwrap();
    let other = Command::new("unshare")
        .args(["--pid", "--fork"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(ROLE, "other")
        .env(FILE, &path)
        .output()
        .unwrap();
    assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    assert_eq!(queue.participants().count(), 1);
    assert_eq!(participant.info().namespaces, process::namespaces());
}
