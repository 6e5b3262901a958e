//! Sleeping on many connections at once.

#[cfg(not(strait_loom))]
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_sync::{
    mutant,
    primitive::{AtomicBool, Ordering},
};

#[cfg(not(strait_loom))]
use crate::waiting::Interrupt;
use crate::{connection::Connection, error::Error, event::Event, transport::Wake};

/// Puts one thread to sleep on many connections at once, and lets others wake it.
///
/// The thread [arms](crate::Transport::arm) each connection, sleeps only if each said that nothing is ready, and
/// [disarms](crate::Transport::disarm) those that it armed. Arming looks once more after the peer can see that somebody
/// sleeps, so nothing that comes meanwhile is missed. A notice is not missed either: one that comes before the sleep ends it.
///
/// ```
/// use strait_transport::{Connection, WaitSet, Wake};
///
/// let set = WaitSet::new()?;
/// set.notify();
/// let nobody: [&Connection; 0] = [];
/// assert_eq!(set.sleep(nobody, None)?, Wake::Ready);
/// assert!(set.take_notice() && !set.take_notice());
/// # Ok::<(), strait_transport::Error>(())
/// ```
#[derive(Debug)]
pub struct WaitSet {
    event: Event,
    noticed: AtomicBool,
}

impl WaitSet {
    /// Makes one; it owns a descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where no descriptor is left.
    #[cfg(not(strait_loom))]
    pub fn new() -> Result<Self, Error> {
        Ok(Self { event: Event::new(None)?, noticed: AtomicBool::new(false) })
    }

    /// Makes one whose sleeps `interrupt` ends too, all of them once it is raised.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg(not(strait_loom))]
    pub fn with_interrupt(interrupt: Arc<Interrupt>) -> Result<Self, Error> {
        Ok(Self { event: Event::new(Some(interrupt))?, noticed: AtomicBool::new(false) })
    }

    /// Makes one for a model.
    #[cfg(strait_loom)]
    pub fn modelled() -> Self {
        Self { event: Event::new(), noticed: AtomicBool::new(false) }
    }

    /// Ends the sleep, or the next one.
    pub fn notify(&self) {
        // In this order: whoever wakes up looks for the notice, and sleeps again where there is none.
        if mutant!(event_before_notice, false, true) {
            self.event.set();
        }
        // ORDERING: Release; pairs with the Acquire swap in `take_notice`: who takes it sees what it tells of. A swap too: loom
        // puts no plain store behind a swap that it did not see.
        self.noticed.swap(true, mutant!(notice_relaxed, Ordering::Release, Ordering::Relaxed));
        if mutant!(event_before_notice, true, false) {
            self.event.set();
        }
    }

    /// Whether there was a [`notify`](Self::notify) since the last time this was asked. No system call.
    #[inline]
    pub fn take_notice(&self) -> bool {
        // ORDERING: Relaxed; a first look, without taking the line from the others. What counts is the swap.
        let noticed = self.noticed.load(Ordering::Relaxed);
        // ORDERING: Acquire; pairs with the Release in `notify`.
        noticed && self.noticed.swap(false, Ordering::Acquire)
    }

    /// Sleeps until one of the connections needs a look, until a [`notify`](Self::notify) or until `deadline`. Wakes spuriously.
    ///
    /// Each connection must have been armed: one that was not is noticed only when its peer goes. The interrupt of their
    /// listener does not end the sleep, but one of [`with_interrupt`](Self::with_interrupt) does.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a connection inside this process, which has no descriptor to sleep on; [`Error::Io`] where the
    /// system refuses to wait.
    pub fn sleep<'a>(
        &self,
        connections: impl IntoIterator<Item = &'a Connection>,
        deadline: Option<Instant>,
    ) -> Result<Wake, Error> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(Wake::TimedOut);
        }
        if self.event.is_interrupted() {
            return Ok(Wake::Interrupted);
        }
        let link = |connection: &'a Connection| {
            connection.link().ok_or(Error::Usage("a connection inside the process cannot be slept on here"))
        };
        self.event.sleep(connections.into_iter().map(link), left)
    }
}
