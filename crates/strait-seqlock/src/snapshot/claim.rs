//! A value in the making.

use core::fmt;

use strait_sync::{WordsMut, fail_point};

use super::{pins::Pins, writer::Writer};
use crate::error::TooLong;

/// A slot that was claimed, to be filled piece by piece. [`commit`](Self::commit) publishes it; dropping it publishes
/// nothing.
///
/// It does not lend a `&mut [u8]` of the slot: a reader that was overtaken may still be loading from it, and while
/// somebody loads what a slice writes, that is a data race. So bytes go in by copy.
#[must_use = "a claim that is not committed publishes nothing"]
pub struct Claim<'a, Own: WordsMut, P: Pins> {
    writer: &'a mut Writer<Own, P>,
    slot: usize,
    len: usize,
    /// The bytes after the last whole word: the low `len % 8` bytes.
    last: [u8; 8],
}

impl<'a, Own: WordsMut, P: Pins> Claim<'a, Own, P> {
    #[inline]
    pub(super) fn new(writer: &'a mut Writer<Own, P>, slot: usize) -> Self {
        Self { writer, slot, len: 0, last: [0; 8] }
    }

    /// How many bytes were appended.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none were.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more there is room for.
    #[inline]
    pub fn room_bytes(&self) -> usize {
        self.writer.geometry.max_bytes() - self.len
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`TooLong`] where there is no room for all of them; then none were.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let max_bytes = self.writer.geometry.max_bytes();
        if bytes.len() > self.room_bytes() {
            return Err(TooLong { need_bytes: self.len.saturating_add(bytes.len()), max_bytes });
        }
        // First fill up the last word, then whole words, then begin the next one.
        let pending = self.len % 8;
        let (head, bytes) = bytes.split_at(bytes.len().min((8 - pending) % 8));
        self.last[pending..pending + head.len()].copy_from_slice(head);
        self.len += head.len();
        if pending != 0 && self.len.is_multiple_of(8) {
            self.store_last(self.len - 8);
        }
        let (words, tail) = bytes.split_at(bytes.len() & !7);
        if !words.is_empty() {
            self.writer.own.copy_in(self.data() + self.len, words);
            self.len += words.len();
        }
        self.last[..tail.len()].copy_from_slice(tail);
        if !tail.is_empty() {
            self.len += tail.len();
        }
        Ok(())
    }

    /// Publishes what was appended as the next version, which it returns.
    #[inline]
    pub fn commit(self) -> u64 {
        let pending = self.len % 8;
        if pending != 0 {
            self.store_last(self.len - pending);
        }
        fail_point!("snapshot.claim_filled");
        self.writer.publish(self.slot, self.len)
    }

    fn data(&self) -> usize {
        self.writer.geometry.data(self.slot)
    }

    fn store_last(&self, at: usize) {
        self.writer.own.copy_in(self.data() + at, &self.last);
    }
}

/// Appends as much as there is room for.
#[cfg(feature = "std")]
impl<Own: WordsMut, P: Pins> std::io::Write for Claim<'_, Own, P> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = bytes.len().min(self.room_bytes());
        self.append(&bytes[..len]).map_err(std::io::Error::other)?;
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<Own: WordsMut, P: Pins> fmt::Debug for Claim<'_, Own, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("slot", &self.slot).field("len", &self.len).finish_non_exhaustive()
    }
}
