//! Named regions that the processes of a case share.
#![allow(unsafe_code)]

use std::{ptr::NonNull, sync::Arc};

use strait::{
    HonestPeer,
    region::{Expected, HEADER_BYTES, Header, NamedRegion, NamedView, Place as Names},
    sync::{RawWords, Words, WordsMut},
};

use crate::{
    case::{Outcome, Told},
    place::Place,
};

const LAYOUT: u32 = 0xC4A5;

/// Where a case has its regions.
pub(crate) fn names(place: &Place) -> Names {
    Names::directory(place.data())
}

/// The header of a region with room for `bytes` behind it.
pub(crate) fn header(bytes: usize) -> Header {
    Header {
        kind: 9,
        layout_hash: LAYOUT,
        total_bytes: (HEADER_BYTES + bytes).next_multiple_of(4096) as u64,
        ring_capacity_bytes: 0,
        max_message_bytes: 0,
        record_align_bytes: 16,
        session: [0; 16],
    }
}

fn expected() -> Expected {
    Expected { kind: 9, layout_hash: LAYOUT, max_total_bytes: 1 << 20, session: None }
}

fn honest() -> HonestPeer {
    // SAFETY: whoever opens a region of a case is this program, which truncates none and writes where it may.
    unsafe { HonestPeer::assume() }
}

/// Makes a region, which is this process's until it is dropped.
pub(crate) fn make(place: &Place, name: &str, bytes: usize) -> Outcome<Arc<NamedRegion>> {
    NamedRegion::create(&names(place), name, &header(bytes)).map(Arc::new).told(name)
}

/// Opens one that another process has made.
pub(crate) fn open(place: &Place, name: &str) -> Outcome<Arc<NamedRegion>> {
    NamedRegion::open(&names(place), name, &expected(), honest()).map(Arc::new).told(name)
}

/// The same, for reading.
pub(crate) fn view(place: &Place, name: &str) -> Outcome<Arc<NamedView>> {
    NamedRegion::open_read_only(&names(place), name, &expected(), honest()).map(Arc::new).told(name)
}

/// What is behind the header.
#[derive(Clone)]
pub(crate) struct Body {
    _region: Arc<NamedRegion>,
    words: Arc<RawWords>,
}

impl Body {
    pub(crate) fn of(region: Arc<NamedRegion>) -> Self {
        let bytes = region.len_bytes() - HEADER_BYTES;
        let start: NonNull<u8> = region.raw().as_ptr(HEADER_BYTES, bytes);
        // SAFETY: inside the mapping, which `region` keeps where it is, at a multiple of 8.
        let words = unsafe { RawWords::new(start, bytes) };
        Self { _region: region, words: Arc::new(words) }
    }
}

// SAFETY: the mapping lives as long as `region`, at the same address.
unsafe impl Words for Body {
    fn raw(&self) -> &RawWords {
        &self.words
    }
}

// SAFETY: `open` and `make` map the region writable.
unsafe impl WordsMut for Body {}
