//! The trace context that travels with a request, or its absence. Bytes: docs/PROTOCOL.md.

use crate::header::{BadHeader, Kind};
#[cfg(feature = "spans")]
use crate::{header::HEADER_BYTES, trace_context::TraceContext};

/// What a request carries between its header and its body. Always nothing without the feature `spans`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    #[cfg(feature = "spans")]
    context: Option<TraceContext>,
}

#[cfg(feature = "spans")]
impl Carried {
    /// In the header's flags: a trace context follows.
    pub(crate) const FLAG: u8 = 4;

    #[inline]
    pub(crate) fn new(context: Option<TraceContext>) -> Self {
        Self { context }
    }

    #[inline]
    pub(crate) fn context(self) -> Option<TraceContext> {
        self.context
    }

    #[inline]
    pub(crate) fn is_some(self) -> bool {
        self.context.is_some()
    }

    /// How many bytes it takes.
    #[inline]
    pub(crate) fn len(self) -> usize {
        if self.is_some() { TraceContext::BYTES } else { 0 }
    }

    /// What it sets in the header's flags.
    #[inline]
    pub(crate) fn flag(self) -> u8 {
        if self.is_some() { Self::FLAG } else { 0 }
    }

    /// Writes it into so many bytes.
    #[inline]
    pub(crate) fn write(self, span: &mut [u8]) {
        if let Some(context) = self.context {
            span.copy_from_slice(&context.to_bytes());
        }
    }

    /// Reads it out of a message whose header has these flags.
    #[inline]
    pub(crate) fn read(kind: Kind, flags: u8, message: &[u8]) -> Result<Self, BadHeader> {
        if flags & Self::FLAG == 0 {
            return Ok(Self::default());
        }
        Self::read_context(kind, flags, message)
    }

    fn read_context(kind: Kind, flags: u8, message: &[u8]) -> Result<Self, BadHeader> {
        if kind != Kind::Request {
            return Err(BadHeader::Flags(flags));
        }
        let Some(bytes) = message.get(HEADER_BYTES..).and_then(|rest| rest.first_chunk()) else {
            return Err(BadHeader::ShortTrace(message.len()));
        };
        let context = TraceContext::from_bytes(bytes).ok_or(BadHeader::Trace)?;
        Ok(Self::new(Some(context)))
    }
}

#[cfg(not(feature = "spans"))]
impl Carried {
    pub(crate) const FLAG: u8 = 0;

    #[inline]
    pub(crate) fn is_some(self) -> bool {
        false
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        0
    }

    #[inline]
    pub(crate) fn flag(self) -> u8 {
        0
    }

    #[inline]
    pub(crate) fn write(self, _: &mut [u8]) {}

    #[inline]
    pub(crate) fn read(_: Kind, _: u8, _: &[u8]) -> Result<Self, BadHeader> {
        Ok(Self {})
    }
}
