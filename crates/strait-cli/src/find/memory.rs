//! Memory of another process, mapped for reading, or why it can't be.

use std::os::fd::BorrowedFd;

use strait::transport::observe::{self, Observed};

use super::{
    clean::clean,
    name::{Kind, Link},
    scan,
};

/// What a reason may take on a line.
const MAX_REASON_CHARS: usize = 300;

/// What was found behind a name.
pub(crate) struct Memory {
    link: Link,
    observed: Result<Observed, String>,
}

impl Memory {
    /// Opens what `handle` has hold of, and compares it with its name.
    pub(super) fn open(link: &Link, handle: BorrowedFd<'_>) -> Self {
        let observed = open(link, handle).map_err(|reason| clean(reason.as_bytes(), MAX_REASON_CHARS));
        Self { link: link.clone(), observed }
    }

    /// Whether this is what `link` leads to, and was opened. What was refused may be tried anew: its maker may not have been
    /// done with it. And numbers of memories come again, sessions do not.
    pub(super) fn is_opened_from(&self, link: &Link) -> bool {
        self.observed.is_ok() && self.link == *link
    }

    /// The memory; why it is not what its name says, otherwise.
    pub(crate) fn observed(&self) -> Result<&Observed, &str> {
        self.observed.as_ref().map_err(String::as_str)
    }
}

fn open(link: &Link, handle: BorrowedFd<'_>) -> Result<Observed, String> {
    let fd = scan::open(handle).map_err(|error| format!("it cannot be opened: {error}"))?;
    let observed = Observed::open(fd).map_err(|error| error.to_string())?;
    let Link::Named(name) = link else { return Ok(observed) };
    let kind = match observed.kind() {
        observe::Kind::Ring => Kind::Ring,
        observe::Kind::Socket => Kind::Socket,
        observe::Kind::State => Kind::State,
        observe::Kind::Pin => Kind::Pin,
        other => return Err(format!("it is of kind {other:?}, which this command does not know")),
    };
    if kind != name.kind {
        return Err(format!("its name says {}, its header {}", name.kind.word(), kind.word()));
    }
    let session = u128::from_be_bytes(observed.session());
    if session != name.session {
        return Err(format!("its name says session {:032x}, its header {session:032x}", name.session));
    }
    Ok(observed)
}
