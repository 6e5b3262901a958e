//! Huge pages, pages that are present, pages that stay.

mod support;

use std::sync::atomic::Ordering;

use rustix::process::{Resource, Rlimit, setrlimit};
use strait_region::{
    CreateError, HEADER_BYTES, HUGE_PAGE_BYTES, Header, OpenError, Options, OwnRegion, Pages, PeerRegion,
};
use strait_sync::{Words, WordsMut};
use support::{become_other, can_drop_uid, expected, header, in_child, sent};

const NAME: &str = "strait-region:test-options";

/// A value of the mapping of `region` in `/proc/self/smaps`, in bytes.
fn mapping(region: &impl Words, field: &str) -> u64 {
    let start = format!("{:x}-", region.raw().as_ptr(0, 0).as_ptr() as usize);
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (_, rest) = maps.split_once(&start).unwrap();
    let line = rest.lines().find(|line| line.starts_with(&format!("{field}:"))).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn huge() -> Header {
    Header { total_bytes: 2 * HUGE_PAGE_BYTES, ..header() }
}

#[test]
fn prefaulted_pages_are_mapped_and_others_are_not() {
    let total_bytes = 1 << 20;
    let header = Header { total_bytes, ..header() };
    let lazy = OwnRegion::create(NAME, &header).unwrap();
    assert!(mapping(&lazy, "Rss") < total_bytes, "otherwise this test shows nothing");
    let own = OwnRegion::create_with(NAME, &header, &Options::new().prefault(true)).unwrap();
    assert_eq!(mapping(&own, "Rss"), total_bytes);
    let peer = PeerRegion::open_with(sent(&lazy), &expected(), &Options::new().prefault(true)).unwrap();
    assert_eq!(mapping(&peer, "Rss"), total_bytes);
}

#[test]
fn locked_pages_are_locked() {
    let options = Options::new().lock(true);
    let own = match OwnRegion::create_with(NAME, &header(), &options) {
        Err(CreateError::Io { source, .. }) => return eprintln!("skipped: no memory may be locked here: {source}"),
        other => other.unwrap(),
    };
    assert_eq!(mapping(&own, "Locked"), own.len_bytes() as u64);
    let peer = PeerRegion::open_with(sent(&own), &expected(), &options).unwrap();
    assert_eq!(mapping(&peer, "Locked"), own.len_bytes() as u64 / 2, "each mapping counts for its share");
}

#[test]
fn more_locked_pages_than_are_allowed_are_a_typed_error() {
    if !can_drop_uid() {
        return;
    }
    in_child(|| {
        setrlimit(Resource::Memlock, Rlimit { current: Some(4096), maximum: Some(4096) }).unwrap();
        become_other();
        let options = Options::new().lock(true);
        let error = OwnRegion::create_with(NAME, &header(), &options).unwrap_err();
        assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}");
        let own = OwnRegion::create(NAME, &header()).unwrap();
        let error = PeerRegion::open_with(sent(&own), &expected(), &options).unwrap_err();
        assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}");
    });
}

#[test]
fn transparent_huge_pages_are_a_wish_that_never_fails() {
    let options = Options::new().pages(Pages::Transparent).prefault(true);
    for header in [header(), huge()] {
        let own = OwnRegion::create_with(NAME, &header, &options).unwrap();
        own.store(HEADER_BYTES, 1, Ordering::Release);
        let wide = strait_region::Expected { max_total_bytes: header.total_bytes, ..expected() };
        let peer = PeerRegion::open_with(sent(&own), &wide, &options).unwrap();
        assert_eq!(peer.load(HEADER_BYTES), 1);
    }
}

#[test]
fn huge_pages_need_a_size_that_is_a_multiple_of_theirs() {
    let error = OwnRegion::create_with(NAME, &header(), &Options::new().pages(Pages::Huge)).unwrap_err();
    assert!(matches!(error, CreateError::HugeSize { bytes: 32768, page_bytes: HUGE_PAGE_BYTES }), "{error}");
}

const RESERVED: &str = "/proc/sys/vm/nr_hugepages";

fn reserved_huge_pages() -> u64 {
    std::fs::read_to_string(RESERVED).unwrap_or_default().trim().parse().unwrap_or(0)
}

/// Huge pages that were reserved for a test, where this user may; given back with it.
struct Reservation {
    before: u64,
}

impl Reservation {
    /// Reserves as many as it takes to have `pages` of them.
    fn of(pages: u64) -> Self {
        let before = reserved_huge_pages();
        if before < pages
            && let Err(error) = std::fs::write(RESERVED, pages.to_string())
        {
            eprintln!("no huge pages can be reserved here: {error}");
        }
        Self { before }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if reserved_huge_pages() != self.before {
            let _ = std::fs::write(RESERVED, self.before.to_string());
        }
    }
}

/// Both outcomes are right ones; which of them there is to see depends on whether any can be reserved.
#[test]
fn huge_pages_work_where_they_are_reserved_and_are_a_typed_error_where_not() {
    let reservation = Reservation::of(4);
    let options = Options::new().pages(Pages::Huge).prefault(true);
    let own = match OwnRegion::create_with(NAME, &huge(), &options) {
        Err(error) => {
            match &error {
                CreateError::NoHugePages { needed: 2, .. } => {
                    assert!(error.to_string().contains("vm.nr_hugepages"), "{error}");
                }
                CreateError::Io { operation: "memfd_create", .. } => eprintln!("no huge pages in this kernel"),
                _ => panic!("{error}"),
            }
            assert!(reserved_huge_pages() < 2, "refused though there are some: {error}");
            return eprintln!("not tried: no huge pages are reserved");
        }
        Ok(own) => own,
    };
    let wide = strait_region::Expected { max_total_bytes: huge().total_bytes, ..expected() };
    let error = PeerRegion::open(sent(&own), &wide).unwrap_err();
    assert!(matches!(error, OpenError::NotTmpfs { found: 0x9584_58f6 }), "only where it was asked for: {error}");
    let peer = PeerRegion::open_with(sent(&own), &wide, &options).unwrap();
    own.store(HEADER_BYTES, 1, Ordering::Release);
    assert_eq!(peer.load(HEADER_BYTES), 1);
    for page_bytes in [mapping(&own, "KernelPageSize"), mapping(&peer, "KernelPageSize")] {
        assert_eq!(page_bytes, HUGE_PAGE_BYTES);
    }
    drop((own, peer));
    drop(reservation);
}

#[test]
fn memory_of_huge_pages_is_checked_like_any_other() {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let Ok(fd) = memfd_create(NAME, flags) else { return eprintln!("not tried: no huge pages in this kernel") };
    ftruncate(&fd, HUGE_PAGE_BYTES).unwrap();
    let wide = strait_region::Expected { max_total_bytes: HUGE_PAGE_BYTES, ..expected() };
    let error = PeerRegion::open_with(fd, &wide, &Options::new().pages(Pages::Huge)).unwrap_err();
    assert!(matches!(error, OpenError::Holes { allocated_bytes: 0, size_bytes: HUGE_PAGE_BYTES }), "{error}");
}

#[test]
fn ordinary_memory_opens_as_huge_too() {
    let own = support::own();
    PeerRegion::open_with(sent(&own), &expected(), &Options::new().pages(Pages::Huge)).unwrap();
}
