//! Bytes that stay as they are, and the typed view on them. The only file of this crate with `unsafe` in it.
#![allow(unsafe_code)]

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use strait_sync::ValidArchives;

/// Owns bytes that stay the same bytes at the same place.
///
/// # Safety
///
/// As long as the value is only moved and shared (nobody uses `&mut` access to it), every call of
/// [`bytes`](Self::bytes) returns a slice of the same length at the same address, and nobody writes to these bytes: not
/// this process, through whatever other handle, and not another one that maps the same memory. Where another process
/// *could* write, whoever implements the trait vouches that it doesn't.
///
/// [`valid_archives`](Self::valid_archives) returns a token only for bytes that the token was made for, and always the
/// same answer.
///
/// ```
/// use strait_frame::StableBytes;
///
/// /// A message in a buffer that is never written again.
/// struct Message(Box<[u8]>);
///
/// // SAFETY: the box's memory doesn't move with it, and nothing gives out mutable access to it.
/// unsafe impl StableBytes for Message {
///     fn bytes(&self) -> &[u8] {
///         &self.0
///     }
/// }
/// assert_eq!(Message(Box::new([1, 2])).bytes(), [1, 2]);
/// ```
pub unsafe trait StableBytes: 'static {
    /// Returns the bytes.
    fn bytes(&self) -> &[u8];

    /// Returns the token that says that these bytes are a valid archive of the type that they are read as, if whoever
    /// received them has one. `None`, the default, has them validated.
    fn valid_archives(&self) -> Option<ValidArchives> {
        None
    }
}

// SAFETY: the bytes are on the heap, don't move with the vector, and change only through `&mut` access to it.
unsafe impl StableBytes for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: as for `Vec<u8>`.
unsafe impl StableBytes for Box<[u8]> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: the bytes are on the heap and don't move with the handle. `Arc::get_mut` needs `&mut` and a count of one, so
// it can't reach bytes through another handle while this one lives.
unsafe impl StableBytes for Arc<[u8]> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: a shared slice for ever: nobody may write to it.
unsafe impl StableBytes for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

#[cfg(feature = "rkyv")]
pub use typed::View;

#[cfg(feature = "rkyv")]
mod typed {
    use super::StableBytes;
    use crate::{DecodeError, MAX_DEPTH, RkyvError, RkyvValidator};
    use ::rkyv::{
        Portable, access_unchecked,
        api::{access_with_context, root_position},
        bytecheck::CheckBytes,
        util::AlignedVec,
        validation::{Validator, archive::ArchiveValidator, shared::SharedValidator},
    };
    use core::{fmt, marker::PhantomData, num::NonZeroUsize, ops::Deref};

    // SAFETY: as for `Vec<u8>`.
    unsafe impl StableBytes for AlignedVec<16> {
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    /// An rkyv archive that was validated once, or vouched for, and derefs to its root `A`, such as `ArchivedTick`.
    ///
    /// It owns the bytes, so it can be moved, stored and sent like any value. The root is at their end. Reading through
    /// it costs an address computation and no check.
    ///
    /// ```
    /// use rkyv::{Archive, Serialize, rancor::Error};
    /// use strait_frame::View;
    ///
    /// #[derive(Archive, Serialize)]
    /// struct Order { id: u64, note: String }
    ///
    /// let order = Order { id: 7, note: "fill or kill, please".into() };
    /// let bytes = rkyv::to_bytes::<Error>(&order).unwrap();
    ///
    /// let view: View<ArchivedOrder, _> = View::new(bytes)?;
    /// let there = std::thread::spawn(move || view.id.to_native()).join().unwrap();
    /// assert_eq!(there, 7);
    /// # Ok::<(), strait_frame::DecodeError>(())
    /// ```
    ///
    /// It is `Send` and `Sync` when its bytes are and `A` is `Sync`. Bytes that stay on one thread keep the view there:
    ///
    /// ```compile_fail,E0277
    /// struct Local(std::rc::Rc<[u8]>);
    /// // SAFETY: the bytes are on the heap and never written.
    /// unsafe impl strait_frame::StableBytes for Local {
    ///     fn bytes(&self) -> &[u8] { &self.0 }
    /// }
    /// fn needs_send<T: Send>() {}
    /// needs_send::<strait_frame::View<u8, Local>>();
    /// ```
    ///
    /// And so does a root that threads can't share:
    ///
    /// ```compile_fail,E0277
    /// fn needs_send<T: Send>() {}
    /// needs_send::<strait_frame::View<core::cell::Cell<u8>, Vec<u8>>>();
    /// ```
    pub struct View<A: 'static, B: StableBytes> {
        /// Invariant: ends with a valid `A`, at an aligned address, whose pointers stay inside these bytes.
        bytes: B,
        /// What a view gives out is `&A`. Two views may share their bytes (clones of an `Arc`, a `&'static` slice), so
        /// sending one needs `A: Sync`, exactly as sending a reference does; `A` itself is never moved or dropped.
        root: PhantomData<&'static A>,
    }

