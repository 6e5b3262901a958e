//! Sleeping on many connections at once.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::{
    connection::Connection,
    error::Error,
    transport::Wake,
    waiting::{Interrupt, NAP, timespec},
};

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
    event: OwnedFd,
    noticed: AtomicBool,
    interrupt: Option<Arc<Interrupt>>,
}

impl WaitSet {
    /// Makes one; it owns a descriptor.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where no descriptor is left.
    pub fn new() -> Result<Self, Error> {
        let event =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| Error::io("eventfd", error))?;
        Ok(Self { event, noticed: AtomicBool::new(false), interrupt: None })
    }

    /// Makes one whose sleeps `interrupt` ends too, all of them once it is raised.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_interrupt(interrupt: Arc<Interrupt>) -> Result<Self, Error> {
        Ok(Self { interrupt: Some(interrupt), ..Self::new()? })
    }

    /// Ends the sleep, or the next one.
    pub fn notify(&self) {
        // ORDERING: Release; pairs with the Acquire swap in `take_notice`: who takes it sees what it tells of.
        self.noticed.store(true, Ordering::Release);
        // The only failure of an eventfd write is a counter that is full, and then it is readable, which is all we want.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
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
        if self.interrupt.as_ref().is_some_and(|interrupt| interrupt.is_raised()) {
            return Ok(Wake::Interrupted);
        }
        let mut fds = vec![PollFd::new(&self.event, PollFlags::IN)];
        let interrupt = self.interrupt.as_ref().map(|interrupt| interrupt.fd());
        fds.extend(interrupt.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let mut naps = false;
        for connection in connections {
            let link =
                connection.link().ok_or(Error::Usage("a connection inside the process cannot be slept on here"))?;
            naps |= link.watch(&mut fds);
        }
        let naps = naps && left.is_none_or(|left| left > NAP);
        let timeout = if naps { Some(NAP) } else { left }.map(timespec);
        let woken = poll(&mut fds, timeout.as_ref());
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.event, &mut [0u8; 8]);
        }
        match woken {
            Ok(0) if !naps => Ok(Wake::TimedOut),
            Ok(_) if self.interrupt.as_ref().is_some_and(|interrupt| interrupt.is_raised()) => Ok(Wake::Interrupted),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Wake::Ready),
            Err(error) => Err(Error::io("poll", error)),
        }
    }
}
