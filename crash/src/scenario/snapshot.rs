//! The latest value in a named region: a writer that dies or stops in the middle of a write, and the next one that takes over.
#![allow(unsafe_code)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use strait::{
    region::{HEADER_BYTES, NamedRegion, NamedView, WriterLock, WriterLockError},
    seqlock::{
        ReadError, WaitError,
        snapshot::{Geometry, Reader, Writer},
    },
};

use super::Role;
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    pattern::{number, pattern},
    place::Place,
    region,
};

pub(super) const ROLES: &[Role] = &[Role { name: "writer", play: write, survive: read_a_writer }];

const NAME: &str = "snapshot";
const COMMITTED: &str = "committed";
const VALUES: u64 = 40;
const MAX_BYTES: usize = 3000;

fn geometry() -> Outcome<Geometry> {
    Geometry::new(MAX_BYTES).and_then(|geometry| geometry.at(HEADER_BYTES)).told("the geometry")
}

/// Takes over from whoever wrote before, once the kernel says that nobody else does.
fn write(place: &Place) -> Outcome {
    let committed = Journal::open(&place.data(), COMMITTED)?;
    let memory = region::open(place, NAME)?;
    let begun = Instant::now();
    let _lock = loop {
        match WriterLock::try_acquire(memory.fd()) {
            Ok(lock) => break lock,
            Err(WriterLockError::WriterTaken) if begun.elapsed() < PATIENCE => std::thread::yield_now(),
            Err(error) => return Err(format!("the writer's lock: {error}")),
        }
    };
    // SAFETY: the lock says that there is no other writer.
    let mut writer: Writer<Arc<NamedRegion>> =
        unsafe { Writer::take_over(memory.clone(), geometry()?) }.told("taking over")?;
    let last = writer.version() + VALUES;
    while writer.version() < last {
        let version = writer.version() + 1;
        let bytes = pattern(version, 16 + (version as usize * 577) % (MAX_BYTES - 16));
        if version.is_multiple_of(2) {
            writer.write(&bytes).told("write")?;
        } else {
            let mut claim = writer.claim();
            for piece in bytes.chunks(100) {
                claim.append(piece).told("append")?;
            }
            claim.commit();
        }
        committed.note(COMMITTED, version)?;
        writer.notify();
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

fn read_a_writer(case: &mut Case) -> Outcome {
    let owner = region::make(&case.place, NAME, geometry()?.end())?;
    let mut reader: Reader<Arc<NamedView>> =
        Reader::new(region::view(&case.place, NAME)?, geometry()?).told("the reader")?;
    let (mut last, mut bytes) = (0, Vec::new());
    case.each(|case| {
        while !case.is_over() {
            case.patience("reading")?;
            let deadline = Instant::now() + CALL;
            match case.within("wait_changed", CALL, || reader.wait_changed(last, Some(deadline)))? {
                Ok(_) | Err(WaitError::TimedOut { .. }) => {}
                Err(error) => return Err(format!("wait_changed: {error}")),
            }
            read_once(case, &mut reader, &mut bytes, &mut last, false)?;
        }
        // Nobody writes now: what was committed is there, at the first look.
        read_once(case, &mut reader, &mut bytes, &mut last, true)?;
        let committed = Journal::read(&case.place.data(), COMMITTED, COMMITTED).last().copied().unwrap_or(0);
        if last < committed {
            return Err(format!("version {committed} was committed, {last} is the latest"));
        }
        // Its lock went with it.
        drop(WriterLock::try_acquire(owner.fd()).told("the lock of a writer that is gone")?);
        Ok(())
    })?;
    drop((reader, owner));
    let left = crate::leaks::names(&case.place.data());
    if left != [COMMITTED] { Err(format!("regions are left: {left:?}")) } else { Ok(()) }
}

fn read_once(
    case: &Case,
    reader: &mut Reader<Arc<NamedView>>,
    bytes: &mut Vec<u8>,
    last: &mut u64,
    quiet: bool,
) -> Outcome {
    match case.within("read", Duration::ZERO, || reader.read_to_vec(bytes))? {
        Ok(snapshot) if number(&bytes[..snapshot.len_bytes])? != snapshot.version || snapshot.version < *last => {
            Err(format!("version {} after {last}, with the value of another", snapshot.version))
        }
        Ok(snapshot) => {
            *last = snapshot.version;
            Ok(())
        }
        Err(ReadError::Empty) if *last == 0 => Ok(()),
        Err(ReadError::Contended { .. }) if !quiet => Ok(()),
        Err(error) => Err(format!("read: {error}")),
    }
}
