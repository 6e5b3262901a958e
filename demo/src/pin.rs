//! Keeping threads on cores.

use std::{io, sync::OnceLock};

use rustix::thread::{CpuSet, sched_getaffinity};
use strait::rpc::blocking::pin_current_thread;

/// One of the cores that the process was given: the `number`th, counted round and round.
///
/// # Errors
///
/// What the system says where it does not name them.
pub fn core(number: usize) -> io::Result<usize> {
    // Asked once, before any thread has narrowed its own set: a new thread inherits the set of the one that made it.
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    let cores = match CORES.get() {
        Some(cores) => cores,
        None => {
            let allowed = sched_getaffinity(None)?;
            CORES.get_or_init(|| (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
        }
    };
    cores.get(number % cores.len().max(1)).copied().ok_or_else(|| io::Error::other("the process was given no core"))
}

/// Keeps the calling thread on [`core(number)`](core()).
///
/// # Errors
///
/// What the system says where it refuses.
pub fn pin_to_core(number: usize) -> io::Result<()> {
    pin_current_thread(core(number)?).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_core_and_numbers_go_round() {
        std::thread::spawn(|| {
            for number in [0, 1, 1000] {
                pin_to_core(number).unwrap();
                assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
            }
        })
        .join()
        .unwrap();
    }
}
