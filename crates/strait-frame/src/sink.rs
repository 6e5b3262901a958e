//! Where an encoder writes.

use crate::EncodeError;

/// A span of fixed length that an encoder fills from the front, such as a record claimed in a ring, or a counter
/// without a span that only finds out how long a value gets.
///
/// A write that doesn't fit changes nothing and is remembered: every later write fails too, so that an encoder which
/// ignores the error can't leave a message with a hole in it.
///
/// ```
/// use strait_frame::Sink;
///
/// let mut span = [0; 8];
/// let mut sink = Sink::new(&mut span);
/// sink.write(b"abc")?;
/// sink.write(b"de")?;
/// assert_eq!(sink.len(), 5);
/// assert_eq!(&span, b"abcde\0\0\0");
/// # Ok::<(), strait_frame::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Sink<'a> {
    /// `None` only counts.
    span: Option<&'a mut [u8]>,
    len: usize,
    /// Bytes that the first write which didn't fit would have needed in all.
    overflow: Option<usize>,
}

impl<'a> Sink<'a> {
    /// Makes a sink that writes to `span`, beginning at its first byte. For rkyv the span must be 16-byte aligned if
    /// the message is to be read where it lies.
    ///
    /// ```
    /// assert_eq!(strait_frame::Sink::new(&mut [0; 8]).capacity(), 8);
    /// ```
    #[inline]
    pub fn new(span: &'a mut [u8]) -> Self {
        Self { span: Some(span), len: 0, overflow: None }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLarge`] if they don't fit, or if an earlier write didn't.
    ///
    /// ```
    /// use strait_frame::{EncodeError, Sink};
    ///
    /// let mut span = [0; 4];
    /// let mut sink = Sink::new(&mut span);
    /// assert_eq!(sink.write(b"seventh"), Err(EncodeError::TooLarge { need: 7, capacity: 4 }));
    /// assert_eq!(sink.write(b"a"), Err(EncodeError::TooLarge { need: 7, capacity: 4 }));
    /// ```
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if self.put(bytes) { Ok(()) } else { Err(self.too_large()) }
    }

    /// Returns how many bytes were written (or counted).
    ///
    /// ```
    /// let mut sink = strait_frame::Sink::counting();
    /// sink.write(&[0; 100])?;
    /// assert_eq!(sink.len(), 100);
    /// # Ok::<(), strait_frame::EncodeError>(())
    /// ```
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether nothing was written yet.
    ///
    /// ```
    /// assert!(strait_frame::Sink::counting().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many bytes fit in all; `usize::MAX` for a counter.
    ///
    /// ```
    /// assert_eq!(strait_frame::Sink::counting().capacity(), usize::MAX);
    /// ```
    pub fn capacity(&self) -> usize {
        self.span.as_ref().map_or(usize::MAX, |span| span.len())
    }

    /// Appends `bytes` and says whether that worked: `write` with the cheapest answer, for rkyv's many small writes.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> bool {
        let end = self.len.saturating_add(bytes.len());
        if self.overflow.is_some() {
            return false;
        }
        if let Some(span) = &mut self.span {
            let Some(room) = span.get_mut(self.len..end) else {
                self.overflow = Some(end);
                return false;
            };
            room.copy_from_slice(bytes);
        }
        self.len = end;
        true
    }

    /// Fails if a write didn't fit. A codec asks this at its end, for its serializer may have swallowed the error.
    #[cfg(any(feature = "rkyv", feature = "postcard"))]
    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        if self.overflow.is_none() { Ok(()) } else { Err(self.too_large()) }
    }

    /// The error of a write that didn't fit.
    #[cold]
    pub(crate) fn too_large(&self) -> EncodeError {
        EncodeError::TooLarge { need: self.overflow.unwrap_or(self.len), capacity: self.capacity() }
    }
}

impl Sink<'static> {
    /// Makes a sink that writes nowhere and only counts: the exact size of a value, for the price of encoding it.
    ///
    /// ```
    /// use strait_frame::{Codec, Raw, Sink};
    ///
    /// let mut sink = Sink::counting();
    /// Raw::encode(&b"some bytes"[..], &mut sink)?;
    /// assert_eq!(sink.len(), 10);
    /// # Ok::<(), strait_frame::EncodeError>(())
    /// ```
    pub fn counting() -> Self {
        Self { span: None, len: 0, overflow: None }
    }
}
