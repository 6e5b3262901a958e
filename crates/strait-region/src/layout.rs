//! Placing things one after the other.

use crate::error::LayoutError;

/// Places things in a region one after the other, each aligned, and adds up what that comes to.
///
/// Both sides run the same calls and so get the same offsets. Nothing is placed beyond `i64::MAX`, the end of any file.
///
/// ```
/// use strait_region::{HEADER_BYTES, LayoutCursor};
///
/// let mut cursor = LayoutCursor::new();
/// cursor.place(HEADER_BYTES as u64, 4096)?;
/// let head = cursor.place(8, 128)?;
/// let data = cursor.place(65536, 4096)?;
/// assert_eq!((head, data, cursor.total(4096)?), (4096, 8192, 73728));
/// # Ok::<(), strait_region::LayoutError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LayoutCursor {
    used_bytes: u64,
}

impl LayoutCursor {
    /// The largest end: file offsets are signed.
    const MAX_BYTES: u64 = i64::MAX as u64;

    /// Starts at offset 0.
    pub const fn new() -> Self {
        Self { used_bytes: 0 }
    }

    /// Places `len_bytes` bytes at the next multiple of `align_bytes` and returns that offset.
    ///
    /// # Errors
    ///
    /// [`LayoutError::Alignment`] where `align_bytes` is not a power of two, [`LayoutError::TooLarge`] where the end would
    /// lie beyond `i64::MAX`. The cursor then stays where it was.
    pub const fn place(&mut self, len_bytes: u64, align_bytes: u64) -> Result<u64, LayoutError> {
        let offset = match self.aligned(len_bytes, align_bytes) {
            Ok(offset) => offset,
            Err(error) => return Err(error),
        };
        self.used_bytes = offset + len_bytes; // `aligned` has shown that this is at most i64::MAX
        Ok(offset)
    }

    /// What has been placed, rounded up to whole pages of `page_bytes`: the size of the region in bytes.
    ///
    /// # Errors
    ///
    /// As for [`place`](Self::place), of nothing at the next page.
    pub const fn total(&self, page_bytes: u64) -> Result<u64, LayoutError> {
        self.aligned(0, page_bytes)
    }

    /// The next multiple of `align_bytes` that has room for `len_bytes` behind it.
    const fn aligned(&self, len_bytes: u64, align_bytes: u64) -> Result<u64, LayoutError> {
        if !align_bytes.is_power_of_two() {
            return Err(LayoutError::Alignment { found: align_bytes });
        }
        if let Some(offset) = self.used_bytes.checked_next_multiple_of(align_bytes)
            && let Some(end) = offset.checked_add(len_bytes)
            && end <= Self::MAX_BYTES
        {
            return Ok(offset);
        }
        let (used_bytes, max) = (self.used_bytes, Self::MAX_BYTES);
        Err(LayoutError::TooLarge { used_bytes, len_bytes, align_bytes, max })
    }
}
