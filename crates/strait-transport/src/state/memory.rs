//! The memory, as it is given to connections.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use strait_region::{OwnRegion, PeerRegion};
use strait_seqlock::snapshot::{PinId, PinTable};
use strait_sync::primitive::Mutex;

use super::{audience::Audience, pin::HAZARD};

/// The sealed memory of a published state, to be [attached](crate::Connection::attach_state) to connections. A clone is the
/// same memory, for the same client.
#[derive(Clone)]
pub struct StateMemory {
    pub(super) region: Arc<OwnRegion>,
    pub(super) pins: PinTable<Arc<PeerRegion>>,
    client: Arc<Client>,
}

/// The client that a [`StateMemory`] is for.
struct Client {
    audience: Arc<Audience>,
    /// Its pin.
    granted: Mutex<Option<PinId>>,
    /// It was given the memory.
    is_reader: AtomicBool,
}

impl Client {
    fn new(audience: Arc<Audience>) -> Arc<Self> {
        Arc::new(Self { audience, granted: Mutex::default(), is_reader: AtomicBool::new(false) })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if *self.is_reader.get_mut() {
            self.audience.change(|counts| counts.readers -= 1);
        }
    }
}

impl StateMemory {
    pub(super) fn new(region: Arc<OwnRegion>, pins: PinTable<Arc<PeerRegion>>) -> Self {
        let client = Client::new(Arc::new(Audience::new(region.clone())));
        Self { region, pins, client }
    }

    /// The same memory for one more client, who may be granted a pin of its own.
    #[must_use]
    pub fn for_client(&self) -> Self {
        let client = Client::new(self.client.audience.clone());
        Self { region: self.region.clone(), pins: self.pins.clone(), client }
    }

    /// Whether the client has a pin.
    pub fn has_pin(&self) -> bool {
        self.client.granted.lock().is_some()
    }

    /// The client is sent the memory: it counts as a reader for as long as this is kept for it.
    pub(super) fn is_sent(&self) {
        // ORDERING: Relaxed; a mark that guards no other memory.
        if !self.client.is_reader.swap(true, Ordering::Relaxed) {
            self.client.audience.change(|counts| counts.readers += 1);
        }
    }

    /// How many clients have the memory, and how many a pin.
    pub(super) fn audience(&self) -> (u64, u64) {
        self.client.audience.counts()
    }

    /// Grants the client a pin on the slot that it names in `own`; `false` where there is none left, or it has one.
    pub(super) fn grant(&self, own: PeerRegion) -> bool {
        let mut granted = self.client.granted.lock();
        if granted.is_some() {
            return false;
        }
        *granted = self.pins.grant(Arc::new(own), HAZARD).ok();
        self.client.audience.change(|counts| counts.pins += u64::from(granted.is_some()));
        granted.is_some()
    }

    /// Takes the client's pin back. What the client still reads in place is overwritten by later values: only once its
    /// connection says that it is gone or has closed, or that it broke the protocol. The pin of a client of which that is not
    /// known stays with it, which costs the writer that one slot.
    pub fn revoke_pin(&self) {
        if let Some(pin) = self.client.granted.lock().take() {
            self.pins.revoke(pin);
            self.client.audience.change(|counts| counts.pins -= 1);
        }
    }
}

impl AsFd for StateMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.fd()
    }
}

impl fmt::Debug for StateMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateMemory").field("total_bytes", &self.region.header().total_bytes).finish()
    }
}
