//! The attacker's own segment, which it may write as it likes, and a connection that has moved into it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::{Duration, Instant},
};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create};
use strait::region::Header;

use super::wire::{ACCEPT, COMMIT, DECLINE, OFFER, PATIENCE, Peer, RING, SESSION, SWITCHED, control, segment};

/// The offsets of docs/PROTOCOL.md, section 5.
pub(super) const TAIL: usize = 4096;
pub(super) const HEAD: usize = 4224;
pub(super) const DATA_TICKET: usize = 4352;
pub(super) const SPACE_TICKET: usize = 4360;
pub(super) const CLOSED: usize = 4368;
pub(super) const FAREWELL: usize = 4480;
pub(super) const DATA: usize = 8192;
/// In a pin's segment.
pub(super) const HAZARD: usize = 4096;

pub(super) const TOTAL: u64 = DATA as u64 + RING;
pub(super) const SEALS: SealFlags =
    SealFlags::GROW.union(SealFlags::SHRINK).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// The header that a server expects.
pub(super) fn header() -> Header {
    Header {
        kind: 1,
        layout_hash: strait::transport::LAYOUT_HASH,
        total_bytes: TOTAL,
        ring_capacity_bytes: RING,
        max_message_bytes: RING / 4 - 16,
        record_align_bytes: 16,
        session: SESSION,
    }
}

/// Memory of `bytes` bytes that begins with `content`; without pages where it is sparse; sealed last.
pub(super) fn memfd(content: &[u8], bytes: u64, sparse: bool) -> io::Result<OwnedFd> {
    let fd = memfd_create("strait-hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, bytes)?;
    if bytes > 0 && !sparse {
        fallocate(&fd, FallocateFlags::empty(), 0, bytes)?;
    }
    rustix::io::pwrite(&fd, &content[..content.len().min(bytes as usize)], 0)?;
    Ok(fd)
}

/// Mapped words that anybody may write, at any time.
pub(super) struct Shared {
    map: MmapRaw,
}

impl Shared {
    /// Maps what is to be sealed afterwards: the mapping stays writable.
    pub(super) fn own(fd: &OwnedFd) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().map_raw(fd.as_raw_fd())? })
    }

    fn theirs(fd: &OwnedFd) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().map_raw_read_only(fd.as_raw_fd())? })
    }

    pub(super) fn words(&self) -> usize {
        self.map.len() / 8
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.map.len(), "{offset} is no word of {}", self.map.len());
        let word = self.map.as_mut_ptr().wrapping_add(offset).cast();
        #[allow(unsafe_code)]
        // SAFETY: aligned and inside the mapping, as was just checked, and the mapping lives as long as `self`. Nobody here
        // accesses it but by atomics of this size. (A read-only mapping is only loaded from.)
        unsafe {
            AtomicU64::from_ptr(word)
        }
    }

    pub(super) fn load(&self, offset: usize) -> u64 {
        // ORDERING: Acquire, whoever wrote it.
        let word = self.word(offset).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        word
    }

    pub(super) fn store(&self, offset: usize, word: u64) {
        // ORDERING: Release, whoever reads it.
        self.word(offset).store(word, Ordering::Release);
    }
}

/// A connection whose messages go through memory.
pub(super) struct Upgraded {
    pub(super) peer: Peer,
    pub(super) own: Arc<Shared>,
    theirs: Shared,
    /// Where the next record goes.
    pub(super) position: u64,
    rung: u64,
    /// The other side's tail as it was last looked at.
    seen: u64,
}

impl Upgraded {
    /// Moves a connection that is welcomed; `None` where the other side would not.
    pub(super) fn of(peer: Peer) -> io::Result<Option<Self>> {
        let fd = memfd(&header().encode(), TOTAL, false)?;
        let own = Arc::new(Shared::own(&fd)?);
        fcntl_add_seals(&fd, SEALS)?;
        peer.send_with(&control(&segment(OFFER, 0, TOTAL, SESSION)), &[fd.as_fd()])?;
        let theirs = loop {
            let Some(frame) = peer.control()? else { return Ok(None) };
            match (frame.payload.first(), frame.fds.first()) {
                (Some(&ACCEPT), Some(fd)) => break Shared::theirs(fd)?,
                (Some(&DECLINE), _) => return Ok(None),
                _ => {}
            }
        };
        peer.send(&control(&[COMMIT]))?;
        while let Some(frame) = peer.control()? {
            if frame.payload.first() == Some(&SWITCHED) {
                return Ok(Some(Self { peer, own, theirs, position: 0, rung: 0, seen: 0 }));
            }
        }
        Ok(None)
    }

    /// Where `position` lies in the own segment.
    pub(super) fn at(position: u64) -> usize {
        DATA + (position % RING) as usize
    }

    /// Writes a record as a good producer does, and rings where the other side sleeps.
    pub(super) fn publish(&mut self, payload: &[u8], checksum: u32) -> io::Result<()> {
        let len = (16 + payload.len() as u64).next_multiple_of(16);
        let first = self.position;
        if first % RING + len > RING {
            self.position = (first / RING + 1) * RING;
        }
        let start = self.position;
        self.own.store(Self::at(start + len), 0);
        for (index, chunk) in payload.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.own.store(Self::at(start) + 16 + 8 * index, u64::from_le_bytes(word));
        }
        self.own.store(Self::at(start) + 8, u64::from(checksum) << 32);
        self.own.store(Self::at(start), 1 << 31 | payload.len() as u64);
        if first != start {
            self.own.store(Self::at(first), 0xFFFF_FFFF);
        }
        self.position = start + len;
        self.ring()
    }

    /// One byte, where the other side has shown a ticket that it was not rung for.
    pub(super) fn ring(&mut self) -> io::Result<()> {
        // ORDERING: SeqCst; pairs with the fence of the side that shows its ticket and then looks at the ring again.
        fence(Ordering::SeqCst);
        let ticket = self.theirs.load(DATA_TICKET);
        if ticket != 0 && ticket != self.rung {
            self.rung = ticket;
            self.peer.send(b"!")?;
        }
        Ok(())
    }

    /// Whether the other side has answered by a record of its own within [`PATIENCE`]; `None` where it has hung up. What it sends
    /// is taken for read at once, so that it never waits for room.
    pub(super) fn answered(&mut self) -> Option<bool> {
        let answered = self.published_within(PATIENCE);
        self.own.store(HEAD, self.seen);
        answered
    }

    /// Waits a little until the other side has published something new, and shows nothing of having read it: false where it has
    /// not, `None` where it has hung up.
    pub(super) fn next_reply(&mut self) -> Option<bool> {
        self.published_within(Duration::from_millis(20))
    }

    fn published_within(&mut self, patience: Duration) -> Option<bool> {
        let deadline = Instant::now() + patience;
        loop {
            let tail = self.theirs.load(TAIL);
            if tail != self.seen {
                self.seen = tail;
                return Some(true);
            }
            if self.has_hung_up() {
                return None;
            }
            if Instant::now() > deadline {
                return Some(false);
            }
            std::thread::yield_now();
        }
    }

    /// Takes what the other side has sent for read.
    pub(super) fn take_replies(&self) {
        self.own.store(HEAD, self.theirs.load(TAIL));
    }

    /// Whether the other side has ended the connection. Doorbells that have come are taken.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut bells = [0; 64];
        let received = rustix::net::recv(&self.peer.stream, &mut bells[..], rustix::net::RecvFlags::DONTWAIT);
        !matches!(received, Ok((1.., _)) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR))
    }
}

/// Any descriptor, to send.
pub(super) fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}
