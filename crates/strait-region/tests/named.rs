//! Named regions within one process and its forked children. Other processes: `named_processes.rs`.

mod support;

use std::{fs, os::fd::AsRawFd, sync::atomic::Ordering};

use strait_region::{Forked, HEADER_BYTES, NamedError, NamedRegion, OpenError, sweep};
use strait_sync::{Words, WordsMut};
use support::{
    TOTAL_BYTES, expected, header, in_child,
    scratch::{Scratch, honest},
};

fn create(scratch: &Scratch, name: &str) -> Result<NamedRegion, NamedError> {
    NamedRegion::create(&scratch.place, &scratch.name(name), &header())
}

#[test]
fn who_opens_the_name_shares_the_words() {
    for scratch in Scratch::both("share") {
        let owner = scratch.create("a");
        let other = scratch.open("a");
        let view = NamedRegion::open_read_only(&scratch.place, &scratch.name("a"), &expected(), honest()).unwrap();
        assert_eq!((owner.header(), other.header(), view.header()), (&header(), &header(), &header()));
        owner.store(HEADER_BYTES, 1, Ordering::Release);
        other.store(HEADER_BYTES + 8, 2, Ordering::Release);
        assert_eq!((view.load(HEADER_BYTES), owner.load(HEADER_BYTES + 8)), (1, 2));
        assert_eq!((owner.is_owner(), other.is_owner()), (true, false));
        assert_eq!((owner.len_bytes() as u64, view.len_bytes() as u64), (TOTAL_BYTES, TOTAL_BYTES));
    }
}

