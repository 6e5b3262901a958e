//! Names whose owner is gone.
//!
//! Two locks of the kernel decide, both on the file itself ([`Lease`]):
//!
//! ```text
//! owner      takes the owner's lock of a file that has no name yet, links it, …, unlinks it, lets the lock go
//! sweeper    opens the name; takes the sweeper's lock (somebody has it: again); does anybody hold the owner's lock? then: is
//!            the name still that of this file? (no: again; yes, and owned: in use); unlinks it; lets the lock go
//! ```
//!
//! A file never has a name without having a whole header and an owner, alive or dead; and one whose owner's lock is free
//! never gets an owner again. So when the sweeper looks at the name, the owner has been gone for good, and from then to the
//! unlink nobody replaces the file: the name would have to be removed first, which only the owner does or the one sweeper.
//! The other way round, the owner could remove the name between the two looks, and a new one get it. (A program that removes names
//! without asking, as rm(1), can come in between; then a name may be lost that has just been given anew. Nobody who has
//! the memory open loses that.)

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use rustix::{
    fs::{AtFlags, OFlags, unlinkat},
    io::Errno,
};

use strait_sync::fail_point;

use super::{
    error::NamedError,
    lease::{Lease, Role},
    place::{is_named, open_file},
    record::Record,
};
use crate::{error::OpenError, fork::ForkToken, inspect};

/// How often others may be faster before that is an error: at least a quarter of a second, where another sweeper is stuck.
const ATTEMPTS: u32 = 250;

/// The time until the next look, where another sweeper is at it. It needs some microseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What to do with a name that its owner wanted to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Keep,
    Remove,
}

/// Where in [`remove_while`] others may get in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Opened,
    AskedForTheOwner,
}

/// Removes `name` where its owner is gone; `false` where there is no such name.
///
/// Everything else is an error: a live owner, a kept name, a file that is no region, somebody else's.
pub(super) fn remove(directory: BorrowedFd<'_>, name: &str, kept: Kept, fork: ForkToken) -> Result<bool, NamedError> {
    remove_while(directory, name, kept, fork, |_| ())
}

