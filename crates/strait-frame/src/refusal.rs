//! The error that rkyv's traits carry while they serialize and validate.
//!
//! Every step of rkyv returns a result with it, so it is one pointer wide. With [`DecodeError`] in its place, which is
//! five, validating a struct with a string and a vector was measured to take 12 ns and not 4.

use crate::{DecodeError, EncodeError, MAX_DEPTH};
use ::rkyv::rancor::{Source, Trace};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};
use core::{
    any::{TypeId, type_name},
    error::Error,
    fmt,
};

/// What rkyv says when it refuses a value or bytes. It is public to spell the bounds of
/// [`RkyvSerializer`](crate::RkyvSerializer) and [`RkyvValidator`](crate::RkyvValidator); callers get an
/// [`EncodeError`] or a [`DecodeError`] made of it.
///
/// ```
/// use rkyv::rancor::{Source, Trace};
/// use strait_frame::RkyvError;
///
/// let error = RkyvError::new(core::fmt::Error).trace("while reading the price");
/// assert!(error.to_string().ends_with("(while reading the price)"));
/// ```
#[derive(Debug)]
pub struct RkyvError(
    /// `None` when the sink was too small: the sink remembers by how much, and nothing has to be allocated.
    Option<Box<Refusal>>,
);

#[derive(Debug)]
struct Refusal {
    reason: String,
    too_deep: bool,
}

impl RkyvError {
    /// Turns it into what an encoder returns, once the sink was asked whether it was too small.
    pub(crate) fn into_encode_error(self) -> EncodeError {
        EncodeError::Codec(self.to_string())
    }

    /// Turns it into what a decoder returns.
    pub(crate) fn into_decode_error(self) -> DecodeError {
        match self.0 {
            Some(refusal) if refusal.too_deep => DecodeError::TooDeep { max: MAX_DEPTH },
            Some(refusal) => DecodeError::Codec { codec: "rkyv", reason: refusal.reason },
            None => DecodeError::Codec { codec: "rkyv", reason: self.to_string() },
        }
    }
}

impl fmt::Display for RkyvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(refusal) => f.write_str(&refusal.reason),
            None => f.write_str("the sink is too small"),
        }
    }
}

impl Error for RkyvError {}

impl Source for RkyvError {
    #[cold]
    fn new<T: Error + Send + Sync + 'static>(source: T) -> Self {
        if TypeId::of::<T>() == TypeId::of::<EncodeError>() {
            return Self(None);
        }
        Self(Some(Box::new(Refusal { reason: source.to_string(), too_deep: false })))
    }
}

impl Trace for RkyvError {
    #[cold]
    fn trace<R: fmt::Debug + fmt::Display + Send + Sync + 'static>(mut self, trace: R) -> Self {
        if let Some(refusal) = &mut self.0 {
            // rkyv keeps this type private, so its name is all there is to know it by. Under another name too much
            // depth would still be refused, as `DecodeError::Codec`; the test on deep archives would tell.
            refusal.too_deep |= type_name::<R>().ends_with("::ExceededMaximumSubtreeDepth");
            refusal.reason = format!("{} ({trace})", refusal.reason);
        }
        self
    }
}
