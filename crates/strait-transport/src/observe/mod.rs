//! Looking at the segments of others from outside, for tools: with no cooperation, no registry, and nothing left behind.
//!
//! Whoever makes a segment keeps its descriptor open, so a third process of the same user finds it as `/proc/PID/fd/N`, a link to
//! `/memfd:strait:<kind>:<service>:<side>:<session> (deleted)`. [`Observed::open`] takes such a descriptor after every check that a
//! peer makes, and maps it for reading only. Nobody can notice it.
//!
//! **Whatever is read here may be a lie.** The seals hold: the memory is there, and stays. Its *words* are what the maker writes, and a maker
//! that is broken, or means harm, writes anything: counters that fall, times in the future, another's pid. What contradicts itself is
//! shown as a [`Lie`], and nothing that stands there leads to a panic, a fault or an endless loop.
//!
//! ```
//! use std::{fs, os::fd::OwnedFd};
//! use strait_transport::{StateWriter, observe::{Kind, Observed, Reading}};
//!
//! let mut writer = StateWriter::create("weather", 4096, 0)?;
//! writer.write(b"sunny")?;
//! // What another process would find.
//! let mut found = Vec::new();
//! for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
//!     let link = fs::read_link(entry.path()).unwrap_or_default();
//!     if link.to_string_lossy().starts_with("/memfd:strait:state:weather:") {
//!         found.push(Observed::open(OwnedFd::from(fs::File::open(entry.path()).unwrap())).unwrap());
//!     }
//! }
//! assert_eq!(found[0].kind(), Kind::State);
//! let Reading::State(state) = found[0].read() else { panic!("a state is no connection") };
//! assert_eq!((state.stats.version, state.stats.published_bytes, state.owner.pid), (1, 5, std::process::id()));
//! # Ok::<(), strait_transport::Error>(())
//! ```

mod reading;

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use strait_region::{Expected, Header, OpenError, PeerRegion};
use strait_spsc::records::control;
use strait_sync::Words;

pub use reading::{EndReading, Lie, Owner, PinReading, Reading, StateReading};

use crate::{
    counters::layout,
    options::{MAX_RING_BYTES, MIN_RING_BYTES},
    segment::{self, CONTROL, COUNTERS, FAREWELL, KIND_RING, KIND_SOCKET},
    state::{self, HAZARD, KIND_PIN, KIND_STATE, StateReader, StateStats},
};

/// The most of a published state that is mapped. All of it exists, or it is refused: mapping costs addresses and nothing else.
const MAX_STATE_BYTES: u64 = 1 << 40;

/// How often positions are read anew that have moved on meanwhile.
const ATTEMPTS: usize = 4;

/// The greatest pid that Linux gives.
const MAX_PID: u32 = 1 << 22;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// One end of a connection in shared memory: its ring, and its counters.
    Ring,
    /// One end of a connection that is on its socket: its counters alone.
    Socket,
    /// A published state.
    State,
    /// A client's pin on a published state.
    Pin,
}

/// Why a descriptor was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// Not sealed memory of strait, or of a release that lays it out differently.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Memory of strait, for a purpose that this version does not know.
    #[error("the memory is of kind {found}, expected 1 (ring), 2 (state), 3 (pin) or 4 (socket)")]
    Kind {
        /// The header's kind.
        found: u32,
    },
    /// A header whose numbers do not go together.
    #[error("the header is one of no segment: {why}")]
    Header {
        /// What was found, and what was expected.
        why: String,
    },
}

/// The segment of another process, mapped for reading.
///
/// It stays readable after its maker is gone, with what was written last.
#[derive(Debug)]
pub struct Observed {
    region: Arc<PeerRegion>,
    kind: Kind,
    /// Of a state.
    state: Option<StateReader>,
}

impl Observed {
    /// Checks `fd`, maps it for reading, and closes it.
    ///
    /// The checks are those of a peer (see [`PeerRegion::open`]): a regular file on tmpfs, sealed, all of it allocated, with a header of a
    /// known kind, this release's layout and numbers that go together. Any descriptor may be given; nothing here waits. But
    /// opening a path may: open `/proc/PID/fd/N` only where its link names a memfd, with `O_NONBLOCK`.
    ///
    /// # Errors
    ///
    /// The [`ObserveError`] of the first check that fails.
    pub fn open(fd: OwnedFd) -> Result<Self, ObserveError> {
        // The kind is in the header, which is read after the checks of the descriptor: so a ring is tried first.
        let second = fd.as_fd().try_clone_to_owned().map_err(|source| OpenError::Io { operation: "dup", source })?;
        let open_as = |fd, kind| -> Result<PeerRegion, ObserveError> {
            let expected = expected(kind).ok_or(ObserveError::Kind { found: kind })?;
            Ok(PeerRegion::open(fd, &expected)?)
        };
        let region = match open_as(fd, KIND_RING) {
            Err(ObserveError::Open(OpenError::Kind { found, .. })) => open_as(second, found),
            other => other,
        };
        Self::checked(Arc::new(region?))
    }

