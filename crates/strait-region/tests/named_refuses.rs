//! What is not made, opened or removed by name.

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use strait_region::{CreateError, Expected, Header, NamedError, NamedRegion, OpenError, Place, sweep};
use support::{
    OTHER, TOTAL_BYTES, become_other, can_drop_uid, expected, header, in_child,
    scratch::{Scratch, honest},
};

fn create(scratch: &Scratch, name: &str) -> Result<NamedRegion, NamedError> {
    NamedRegion::create(&scratch.place, &scratch.name(name), &header())
}

fn refusal(scratch: &Scratch, name: &str) -> NamedError {
    let name = scratch.name(name);
    let error = NamedRegion::open(&scratch.place, &name, &expected(), honest()).expect_err("this must not open");
    let read_only = NamedRegion::open_read_only(&scratch.place, &name, &expected(), honest()).unwrap_err();
    assert_eq!(error.to_string(), read_only.to_string());
    assert!(error.to_string().len() > 20, "an error says what was found and expected: {error}");
    error
}

#[test]
fn what_is_no_region_is_neither_replaced_nor_removed_nor_opened() {
    for scratch in Scratch::both("foreign") {
        for content in [&b""[..], b"STRAIT", &[0; 4096], &[b'x'; 8192]] {
            fs::write(scratch.path("a"), content).unwrap();
            let error = create(&scratch, "a").unwrap_err();
            assert!(matches!(error, NamedError::Foreign { .. }), "{error}");
            let error = NamedRegion::remove(&scratch.place, &scratch.name("a")).unwrap_err();
            assert!(matches!(error, NamedError::Foreign { .. }), "{error}");
            assert!(matches!(refusal(&scratch, "a"), NamedError::Open(_)));
            assert_eq!(fs::read(scratch.path("a")).unwrap(), content);
        }
        fs::remove_file(scratch.path("a")).unwrap();
        fs::create_dir(scratch.path("a")).unwrap();
        let found = refusal(&scratch, "a");
        assert!(matches!(found, NamedError::Open(OpenError::NotRegular { found: "a directory" })), "{found}");
        assert!(matches!(create(&scratch, "a").unwrap_err(), NamedError::Foreign { .. }));
        fs::remove_dir(scratch.path("a")).unwrap();
    }
}

#[test]
fn a_link_is_not_followed() {
    let scratch = Scratch::disk("link");
    let owner = scratch.create("a");
    std::os::unix::fs::symlink(scratch.path("a"), scratch.path("b")).unwrap();
    let found = refusal(&scratch, "b");
    assert!(matches!(found, NamedError::Open(OpenError::NotRegular { found: "a symbolic link" })), "{found}");
    fs::remove_file(scratch.path("b")).unwrap();
    drop(owner);
}

#[test]
fn memory_that_others_could_write_does_not_open() {
    for scratch in Scratch::both("mode-open") {
        let owner = scratch.create("a");
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(scratch.path("a"), fs::Permissions::from_mode(mode)).unwrap();
            let error = refusal(&scratch, "a");
            assert!(matches!(error, NamedError::Mode { found, .. } if found == mode), "{error}");
        }
        fs::set_permissions(scratch.path("a"), fs::Permissions::from_mode(0o644)).unwrap();
        drop(scratch.open("a"));
        drop(owner);
    }
}

#[test]
fn memory_of_another_user_does_not_open_and_is_not_replaced() {
    if !can_drop_uid() {
        return;
    }
    let scratch = Scratch::shm("user");
    let owner = scratch.create("a");
    // As open as can be: the user is checked all the same.
    fs::set_permissions(scratch.path("a"), fs::Permissions::from_mode(0o644)).unwrap();
    let own = rustix::process::geteuid().as_raw();
    in_child(|| {
        become_other();
        let error = refusal(&scratch, "a");
        assert!(matches!(error, NamedError::Owner { found, expected: OTHER, .. } if found == own), "{error}");
        let error = create(&scratch, "a").unwrap_err();
        assert!(matches!(error, NamedError::Owner { .. }), "{error}");
        let swept = sweep(&scratch.place, scratch.prefix()).unwrap();
        assert!(swept.removed.is_empty() && swept.failed.is_empty());
        drop(scratch.create("b")); // one of its own is fine
    });
    drop(owner);
}

