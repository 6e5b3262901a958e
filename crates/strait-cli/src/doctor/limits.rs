//! What this process may take.

use rustix::process::{Resource, getrlimit};
use strait::Options;

use super::{
    finding::Finding,
    host::{Cgroup, Host},
};
use crate::units::bytes;

/// Each connection in shared memory takes so many descriptors at an end: its socket, its segment and the peer's pidfd.
const DESCRIPTORS_PER_CONNECTION: u64 = 3;
/// As many as a process of one connection has.
const DESCRIPTORS_LEAST: u64 = 12;
/// Enough for a server with the default limit of clients.
const DESCRIPTORS_GOOD: u64 = 1024;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    vec![
        descriptors(getrlimit(Resource::Nofile).current),
        file_size(getrlimit(Resource::Fsize).current),
        address_space(getrlimit(Resource::As).current),
        locked_memory(getrlimit(Resource::Memlock).current),
        cgroup_memory(host),
    ]
}

fn descriptors(limit: Option<u64>) -> Finding {
    const CHECK: &str = "descriptors (RLIMIT_NOFILE)";
    const WHY: &str = "a connection in shared memory takes three at each end; with none left, clients stay on their \
        sockets or are turned away";
    let found = limit.map_or("no limit".to_owned(), |limit| {
        format!("{limit}: about {} connections", limit.saturating_sub(16) / DESCRIPTORS_PER_CONNECTION)
    });
    match limit {
        Some(limit) if limit < DESCRIPTORS_LEAST => Finding::fails(CHECK, found, WHY, "ulimit -n 4096"),
        Some(limit) if limit < DESCRIPTORS_GOOD => Finding::better(CHECK, found, WHY, "ulimit -n 4096"),
        _ => Finding::ok(CHECK, found, WHY),
    }
}

fn file_size(limit: Option<u64>) -> Finding {
    const CHECK: &str = "file size (RLIMIT_FSIZE)";
    const WHY: &str = "memory of a segment is a file to the kernel: one above the limit is not made, and its \
        connection stays on the socket";
    let (needed, largest) = (segment_bytes(Options::default().ring_bytes), segment_bytes(64 << 20));
    match limit {
        Some(limit) if limit < needed => {
            let found = format!("{}, the default segment has {}", bytes(limit), bytes(needed));
            Finding::fails(CHECK, found, WHY, "ulimit -f unlimited")
        }
        Some(limit) if limit < largest => {
            let found = format!("{}, the largest segment has {}", bytes(limit), bytes(largest));
            Finding::better(CHECK, found, WHY, "ulimit -f unlimited")
        }
        limit => Finding::ok(CHECK, or_none(limit), WHY),
    }
}

fn address_space(limit: Option<u64>) -> Finding {
    const CHECK: &str = "address space (RLIMIT_AS)";
    const WHY: &str = "both segments of a connection are mapped; without room for them it stays on its socket";
    match limit {
        None => Finding::ok(CHECK, "no limit", WHY),
        Some(limit) => Finding::better(CHECK, bytes(limit), WHY, "ulimit -v unlimited"),
    }
}

fn locked_memory(limit: Option<u64>) -> Finding {
    const CHECK: &str = "locked memory (RLIMIT_MEMLOCK)";
    const WHY: &str = "bounds only regions that are made with Options::lock; connections lock nothing";
    match limit {
        Some(limit) if limit < segment_bytes(Options::default().ring_bytes) => {
            Finding::better(CHECK, bytes(limit), WHY, "ulimit -l unlimited, as root; or LimitMEMLOCK= of a service")
        }
        limit => Finding::ok(CHECK, or_none(limit), WHY),
    }
}

