//! A checkpoint on a disk that is full: a small file system of a child's own.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use strait_channel::{
    Options,
    state::{Config, Daemon, Error, blocking::Shell},
};

const DIR: &str = "STRAIT_FULL_DISK";
const SKIPPED: i32 = 77;

/// The child, whose directory is a file system of 256 KiB. As a test, it does nothing.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = Path::new(&dir);
    if !std::fs::read_to_string("/proc/self/mounts").unwrap().contains(&*dir.to_string_lossy()) {
        std::process::exit(SKIPPED);
    }
    let options = Options { runtime_dir: Some(dir.join("run")), ..Options::default() };
    let config = || Config {
        checkpoint: Some(dir.join("saved")),
        max_value_bytes: 64 << 10,
        options: options.clone(),
        ..Config::default()
    };
    let mut daemon = Daemon::<[u8]>::create("state", &config()).unwrap();
    daemon.publish(&vec![1; 60 << 10]).unwrap();
    daemon.checkpoint().unwrap();
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![0; 160 << 10]).unwrap();
    daemon.publish(&vec![2; 60 << 10]).unwrap();
    for _ in 0..3 {
        let error = daemon.checkpoint().unwrap_err();
        assert!(matches!(&error, Error::Checkpoint { why, .. } if why.contains("No space left")), "{error}");
        assert!(!dir.join("saved.new").exists(), "half a file is left");
    }
    // The state goes on, and the old file is whole: the next daemon begins with it.
    let soon = || Instant::now() + Duration::from_secs(10);
    let mut shell = Shell::<[u8]>::connect_with("state", &options).unwrap();
    assert_eq!(shell.read(soon()).unwrap()[0], 2);
    drop(daemon);
    let mut daemon = Daemon::<[u8]>::create("state", &config()).unwrap();
    assert_eq!((daemon.version(), shell.changed(soon()).is_ok(), shell.read(soon()).unwrap()[0]), (1, true, 1));
    std::fs::remove_file(&filler).unwrap();
    daemon.publish(&vec![3; 60 << 10]).unwrap();
    daemon.checkpoint().unwrap();
    drop(daemon);
    assert_eq!(Daemon::<[u8]>::create("state", &config()).unwrap().version(), 2);
}

#[test]
fn a_checkpoint_on_a_full_disk_is_an_error_that_leaves_the_old_one_and_goes_when_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let target = CString::new(dir.path().as_os_str().as_encoded_bytes()).unwrap();
    let ids = rustix::process::getuid().as_raw();
    let groups = rustix::process::getgid().as_raw();
    let maps = [format!("{ids} {ids} 1"), format!("{groups} {groups} 1")];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(DIR, dir.path());
    let mount_small = move || {
        // What fails here is found out by the child, which looks for the file system.
        // SAFETY: a system call without pointers, in the one thread of a forked child.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } == 0 {
            let _ = std::fs::write("/proc/self/setgroups", "deny");
            let _ = std::fs::write("/proc/self/uid_map", &maps[0]);
            let _ = std::fs::write("/proc/self/gid_map", &maps[1]);
            let tmpfs = c"tmpfs".as_ptr();
            // SAFETY: all strings end with a zero and outlive the call.
            unsafe { libc::mount(tmpfs, target.as_ptr(), tmpfs, 0, c"size=256k,mode=0700".as_ptr().cast()) };
        }
        Ok(())
    };
    // SAFETY: what runs between fork and exec are system calls; opening the three files allocates a path at most, which the C library
    // keeps usable across a fork.
    unsafe { command.pre_exec(mount_small) };
    let status = command.stdin(Stdio::null()).status().unwrap();
    if status.code() == Some(SKIPPED) {
        return eprintln!("skipped: this user may not mount a file system in a namespace");
    }
    assert!(status.success(), "{status}");
}
