//! What a check came to.

use serde::Serialize;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works; slower, less far or less safely than it could.
    CouldBeBetter,
    /// Shared memory will not work, or nothing will.
    WillNotWork,
}

/// What a check came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) state: State,
    /// What is there.
    pub(super) found: String,
    /// Why that matters.
    pub(super) why: &'static str,
    /// What to change, a command as a rule; nothing where all is well.
    pub(super) change: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>, why: &'static str) -> Self {
        Self { check, state: State::Ok, found: found.into(), why, change: None }
    }

    pub(super) fn better(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        change: impl Into<String>,
    ) -> Self {
        Self { check, state: State::CouldBeBetter, found: found.into(), why, change: Some(change.into()) }
    }

    pub(super) fn fails(
        check: &'static str,
        found: impl Into<String>,
        why: &'static str,
        change: impl Into<String>,
    ) -> Self {
        Self { check, state: State::WillNotWork, found: found.into(), why, change: Some(change.into()) }
    }
}
