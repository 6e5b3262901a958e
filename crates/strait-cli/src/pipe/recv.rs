//! The end that receives: writes to standard output.

use std::{
    fs::File,
    io::{self, ErrorKind, IsTerminal, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use strait::{stream::Error, transport::Error as Below};

use super::{Carried, Common, Duplex, config, lost, meet, progress::Progress};
use crate::{failure::Failure, output};

/// Of the ring that carries nothing but the receipt: the smallest there is.
const RING_BYTES: u64 = 4096;
/// How long the receipt may take to leave this process.
const FAREWELL: Duration = Duration::from_secs(5);
const OTHER: &str = "sender";

pub(super) fn run(common: &Common) -> Result<Carried, Failure> {
    // Not through std's standard output, which looks for lines and buffers them.
    let output = io::stdout();
    let to_terminal = output.is_terminal();
    let output = output.as_fd().try_clone_to_owned().map(File::from);
    let mut output = output.map_err(|error| Failure::because("cannot use standard output", error))?;
    super::progress::widen(output.as_fd());
    let mut stream = meet::sender(common, &config(&common.service, RING_BYTES))?;
    let begin = Instant::now();
    let progress = Progress::new(common.quiet || to_terminal, None);
    let written_bytes = write_all(&mut stream, &mut output, &progress)?;
    let expected_bytes = count(&mut stream)?;
    if written_bytes != expected_bytes {
        return Err(Failure::DidNotHold(format!(
            "the sender read {expected_bytes} bytes, {written_bytes} have arrived"
        )));
    }
    let transport = stream.transport().to_string();
    // The sender may have died since: what it has sent is here all the same.
    if stream.send(&written_bytes.to_le_bytes()).and_then(|_| stream.finish(FAREWELL)).is_err() && !common.quiet {
        output::complain("all bytes are here, but the sender went before it was told so");
    }
    progress.finish();
    Ok(Carried { bytes: written_bytes, seconds: begin.elapsed().as_secs_f64(), transport })
}

/// Writes what comes up to the empty message; returns how many bytes that was.
fn write_all(stream: &mut Duplex, output: &mut File, progress: &Progress) -> Result<u64, Failure> {
    let mut written_bytes = 0;
    loop {
        let chunk = next(stream)?;
        if chunk.is_empty() {
            return Ok(written_bytes);
        }
        output.write_all(&chunk).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::DidNotHold(
                "standard output was closed by its reader before the end: not all bytes have arrived".into(),
            ),
            _ => Failure::because("standard output cannot be written", error),
        })?;
        written_bytes += chunk.len() as u64;
        progress.add(chunk.len());
    }
}

/// How many bytes the sender has read.
fn count(stream: &mut Duplex) -> Result<u64, Failure> {
    let message = next(stream)?;
    let bytes: [u8; 8] = (*message).try_into().map_err(|_| {
        Failure::DidNotHold(format!(
            "the sender's count has {} bytes, expected 8: it is another program",
            message.len()
        ))
    })?;
    Ok(u64::from_le_bytes(bytes))
}

/// The next message; the stream's own end is none, as the sender has one of its own.
fn next(stream: &mut Duplex) -> Result<strait::stream::Received<[u8]>, Failure> {
    let received = stream.recv().map_err(|error: Error| lost(OTHER, &error))?;
    received.ok_or_else(|| lost(OTHER, &Below::Closed.into()))
}
