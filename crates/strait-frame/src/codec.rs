//! How values become bytes and bytes become something to read.

use crate::{DecodeError, EncodeError, Sink, StableBytes};
use core::ops::Deref;

/// Levels of nesting that a message may have: bytes from a peer must not decide how much stack their reader uses.
///
/// rkyv counts pointers that lead into the archive one below the other (the root is the first; each `String` too long
/// to be inlined, `Vec`, `Box` or map node is one more). postcard counts what the bytes can repeat at will: options,
/// sequences, maps and enums, one inside the other. Types that aren't recursive and are written by hand don't get near
/// it.
pub const MAX_DEPTH: usize = 64;

/// Writes values of `T` into a [`Sink`] and opens bytes as something that derefs to [`View`](Self::View).
///
/// Implemented by the markers [`Raw`], [`Rkyv`] and [`Postcard`], which are never made: they are type parameters.
///
/// ```
/// use strait_frame::{Codec, DecodeError, EncodeError, Raw, Sink};
///
/// let mut span = [0; 64];
/// let mut sink = Sink::new(&mut span);
/// Raw::encode(&b"ping"[..], &mut sink)?;
/// let len = sink.len();
///
/// let held = <Raw as Codec<[u8]>>::open(span[..len].to_vec()).unwrap();
/// assert_eq!(&*held, b"ping");
/// # Ok::<(), EncodeError>(())
/// ```
pub trait Codec<T: ?Sized>: 'static {
    /// The codec's byte in the protocol: raw 0, rkyv 1, postcard 2. Two ends that name different ones don't connect.
    const ID: u8;

    /// What a received value looks like: `[u8]` for raw, `T::Archived` for rkyv, `T` for postcard.
    type View: ?Sized;

    /// An opened message. It owns its bytes, or what was decoded from them, and may outlive the call that received it.
    type Held<B: StableBytes>: Deref<Target = Self::View> + 'static;

    /// Appends `value` to `sink`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLarge`] if the sink is too small: retry once with [`encoded_len`](Self::encoded_len) bytes.
    /// [`EncodeError::Codec`] if the value itself can't be encoded. After either the sink's content is to be thrown
    /// away.
    fn encode(value: &T, sink: &mut Sink<'_>) -> Result<(), EncodeError>;

    /// Opens a whole message. `bytes` must be exactly what [`encode`](Self::encode) appended, without padding after it.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] for bytes that are not a value of the type. No bytes whatsoever cause a panic.
    fn open<B: StableBytes>(bytes: B) -> Result<Self::Held<B>, DecodeError>;

    /// Returns a number that two ends compare when they connect: FNV-1a 64 over name, size and alignment of the type
    /// (the archived one for rkyv). It catches mistakes and proves nothing. Module paths are left out, so that two
    /// programs with the same type in crates of their own agree; the compiler doesn't promise to keep the rest, so ends
    /// built by different compilers compare [`fnv1a`](crate::fnv1a) of a name of their own instead.
    fn schema() -> u64;

    /// Returns how many bytes to claim at first, a guess that is cheap and fits small values. Clamp it to the largest
    /// message that you may send; the caller retries once with the counted size after an overflow.
    fn size_hint(value: &T) -> usize {
        let _ = value;
        256
    }

    /// Counts the exact size of `value` in bytes, for the price of encoding it.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Codec`] if the value can't be encoded.
    ///
    /// ```
    /// use strait_frame::{Codec, Raw};
    ///
    /// assert_eq!(Raw::encoded_len(&b"ping"[..]), Ok(4));
    /// ```
    fn encoded_len(value: &T) -> Result<usize, EncodeError> {
        let mut sink = Sink::counting();
        Self::encode(value, &mut sink)?;
        Ok(sink.len())
    }
}

/// Bytes as they are, protocol byte 0. See [`Codec`] for an example.
#[derive(Debug)]
pub enum Raw {}

/// rkyv archives, protocol byte 1: read in place after one validation, nothing is decoded. Needs the feature `rkyv`.
///
/// ```
/// # #[cfg(feature = "rkyv")] {
/// use rkyv::{Archive, Serialize, util::AlignedVec};
/// use strait_frame::{Codec, Rkyv, Sink};
///
/// #[derive(Archive, Serialize)]
/// struct Tick { symbol: String, price: f64 }
///
/// let tick = Tick { symbol: "a rather long symbol".into(), price: 101.5 };
/// let mut message = AlignedVec::<16>::new();
/// message.resize(Rkyv::encoded_len(&tick).unwrap(), 0);
/// Rkyv::encode(&tick, &mut Sink::new(&mut message)).unwrap();
///
/// let held = <Rkyv as Codec<Tick>>::open(message).unwrap();
/// assert_eq!(held.symbol, "a rather long symbol");
/// assert_eq!(held.price, 101.5);
/// # }
/// ```
#[derive(Debug)]
pub enum Rkyv {}

/// postcard, protocol byte 2: compact, decoded into an owned value, for any serde type. Needs the feature `postcard`.
///
/// ```
/// # #[cfg(feature = "postcard")] {
/// use strait_frame::{Codec, Postcard, Sink};
///
/// let value = (7_u64, String::from("seven"), Some(true));
/// let mut span = [0; 64];
/// let mut sink = Sink::new(&mut span);
/// Postcard::encode(&value, &mut sink).unwrap();
/// let len = sink.len();
///
/// let held = <Postcard as Codec<(u64, String, Option<bool>)>>::open(span[..len].to_vec()).unwrap();
/// assert_eq!(*held, value);
/// # }
/// ```
#[derive(Debug)]
pub enum Postcard {}
