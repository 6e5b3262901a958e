//! The floor of a call: its bytes written and read through two bare shared slots, one for each direction, without any check.
//!
//! `floor-ring` copies the payload in, from one slot to the other, and compares it there; `floor-ring-copy` copies it out of
//! the memory that the other side can write before anything else is done with it, as whoever does not trust its peer must.

use std::{
    fs::{File, OpenOptions},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::symlink,
    },
    sync::atomic::Ordering,
};

use super::others::{Call, Meeting, Outcome, RoundTrip};
use crate::bare_ring::{Ring, wait};

pub(super) const WAYS: [RoundTrip; 2] = [
    RoundTrip { name: "floor-ring", max_clients: 1, serve: |at| serve(at, false), connect: |at| connect(at, false) },
    RoundTrip { name: "floor-ring-copy", max_clients: 1, serve: |at| serve(at, true), connect: |at| connect(at, true) },
];

/// Where the server's memory is found.
const NAMES: [&str; 2] = ["ask", "answer"];

fn map(meeting: &Meeting<'_>, file: &File) -> std::io::Result<Ring> {
    Ring::map(file, meeting.payload_bytes, Ring::slot_bytes(meeting.payload_bytes))
}

/// Makes the message visible that was written to the only slot.
fn commit(ring: &Ring, number: u64) {
    // ORDERING: Release; pairs with the Acquire load of `await_commit` on the other side: the message is written.
    ring.word(ring.slot(0)).store(number, Ordering::Release);
}

fn await_commit(ring: &Ring, number: u64) {
    // ORDERING: Acquire; pairs with the Release store of `commit`.
    wait(|| ring.word(ring.slot(0)).load(Ordering::Acquire) == number);
}

fn serve(meeting: &Meeting<'_>, copies: bool) -> Outcome<()> {
    let memory = || -> Outcome<File> {
        let memory = File::from(rustix::fs::memfd_create("strait-bench", rustix::fs::MemfdFlags::CLOEXEC)?);
        memory.set_len(Ring::memory_bytes(Ring::slot_bytes(meeting.payload_bytes)))?;
        Ok(memory)
    };
    let files = [memory()?, memory()?];
    let (asked, answered) = (map(meeting, &files[0])?, map(meeting, &files[1])?);
    // The last one first: a client that finds the first finds both.
    for (name, file) in NAMES.iter().zip(&files).rev() {
        symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_fd().as_raw_fd()), meeting.dir.join(name))?;
    }
    let mut private = vec![0; meeting.payload_bytes];
    for number in 1.. {
        await_commit(&asked, number);
        if copies {
            private.copy_from_slice(asked.message(asked.slot(0)));
            answered.message(answered.slot(0)).copy_from_slice(&private);
        } else {
            answered.message(answered.slot(0)).copy_from_slice(asked.message(asked.slot(0)));
        }
        commit(&answered, number);
    }
    Ok(())
}

fn connect(meeting: &Meeting<'_>, copies: bool) -> Outcome<Call> {
    let open = |name| OpenOptions::new().read(true).write(true).open(meeting.dir.join(name));
    let (ask, answer) = (map(meeting, &open(NAMES[0])?)?, map(meeting, &open(NAMES[1])?)?);
    let mut private = vec![0; meeting.payload_bytes];
    let mut number = 0;
    Ok(Box::new(move |payload, reply| {
        number += 1;
        ask.message(ask.slot(0)).copy_from_slice(payload);
        commit(&ask, number);
        await_commit(&answer, number);
        if copies {
            private.copy_from_slice(answer.message(answer.slot(0)));
            reply(&private);
        } else {
            reply(answer.message(answer.slot(0)));
        }
        Ok(())
    }))
}
