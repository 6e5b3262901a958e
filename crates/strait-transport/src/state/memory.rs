//! The memory, as it is given to connections.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use strait_region::{OwnRegion, PeerRegion};
use strait_seqlock::snapshot::{PinId, PinTable};
use strait_sync::primitive::Mutex;

use super::pin::HAZARD;

/// The sealed memory of a published state, to be [attached](crate::Connection::attach_state) to connections. A clone is the
/// same memory, for the same client.
#[derive(Clone)]
pub struct StateMemory {
    pub(super) region: Arc<OwnRegion>,
    pub(super) pins: PinTable<Arc<PeerRegion>>,
    /// The pin of the client that this is for.
    granted: Arc<Mutex<Option<PinId>>>,
}

impl StateMemory {
    pub(super) fn new(region: Arc<OwnRegion>, pins: PinTable<Arc<PeerRegion>>) -> Self {
        Self { region, pins, granted: Arc::default() }
    }

    /// The same memory for one more client, who may be granted a pin of its own.
    #[must_use]
    pub fn for_client(&self) -> Self {
        Self::new(self.region.clone(), self.pins.clone())
    }

    /// Whether the client has a pin.
    pub fn has_pin(&self) -> bool {
        self.granted.lock().is_some()
    }

    /// Grants the client a pin on the slot that it names in `own`; `false` where there is none left, or it has one.
    pub(super) fn grant(&self, own: PeerRegion) -> bool {
        let mut granted = self.granted.lock();
        if granted.is_some() {
            return false;
        }
        *granted = self.pins.grant(Arc::new(own), HAZARD).ok();
        granted.is_some()
    }

    /// Takes the client's pin back. What the client still reads in place is overwritten by later values: only once its
    /// connection says that it is gone or has closed, or that it broke the protocol. The pin of a client of which that is not
    /// known stays with it, which costs the writer that one slot.
    pub fn revoke_pin(&self) {
        if let Some(pin) = self.granted.lock().take() {
            self.pins.revoke(pin);
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
