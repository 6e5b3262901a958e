//! Finding the next daemon, in the background, for as long as there is none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use strait_transport::Options;

use super::greeting::{Found, find};

/// The first pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Where a shell's daemon is to be found.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) name: String,
    pub(super) options: Options,
}

/// A search that goes on until it finds somebody or is dropped.
pub(super) struct Search {
    found: mpsc::Receiver<Found>,
    stop: Arc<AtomicBool>,
}

/// How a search is begun.
pub(super) type Begin = fn(&Arc<Address>) -> Option<Search>;

impl Search {
    /// The daemon, once it is found.
    pub(super) fn take(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }

    /// Waits for it.
    pub(super) fn wait(&self, at_most: Duration) -> Option<Found> {
        self.found.recv_timeout(at_most).ok()
    }

    /// Searches in a thread. `None` where there can be none: the next call tries again.
    pub(super) fn in_thread(address: &Arc<Address>) -> Option<Self> {
        let (tell, found, stop, stopped, address) = Self::parts(address);
        let search = move || {
            let mut pause = PAUSES.0;
            // ORDERING: Relaxed; it guards no memory.
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(found) = find(&address.name, &address.options) {
                    let _ = tell.send(found); // nobody listens: the shell is gone
                    return;
                }
                std::thread::sleep(pause);
                pause = (2 * pause).min(PAUSES.1);
            }
        };
        std::thread::Builder::new().name("strait-search".into()).spawn(search).ok()?;
        Some(Self { found, stop })
    }

    /// Searches in a task of the current runtime.
    #[cfg(feature = "tokio")]
    pub(super) fn in_task(address: &Arc<Address>) -> Option<Self> {
        let (tell, found, stop, stopped, address) = Self::parts(address);
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        runtime.spawn(async move {
            let mut pause = PAUSES.0;
            // ORDERING: Relaxed; it guards no memory.
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(found) = super::greeting::find_async(&address.name, &address.options).await {
                    let _ = tell.send(found); // nobody listens: the shell is gone
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(PAUSES.1);
            }
        });
        Some(Self { found, stop })
    }

    #[allow(clippy::type_complexity)]
    fn parts(
        address: &Arc<Address>,
    ) -> (mpsc::Sender<Found>, mpsc::Receiver<Found>, Arc<AtomicBool>, Arc<AtomicBool>, Arc<Address>) {
        let (tell, found) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        (tell, found, stop.clone(), stop, address.clone())
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        // ORDERING: Relaxed; as above.
        self.stop.store(true, Ordering::Relaxed);
    }
}
