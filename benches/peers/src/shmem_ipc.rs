//! shmem-ipc: its ring of bytes, polled; a message is copied in and out, in two pieces where the ring's end divides it.
//!
//! Its ring knows no messages: the length, which both ends know, is the message's. Its memory is opened where the consumer says
//! it is, instead of being sent over a socket.

use std::{fs, fs::File, os::fd::AsRawFd};

use shmem_ipc::sharedring::{Receiver, Sender};
use strait_benches::{Meeting, OneWay, Outcome, Send, Take};

pub(crate) fn one_way() -> Vec<OneWay> {
    vec![OneWay { name: "shmem-ipc", produce, consume }]
}

/// The file that says where the memory is.
const NAME: &str = "ring";

/// Looks for one message before it is given up: some seconds.
const PATIENCE_LOOKS: u64 = 200_000_000;

/// As much as the rings of the other engines hold: 256 KiB, and at least four messages.
fn capacity(meeting: &Meeting<'_>) -> usize {
    (4 * (meeting.payload_bytes + 64)).next_power_of_two().max(256 << 10)
}

fn produce(meeting: &Meeting<'_>) -> Outcome<Send> {
    let memory = fs::read_to_string(meeting.dir.join(NAME))?;
    let memory = File::options().read(true).write(true).open(memory)?;
    // What it wakes a sleeper with cannot be opened by a path, and nobody sleeps here.
    let unused = || File::options().read(true).write(true).open("/dev/null");
    let mut sender = Sender::<u8>::open(capacity(meeting), memory, unused()?, unused()?)?;
    Ok(Box::new(move |message| {
        let mut rest = message;
        while !rest.is_empty() {
            let mut count = 0;
            sender.sender_mut().send(|to, room| {
                count = room.min(rest.len());
                // SAFETY: `to` has room for `room` bytes, no fewer than are copied, and the message is not in the ring.
                unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), to, count) };
                count
            })?;
            rest = &rest[count..];
            if count == 0 {
                std::hint::spin_loop();
            }
        }
        Ok(())
    }))
}

fn consume(meeting: &Meeting<'_>) -> Outcome<Take> {
    let mut receiver = Receiver::<u8>::new(capacity(meeting))?;
    let memory = format!("/proc/{}/fd/{}", std::process::id(), receiver.memfd().as_raw_fd());
    // Complete as soon as it is there.
    let unfinished = meeting.dir.join("ring.new");
    fs::write(&unfinished, memory)?;
    fs::rename(unfinished, meeting.dir.join(NAME))?;
    let mut message = vec![0u8; meeting.payload_bytes];
    Ok(Box::new(move |look| {
        let (mut filled, mut looks) = (0, 0u64);
        while filled < message.len() {
            let rest = &mut message[filled..];
            let mut count = 0;
            receiver.receiver_mut().recv(|from, there| {
                count = there.min(rest.len());
                // SAFETY: `from` has `there` bytes, no fewer than are copied, and the buffer is not in the ring.
                unsafe { std::ptr::copy_nonoverlapping(from, rest.as_mut_ptr(), count) };
                count
            })?;
            filled += count;
            if count > 0 {
                continue;
            }
            looks += 1;
            if looks > PATIENCE_LOOKS {
                return Err(format!("no message after {looks} looks").into());
            }
            std::hint::spin_loop();
        }
        look(&message);
        Ok(())
    }))
}
