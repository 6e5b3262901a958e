//! Keeping threads on cores.

use std::{io, sync::OnceLock};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread on one of the cores that the process was given: the `number`th, counted round and round.
///
/// # Errors
///
/// What the system says where it refuses.
pub fn pin_to_core(number: usize) -> io::Result<()> {
    // Asked once, before any thread has narrowed its own set: a new thread inherits the set of the one that made it.
    static CORES: OnceLock<Vec<usize>> = OnceLock::new();
    let cores = match CORES.get() {
        Some(cores) => cores,
        None => {
            let allowed = sched_getaffinity(None)?;
            CORES.get_or_init(|| (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
        }
    };
    let mut one = CpuSet::new();
    if let Some(&core) = cores.get(number % cores.len().max(1)) {
        one.set(core);
        sched_setaffinity(None, &one)?;
    }
    Ok(())
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
