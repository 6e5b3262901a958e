//! The writing end.

#![allow(unsafe_code)]

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use rustix::time::{ClockId, clock_gettime};
use strait_region::{Header, OwnRegion, PeerRegion};
use strait_seqlock::snapshot::{Geometry, PinTable, Reader, Writer};
use strait_sync::{WordsMut, fail_point};

use super::{
    BASE_VERSION, KIND_STATE, MAX_BASE_VERSION, OPENED_US, OWNER_PID, OWNER_START, PUBLISHED_BYTES, PUBLISHED_US,
    SLOTS, SNAPSHOT, STATE_LAYOUT_HASH, StateMemory, StateReader, StateStats, misfit, total_bytes,
};
use crate::{error::Error, owner, segment};

/// Writes a state into memory of its own, which others can map for reading alone.
///
/// ```
/// use strait_transport::StateWriter;
///
/// let mut writer = StateWriter::create("weather", 4096, 0)?;
/// let mut reader = writer.reader()?;
/// assert_eq!(writer.write(b"sunny")?, 1);
/// let (value, version) = reader.read()?.expect("there is a value");
/// assert_eq!((&*value, version), (&b"sunny"[..], 1));
/// # Ok::<(), strait_transport::Error>(())
/// ```
pub struct StateWriter {
    writer: Writer<Arc<OwnRegion>, PinTable<Arc<PeerRegion>>>,
    memory: StateMemory,
    base_version: u64,
    opened_us: u64,
    published_us: u64,
}

impl StateWriter {
    /// The most pins.
    pub const MAX_PINS: usize = Geometry::MAX_PINS;

    /// Makes sealed memory for values of up to `max_value_bytes` bytes, in three slots. Versions go on after `base_version`.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where `max_value_bytes` is more than any memory has, [`Error::Io`] where the system has none.
    pub fn create(service: &str, max_value_bytes: usize, base_version: u64) -> Result<Self, Error> {
        Self::create_with_pins(service, max_value_bytes, base_version, 0)
    }

    /// As [`create`](Self::create), for up to `max_pins` clients at once that read in place. That takes one slot for each, and
    /// three; and a scan of as many words for each value.
    ///
    /// # Errors
    ///
    /// As there, and for more than [`MAX_PINS`](Self::MAX_PINS).
    pub fn create_with_pins(
        service: &str,
        max_value_bytes: usize,
        base_version: u64,
        max_pins: usize,
    ) -> Result<Self, Error> {
        if max_pins > Self::MAX_PINS {
            let found = max_pins.to_string();
            return Err(Error::Option { option: "max_pins", found, expected: "0 to 61" });
        }
        let geometry = Geometry::new(max_value_bytes)
            .and_then(|geometry| geometry.with_pins(max_pins))
            .and_then(|geometry| geometry.at(SNAPSHOT))
            .ok();
        let laid_out = geometry.and_then(|geometry| total_bytes(&geometry).map(|total_bytes| (geometry, total_bytes)));
        let (geometry, total_bytes) = laid_out.ok_or_else(|| Error::Option {
            option: "max_value_bytes",
            found: max_value_bytes.to_string(),
            expected: "what the slots in memory can hold",
        })?;
        if base_version > MAX_BASE_VERSION {
            let found = base_version.to_string();
            return Err(Error::Option { option: "base_version", found, expected: "at most 2^62" });
        }
        let session = segment::new_session()
            .ok_or_else(|| Error::io("making a session id", std::io::Error::other("no random bytes")))?;
        let header = Header {
            kind: KIND_STATE.into(),
            layout_hash: STATE_LAYOUT_HASH,
            total_bytes,
            ring_capacity_bytes: 0,
            max_message_bytes: max_value_bytes as u64,
            record_align_bytes: 16,
            session,
        };
        let name = format!("strait:state:{service}:server:{:032x}", u128::from_be_bytes(session));
        let region = OwnRegion::create(&name, &header)
            .map_err(|error| Error::io("making memory for the state", std::io::Error::other(error)))?;
        let opened_us = strait_frame::now_micros();
        // ORDERING: Relaxed, all; nobody has the memory yet, and whoever gets it gets it by a message.
        region.store(SLOTS, geometry.slots() as u64, Ordering::Relaxed);
        region.store(BASE_VERSION, base_version, Ordering::Relaxed);
        region.store(OPENED_US, opened_us, Ordering::Relaxed);
        owner::sign(&region, OWNER_PID, OWNER_START);
        fail_point!("state.made");
        let region = Arc::new(region);
        // SAFETY: the memory was just made, is zero where the snapshot lies, can be written by this process alone (the seals),
        // and this is its only writer here: nothing else in this module stores to it any more.
        let writer = unsafe { Writer::new(region.clone(), geometry) }.map_err(misfit)?.with_pins();
        let memory = StateMemory::new(region, writer.pins().clone());
        Ok(Self { writer, memory, base_version, opened_us, published_us: 0 })
    }

    /// Publishes `bytes`, and returns their version. Waits for nobody.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] beyond `max_value_bytes`, [`Error::Forked`] in a forked child. Nothing is published then.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        self.memory.region.check_fork().map_err(|_| Error::Forked)?;
        let version = self.writer.write(bytes);
        let version = version.map_err(|long| Error::TooLarge { need: long.need_bytes, max: long.max_bytes })?;
        self.show_counters();
        Ok(self.base_version + version)
    }

    /// Shows what was published to whoever looks from outside. By the clock that costs least: values carry no time.
    #[inline]
    fn show_counters(&mut self) {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        self.published_us = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
        let region = &self.memory.region;
        // ORDERING: Relaxed, both; for observers only, each word for itself.
        region.store(PUBLISHED_BYTES, self.writer.stats().bytes, Ordering::Relaxed);
        region.store(PUBLISHED_US, self.published_us, Ordering::Relaxed);
    }

    /// What was published in this memory, and who has it. The same is there for tools: see [`observe`](crate::observe).
    pub fn stats(&self) -> StateStats {
        let (readers, pins) = self.memory.audience();
        StateStats {
            version: self.version(),
            published: self.writer.version(),
            published_bytes: self.writer.stats().bytes,
            published_us: self.published_us,
            opened_us: self.opened_us,
            readers,
            pins,
        }
    }

    /// The latest version; what it began with before the first value.
    pub fn version(&self) -> u64 {
        self.base_version + self.writer.version()
    }

    /// The longest value in bytes.
    pub fn max_value_bytes(&self) -> usize {
        self.writer.geometry().max_bytes()
    }

    /// The memory, for connections.
    pub fn memory(&self) -> StateMemory {
        self.memory.clone()
    }

    /// A reader in this process.
    ///
    /// # Errors
    ///
    /// None that this writer's own memory causes.
    pub fn reader(&self) -> Result<StateReader<Arc<OwnRegion>>, Error> {
        let reader = Reader::new(self.memory.region.clone(), *self.writer.geometry()).map_err(misfit)?;
        Ok(StateReader::new(reader, self.memory.region.clone(), self.base_version))
    }
}

impl fmt::Debug for StateWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWriter").field("version", &self.version()).finish_non_exhaustive()
    }
}