fn cgroup_memory(host: &Host) -> Finding {
    const CHECK: &str = "memory of the control group";
    const WHY: &str = "segments are allocated when they are made and count for their maker; beyond the limit the \
        kernel kills a process, it returns no error";
    let Some(tightest) = host.cgroup("memory").and_then(|group| tightest(host, &group)) else {
        return Finding::ok(CHECK, "no limit", WHY);
    };
    let Tightest { limit, used, file } = tightest;
    let found = format!("{} of {} used", bytes(used), bytes(limit));
    let change = format!("raise {file}, or bound clients and rings (`strait size --clients N`)");
    match limit.saturating_sub(used) {
        free if free < 2 * segment_bytes(Options::default().ring_bytes) => Finding::fails(CHECK, found, WHY, change),
        free if free < 64 << 20 => Finding::better(CHECK, found, WHY, change),
        _ => Finding::ok(CHECK, found, WHY),
    }
}

struct Tightest {
    limit: u64,
    used: u64,
    file: String,
}

/// The group, of this process's and those above, that has the least left. What the kernel can take back at once is not
/// used.
fn tightest(host: &Host, group: &Cgroup) -> Option<Tightest> {
    let (limit_file, used_file, cache) = match group.unified {
        true => ("memory.max", "memory.current", "inactive_file "),
        false => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
    };
    // The first version has no word for "none": a number that no machine has.
    let limited = |limit: &u64| *limit < 1 << 60;
    let groups = group.directories.iter().filter_map(|directory| {
        let limit = host.value(directory.join(limit_file)).filter(limited)?;
        let used: u64 = host.value(directory.join(used_file))?;
        let stat = host.text(directory.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cache)?.parse::<u64>().ok()).unwrap_or(0);
        let file = directory.join(limit_file).display().to_string();
        Some(Tightest { limit, used: used.saturating_sub(cached), file })
    });
    groups.min_by_key(|group| group.limit.saturating_sub(group.used))
}

fn segment_bytes(ring_bytes: u64) -> u64 {
    Options { ring_bytes, ..Options::default() }.segment_bytes()
}

fn or_none(limit: Option<u64>) -> String {
    limit.map_or("no limit".to_owned(), bytes)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            finding::State,
            host::tests::{UNIFIED, host_with},
        },
        *,
    };

    #[test]
    fn limits_are_judged_by_what_a_connection_needs() {
        let states = [Some(10), Some(256), Some(1024), None].map(|limit| descriptors(limit).state);
        assert_eq!(states, [State::WillNotWork, State::CouldBeBetter, State::Ok, State::Ok]);
        let states = [Some(100_000), Some(1 << 20), None].map(|limit| file_size(limit).state);
        assert_eq!(states, [State::WillNotWork, State::CouldBeBetter, State::Ok]);
        assert_eq!(address_space(Some(1 << 30)).state, State::CouldBeBetter);
        assert_eq!(locked_memory(Some(8 << 20)).state, State::Ok);
    }

    #[test]
    fn the_group_above_counts_where_it_has_less_left() {
        let group = "/sys/fs/cgroup/user.slice";
        let mut files = UNIFIED.to_vec();
        let (own, above) = (format!("{group}/app"), group.to_owned());
        let texts = [
            (format!("{own}/memory.max"), "max\n"),
            (format!("{own}/memory.current"), "1000\n"),
            (format!("{above}/memory.max"), "104857600\n"),
            (format!("{above}/memory.current"), "104800000\n"),
            (format!("{above}/memory.stat"), "anon 5\ninactive_file 60000000\n"),
        ];
        files.extend(texts.iter().map(|(path, text)| (path.as_str(), *text)));
        let (_root, host) = host_with(&files);
        let finding = cgroup_memory(&host);
        assert_eq!((finding.state, finding.found.as_str()), (State::CouldBeBetter, "42.7 MiB of 100 MiB used"));
        assert!(finding.change.unwrap().contains("user.slice/memory.max"));
    }

    #[test]
    fn a_full_group_will_not_do_and_no_limit_is_none() {
        let mut files = UNIFIED.to_vec();
        files.push(("/sys/fs/cgroup/user.slice/app/memory.max", "1048576"));
        files.push(("/sys/fs/cgroup/user.slice/app/memory.current", "1048000"));
        let (_root, host) = host_with(&files);
        assert_eq!(cgroup_memory(&host).state, State::WillNotWork);
        let (_root, host) = host_with(&[]);
        assert_eq!(cgroup_memory(&host).found, "no limit");
    }
}
