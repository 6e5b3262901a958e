//! What is published: the load of this machine, out of /proc.

use std::{fs, io, time::Instant};

use serde::{Deserialize, Serialize};

/// The load at one moment; rates are means since the sample before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Share of processor time that was not idle, 0 to 100.
    pub(crate) cpu_percent: f64,
    /// Memory in use, in bytes.
    pub(crate) memory_used_bytes: u64,
    /// Memory there is, in bytes.
    pub(crate) memory_total_bytes: u64,
    /// Read from disks, in bytes per second.
    pub(crate) disk_read_bytes_per_s: f64,
    /// Written to disks, in bytes per second.
    pub(crate) disk_written_bytes_per_s: f64,
    /// Received by all interfaces but loopback, in bytes per second.
    pub(crate) net_received_bytes_per_s: f64,
    /// Sent by them, in bytes per second.
    pub(crate) net_sent_bytes_per_s: f64,
}

/// Counters that only grow.
#[derive(Clone, Copy, Default)]
struct Counters {
    cpu_all: u64,
    cpu_idle: u64,
    disk_read: u64,
    disk_written: u64,
    net_received: u64,
    net_sent: u64,
}

/// Takes samples.
pub(crate) struct Sampler {
    last: Counters,
    at: Instant,
}

impl Sampler {
    /// Begins to count.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { last: counters()?, at: Instant::now() })
    }

    /// The load since the last time.
    pub(crate) fn sample(&mut self) -> io::Result<Sample> {
        let (now, last, elapsed) = (counters()?, self.last, self.at.elapsed().as_secs_f64().max(1e-3));
        (self.last, self.at) = (now, Instant::now());
        let rate = |now: u64, last: u64| now.saturating_sub(last) as f64 / elapsed;
        let (all, idle) = (now.cpu_all.saturating_sub(last.cpu_all), now.cpu_idle.saturating_sub(last.cpu_idle));
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let kib = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        let memory_total_bytes = kib("MemTotal:");
        Ok(Sample {
            cpu_percent: 100.0 * all.saturating_sub(idle) as f64 / all.max(1) as f64,
            memory_used_bytes: memory_total_bytes.saturating_sub(kib("MemAvailable:")),
            memory_total_bytes,
            disk_read_bytes_per_s: rate(now.disk_read, last.disk_read),
            disk_written_bytes_per_s: rate(now.disk_written, last.disk_written),
            net_received_bytes_per_s: rate(now.net_received, last.net_received),
            net_sent_bytes_per_s: rate(now.net_sent, last.net_sent),
        })
    }
}

fn counters() -> io::Result<Counters> {
    let mut counters = Counters::default();
    let stat = fs::read_to_string("/proc/stat")?;
    // user nice system idle iowait irq softirq steal; what follows is counted in user already.
    let cpu: Vec<u64> = numbers(stat.lines().next().unwrap_or_default()).take(8).collect();
    counters.cpu_all = cpu.iter().sum();
    counters.cpu_idle = cpu.iter().skip(3).take(2).sum();
    for line in fs::read_to_string("/proc/diskstats")?.lines() {
        let name = line.split_whitespace().nth(2).unwrap_or_default();
        // Whole disks alone: a partition counts in its disk too.
        if fs::exists(format!("/sys/block/{name}"))? {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let sectors = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0) * 512;
            counters.disk_read += sectors(5);
            counters.disk_written += sectors(9);
        }
    }
    for line in fs::read_to_string("/proc/net/dev")?.lines() {
        if let Some((name, rest)) = line.split_once(':')
            && name.trim() != "lo"
        {
            let fields: Vec<u64> = rest.split_whitespace().filter_map(|field| field.parse().ok()).collect();
            counters.net_received += fields.first().copied().unwrap_or(0);
            counters.net_sent += fields.get(8).copied().unwrap_or(0);
        }
    }
    Ok(counters)
}

fn numbers(line: &str) -> impl Iterator<Item = u64> {
    line.split_whitespace().filter_map(|field| field.parse().ok())
}