#[test]
fn a_region_in_shared_memory_is_what_shm_open_opens() {
    let scratch = Scratch::shm("posix");
    let owner = scratch.create("a");
    owner.store(HEADER_BYTES, 7, Ordering::Relaxed);
    let name = format!("/{}", scratch.name("a"));
    let fd = rustix::shm::open(name, rustix::shm::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let mut word = [0; 8];
    assert_eq!(rustix::io::pread(&fd, &mut word, HEADER_BYTES as u64), Ok(8));
    assert_eq!(u64::from_le_bytes(word), 7);
}

#[test]
fn the_file_is_whole_allocated_and_private_whatever_the_umask_is() {
    for scratch in Scratch::both("mode") {
        in_child(|| {
            for mask in [0, 0o777] {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
                let owner = scratch.create("a");
                let stat = rustix::fs::fstat(owner.fd()).unwrap();
                assert_eq!((stat.st_mode & 0o7777, stat.st_size as u64, stat.st_nlink), (0o600, TOTAL_BYTES, 1));
                assert!(stat.st_blocks as u64 * 512 >= TOTAL_BYTES);
                assert!(rustix::io::fcntl_getfd(owner.fd()).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
                drop(owner);
            }
        });
    }
}

#[test]
fn the_owner_removes_the_name_and_whoever_has_it_open_keeps_the_memory() {
    for scratch in Scratch::both("drop") {
        let owner = scratch.create("a");
        let other = scratch.open("a");
        assert!(other.has_owner().unwrap() && owner.has_owner().unwrap());
        owner.store(HEADER_BYTES, 3, Ordering::Relaxed);
        drop(owner);
        assert_eq!((scratch.names(), other.load(HEADER_BYTES)), (vec![], 3));
        assert!(!other.has_owner().unwrap());
        let gone = NamedRegion::open(&scratch.place, &scratch.name("a"), &expected(), honest());
        assert!(matches!(gone, Err(NamedError::NotFound { .. })), "{gone:?}");

        // Somebody else's region has the name by now, which is not the old one's to remove.
        let again = scratch.create("a");
        drop(other);
        assert_eq!(scratch.names(), ["a"]);
        drop(again);
    }
}

#[test]
fn a_name_that_was_taken_away_and_given_anew_is_not_removed_by_its_first_owner() {
    let scratch = Scratch::disk("rm");
    let first = scratch.create("a");
    fs::remove_file(scratch.path("a")).unwrap();
    let second = scratch.create("a");
    drop(first);
    assert_eq!(scratch.names(), ["a"]);
    drop(second);
}

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    for scratch in Scratch::both("second") {
        let _owner = scratch.create("a");
        let error = create(&scratch, "a").unwrap_err();
        let own = u64::from(std::process::id());
        assert!(matches!(&error, NamedError::InUse { pid, .. } if *pid == own), "{error}");
        let error = NamedRegion::remove(&scratch.place, &scratch.name("a")).unwrap_err();
        assert!(matches!(error, NamedError::InUse { .. }), "{error}");
    }
}

#[test]
fn a_duplicate_of_the_descriptor_does_not_keep_the_name_in_use() {
    let scratch = Scratch::shm("dup");
    let mut owner = scratch.create("a");
    owner.persist();
    let kept = owner.fd().try_clone_to_owned().unwrap();
    drop(owner);
    assert!(NamedRegion::remove(&scratch.place, &scratch.name("a")).unwrap());
    drop(kept);
}

#[test]
fn a_persistent_region_outlives_its_owner_until_it_is_removed() {
    for scratch in Scratch::both("persist") {
        let mut owner = scratch.create("a");
        owner.persist();
        owner.store(HEADER_BYTES, 4, Ordering::Relaxed);
        drop(owner);
        let mut later = scratch.open("a");
        assert_eq!((later.load(HEADER_BYTES), later.has_owner().unwrap()), (4, false));
        later.persist(); // not the owner: nothing to do
        let error = create(&scratch, "a").unwrap_err();
        assert!(matches!(error, NamedError::Persistent { .. }), "{error}");
        assert!(sweep(&scratch.place, scratch.prefix()).unwrap().removed.is_empty());
        assert!(NamedRegion::remove(&scratch.place, &scratch.name("a")).unwrap());
        assert!(!NamedRegion::remove(&scratch.place, &scratch.name("a")).unwrap(), "there is none any more");
    }
}

#[test]
fn a_stale_region_opens_and_is_replaced_by_the_next() {
    for scratch in Scratch::both("stale") {
        scratch.leave_stale("a");
        let old = scratch.open("a");
        assert!(!old.has_owner().unwrap());
        old.store(HEADER_BYTES, 5, Ordering::Relaxed);
        let new = scratch.create("a");
        assert_eq!((old.load(HEADER_BYTES), new.load(HEADER_BYTES)), (5, 0));
    }
}

#[test]
fn a_sweep_removes_what_is_stale_and_nothing_else() {
    for scratch in Scratch::both("sweep") {
        scratch.leave_stale("stale-1");
        scratch.leave_stale("stale-2");
        let live = scratch.create("live");
        let mut kept = scratch.create("kept");
        kept.persist();
        drop(kept);
        fs::write(scratch.path("foreign"), vec![b'x'; 8192]).unwrap();
        fs::write(scratch.path("short"), b"STRAIT\0\x01").unwrap();
        std::os::unix::fs::symlink(scratch.path("live"), scratch.path("link")).unwrap();
        fs::create_dir(scratch.path("directory")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            scratch.path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();

        let only = sweep(&scratch.place, &scratch.name("stale-2")).unwrap();
        assert_eq!(only.removed, [scratch.name("stale-2")]);
        let swept = sweep(&scratch.place, scratch.prefix()).unwrap();
        assert_eq!(swept.removed, [scratch.name("stale-1")]);
        assert!(swept.failed.is_empty(), "{:?}", swept.failed);
        assert_eq!(scratch.names(), ["directory", "foreign", "kept", "link", "live", "pipe", "short"]);

        drop(live);
        assert!(NamedRegion::remove(&scratch.place, &scratch.name("kept")).unwrap());
        fs::remove_dir(scratch.path("directory")).unwrap();
        ["foreign", "link", "pipe", "short"].iter().for_each(|name| fs::remove_file(scratch.path(name)).unwrap());
    }
}

#[test]
fn truncation_by_a_peer_is_the_signal_that_the_docs_speak_of() {
    let scratch = Scratch::shm("truncate");
    // SAFETY: the child makes a region, touches one word, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let region = scratch.create("a");
        fs::remove_file(scratch.path("a")).unwrap();
        rustix::fs::ftruncate(region.fd(), 4096).unwrap();
        region.load(8192);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: waits for the child from above; `status` is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS);
}

#[test]
fn in_a_forked_child_nothing_is_removed_closed_or_unmapped() {
    for scratch in Scratch::both("fork") {
        let owner = scratch.create("a");
        let other = scratch.open("a");
        let number = owner.fd().as_raw_fd();
        let (mut owner, mut other) = (Some(owner), Some(other));
        in_child(|| {
            let (mut owner, other) = (owner.take().unwrap(), other.take().unwrap());
            assert_eq!((owner.check_fork(), other.check_fork()), (Err(Forked), Err(Forked)));
            assert!(!owner.is_owner());
            assert!(matches!(other.has_owner(), Err(NamedError::Forked(_))));
            assert!(matches!(owner.private_view(), Err(OpenError::Forked(_))));
            owner.persist(); // no word is touched: they are not mapped here
            drop((owner, other));
            // SAFETY: asks about a descriptor by its number.
            assert!(unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0, "still open");
            drop(scratch.create("b")); // one of its own is fine
        });
        assert_eq!(scratch.names(), ["a"]);
        let error = create(&scratch, "a").unwrap_err();
        assert!(matches!(error, NamedError::InUse { .. }), "{error}");
        drop((owner, other));
        assert!(scratch.names().is_empty());
    }
}

#[test]
fn a_drop_gives_the_lease_up_also_where_a_forked_child_lives_on() {
    let scratch = Scratch::shm("fork-lives");
    let mut owner = Some(scratch.create("a"));
    let (read, write) = rustix::pipe::pipe().unwrap();
    // SAFETY: the child waits for the end of a pipe and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(write);
        let _ = rustix::io::read(&read, &mut [0; 1]);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) };
    }
    owner.as_mut().unwrap().persist();
    drop(owner);
    let removed = NamedRegion::remove(&scratch.place, &scratch.name("a"));
    drop(write);
    // SAFETY: waits for the child from above.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
    assert!(removed.unwrap());
}

#[test]
fn nothing_stays_open_or_mapped() {
    let scratch = Scratch::shm("leaks");
    in_child(|| {
        let count = || fs::read_dir("/proc/self/fd").unwrap().count();
        drop(scratch.create("a")); // whatever is opened once
        let before = count();
        for _ in 0..50 {
            let owner = scratch.create("a");
            drop(scratch.open("a"));
            create(&scratch, "a").unwrap_err();
            sweep(&scratch.place, scratch.prefix()).unwrap();
            drop(owner);
        }
        assert_eq!(count(), before);
        assert!(!fs::read_to_string("/proc/self/maps").unwrap().contains(scratch.prefix()));
    });
}
