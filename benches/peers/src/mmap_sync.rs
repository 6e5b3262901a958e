//! mmap-sync between processes: one publishes, others read where the value lies.

use std::time::Duration;

use mmap_sync::{locks::LockDisabled, synchronizer::Synchronizer};
use strait_benches::{Latest, Look, Meeting, Outcome, Publish};

/// How long its writer waits for readers.
const GRACE: Duration = Duration::from_millis(100);
/// How long it sleeps before it looks again whether readers have gone. Its default is a second: a busy writer would write once.
const SLEEP_NANOS: u64 = 1_000;

type Values = Synchronizer<wyhash::WyHash, LockDisabled, 1024, SLEEP_NANOS>;

pub(crate) fn latest() -> Vec<Latest> {
    vec![Latest { name: "mmap-sync", publish, look }]
}

fn values(meeting: &Meeting<'_>) -> Values {
    Synchronizer::with_params(meeting.dir.join("value").as_os_str())
}

fn publish(meeting: &Meeting<'_>) -> Outcome<Publish> {
    let mut values = values(meeting);
    Ok(Box::new(move |value| {
        // It serialises values of types with an owner; the copy is part of using it.
        let words: Vec<u64> = value.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        values.write(&words, GRACE)?;
        Ok(())
    }))
}

fn look(meeting: &Meeting<'_>) -> Outcome<Look> {
    let mut values = values(meeting);
    Ok(Box::new(move |see| {
        // SAFETY: the file was written by this very program, as this type.
        let value = unsafe { values.read::<Vec<u64>>(false) }?;
        see(value.as_slice());
        Ok(())
    }))
}
