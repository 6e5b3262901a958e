//! Processors: how many, how steady, how well left alone, and what the clock costs.

use std::time::{Duration, Instant};

use super::{finding::Finding, host::Host};
use crate::{cpus, units::nanos};

const CPU: &str = "/sys/devices/system/cpu";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";

pub(super) fn check(host: &Host) -> Vec<Finding> {
    vec![
        allowed(cpus::allowed().len()),
        quota(host),
        governor(host),
        turbo(host),
        isolation(host, &cpus::allowed()),
        clock(host, clock_nanos()),
    ]
}

fn allowed(count: usize) -> Finding {
    const CHECK: &str = "processors that this process may use";
    const WHY: &str = "on one, each message is a switch between processes, and nothing spins; the fast path needs two";
    match count {
        0 => Finding::ok(CHECK, "the system does not say", WHY),
        1 => Finding::better(
            CHECK,
            "1",
            WHY,
            "widen the affinity: taskset -c 0,1 COMMAND, or the container's --cpuset-cpus",
        ),
        count => Finding::ok(CHECK, count.to_string(), WHY),
    }
}

fn quota(host: &Host) -> Finding {
    const CHECK: &str = "processor time of the control group";
    const WHY: &str = "a thread that spins uses the quota up, and then all threads of the group stand still for the \
        rest of the period";
    let tightest = host.cgroup("cpu").and_then(|group| {
        let quotas = group.directories.iter().filter_map(|directory| {
            let (quota, period) = if group.unified {
                let text = host.text(directory.join("cpu.max"))?;
                let (quota, period) = text.split_once(' ')?;
                (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
            } else {
                (host.value(directory.join("cpu.cfs_quota_us"))?, host.value(directory.join("cpu.cfs_period_us"))?)
            };
            (quota > 0.0 && period > 0.0).then_some(quota / period)
        });
        quotas.min_by(f64::total_cmp)
    });
    match tightest {
        None => Finding::ok(CHECK, "no quota", WHY),
        Some(processors) => {
            let found = format!("{processors:.1} processors");
            Finding::better(
                CHECK,
                found,
                WHY,
                "give it none (docker: no --cpus; Kubernetes: the static CPU policy), or spin_us = 0",
            )
        }
    }
}

fn governor(host: &Host) -> Finding {
    const CHECK: &str = "frequency governor";
    const WHY: &str = "others let a processor slow down between messages: the first one after a rest takes longer";
    let names = host.names(CPU);
    let governors = names.iter().filter_map(|cpu| host.text(format!("{CPU}/{cpu}/cpufreq/scaling_governor")));
    let mut governors: Vec<String> = governors.collect();
    governors.sort();
    governors.dedup();
    match governors.as_slice() {
        [] => Finding::ok(CHECK, "not shown (as in most virtual machines)", WHY),
        [one] if one == "performance" => Finding::ok(CHECK, "performance", WHY),
        some => Finding::better(CHECK, some.join(", "), WHY, "cpupower frequency-set -g performance, as root"),
    }
}

fn turbo(host: &Host) -> Finding {
    const CHECK: &str = "turbo";
    const WHY: &str =
        "makes single messages faster and runs less alike: switch it off to compare measurements, on to serve";
    let intel = host.value::<u8>(format!("{CPU}/intel_pstate/no_turbo")).map(|off| off == 0);
    let on = intel.or_else(|| host.value::<u8>(format!("{CPU}/cpufreq/boost")).map(|on| on != 0));
    let found = match on {
        None => "not shown (as in most virtual machines)",
        Some(true) => "on",
        Some(false) => "off",
    };
    Finding::ok(CHECK, found, WHY)
}

fn isolation(host: &Host, cpus: &[usize]) -> Finding {
    const CHECK: &str = "isolated processors (isolcpus, nohz_full)";
    const WHY: &str = "elsewhere the scheduler and its timer interrupt a polling thread, which shows in the tail";
    let list = |file: &str| host.text(format!("{CPU}/{file}")).filter(|list| !list.is_empty() && list != "(null)");
    match (list("isolated"), list("nohz_full")) {
        (Some(isolated), Some(quiet)) => Finding::ok(CHECK, format!("isolated {isolated}, without ticks {quiet}"), WHY),
        (Some(isolated), None) => {
            let change = format!("boot with nohz_full={isolated} too");
            Finding::better(CHECK, format!("isolated {isolated}, but with ticks"), WHY, change)
        }
        _ => match cpus {
            [_, _, .., one, other] => {
                let change = format!(
                    "boot with isolcpus={one},{other} nohz_full={one},{other} and keep polling threads there (knob cpu)"
                );
                Finding::better(CHECK, "none", WHY, change)
            }
            _ => Finding::ok(CHECK, "none, and too few to set any apart", WHY),
        },
    }
}

fn clock(host: &Host, read_nanos: u64) -> Finding {
    const CHECK: &str = "clock";
    const WHY: &str =
        "each message that carries the time reads it; a clock that needs a system call costs more than the message";
    const GOOD_NANOS: u64 = 150;
    let source = host.text(format!("{CLOCK}/current_clocksource")).unwrap_or_else(|| "unknown source".into());
    let found = format!("{source}, {} a reading", nanos(read_nanos));
    if read_nanos <= GOOD_NANOS {
        return Finding::ok(CHECK, found, WHY);
    }
    let others = host.text(format!("{CLOCK}/available_clocksource")).unwrap_or_default();
    let change = match others.split_whitespace().find(|name| *name == "tsc" && *name != source) {
        Some(tsc) => format!("echo {tsc} > {CLOCK}/current_clocksource, as root; or timestamp = false"),
        None => "timestamp = false: there is no faster source here".into(),
    };
    Finding::better(CHECK, found, WHY, change)
}

/// What one reading of the clock takes: the best of several rounds, so that others on this processor do not count.
fn clock_nanos() -> u64 {
    const READINGS: u32 = 1000;
    let round = || {
        let begin = Instant::now();
        (1..READINGS).for_each(|_| {
            std::hint::black_box(Instant::now());
        });
        begin.elapsed() / READINGS
    };
    let best = (0..20).map(|_| round()).min().unwrap_or(Duration::ZERO);
    best.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            finding::State::{CouldBeBetter, Ok},
            host::tests::{UNIFIED, host_with},
        },
        *,
    };

    #[test]
    fn one_processor_is_too_few_to_be_fast() {
        assert_eq!([1, 2].map(|count| allowed(count).state), [CouldBeBetter, Ok]);
    }

    #[test]
    fn a_quota_is_found_in_both_versions() {
        let mut files = UNIFIED.to_vec();
        files.push(("/sys/fs/cgroup/user.slice/app/cpu.max", "150000 100000\n"));
        files.push(("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n"));
        let (_root, host) = host_with(&files);
        assert_eq!(quota(&host).found, "1.5 processors");
        let first = [
            ("/proc/self/cgroup", "3:cpu,cpuacct:/\n"),
            ("/proc/self/mountinfo", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
        ];
        let (_root, host) = host_with(&first);
        assert_eq!(quota(&host).state, Ok);
        let (_root, host) =
            host_with(&[&first[..2], &[("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000"), first[3]]].concat());
        assert_eq!(quota(&host).found, "0.5 processors");
    }

    #[test]
    fn governors_that_differ_are_all_named() {
        let file = |cpu: u8| format!("{CPU}/cpu{cpu}/cpufreq/scaling_governor");
        let (_root, host) = host_with(&[(&file(0), "powersave"), (&file(1), "performance"), (&file(2), "powersave")]);
        assert_eq!(governor(&host).found, "performance, powersave");
        let (_root, host) = host_with(&[(&file(0), "performance")]);
        assert_eq!(governor(&host).state, Ok);
    }

    #[test]
    fn turbo_is_told_by_either_driver() {
        let (_root, host) = host_with(&[("/sys/devices/system/cpu/intel_pstate/no_turbo", "1")]);
        assert_eq!(turbo(&host).found, "off");
        let (_root, host) = host_with(&[("/sys/devices/system/cpu/cpufreq/boost", "1")]);
        assert_eq!(turbo(&host).found, "on");
    }

    #[test]
    fn isolation_without_quiet_ticks_could_be_better() {
        let (_root, host) =
            host_with(&[(&format!("{CPU}/isolated"), "2-3\n"), (&format!("{CPU}/nohz_full"), "(null)\n")]);
        assert!(isolation(&host, &[0, 1, 2, 3]).change.unwrap().contains("nohz_full=2-3"));
        let (_root, host) = host_with(&[(&format!("{CPU}/isolated"), "2-3\n"), (&format!("{CPU}/nohz_full"), "2-3\n")]);
        assert_eq!(isolation(&host, &[0, 1, 2, 3]).state, Ok);
        let (_root, host) = host_with(&[]);
        assert!(isolation(&host, &[0, 1, 2, 3]).change.unwrap().contains("isolcpus=2,3"));
        assert_eq!(isolation(&host, &[0, 1, 2]).state, Ok, "nothing to set apart");
    }

    #[test]
    fn a_slow_clock_is_told_with_the_faster_one() {
        let source = |name: &str| format!("{CLOCK}/{name}_clocksource");
        let (_root, host) = host_with(&[(&source("current"), "hpet\n"), (&source("available"), "hpet tsc\n")]);
        assert_eq!(clock(&host, 25).state, Ok);
        assert!(clock(&host, 900).change.unwrap().starts_with("echo tsc"));
    }
}
