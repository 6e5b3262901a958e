//! What can be wrong with a configuration.

/// What is wrong with a configuration: the field, and what is allowed there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value outside its range.
    #[error("{field} is {found}, expected {expected}")]
    OutOfRange {
        /// The field, or the property.
        field: String,
        /// What was given.
        found: String,
        /// The range.
        expected: String,
    },
    /// A name that no knob has.
    #[error("there is no knob {name:?}; there are: {}", known.join(", "))]
    Unknown {
        /// What was given.
        name: String,
        /// The names that there are.
        known: Vec<&'static str>,
    },
    /// A knob that would not be read.
    #[error("nothing reads {name}: {why}")]
    Unread {
        /// What was given.
        name: String,
        /// What to do instead.
        why: &'static str,
    },
    /// A value that another call has to be asked for.
    #[error("{field} cannot be had here: {what}")]
    NotHere {
        /// The field.
        field: &'static str,
        /// What to do.
        what: &'static str,
    },
    /// Text that is not the format it should be.
    #[error("the configuration cannot be read: {0}")]
    Format(String),
    /// What the transport itself refused.
    #[error(transparent)]
    Transport(#[from] strait_transport::Error),
}

impl ConfigError {
    pub(super) fn range(field: &str, found: impl ToString, expected: &str) -> Self {
        Self::OutOfRange { field: field.into(), found: found.to_string(), expected: expected.into() }
    }
}
