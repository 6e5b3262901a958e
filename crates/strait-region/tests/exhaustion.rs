//! Limits of the process. Each is lowered in a child of its own.

mod support;

use rustix::process::{Resource, Rlimit, setrlimit};
use strait_region::{CreateError, Expected, Header, OpenError, OwnRegion, PeerRegion};
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
