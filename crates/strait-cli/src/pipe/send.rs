//! The end that sends: reads standard input straight into the ring.

use std::{
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use strait::stream::Error;

use super::{Carried, Common, Duplex, config, lost, meet, progress::Progress};
use crate::failure::Failure;

/// Most bytes of one message: a quarter of the default ring, and of what a pipe may hold.
const MAX_CHUNK_BYTES: usize = 256 << 10;
/// How long standard input may be silent before the receiver is looked after.
const SILENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// What is known of the receiver.
const OTHER: &str = "receiver";

pub(super) fn run(common: &Common, ring_bytes: u64) -> Result<Carried, Failure> {
    let config = config(&common.service, ring_bytes);
    config.options.check().map_err(|error| Failure::Usage(error.to_string()))?;
    let input = io::stdin();
    if input.is_terminal() && !common.quiet {
        crate::output::complain("sending what you type, up to Ctrl-D");
    }
    let mut stream = meet::receiver(common, &config)?;
    let begin = Instant::now();
    let progress = Progress::new(common.quiet, super::progress::bytes_left(input.as_fd()));
    let read_bytes = send_all(&mut stream, input.as_fd(), &progress)?;
    let written_bytes = finish(&mut stream, read_bytes)?;
    if written_bytes != read_bytes {
        return Err(Failure::DidNotHold(format!(
            "{read_bytes} bytes were read here, {written_bytes} were written by the receiver"
        )));
    }
    let transport = stream.transport().to_string();
    progress.finish();
    Ok(Carried { bytes: read_bytes, seconds: begin.elapsed().as_secs_f64(), transport })
}

/// Sends up to the end of `input`, that end as an empty message with it; returns how many bytes were read.
fn send_all(stream: &mut Duplex, input: BorrowedFd<'_>, progress: &Progress) -> Result<u64, Failure> {
    let chunk_bytes = stream.max_message_bytes().min(MAX_CHUNK_BYTES);
    super::progress::widen(input);
    let mut read_bytes = 0;
    loop {
        wait_for(stream, input)?;
        let mut outcome = Ok(0);
        let sent = stream.send_with(chunk_bytes, |span| {
            outcome = read(input, span);
            // Behind an empty message comes the count, which is not sent where reading has failed.
            let len = *outcome.as_ref().unwrap_or(&0);
            read_bytes += len as u64;
            len
        });
        let len = outcome.map_err(|error| Failure::because("standard input cannot be read", io::Error::from(error)))?;
        sent.map_err(|error| lost(OTHER, &error))?;
        if len == 0 {
            return Ok(read_bytes);
        }
        progress.add(len);
    }
}

/// Waits until something can be read, and learns of the receiver's end meanwhile.
fn wait_for(stream: &mut Duplex, input: BorrowedFd<'_>) -> Result<(), Failure> {
    loop {
        match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&SILENCE)) {
            Ok(0) => look_after(stream)?,
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::because("cannot wait for standard input", io::Error::from(error))),
        }
    }
}

fn look_after(stream: &mut Duplex) -> Result<(), Failure> {
    match stream.recv_timeout(Duration::ZERO) {
        Err(error) if error.is_timeout() => Ok(()),
        Err(error) => Err(lost(OTHER, &error)),
        Ok(None) => Err(lost(OTHER, &strait::transport::Error::Closed.into())),
        Ok(Some(_)) => Err(Failure::DidNotHold("the receiver spoke before its turn: it is another program".into())),
    }
}

fn read(input: BorrowedFd<'_>, span: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(input, &mut *span) {
            Err(Errno::INTR) => {}
            read => return read,
        }
    }
}

/// Says how many bytes there were, and waits for how many were written.
fn finish(stream: &mut Duplex, read_bytes: u64) -> Result<u64, Failure> {
    stream.send(&read_bytes.to_le_bytes()).map_err(|error| lost(OTHER, &error))?;
    let receipt = stream.recv().map_err(|error: Error| lost(OTHER, &error))?;
    let receipt = receipt.ok_or_else(|| lost(OTHER, &strait::transport::Error::Closed.into()))?;
    let bytes: [u8; 8] = (*receipt).try_into().map_err(|_| {
        Failure::DidNotHold(format!(
            "the receiver's receipt has {} bytes, expected 8: it is another program",
            receipt.len()
        ))
    })?;
    Ok(u64::from_le_bytes(bytes))
}
