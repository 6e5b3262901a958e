//! What the owner of a named region notes down beside its header, for whoever finds the name later.

use std::{os::fd::BorrowedFd, sync::atomic::Ordering};

use rustix::io::{pread, retry_on_intr};
use strait_sync::WordsMut;

use crate::header::{HEADER_BYTES, HEADER_ENCODED_BYTES};

/// The owner's process id, in its own namespace.
const PID: usize = HEADER_ENCODED_BYTES;

/// Nonzero where the name is to outlive its owner.
const PERSISTENT: usize = PID + 8;

const _: () = assert!(PERSISTENT + 8 <= HEADER_BYTES);

/// The words, as they were when they were read.
pub(super) struct Record {
    pub(super) pid: u64,
    pub(super) persistent: bool,
}

impl Record {
    /// Reads the record of a region. Zeroes where it is cut off.
    pub(super) fn read(fd: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let mut words = [[0; 8]; 2];
        let bytes = words.as_flattened_mut();
        retry_on_intr(|| pread(fd, &mut *bytes, PID as u64))?;
        let [pid, persistent] = words.map(u64::from_le_bytes);
        Ok(Self { pid, persistent: persistent != 0 })
    }
}

/// Notes down this process as the owner.
pub(super) fn write_pid(region: &impl WordsMut) {
    // ORDERING: Relaxed; the region has no name yet, and gets it by a system call.
    region.store(PID, u64::from(std::process::id()), Ordering::Relaxed);
}

/// Notes down that the name outlives its owner.
pub(super) fn write_persistent(region: &impl WordsMut) {
    // ORDERING: Relaxed; it is judged by system calls alone, after the kernel has let our lock go.
    region.store(PERSISTENT, 1, Ordering::Relaxed);
}
