//! A value that was read.

use std::{fmt, ops::Deref, time::Instant};

use strait_frame::{Codec, Raw};
use strait_transport::{Message, PinnedState};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// A value that was read: a copy of one's own, that is whole.
pub struct Value<T: ?Sized + 'static, C: Codec<T> = Raw> {
    pub(super) held: C::Held<Message>,
    pub(super) version: u64,
    pub(super) epoch: u64,
    pub(super) stale_since: Option<Instant>,
}

impl<T: ?Sized, C: Codec<T>> Value<T, C> {
    /// Which value it is. Within one epoch, a later value has a higher one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Which of the daemons that this shell has met published it, counted from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Since when its daemon is known to be gone; `None` while it is there.
    pub fn stale_since(&self) -> Option<Instant> {
        self.stale_since
    }
}

impl<T: ?Sized, C: Codec<T>> Deref for Value<T, C> {
    type Target = C::View;

    fn deref(&self) -> &C::View {
        &self.held
    }
}

/// A value in place: its encoded bytes, where the daemon wrote them, at a multiple of 128. Dropping it lets go of them.
///
/// An rkyv archive can be read as it lies there, with `rkyv::access`; a plain value with [`as_value`](Self::as_value).
#[derive(Debug)]
#[must_use = "the value is pinned until this is dropped"]
pub struct Pinned<'a> {
    pub(super) value: PinnedState<'a>,
    pub(super) epoch: u64,
}

impl Pinned<'_> {
    /// Which value it is.
    pub fn version(&self) -> u64 {
        self.value.version()
    }

    /// Which of the daemons that this shell has met published it.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The value as a plain `T`. `None` where it has not the size of one, or not its alignment.
    pub fn as_value<T: FromBytes + KnownLayout + Immutable + ?Sized>(&self) -> Option<&T> {
        self.value.as_value()
    }
}

impl Deref for Pinned<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.value
    }
}

impl<T: ?Sized, C: Codec<T>> fmt::Debug for Value<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("version", &self.version)
            .field("epoch", &self.epoch)
            .field("stale_since", &self.stale_since)
            .finish_non_exhaustive()
    }
}
