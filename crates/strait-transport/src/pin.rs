//! Keeping threads on processors.

use rustix::{
    io::Errno,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::options::processors;

/// Why a thread could not be kept on a processor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// There is no such processor, or this process may not use it.
    #[error("there is no cpu {cpu} for this process: it may use {}", ranges(.usable))]
    NoSuchCpu {
        /// The processor that was asked for.
        cpu: usize,
        /// Those that there are, in ascending order.
        usable: Vec<usize>,
    },
    /// The system refused.
    #[error("the system does not keep a thread on cpu {cpu}: {error}")]
    Refused {
        /// The processor that was asked for.
        cpu: usize,
        /// The system's reason.
        error: std::io::ErrorKind,
    },
}

/// Keeps the calling thread, and threads that it starts from now on, on one processor.
///
/// For a thread that waits by spinning: with [`Options::spin`](crate::Options::spin) as long as a message may take (at most
/// 50 ms) it does not sleep.
///
/// ```
/// use strait_transport::{PinError, pin_current_thread};
///
/// let error = pin_current_thread(1_000_000).unwrap_err();
/// assert!(matches!(error, PinError::NoSuchCpu { cpu: 1_000_000, .. }));
/// ```
///
/// # Errors
///
/// [`PinError`]; then the thread is where it was.
pub fn pin_current_thread(cpu: usize) -> Result<(), PinError> {
    processors();
    let mut one = CpuSet::new();
    let pinned = if cpu < CpuSet::MAX_CPU {
        one.set(cpu);
        sched_setaffinity(None, &one)
    } else {
        Err(Errno::INVAL)
    };
    match pinned {
        Ok(()) => Ok(()),
        Err(Errno::INVAL) => Err(PinError::NoSuchCpu { cpu, usable: usable() }),
        Err(error) => Err(PinError::Refused { cpu, error: std::io::Error::from(error).kind() }),
    }
}

/// The processors that this process may use, although the calling thread may be kept on fewer.
fn usable() -> Vec<usize> {
    let Ok(before) = sched_getaffinity(None) else { return Vec::new() };
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    // The system takes from it what there is.
    let widened = sched_setaffinity(None, &all).and_then(|()| sched_getaffinity(None)).unwrap_or(before);
    let _ = sched_setaffinity(None, &before);
    (0..CpuSet::MAX_CPU).filter(|&cpu| widened.is_set(cpu)).collect()
}

/// `0-3, 8`.
fn ranges(cpus: &[usize]) -> String {
    let ranges = cpus.chunk_by(|one, next| one + 1 == *next).map(|range| match *range {
        [cpu] => cpu.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    ranges.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn a_pinned_thread_has_one_cpu_and_an_error_names_all_and_leaves_it_there() {
        std::thread::spawn(|| {
            let usable = usable();
            let cpu = *usable.last().unwrap();
            pin_current_thread(cpu).unwrap();
            let expected = PinError::NoSuchCpu { cpu: 1023, usable };
            assert_eq!(pin_current_thread(1023).unwrap_err(), expected);
            let now = sched_getaffinity(None).unwrap();
            assert!(now.is_set(cpu) && now.count() == 1);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_pinned_thread_spins_where_its_process_has_two_processors() {
        let pinned = std::thread::spawn(|| {
            pin_current_thread(usable()[0]).unwrap();
            Options::default().spin
        });
        let is_single = std::thread::available_parallelism().unwrap().get() == 1;
        assert_eq!(pinned.join().unwrap().is_zero(), is_single);
    }

    #[test]
    fn processors_are_listed_in_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(ranges(&[]), "");
    }
}
