//! The kernel's word on whether a process is dead.
//!
//! The processes must see each other's pids and start times: one pid namespace, with its `/proc`, and one time namespace (the
//! kernel tells start times as the reader's clock has them). A queue says in which it was made; nobody else can take part, and
//! to a process elsewhere everybody counts as alive.

use std::{fs, os::unix::fs::MetadataExt};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use strait_sync::process::start_ticks;

use super::{Identity, Liveness, ParticipantInfo};

impl Identity {
    /// This process. Its start time is 0, for unknown, where there is no `/proc`.
    pub fn current() -> Self {
        Self { pid: std::process::id(), start_time: start_ticks(None).unwrap_or(0) }
    }
}

/// The pid and the time namespace of this process, as one number; 0 where there is no `/proc` to ask. Source: namespaces(7).
pub fn namespaces() -> u64 {
    let of = |kind| fs::metadata(std::format!("/proc/self/ns/{kind}")).map_or(0, |namespace| namespace.ino());
    // The kernel numbers namespaces with 32 bits; one without time namespaces (before 5.6) has only one.
    match of("pid") {
        0 => 0,
        pid => pid << 32 | of("time") & u64::from(u32::MAX),
    }
}

/// For [`recover`](super::SharedQueue::recover): [`is_dead`] of a participant, as far as it can be told from here.
pub fn liveness(participant: ParticipantInfo) -> Liveness {
    if participant.namespaces != 0 && participant.namespaces != namespaces() {
        return Liveness::Alive;
    }
    if is_dead(participant.pid, participant.start_time) { Liveness::Dead } else { Liveness::Alive }
}

/// Whether the process `pid`, of this process's namespaces, that started at `start_time` (0: unknown) has ended.
///
/// It has if there is no such process, if its pidfd says that it ended (a zombie counts as ended), or if the one with
/// this pid started at another time. Anything that keeps this from being known, such as a `/proc` that hides others, counts as
/// alive.
///
/// ```
/// use strait_mpmc::shared::{Identity, process::is_dead};
///
/// let us = Identity::current();
/// assert!(!is_dead(us.pid, us.start_time));
/// assert!(is_dead(us.pid, us.start_time + 1), "another process had this pid");
/// ```
pub fn is_dead(pid: u32, start_time: u64) -> bool {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    match pidfd_open(process, PidfdFlags::empty()) {
        Err(Errno::SRCH) => true,
        // The pidfd holds on to the process that has the pid now, so that the answers below are about one process.
        Ok(pidfd) => has_ended(&pidfd) || is_another(pid, start_time),
        Err(_) => is_another(pid, start_time),
    }
}

fn has_ended(pidfd: &impl std::os::fd::AsFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1..)) && fds[0].revents().contains(PollFlags::IN)
}

fn is_another(pid: u32, since: u64) -> bool {
    since != 0 && start_ticks(Some(pid)).is_some_and(|start_time| start_time != since)
}