/// [`remove`], with `meanwhile` at the moments that matter: what a test puts there, others may do.
fn remove_while(
    directory: BorrowedFd<'_>,
    name: &str,
    kept: Kept,
    fork: ForkToken,
    mut meanwhile: impl FnMut(Moment),
) -> Result<bool, NamedError> {
    for _ in 0..ATTEMPTS {
        let fd = match open_file(directory, name, OFlags::RDONLY) {
            Err(NamedError::NotFound { .. }) => return Ok(false),
            Err(NamedError::Open(source)) => return Err(NamedError::Foreign { name: name.to_owned(), source }),
            other => other?,
        };
        match inspect::read_header(fd.as_fd()) {
            Ok(_) => {}
            Err(source @ OpenError::Io { .. }) => return Err(source.into()),
            Err(source) => return Err(NamedError::Foreign { name: name.to_owned(), source }),
        }
        meanwhile(Moment::Opened);
        let asking = "asking whether the owner lives";
        let Some(_lease) = Lease::take(fd.as_fd(), Role::Sweeper, fork).map_err(NamedError::io(asking))? else {
            std::thread::sleep(LOOK_AGAIN);
            continue;
        };
        let is_owned = Lease::is_held(fd.as_fd(), Role::Owner).map_err(NamedError::io(asking))?;
        meanwhile(Moment::AskedForTheOwner);
        if !is_named(directory, name, fd.as_fd())? {
            continue;
        }
        // Where there is no owner any more, nobody changes it.
        let record = Record::read(fd.as_fd()).map_err(NamedError::io("reading who owns the region"))?;
        if is_owned {
            return Err(NamedError::InUse { name: name.to_owned(), pid: record.pid });
        }
        if record.persistent && kept == Kept::Keep {
            return Err(NamedError::Persistent { name: name.to_owned() });
        }
        fail_point!("named.sweeping");
        return match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => {
                fail_point!("named.swept");
                Ok(true)
            }
            Err(Errno::NOENT) => continue,
            Err(errno) => Err(NamedError::io("removing a stale name")(errno)),
        };
    }
    Err(NamedError::Contended { name: name.to_owned(), attempts: ATTEMPTS })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{
        header::Header,
        named::{NamedRegion, Place},
    };

    const HEADER: Header = Header {
        kind: 1,
        layout_hash: 0,
        total_bytes: 1 << 16,
        ring_capacity_bytes: 0,
        max_message_bytes: 0,
        record_align_bytes: 16,
        session: [0; 16],
    };

    fn create(place: &Place) -> NamedRegion {
        NamedRegion::create(place, "a", &HEADER).unwrap()
    }

    /// Removes `a` while `meanwhile` is done; returns what came of it, and the names that are there then.
    fn remove_a_while(place: &Place, mut meanwhile: impl FnMut(Moment)) -> (Result<bool, NamedError>, Vec<String>) {
        let fork = ForkToken::current().unwrap();
        let opened = place.open().unwrap();
        let removed = remove_while(opened.as_fd(), "a", Kept::Remove, fork, &mut meanwhile);
        let names = std::fs::read_dir(place.path()).unwrap();
        (removed, names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
    }

    /// As above, for a name that has lost its owner, and at the first moment.
    fn remove_abandoned_while(mut meanwhile: impl FnMut(&Place)) -> (Result<bool, NamedError>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::directory(directory.path());
        create(&place).persist();
        remove_a_while(&place, |moment| {
            if moment == Moment::Opened {
                meanwhile(&place);
            }
        })
    }

    #[test]
    fn a_name_that_is_given_up_and_taken_anew_between_the_two_looks_is_left_to_its_new_owner() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::directory(directory.path());
        let (mut first, mut second) = (Some(create(&place)), None);
        let (removed, names) = remove_a_while(&place, |moment| {
            if moment == Moment::AskedForTheOwner && first.take().is_some() {
                second = Some(create(&place));
            }
        });
        assert!(matches!(removed, Err(NamedError::InUse { .. })), "{removed:?}");
        assert_eq!((names.as_slice(), first.is_none(), second.is_some()), (["a".to_owned()].as_slice(), true, true));
    }

    #[test]
    fn a_name_that_got_a_new_owner_after_it_was_looked_at_is_left_to_it() {
        let mut owner = None;
        let (removed, names) = remove_abandoned_while(|place| {
            if owner.is_none() {
                assert!(NamedRegion::remove(place, "a").unwrap());
                owner = Some(create(place));
            }
        });
        assert!(matches!(removed, Err(NamedError::InUse { .. })), "{removed:?}");
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn a_name_that_somebody_else_removed_after_it_was_looked_at_is_not_there() {
        let (removed, names) = remove_abandoned_while(|place| assert!(NamedRegion::remove(place, "a").unwrap()));
        assert!(matches!(removed, Ok(false)), "{removed:?}");
        assert!(names.is_empty());
    }

    #[test]
    fn a_sweeper_that_is_at_it_is_waited_for() {
        let (mut lease, mut looks) = (None, 0);
        let (removed, names) = remove_abandoned_while(|place| {
            looks += 1;
            let fork = ForkToken::current().unwrap();
            let fd = open_file(place.open().unwrap().as_fd(), "a", OFlags::RDONLY).unwrap();
            lease =
                if looks < 3 { Lease::take(fd.as_fd(), Role::Sweeper, fork).unwrap().or(lease.take()) } else { None };
        });
        assert!(matches!(removed, Ok(true)), "{removed:?}");
        assert_eq!((names, looks), (vec![], 3));
    }

    #[test]
    fn a_sweeper_that_is_stuck_is_an_error_and_no_hang() {
        let mut lease = None;
        let (removed, names) = remove_abandoned_while(|place| {
            let fork = ForkToken::current().unwrap();
            let fd = open_file(place.open().unwrap().as_fd(), "a", OFlags::RDONLY).unwrap();
            lease = Lease::take(fd.as_fd(), Role::Sweeper, fork).unwrap().or(lease.take());
        });
        assert!(matches!(removed, Err(NamedError::Contended { .. })), "{removed:?}");
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn a_name_that_changes_hands_each_time_it_is_looked_at_is_an_error_and_no_hang() {
        let (removed, names) = remove_abandoned_while(|place| {
            assert!(NamedRegion::remove(place, "a").unwrap());
            create(place).persist();
        });
        assert!(matches!(removed, Err(NamedError::Contended { attempts: ATTEMPTS, .. })), "{removed:?}");
        assert_eq!(names, ["a"]);
    }
}
