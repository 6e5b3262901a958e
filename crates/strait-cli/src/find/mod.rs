//! Finding channels from outside: no registry, no cooperation, nothing left behind.
//!
//! Data goes one way: /proc → [`scan`] → memories, mapped for reading → [`pair`] → channels.

mod clean;
mod memory;
mod name;
mod pair;
mod process;
mod scan;
mod sides;

use std::{collections::HashMap, path::PathBuf};

pub(crate) use memory::Memory;
pub(crate) use name::Kind;
pub(crate) use pair::{Channel, ChannelId, End};
pub(crate) use process::{Process, Unseen, hidepid};
pub(crate) use scan::{Blind, MemoryId, ScanError};
pub(crate) use sides::{Side, Sides};

/// Finds channels, again and again. Memory that was mapped stays mapped until a look does not find it any more.
pub(crate) struct Finder {
    proc: PathBuf,
    memories: HashMap<MemoryId, Memory>,
}

/// What one look has found.
pub(crate) struct Found {
    pub(crate) channels: Vec<Channel>,
    pub(crate) blind: Blind,
}

impl Finder {
    pub(crate) fn new() -> Self {
        Self { proc: "/proc".into(), memories: HashMap::new() }
    }

    /// Looks at all processes. Lets go of what nobody holds any more: mapped memory outlives its maker.
    pub(crate) fn look(&mut self) -> Result<Found, ScanError> {
        let mut known = std::mem::take(&mut self.memories);
        let memories = &mut self.memories;
        let scan = scan::scan(&self.proc, &mut |id, link, handle| {
            let mut kept = || known.remove(&id).filter(|memory| memory.is_opened_from(link));
            memories.entry(id).or_insert_with(|| kept().unwrap_or_else(|| Memory::open(link, handle)));
        })?;
        Ok(Found { channels: pair::pair(&scan.holdings), blind: scan.blind })
    }

    /// What there is behind an end that the last look has found.
    pub(crate) fn memory(&self, end: &End) -> Option<&Memory> {
        self.memories.get(&end.memory)
    }
}