    impl<A, B> View<A, B>
    where
        A: Portable + for<'a> CheckBytes<RkyvValidator<'a>>,
        B: StableBytes,
    {
        /// Validates `bytes` as an archive with the root `A` at their end, at most [`MAX_DEPTH`] pointers deep.
        ///
        /// Validation makes reading safe. It doesn't make the value true: bytes that were changed may be valid for
        /// another one.
        ///
        /// # Errors
        ///
        /// [`DecodeError::TooShort`] if the root doesn't fit, [`DecodeError::Misaligned`] if it lies at an address that
        /// is no multiple of its alignment (16-byte aligned bytes never do, if whole), [`DecodeError::TooDeep`] if
        /// pointers nest too deeply, [`DecodeError::Codec`] for everything else.
        ///
        /// ```
        /// use rkyv::{rend::u32_le, util::AlignedVec};
        /// use strait_frame::{DecodeError, View};
        ///
        /// let mut bytes = AlignedVec::<16>::new();
        /// bytes.extend_from_slice(&[1, 0]);
        /// let error = View::<u32_le, _>::new(bytes).unwrap_err();
        /// assert_eq!(error, DecodeError::TooShort { expected: 4, found: 2 });
        /// ```
        pub fn new(bytes: B) -> Result<Self, DecodeError> {
            let archive = bytes.bytes();
            check_root::<A>(archive)?;
            // The validator refuses the step that would bring its counter to zero, so it gets one more than it may
            // take.
            let depth = NonZeroUsize::MIN.saturating_add(MAX_DEPTH);
            let mut validator =
                Validator::new(ArchiveValidator::with_max_depth(archive, Some(depth)), SharedValidator::new());
            access_with_context::<A, _, RkyvError>(archive, &mut validator).map_err(RkyvError::into_decode_error)?;
            Ok(Self { bytes, root: PhantomData })
        }

        /// Makes a view as [`new`](Self::new), but without validation where `bytes` come with a
        /// [`ValidArchives`](strait_sync::ValidArchives) token and begin at a multiple of 16.
        ///
        /// Length and alignment of the root are checked in any case. What else is checked in `new` is then the token's
        /// promise: the pointers, [`MAX_DEPTH`], and the alignment of anything behind a pointer that asks for more than
        /// 16 bytes, as no type of rkyv's own does. Bytes that begin elsewhere are validated as ever.
        ///
        /// # Errors
        ///
        /// As [`new`](Self::new); with the token [`DecodeError::TooShort`] and [`DecodeError::Misaligned`] only.
        pub(crate) fn open(bytes: B) -> Result<Self, DecodeError> {
            let archive = bytes.bytes();
            if bytes.valid_archives().is_none() || !archive.as_ptr().addr().is_multiple_of(ARCHIVE_ALIGN) {
                return Self::new(bytes);
            }
            check_root::<A>(archive)?;
            // SAFETY: `StableBytes` returns the token only for bytes that it was made for, and whoever made it vouched
            // that they are a valid archive of the type that they are read as, here `A`. An archive is laid out for
            // memory that begins at a multiple of 16, which was checked, so what its pointers lead to is aligned. That
            // the root is whole and aligned was checked too.
            Ok(unsafe { Self::new_unchecked(bytes) })
        }
    }

