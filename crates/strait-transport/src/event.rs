//! What ends a sleep on many connections, besides the connections.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::{
    error::Error,
    transport::Wake,
    waiting::{Interrupt, Link, NAP, timespec},
};

/// An event that was set ends the sleep, or the next one. An interrupt ends all, once it is raised.
#[derive(Debug)]
pub(crate) struct Event {
    fd: OwnedFd,
    interrupt: Option<Arc<Interrupt>>,
}

impl Event {
    pub(crate) fn new(interrupt: Option<Arc<Interrupt>>) -> Result<Self, Error> {
        let fd =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| Error::io("eventfd", error))?;
        Ok(Self { fd, interrupt })
    }

    pub(crate) fn set(&self) {
        // The only failure of an eventfd write is a counter that is full, and then it is readable, which is all we want.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|interrupt| interrupt.is_raised())
    }

    /// Sleeps for at most `left` until the event is set, and takes that back, or until one of the links has what it wants.
    pub(crate) fn sleep<'a>(
        &self,
        links: impl Iterator<Item = Result<&'a Link, Error>>,
        left: Option<Duration>,
    ) -> Result<Wake, Error> {
        let mut fds = vec![PollFd::new(&self.fd, PollFlags::IN)];
        let interrupt = self.interrupt.as_ref().map(|interrupt| interrupt.fd());
        fds.extend(interrupt.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let mut naps = false;
        for link in links {
            naps |= link?.watch(&mut fds);
        }
        let naps = naps && left.is_none_or(|left| left > NAP);
        let timeout = if naps { Some(NAP) } else { left }.map(timespec);
        let woken = poll(&mut fds, timeout.as_ref());
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(self.fd.as_fd(), &mut [0u8; 8]);
        }
        match woken {
            Ok(0) if !naps => Ok(Wake::TimedOut),
            Ok(_) if self.is_interrupted() => Ok(Wake::Interrupted),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(Wake::Ready),
            Err(error) => Err(Error::io("poll", error)),
        }
    }
}
