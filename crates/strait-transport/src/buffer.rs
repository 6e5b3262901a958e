//! Buffers that received messages are copied into: made when first needed, used again when the message is dropped.
//!
//! Each thread keeps the last few that were dropped on it, so that a thread which receives, looks and drops takes no lock and
//! touches no line of another. What a thread has no room for goes to a shelf that all threads of the process share.

use std::{
    cell::{Cell, RefCell},
    sync::{Mutex, MutexGuard},
};

use zerocopy::{FromBytes, IntoBytes};

use crate::message::About;

/// What a [`Buffer`] points to: a message moves as one pointer, and where it is made, moved and dropped nothing is allocated.
pub(crate) struct Packet {
    /// 16-byte units, so that a buffer is aligned for any archive.
    units: Box<[u128]>,
    /// What the message says of itself, where the buffer is one.
    pub(crate) about: About,
}

/// Boxed also where it lies in a pool: it is the box that goes from hand to hand.
type Boxed = Box<Packet>;

impl Packet {
    fn len_bytes(&self) -> usize {
        self.units.len() * 16
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.units.as_bytes()
    }
}

/// Smallest buffer, so that small messages share one size.
pub(crate) const MIN_BYTES: usize = 256;
/// Buffers that a thread keeps for itself, none of them larger than [`OWN_BYTES`].
const OWN_BUFFERS: usize = 4;
const OWN_BYTES: usize = 1 << 20;
/// Buffers on the shelf, and what they may hold together.
const SHELF_BUFFERS: usize = 256;
const SHELF_BYTES: usize = 64 << 20;

std::thread_local! {
    static OWN: Own = const { Own { last: Cell::new(None), others: RefCell::new(Vec::new()) } };
}

/// What a thread keeps for itself.
struct Own {
    /// What was dropped last, which the caches still hold.
    last: Cell<Option<Boxed>>,
    others: RefCell<Vec<Boxed>>,
}

impl Own {
    /// The last one, if it is long enough.
    #[inline]
    fn take_last(&self, len: usize) -> Option<Boxed> {
        match self.last.take() {
            Some(packet) if packet.len_bytes() >= len => Some(packet),
            None => None,
            too_short => {
                self.last.set(too_short);
                None
            }
        }
    }

    /// Any that is long enough.
    fn take_any(&self, len: usize) -> Option<Boxed> {
        let mut others = self.others.borrow_mut();
        others.iter().position(|packet| packet.len_bytes() >= len).map(|index| others.swap_remove(index))
    }

    /// Keeps one, and returns what there is no room for.
    #[inline]
    fn keep(&self, packet: Boxed) -> Option<Boxed> {
        if packet.len_bytes() > OWN_BYTES {
            return Some(packet);
        }
        match self.last.replace(Some(packet)) {
            None => None,
            Some(before) => self.keep_other(before),
        }
    }

    #[cold]
    fn keep_other(&self, packet: Boxed) -> Option<Boxed> {
        let mut others = self.others.borrow_mut();
        if others.len() + 1 == OWN_BUFFERS {
            return Some(packet);
        }
        others.push(packet);
        None
    }
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf { buffers: Vec::new(), bytes: 0 });

struct Shelf {
    buffers: Vec<Boxed>,
    bytes: usize,
}

fn shelf() -> MutexGuard<'static, Shelf> {
    let mut shelf = SHELF.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if shelf.buffers.capacity() == 0 {
        shelf.buffers.reserve_exact(SHELF_BUFFERS);
    }
    shelf
}

/// The size of the buffer that a message of `len` bytes is given: a power of two.
fn size(len: usize) -> usize {
    len.max(MIN_BYTES).next_power_of_two()
}

/// A buffer aligned to 16 bytes. Its content is left over from before.
pub(crate) struct Buffer {
    /// Taken only by drop.
    packet: Option<Boxed>,
}

impl Buffer {
    /// A buffer of at least `len` bytes.
    #[inline]
    pub(crate) fn take(len: usize) -> Self {
        let own = OWN.try_with(|own| own.take_last(len));
        Self { packet: Some(own.ok().flatten().unwrap_or_else(|| take_slow(len))) }
    }

    #[inline]
    pub(crate) fn packet(&self) -> &Packet {
        self.packet.as_ref().expect("taken only by drop")
    }

    #[inline]
    pub(crate) fn packet_mut(&mut self) -> &mut Packet {
        self.packet.as_mut().expect("taken only by drop")
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.packet().bytes()
    }

    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.packet_mut().units.as_mut_bytes()
    }

    /// The buffer as 64-bit words.
    #[inline]
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        <[u64]>::mut_from_bytes(self.bytes_mut()).expect("u128s are aligned and sized for u64s")
    }
}

#[cold]
fn take_slow(len: usize) -> Boxed {
    let size = size(len);
    let own = OWN.try_with(|own| own.take_any(len));
    if let Ok(Some(packet)) = own {
        return packet;
    }
    {
        let mut shelf = shelf();
        // Of its own size alone: a small message must not hold a large buffer, which others then have to make anew.
        if let Some(index) = shelf.buffers.iter().position(|packet| packet.len_bytes() == size) {
            let packet = shelf.buffers.swap_remove(index);
            shelf.bytes -= packet.len_bytes();
            return packet;
        }
    }
    Box::new(Packet { units: vec![0u128; size / 16].into_boxed_slice(), about: About::default() })
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        let mut packet = self.packet.take();
        // Fails where the thread is ending.
        let _ = OWN.try_with(|own| packet = packet.take().and_then(|packet| own.keep(packet)));
        if let Some(packet) = packet {
            put_on_shelf(packet);
        }
    }
}

#[cold]
fn put_on_shelf(packet: Boxed) {
    let mut shelf = shelf();
    if shelf.buffers.len() < SHELF_BUFFERS && shelf.bytes + packet.len_bytes() <= SHELF_BYTES {
        shelf.bytes += packet.len_bytes();
        shelf.buffers.push(packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again_by_its_thread() {
        let first = Buffer::take(100);
        let address = first.bytes().as_ptr();
        assert_eq!(address as usize % 16, 0);
        drop(first);
        let second = Buffer::take(200);
        assert_eq!(second.bytes().as_ptr(), address);
        assert!(second.bytes().len() >= 200);
    }

    #[test]
    fn a_buffer_is_never_smaller_than_asked_for() {
        let small = Buffer::take(10);
        drop(small);
        for len in [0, 1, 256, 257, 5000, (1 << 20) + 1] {
            assert!(Buffer::take(len).bytes().len() >= len);
        }
    }

    #[test]
    fn a_small_message_takes_no_large_buffer_from_the_shelf() {
        drop(Buffer::take(12 << 20)); // too large for a thread to keep
        let taken = std::thread::spawn(|| Buffer::take(100).bytes().len()).join().unwrap();
        assert_eq!(taken, MIN_BYTES);
    }

    #[test]
    fn buffers_that_a_thread_has_no_room_for_serve_others() {
        const LEN: usize = 3 << 20; // too large for a thread to keep, and a size that no other test asks for
        let buffer = Buffer::take(LEN);
        let address = buffer.bytes().as_ptr() as usize;
        drop(buffer);
        let other = std::thread::spawn(|| Buffer::take(LEN).bytes().as_ptr() as usize).join().unwrap();
        assert_eq!(other, address);
    }
}