    /// What the header says beyond what every region has.
    fn checked(region: Arc<PeerRegion>) -> Result<Self, ObserveError> {
        let Header { kind, total_bytes, ring_capacity_bytes, .. } = *region.header();
        let misfit = |why| ObserveError::Header { why };
        let total_is = |expected: u64| match total_bytes == expected {
            true => Ok(()),
            false => Err(misfit(format!("it has {total_bytes} bytes, expected {expected}"))),
        };
        let (kind, state) = match kind {
            KIND_RING if !(MIN_RING_BYTES..=MAX_RING_BYTES).contains(&ring_capacity_bytes) => {
                return Err(misfit(format!("its ring has {ring_capacity_bytes} bytes, expected 4096 to 67108864")));
            }
            KIND_SOCKET if ring_capacity_bytes != 0 => {
                return Err(misfit(format!("it has a ring of {ring_capacity_bytes} bytes, expected none on a socket")));
            }
            KIND_RING | KIND_SOCKET => {
                total_is(segment::total_bytes(ring_capacity_bytes))?;
                (if kind == KIND_RING { Kind::Ring } else { Kind::Socket }, None)
            }
            _ if kind == u32::from(KIND_PIN) => {
                total_is(state::PIN_SEGMENT_BYTES)?;
                (Kind::Pin, None)
            }
            _ => {
                let reader = StateReader::over(region.clone()).map_err(misfit)?;
                (Kind::State, Some(reader))
            }
        };
        Ok(Self { region, kind, state })
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The session: what the two ends of a connection have in common.
    pub fn session(&self) -> [u8; 16] {
        self.region.header().session
    }

    /// Length of the whole segment in bytes: so much memory it takes.
    pub fn total_bytes(&self) -> u64 {
        self.region.header().total_bytes
    }

    /// Length of the ring that its maker sends through; 0 where there is none.
    pub fn ring_capacity_bytes(&self) -> u64 {
        self.region.header().ring_capacity_bytes
    }

    /// The longest message that its maker sends, or the longest value of a state, in bytes.
    pub fn max_message_bytes(&self) -> u64 {
        self.region.header().max_message_bytes
    }

    /// What records of the ring are aligned to, in bytes.
    pub fn record_align_bytes(&self) -> u32 {
        self.region.header().record_align_bytes
    }

    /// How many slots a state has, and how many of its readers may read in place at once; `None` for all else.
    pub fn slots_and_max_pins(&self) -> Option<(u64, u64)> {
        self.state.as_ref().map(|state| (state.slots(), state.max_pins()))
    }

    /// Looks once: loads each word once, whatever the maker does meanwhile. Costs a few cache misses, to the maker too.
    ///
    /// In a forked child of the process that opened it nothing is mapped, and all of it reads as zero.
    pub fn read(&self) -> Reading {
        let is_mapped = self.region.check_fork().is_ok();
        match (self.kind, &self.state) {
            (Kind::Pin, _) if is_mapped => Reading::Pin(PinReading { slot: self.region.load(HAZARD).checked_sub(1) }),
            (Kind::Pin, _) => Reading::Pin(PinReading::default()),
            (Kind::State, Some(state)) if is_mapped => Reading::State(self.read_state(state)),
            (Kind::State, _) => Reading::State(StateReading::default()),
            _ if is_mapped => Reading::End(self.read_end()),
            _ => Reading::End(EndReading::default()),
        }
    }

    fn read_end(&self) -> EndReading {
        let word = |offset| self.region.load(offset);
        let (owner, pid_lie) = owner(word(COUNTERS + layout::OWNER_PID), word(COUNTERS + layout::OWNER_START));
        let (tail, head) = (word(CONTROL + control::TAIL), word(CONTROL + control::HEAD));
        let stats = layout::load(&self.region, COUNTERS);
        let capacity_bytes = self.ring_capacity_bytes();
        let high_water = (stats.high_water_bytes > capacity_bytes)
            .then_some(Lie::HighWater { found: stats.high_water_bytes, capacity_bytes });
        EndReading {
            owner,
            stats,
            tail,
            head,
            sleeps_for_data: word(CONTROL + control::DATA_TICKET) != 0,
            sleeps_for_space: word(CONTROL + control::SPACE_TICKET) != 0,
            closed: word(CONTROL + control::CLOSED) != 0,
            farewell: word(FAREWELL) != 0,
            lie: pid_lie.or(high_water).or_else(|| self.misaligned(tail)).or_else(|| self.misaligned(head)),
        }
    }

    fn misaligned(&self, position: u64) -> Option<Lie> {
        let align_bytes = self.record_align_bytes();
        let is_aligned = position.is_multiple_of(u64::from(align_bytes));
        (!is_aligned).then_some(Lie::Misaligned { found: position, align_bytes })
    }

    fn read_state(&self, state: &StateReader) -> StateReading {
        let word = |offset| self.region.load(offset);
        let (owner, pid_lie) = owner(word(state::OWNER_PID), word(state::OWNER_START));
        let (pins, max) = (word(state::PINS), state.max_pins());
        let version = state.version().unwrap_or_default();
        let stats = StateStats {
            version,
            published: version.wrapping_sub(state.base_version()),
            published_bytes: word(state::PUBLISHED_BYTES),
            published_us: word(state::PUBLISHED_US),
            opened_us: word(state::OPENED_US),
            readers: word(state::READERS),
            pins,
        };
        StateReading { owner, stats, lie: pid_lie.or((pins > max).then_some(Lie::Pins { found: pins, max })) }
    }

    /// How much of the ring in this segment is published and not released, in bytes, headers and padding included. `peer` is the
    /// other end, in whose segment the release is written.
    ///
    /// Of a connection at work it is the value of some moment during the call; where that cannot be had because both ends are
    /// faster than the look, it is less.
    ///
    /// # Errors
    ///
    /// The [`Lie`] where the two positions cannot both be true, or the two are no pair.
    pub fn occupied_bytes(&self, peer: &Self) -> Result<u64, Lie> {
        let capacity_bytes = self.ring_capacity_bytes();
        let is_pair = (self.kind, peer.kind) == (Kind::Ring, Kind::Ring)
            && self.session() == peer.session()
            && self.record_align_bytes() == peer.record_align_bytes();
        if !is_pair {
            return Err(Lie::NotAPair);
        }
        if self.region.check_fork().is_err() || peer.region.check_fork().is_err() {
            return Ok(0);
        }
        let apart = |tail, head| Lie::Positions { tail, head, capacity_bytes };
        let load_tail = || self.region.load(CONTROL + control::TAIL);
        for _ in 0..ATTEMPTS {
            let tail = load_tail();
            let head = peer.region.load(CONTROL + control::HEAD);
            if let Some(lie) = self.misaligned(tail).or_else(|| self.misaligned(head)) {
                return Err(lie);
            }
            // The head was loaded later: an honest one is no further behind than it was when the tail was loaded.
            let occupied = tail.wrapping_sub(head);
            if occupied <= capacity_bytes {
                return Ok(occupied);
            }
            // Or it is ahead: it has moved on meanwhile, or what was read is a batch whose tail is not shown yet, because whoever
            // sent it was stopped right there.
            let is_ahead = occupied > u64::MAX / 2;
            let later_tail = load_tail();
            let distance = later_tail.wrapping_sub(head).min(head.wrapping_sub(later_tail));
            if !is_ahead || distance > capacity_bytes {
                return Err(apart(tail, head));
            }
        }
        Ok(0)
    }
}

/// Who the two words name.
fn owner(pid: u64, start_ticks: u64) -> (Owner, Option<Lie>) {
    match u32::try_from(pid) {
        Ok(pid @ 1..=MAX_PID) => (Owner { pid, start_ticks }, None),
        _ => (Owner { pid: 0, start_ticks }, Some(Lie::Pid { found: pid })),
    }
}

/// What a segment of that kind has to be; `None` where there is no such kind.
pub(crate) fn expected(kind: u32) -> Option<Expected> {
    const STATE: u32 = KIND_STATE as u32;
    const PIN: u32 = KIND_PIN as u32;
    let (layout_hash, max_total_bytes) = match kind {
        KIND_RING => (segment::LAYOUT_HASH, segment::total_bytes(MAX_RING_BYTES)),
        KIND_SOCKET => (segment::LAYOUT_HASH, segment::total_bytes(0)),
        STATE => (state::STATE_LAYOUT_HASH, MAX_STATE_BYTES),
        PIN => (state::PIN_LAYOUT_HASH, state::PIN_SEGMENT_BYTES),
        _ => return None,
    };
    Some(Expected { kind, layout_hash, max_total_bytes, session: None })
}
