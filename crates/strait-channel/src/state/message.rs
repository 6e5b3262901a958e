//! What daemon and shell say to each other: a header of 32 bytes, then a body. Byte tables: docs/PROTOCOL.md.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout,
    little_endian::{U32, U64},
};

use super::form::Form;

/// Bytes of a header. A body of 16-byte units stays aligned behind it.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

pub(super) mod kind {
    /// Shell: what is there?
    pub(in super::super) const DESCRIBE: u8 = 1;
    /// Shell: the latest value, please.
    pub(in super::super) const READ: u8 = 2;
    /// Shell: tell me once there is something newer than `version`.
    pub(in super::super) const WATCH: u8 = 3;
    /// Shell: a command; the body is its bytes.
    pub(in super::super) const COMMAND: u8 = 4;
    /// Daemon: `total` is the longest value, `version` the latest, `offset` the shell's client id.
    pub(in super::super) const DESCRIPTION: u8 = 5;
    /// Daemon: the part of a value of `total` bytes that begins at `offset`.
    pub(in super::super) const VALUE: u8 = 6;
    /// Daemon: `version` is there.
    pub(in super::super) const CHANGED: u8 = 7;
    /// Daemon: the answer to command `id`.
    pub(in super::super) const REPLY: u8 = 8;
}

pub(super) mod status {
    pub(in super::super) const OK: u8 = 0;
    /// Nothing was published yet.
    pub(in super::super) const EMPTY: u8 = 1;
    /// As many commands as there may be are without an answer; `total` says how many.
    pub(in super::super) const FULL: u8 = 2;
    /// The daemon let the command go without an answer.
    pub(in super::super) const UNANSWERED: u8 = 3;
    /// The value could not be read now.
    pub(in super::super) const OVERTAKEN: u8 = 4;
}

/// The header of every message.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) status: u8,
    /// Of the body of a command or an answer.
    pub(super) codec: u8,
    pub(super) reserved: u8,
    pub(super) id: U32,
    /// In a command and an answer: the schema of the body.
    pub(super) version: U64,
    pub(super) total: U64,
    pub(super) offset: U64,
}

const _: () = assert!(size_of::<Header>() == 32);

impl Header {
    pub(super) fn new(kind: u8) -> Self {
        Self { kind, ..Self::default() }
    }

    /// A header whose body is of that form.
    pub(super) fn with_form(kind: u8, form: Form) -> Self {
        Self { codec: form.codec, version: form.schema.into(), ..Self::new(kind) }
    }

    pub(super) fn form(&self) -> Form {
        Form { codec: self.codec, schema: self.version.get() }
    }

    /// The header at the start of a message.
    pub(super) fn of(message: &[u8]) -> Option<Self> {
        Self::read_from_prefix(message).ok().map(|(header, _)| header)
    }
}
