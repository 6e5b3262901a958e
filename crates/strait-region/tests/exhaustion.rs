//! Limits of the process. Each is lowered in a child of its own.

mod support;

use rustix::process::{Resource, Rlimit, setrlimit};
use strait_region::{CreateError, Expected, Header, NamedError, NamedRegion, OpenError, OwnRegion, PeerRegion, Place};
use strait_sync::Words;
use support::{expected, header, in_child, own, sent};

const LARGE_BYTES: u64 = 256 << 20;

fn lower(resource: Resource, to: u64) {
    setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) }).unwrap();
}

/// The address space of this process in bytes.
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
}

#[test]
fn no_descriptor_left() {
    in_child(|| {
        let kept = own();
        lower(Resource::Nofile, 0);
        let error = OwnRegion::create("strait-region:test", &header()).unwrap_err();
        let CreateError::Io { operation: "memfd_create", source } = error else { panic!() };
        assert_eq!(source.raw_os_error(), Some(libc::EMFILE));
        assert_eq!(kept.load(8) as u32, 1, "what is there goes on working");
    });
}

#[test]
fn no_address_space_left_for_a_region_of_ones_own() {
    in_child(|| {
        let large = Header { total_bytes: LARGE_BYTES, ..header() };
        lower(Resource::As, address_space() + LARGE_BYTES / 2);
        let error = OwnRegion::create("strait-region:test", &large).unwrap_err();
        let CreateError::Io { operation: "mapping the memfd", source } = error else { panic!() };
        assert_eq!(source.raw_os_error(), Some(libc::ENOMEM));
        drop(own()); // a smaller one still fits
    });
}

#[test]
fn no_address_space_left_for_a_peers_region() {
    in_child(|| {
        let large = Header { total_bytes: LARGE_BYTES, ..header() };
        let own = OwnRegion::create("strait-region:test", &large).unwrap();
        let fd = sent(&own);
        lower(Resource::As, address_space() + LARGE_BYTES / 2);
        let roomy = Expected { max_total_bytes: LARGE_BYTES, ..expected() };
        let error = PeerRegion::open(fd, &roomy).unwrap_err();
        let OpenError::Io { operation: "mapping the memory of the peer", source } = error else { panic!() };
        assert_eq!(source.raw_os_error(), Some(libc::ENOMEM));
    });
}

#[test]
fn the_limit_for_files_is_an_error_and_not_a_deadly_signal() {
    in_child(|| {
        lower(Resource::Fsize, 16 * 1024);
        let error = OwnRegion::create("strait-region:test", &header()).unwrap_err();
        assert!(matches!(error, CreateError::FileSizeLimit { bytes: 32768, max: 16384 }));
    });
}

/// Mounts a file system of so many kilobytes, in memory, over `directory`, for this process alone. False where that is not allowed.
fn mount_small(directory: &std::path::Path, kilobytes: u32) -> bool {
    let target = std::ffi::CString::new(directory.as_os_str().as_encoded_bytes()).unwrap();
    let options = std::ffi::CString::new(format!("size={kilobytes}k")).unwrap();
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // SAFETY: a system call without pointers; the process has one thread, which `in_child` has forked.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } == 0;
    let mapped = unshared
        && std::fs::write("/proc/self/setgroups", "deny").is_ok()
        && std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).is_ok()
        && std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).is_ok();
    let tmpfs = c"tmpfs".as_ptr();
    // SAFETY: all strings end with a zero and outlive the call.
    mapped && unsafe { libc::mount(tmpfs, target.as_ptr(), tmpfs, 0, options.as_ptr().cast()) } == 0
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing_and_goes_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    in_child(|| {
        if !mount_small(directory.path(), 64) {
            eprintln!("skipped: this user may not mount a file system in a namespace");
            return;
        }
        let place = Place::directory(directory.path());
        let filler = directory.path().join("filler");
        std::fs::write(&filler, vec![1; 48 << 10]).unwrap();
        for _ in 0..3 {
            let error = NamedRegion::create(&place, "a", &header()).unwrap_err();
            let NamedError::Io { operation: "allocating the memory of the region", source } = error else { panic!() };
            assert_eq!(source.raw_os_error(), Some(libc::ENOSPC));
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        }
        std::fs::remove_file(&filler).unwrap();
        let region = NamedRegion::create(&place, "a", &header()).unwrap();
        assert_eq!(region.load(8) as u32, 1, "a whole header");
    });
}

/// Bites only on older kernels, where each signal undoes the allocation that it interrupts.
#[test]
fn signals_that_keep_coming_do_not_keep_a_region_from_being_made() {
    extern "C" fn ignore(_: libc::c_int) {}
    in_child(|| {
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGPROF, ignore as *const () as libc::sighandler_t) };
        let every = libc::timeval { tv_sec: 0, tv_usec: 2_000 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: both structures are ours; the old timer is not asked for.
        assert_eq!(unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, std::ptr::null_mut()) }, 0);
        let large = Header { total_bytes: LARGE_BYTES, ..header() };
        OwnRegion::create("strait-region:test", &large).unwrap();
    });
}
