//! Nothing stays behind. One test, because it counts what belongs to the whole process.

mod support;

use strait_region::{Header, OwnRegion, PeerRegion};
use support::{SEALS, TOTAL_BYTES, expected, header, memfd, memfd_with, own, refusal, sent};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mapped_regions() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().matches("memfd:strait-region:test").count()
}

/// Shared memory of the whole machine in bytes.
fn shared_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = info.lines().find(|line| line.starts_with("Shmem:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn descriptors_mappings_and_memory_are_given_back() {
    drop(own()); // whatever is opened once
    let (descriptors, mappings) = (open_descriptors(), mapped_regions());

    let kept = own();
    for _ in 0..1000 {
        let own = own();
        let peer = PeerRegion::open(sent(&own), &expected()).unwrap();
        assert_eq!(open_descriptors(), descriptors + 2, "the peer's descriptor is closed once it is mapped");
        drop((own, peer));
        // Refused at each stage: before the seals, after them, at the header, and at creation.
        refusal(std::fs::File::open("/dev/null").unwrap());
        refusal(memfd(&header().encode(), TOTAL_BYTES, SEALS.difference(rustix::fs::SealFlags::SHRINK)));
        refusal(memfd_with(&Header { kind: 0, ..header() }));
        OwnRegion::create("strait-region:test", &Header { total_bytes: 1 << 60, ..header() }).unwrap_err();
    }
    assert_eq!((open_descriptors(), mapped_regions()), (descriptors + 1, mappings + 1));
    drop(kept);
    assert_eq!((open_descriptors(), mapped_regions()), (descriptors, mappings));

    // 64 regions of 32 MiB: were they kept, the machine's shared memory would grow by 2 GiB. Others use it too.
    let before = shared_memory();
    let large = Header { total_bytes: 32 << 20, ..header() };
    for _ in 0..64 {
        let own = OwnRegion::create("strait-region:test", &large).unwrap();
        assert!(rustix::fs::fstat(own.fd()).unwrap().st_blocks as u64 * 512 >= large.total_bytes);
    }
    let grown = shared_memory().saturating_sub(before);
    assert!(grown < 1 << 30, "{grown} bytes were not given back");
}
