//! The protocol by hand, as docs/PROTOCOL.md has it: frames, greetings, and how the other side ends.

use std::{
    io::{self, ErrorKind},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use crate::broker::{receive_with, send_with};

pub(super) const CONTROL: u32 = 1 << 30;
pub(super) const HELLO: u8 = 1;
pub(super) const WELCOME: u8 = 2;
pub(super) const REFUSE: u8 = 3;
pub(super) const OFFER: u8 = 4;
pub(super) const ACCEPT: u8 = 5;
pub(super) const COMMIT: u8 = 6;
pub(super) const DECLINE: u8 = 7;
pub(super) const SWITCHED: u8 = 8;
pub(super) const EXTRA: u8 = 9;

/// Bytes of the attacker's ring: small, so that every word of it is soon hit.
pub(super) const RING: u64 = 16 << 10;
pub(super) const SESSION: [u8; 16] = *b"no session of us";

/// An answer that takes longer is a hang. Longer than any deadline of a victim.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn frame_with(size_word: u32, checksum: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = size_word.to_le_bytes().to_vec();
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A control frame with everything right about its envelope.
pub(super) fn control(payload: &[u8]) -> Vec<u8> {
    frame_with(payload.len() as u32 | CONTROL, strait::frame::checksum(payload), payload)
}

/// A message with everything right about its envelope.
pub(super) fn message(payload: &[u8]) -> Vec<u8> {
    frame_with(payload.len() as u32, strait::frame::checksum(payload), payload)
}

/// The payload of a `Hello`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello {
    pub(super) service: u8,
    pub(super) codec: u8,
    pub(super) schema: u64,
    pub(super) checksum: bool,
}

impl Hello {
    pub(super) fn payload(&self) -> Vec<u8> {
        let mut bytes = vec![HELLO, 1, self.service, self.codec];
        bytes.extend_from_slice(&(4 | u32::from(self.checksum)).to_le_bytes());
        bytes.extend_from_slice(&self.schema.to_le_bytes());
        bytes.extend_from_slice(&64u32.to_le_bytes());
        bytes.extend_from_slice(&16u32.to_le_bytes());
        bytes.extend_from_slice(&RING.to_le_bytes());
        bytes
    }
}

/// The payload of `Offer` or `Extra`.
pub(super) fn segment(kind: u8, of: u8, total_bytes: u64, session: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![kind, of, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&total_bytes.to_le_bytes());
    bytes.extend_from_slice(&session);
    bytes
}

/// A frame that came.
pub(super) struct Frame {
    pub(super) control: bool,
    pub(super) payload: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

/// One connection.
pub(super) struct Peer {
    pub(super) stream: UnixStream,
}

impl Peer {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Sends all of it, with descriptors attached to the first byte.
    pub(super) fn send_with(&self, mut bytes: &[u8], mut fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = send_with(&self.stream, bytes, fds)?;
            (bytes, fds) = (&bytes[sent..], &[]);
        }
        Ok(())
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_with(bytes, &[])
    }

    /// The next frame; `None` where the other side has ended.
    pub(super) fn frame(&self) -> io::Result<Option<Frame>> {
        let (mut fds, mut envelope) = (Vec::new(), [0; 16]);
        if !self.fill(&mut envelope, &mut fds)? {
            return Ok(None);
        }
        let word = u32::from_le_bytes([envelope[0], envelope[1], envelope[2], envelope[3]]);
        let mut payload = vec![0; (word & (CONTROL - 1)) as usize];
        let whole = self.fill(&mut payload, &mut fds)?;
        Ok(whole.then_some(Frame { control: word & CONTROL != 0, payload, fds }))
    }

    fn fill(&self, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            match receive_with(&self.stream, &mut bytes[filled..], fds) {
                Ok(0) => return Ok(false),
                Ok(received) => filled += received,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The next control frame; messages before it are left out.
    pub(super) fn control(&self) -> io::Result<Option<Frame>> {
        while let Some(frame) = self.frame()? {
            if frame.control {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Reads until the other side ends, at most `patience`; whether it did.
    pub(super) fn ends_within(&self, patience: Duration) -> bool {
        let (deadline, mut rest) = (Instant::now() + patience, [0; 4096]);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match receive_with(&self.stream, &mut rest, &mut Vec::new()) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }
}
