//! Removing all stale names of a program at once.

use std::os::fd::AsFd;

use rustix::fs::Dir;

use super::{
    error::NamedError,
    place::Place,
    stale::{self, Kept},
};
use crate::fork::ForkToken;

/// What [`sweep`] did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Swept {
    /// The names that were stale and are gone now.
    pub removed: Vec<String>,
    /// Names of this user that could not be judged or removed, and why.
    pub failed: Vec<(String, NamedError)>,
}

/// Removes the regions in `place` whose names start with `prefix` and whose owners are gone.
///
/// Left alone, and not spoken of: regions with a live owner (a stopped one lives), those that were
/// [persisted](super::NamedRegion::persist), files that are no regions, and what belongs to other users.
///
/// For a program's start, or for an administrator. Making a region replaces a stale one of the same name by itself.
///
/// ```
/// use strait_region::{Place, sweep};
/// let swept = sweep(&Place::shm(), "strait-region-example-")?;
/// assert!(swept.removed.is_empty() && swept.failed.is_empty());
/// # Ok::<(), strait_region::NamedError>(())
/// ```
///
/// # Errors
///
/// [`NamedError::Place`] where the directory cannot be opened, [`NamedError::Io`] where it cannot be read. What fails for
/// a single name is in [`Swept::failed`].
pub fn sweep(place: &Place, prefix: &str) -> Result<Swept, NamedError> {
    let fork = ForkToken::current().map_err(NamedError::io("mapping the page that tells of forks"))?;
    let directory = place.open()?;
    let mut swept = Swept::default();
    // Names first: what is removed while a directory is read may make it skip some.
    let mut names = Vec::new();
    let reading = "reading the names in the directory";
    for entry in Dir::read_from(&directory).map_err(NamedError::io(reading))? {
        let entry = entry.map_err(NamedError::io(reading))?;
        match entry.file_name().to_str() {
            Ok(name) if name.starts_with(prefix) && name != "." && name != ".." => names.push(name.to_owned()),
            _ => {}
        }
    }
    for name in names {
        match stale::remove(directory.as_fd(), &name, Kept::Keep, fork) {
            Ok(true) => swept.removed.push(name),
            Ok(false) => {}
            Err(
                NamedError::InUse { .. }
                | NamedError::Persistent { .. }
                | NamedError::Foreign { .. }
                | NamedError::Owner { .. }
                | NamedError::Mode { .. },
            ) => {}
            Err(error) => swept.failed.push((name, error)),
        }
    }
    Ok(swept)
}
