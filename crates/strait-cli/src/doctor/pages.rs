//! Pages: huge ones, and where memory with a name lies.

use rustix::fs::statvfs;

use super::{finding::Finding, host::Host};
use crate::units::bytes;

const HUGE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const SHMEM: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    vec![
        transparent(host),
        reserved(host),
        shm(statvfs("/dev/shm").ok().map(|shm| (shm.f_blocks, shm.f_bavail, shm.f_frsize))),
    ]
}

fn transparent(host: &Host) -> Finding {
    const CHECK: &str = "transparent huge pages (shmem_enabled)";
    const WHY: &str = "large rings miss the TLB less; the knob huge_pages, which the preset high_throughput sets, is \
        a wish that this grants";
    let change = format!("echo advise > {SHMEM}, as root");
    match host.chosen(SHMEM).as_deref() {
        Some(mode @ ("always" | "within_size" | "advise" | "force")) => Finding::ok(CHECK, mode, WHY),
        Some(mode) => Finding::better(CHECK, format!("{mode}: rings have ordinary pages"), WHY, change),
        None => Finding::better(CHECK, "not in this kernel", WHY, "use a kernel with CONFIG_TRANSPARENT_HUGEPAGE"),
    }
}

fn reserved(host: &Host) -> Finding {
    const CHECK: &str = "reserved huge pages (hugetlb, 2 MiB)";
    const WHY: &str = "needed only by regions that are made with Pages::Huge, which is refused without";
    let number = |file: &str| host.value::<u64>(format!("{HUGE}/{file}"));
    match (number("free_hugepages"), number("nr_hugepages")) {
        (Some(free), Some(all)) if all > 0 => Finding::ok(CHECK, format!("{free} of {all} free"), WHY),
        _ => Finding::ok(CHECK, "none", WHY),
    }
}

fn shm(mount: Option<(u64, u64, u64)>) -> Finding {
    const CHECK: &str = "/dev/shm";
    const WHY: &str =
        "regions with a name (region::named) lie there, and nothing else does: connections use memory without a name";
    /// What containers are given, unless somebody asks for more.
    const CONTAINER_BYTES: u64 = 64 << 20;
    let change = "start the container with --shm-size=1g, or: mount -o remount,size=1G /dev/shm";
    match mount {
        None | Some((0, ..)) => Finding::better(CHECK, "is not there", WHY, "mount -t tmpfs tmpfs /dev/shm"),
        Some((blocks, free, block_bytes)) => {
            let size = blocks.saturating_mul(block_bytes);
            let found = format!("{}, {} free", bytes(size), bytes(free.saturating_mul(block_bytes)));
            if size <= CONTAINER_BYTES {
                Finding::better(CHECK, found, WHY, change)
            } else {
                Finding::ok(CHECK, found, WHY)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{finding::State, host::tests::host_with},
        *,
    };

    #[test]
    fn shmem_must_be_asked_for_itself() {
        for (mode, state) in [
            ("always within_size [advise] never deny force", State::Ok),
            ("always within_size advise [never] deny force", State::CouldBeBetter),
            ("always within_size advise never [deny] force", State::CouldBeBetter),
        ] {
            let (_root, host) = host_with(&[(SHMEM, mode)]);
            assert_eq!(transparent(&host).state, state, "{mode}");
        }
        let (_root, host) = host_with(&[]);
        assert_eq!(transparent(&host).state, State::CouldBeBetter);
    }

    #[test]
    fn reserved_pages_are_counted() {
        let files = [format!("{HUGE}/nr_hugepages"), format!("{HUGE}/free_hugepages")];
        let (_root, host) = host_with(&[(&files[0], "16\n"), (&files[1], "9\n")]);
        assert_eq!(reserved(&host).found, "9 of 16 free");
    }

    #[test]
    fn a_containers_shm_is_small() {
        assert_eq!(shm(Some((16_384, 16_000, 4096))).state, State::CouldBeBetter);
        assert_eq!(shm(Some((1 << 20, 1 << 19, 4096))).found, "4.00 GiB, 2.00 GiB free");
        assert_eq!(shm(None).state, State::CouldBeBetter);
    }
}