    /// The alignment of the memory that an archive is laid out for. What is inside it lies at multiples of its own
    /// alignment from there.
    const ARCHIVE_ALIGN: usize = 16;

    /// Checks that `archive` has a whole, aligned root at its end.
    fn check_root<A: Portable>(archive: &[u8]) -> Result<(), DecodeError> {
        if archive.len() < size_of::<A>() {
            return Err(DecodeError::TooShort { expected: size_of::<A>(), found: archive.len() });
        }
        let root = archive.as_ptr().addr().wrapping_add(root_position::<A>(archive.len()));
        let remainder = root % align_of::<A>();
        if remainder != 0 {
            return Err(DecodeError::Misaligned { remainder, align: align_of::<A>() });
        }
        Ok(())
    }

    impl<A: Portable, B: StableBytes> View<A, B> {
        /// Makes a view that skips validation.
        ///
        /// # Safety
        ///
        /// [`View::new`] with the same bytes, at the same address, would succeed (the depth aside). Bytes that a
        /// process you don't trust had a hand in don't qualify, whatever their checksum says.
        ///
        /// ```
        /// use rkyv::{Archived, rancor::Error, util::AlignedVec};
        /// use strait_frame::View;
        ///
        /// let bytes: AlignedVec<16> = rkyv::to_bytes::<Error>(&7_u32).unwrap();
        /// // SAFETY: rkyv just made this archive, and the vector is aligned.
        /// let view: View<Archived<u32>, _> = unsafe { View::new_unchecked(bytes) };
        /// assert_eq!(*view, 7);
        /// ```
        pub unsafe fn new_unchecked(bytes: B) -> Self {
            Self { bytes, root: PhantomData }
        }

        /// Returns the archive as bytes.
        ///
        /// ```
        /// # use rkyv::{rancor::Error, rend::u32_le};
        /// # use strait_frame::View;
        /// let view: View<u32_le, _> = View::new(rkyv::to_bytes::<Error>(&7_u32).unwrap())?;
        /// assert_eq!(view.as_bytes(), [7, 0, 0, 0]);
        /// # Ok::<(), strait_frame::DecodeError>(())
        /// ```
        pub fn as_bytes(&self) -> &[u8] {
            self.bytes.bytes()
        }

        /// Gives the bytes back in the type they came in, for example to a pool.
        ///
        /// ```
        /// # use rkyv::{rancor::Error, rend::u32_le};
        /// # use strait_frame::View;
        /// let view: View<u32_le, _> = View::new(rkyv::to_bytes::<Error>(&7_u32).unwrap())?;
        /// assert_eq!(view.into_bytes().len(), 4);
        /// # Ok::<(), strait_frame::DecodeError>(())
        /// ```
        pub fn into_bytes(self) -> B {
            self.bytes
        }
    }

    impl<A: Portable, B: StableBytes> Deref for View<A, B> {
        type Target = A;

        #[inline]
        fn deref(&self) -> &A {
            // SAFETY: these bytes were validated as an `A` at their end in `new`, or the caller of `new_unchecked`
            // (behind `open`, the maker of the token) vouches for that. `StableBytes` promises that they are still the
            // same ones at the same address and that nobody writes to them, and no method of `View` gives out `&mut B`.
            // `Portable` types have no interior mutability, so `&A` doesn't write either.
            unsafe { access_unchecked::<A>(self.bytes.bytes()) }
        }
    }

    impl<A: Portable + fmt::Debug, B: StableBytes> fmt::Debug for View<A, B> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (**self).fmt(f)
        }
    }
}
