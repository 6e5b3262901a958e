//! Why a call does not get to a handler.

use crate::error::Code;

/// What a call is answered with in place of a handler's word.
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) text: String,
}

impl Refused {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}