#[test]
fn a_directory_without_permission_is_a_typed_error() {
    if !can_drop_uid() {
        return;
    }
    let scratch = Scratch::disk("permission");
    let owner = scratch.create("a");
    fs::set_permissions(scratch.place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    in_child(|| {
        become_other();
        let error = create(&scratch, "b").unwrap_err();
        assert!(matches!(error, NamedError::Place { .. }), "{error}");
        assert!(matches!(sweep(&scratch.place, "").unwrap_err(), NamedError::Place { .. }));
    });
    fs::set_permissions(scratch.place.path(), fs::Permissions::from_mode(0o555)).unwrap();
    in_child(|| {
        become_other();
        let error = create(&scratch, "b").unwrap_err();
        let NamedError::Io { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.raw_os_error(), Some(libc::EACCES), "{error}");
    });
    fs::set_permissions(scratch.place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    drop(owner);
}

#[test]
fn a_place_that_is_no_directory_or_cannot_hold_regions() {
    let here = |path: &str| NamedRegion::create(&Place::directory(path), "strait-region-test", &header()).unwrap_err();
    assert!(matches!(here("/nonexistent"), NamedError::Place { .. }));
    assert!(matches!(here("/dev/null"), NamedError::Place { .. }));
    let error = here("/proc/self");
    assert!(matches!(error, NamedError::Io { .. }), "{error}");
}

#[test]
fn names_that_cannot_be() {
    let scratch = Scratch::disk("names");
    for name in ["", ".", "..", "/a", "a/b", "a\0b", &"n".repeat(256)] {
        let wrong = |error: NamedError| assert!(matches!(error, NamedError::Name { .. }), "{error}");
        wrong(NamedRegion::create(&scratch.place, name, &header()).unwrap_err());
        wrong(NamedRegion::open(&scratch.place, name, &expected(), honest()).unwrap_err());
        wrong(NamedRegion::remove(&scratch.place, name).unwrap_err());
    }
    drop(NamedRegion::create(&scratch.place, &"n".repeat(255), &header()).unwrap());
}

#[test]
fn sizes_and_headers_are_checked_as_for_memfds() {
    let scratch = Scratch::disk("sizes");
    let create = |header: Header| match NamedRegion::create(&scratch.place, &scratch.name("a"), &header) {
        Err(NamedError::Create(error)) => error,
        other => panic!("created {other:?}"),
    };
    for total_bytes in [0, 2048, TOTAL_BYTES + 1] {
        let error = create(Header { total_bytes, ..header() });
        assert!(matches!(error, CreateError::Header(OpenError::Size { .. })), "{error}");
    }
    let error = create(Header { total_bytes: 1 << 50, ..header() });
    assert!(matches!(error, CreateError::TooLarge { .. }), "{error}");
    let error = create(Header { ring_capacity_bytes: 3, ..header() });
    assert!(matches!(error, CreateError::Header(OpenError::RingCapacity { .. })), "{error}");
}

#[test]
fn a_region_that_is_not_the_expected_one_does_not_open() {
    let scratch = Scratch::shm("expected");
    let owner = scratch.create("a");
    let open = |expected: &Expected| match NamedRegion::open(&scratch.place, &scratch.name("a"), expected, honest()) {
        Err(NamedError::Open(error)) => error,
        other => panic!("opened {other:?}"),
    };
    assert!(matches!(open(&Expected { kind: 8, ..expected() }), OpenError::Kind { found: 7, .. }));
    assert!(matches!(open(&Expected { layout_hash: 8, ..expected() }), OpenError::LayoutHash { .. }));
    assert!(matches!(open(&Expected { session: Some([0; 16]), ..expected() }), OpenError::Session { .. }));
    assert!(matches!(open(&Expected { max_total_bytes: 4096, ..expected() }), OpenError::TooLarge { .. }));

    // A careless peer: what it cut off is found by the checks, not by a signal.
    rustix::fs::ftruncate(owner.fd(), TOTAL_BYTES - 4096).unwrap();
    assert!(matches!(open(&expected()), OpenError::TotalBytes { .. }));
    rustix::fs::ftruncate(owner.fd(), TOTAL_BYTES).unwrap();
    assert!(matches!(open(&expected()), OpenError::Holes { .. }));
    rustix::fs::ftruncate(owner.fd(), 100).unwrap();
    assert!(matches!(open(&expected()), OpenError::Size { found: 100, .. }));
}
