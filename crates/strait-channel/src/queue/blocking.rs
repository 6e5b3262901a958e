//! Owner, producer and worker for threads.

use std::{
    fmt,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Rkyv};
use strait_transport::{Connection, Error as TransportError, Interest, Options, Transport, TransportKind, Wake};

pub use super::owner::threads::{Owner, OwnerHandle};
use super::{
    error::{Error, Unacknowledged},
    join::{Joined, Joining, after, refused},
    message::Part,
    owner::identify,
    producer,
    without_waits::{producer_without_waits, worker_without_waits},
    worker::{self, Item},
};

/// Connects and joins.
fn join<T: ?Sized, C: Codec<T>>(name: &str, part: Part, options: &Options) -> Result<(Connection, Joined), Error> {
    let options = identify::<C, T>(options);
    let deadline = after(options.limits.handshake_timeout);
    let connection = Connection::connect(name, &options).map_err(|error| refused::<T, C>(error, part))?;
    let mut joining = Joining::begin(connection, part)?;
    loop {
        if let Some(joined) = joining.answer()? {
            return Ok((joining.connection, joined));
        }
        if joining.connection.wait_ready(Interest::DATA, deadline)? == Wake::TimedOut {
            return Err(TransportError::TimedOut { what: "joining the queue" }.into());
        }
    }
}

/// Pushes items of type `T` into a queue, in order.
pub struct Producer<T: ?Sized, C: Codec<T> = Rkyv> {
    core: producer::Core<T, C>,
}

impl<T: ?Sized, C: Codec<T>> Producer<T, C> {
    /// Joins the queue `name`, with the default options.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect(name: &str) -> Result<Self, Error> {
        Self::connect_with(name, &Options::default())
    }

    /// Joins the queue `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Transport`] as [`Connection::connect`], and where the owner does not answer within `limits.handshake_timeout`.
    pub fn connect_with(name: &str, options: &Options) -> Result<Self, Error> {
        let (connection, joined) = join::<T, C>(name, Part::Producer, options)?;
        Ok(Self { core: producer::Core::new(connection, joined) })
    }

    /// Pushes an item, and waits up to `timeout` until there is room for it. That it was pushed does not mean that the owner has
    /// it: see [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`try_push`](Self::try_push); [`Error::Full`] where there was no room in that time.
    pub fn push(&mut self, item: &T, timeout: Duration) -> Result<(), Error> {
        let mut deadline = None;
        loop {
            match self.core.try_push(item) {
                Err(Error::Full) => {}
                pushed => return pushed,
            }
            let deadline = *deadline.get_or_insert_with(|| after(timeout));
            if self.wait(self.core.interest(), deadline)? == Wake::TimedOut {
                return Err(Error::Full);
            }
        }
    }

    /// Pushes items with one publication for all that find room together, and waits up to `timeout` for room for the rest.
    /// Returns how many were pushed, in order: fewer than there are where the time was up, or where one cannot be pushed, as a
    /// push of that one says. What `items` yields is out of the owner's sight until there is no more or no room.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), where it stopped at the first.
    pub fn push_batch<'a>(&mut self, items: impl IntoIterator<Item = &'a T>, timeout: Duration) -> Result<usize, Error>
    where
        T: 'a,
    {
        let mut items = items.into_iter();
        let (mut next, mut pushed, mut deadline) = (items.next(), 0, None);
        loop {
            let (staged, stopped) = self.core.stage_batch(&mut next, &mut items);
            pushed += staged;
            match stopped {
                Err(Error::Full) => {}
                Err(error) if pushed == 0 => return Err(error),
                // What was pushed is told first; whoever comes back for the rest learns why it stopped.
                Ok(()) | Err(_) => return Ok(pushed),
            }
            let deadline = *deadline.get_or_insert_with(|| after(timeout));
            match self.wait(self.core.interest(), deadline) {
                Ok(Wake::TimedOut) if pushed == 0 => return Err(Error::Full),
                Err(error) if pushed == 0 => return Err(error),
                Ok(Wake::TimedOut) | Err(_) => return Ok(pushed),
                Ok(_) => {}
            }
        }
    }

    /// Waits up to `timeout` until the owner has all that was pushed.
    ///
    /// # Errors
    ///
    /// [`Error::OwnerGone`]; [`Error::Transport`] of kind `TimedOut`.
    pub fn flush(&mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = after(timeout);
        while !self.core.is_accepted()? {
            if self.wait(Interest::DATA, deadline)? == Wake::TimedOut {
                return Err(TransportError::TimedOut { what: "flushing pushed items" }.into());
            }
        }
        Ok(())
    }

    /// Waits up to `timeout` until all that was pushed is done with: taken by a worker, in an acknowledged queue acknowledged, or
    /// lost.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn drain(&mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = after(timeout);
        while !self.core.is_settled()? {
            if self.wait(Interest::DATA, deadline)? == Wake::TimedOut {
                return Err(TransportError::TimedOut { what: "draining pushed items" }.into());
            }
        }
        Ok(())
    }

    fn wait(&mut self, interest: Interest, deadline: Option<Instant>) -> Result<Wake, Error> {
        self.core.connection.wait_ready(interest, deadline).map_err(|error| self.core.failed(error))
    }
}

producer_without_waits!();

/// Pops items of type `T` from a queue.
pub struct Worker<T: ?Sized, C: Codec<T> = Rkyv> {
    core: worker::Core<T, C>,
}

impl<T: ?Sized, C: Codec<T>> Worker<T, C> {
    /// Joins the queue `name`, with the default options. The owner sends it up to `prefetch` items ahead; it may allow less.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect(name: &str, prefetch: u32) -> Result<Self, Error> {
        Self::connect_with(name, prefetch, &Options::default())
    }

    /// Joins the queue `name`. With a prefetch of 1 an item never waits behind one that this worker works on; more hides the way
    /// to the owner and back.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; [`Error::Transport`] as [`Connection::connect`], and where the owner does not answer within `limits.handshake_timeout`.
    pub fn connect_with(name: &str, prefetch: u32, options: &Options) -> Result<Self, Error> {
        let (connection, joined) = join::<T, C>(name, Part::Worker { prefetch }, options)?;
        Ok(Self { core: worker::Core::new(connection, joined) })
    }

    /// Waits up to `timeout` for the next item; `None` where none came. A worker that waits costs nothing.
    ///
    /// In a queue without acknowledgements a worker tells the owner what it has taken when it asks for an item that is not here
    /// yet, and when it asks for more after half its prefetch at the latest.
    ///
    /// # Errors
    ///
    /// [`Error::OwnerGone`], which is final; [`Error::Unreadable`], after which the next item can be popped.
    pub fn pop(&mut self, timeout: Duration) -> Result<Option<Item<T, C>>, Error> {
        let mut deadline = None;
        loop {
            if let Some(item) = self.core.try_pop()? {
                return Ok(Some(item));
            }
            let deadline = *deadline.get_or_insert_with(|| after(timeout));
            if self.wait(self.core.interest(), deadline)? == Wake::TimedOut {
                return Ok(None);
            }
        }
    }

    /// Waits up to `timeout` until all acknowledgements have left this process.
    ///
    /// # Errors
    ///
    /// [`Error::OwnerGone`]; [`Error::Transport`] of kind `TimedOut`.
    pub fn flush(&mut self, timeout: Duration) -> Result<(), Error> {
        let (deadline, late) = (after(timeout), TransportError::TimedOut { what: "flushing acknowledgements" });
        while !self.core.flush()? {
            if self.wait(Interest::SPACE, deadline)? == Wake::TimedOut {
                return Err(late.into());
            }
        }
        match self.core.connection.flush(deadline) {
            Ok(Wake::TimedOut) => Err(late.into()),
            Ok(_) => Ok(()),
            Err(error) => Err(self.core.failed(error)),
        }
    }

    fn wait(&mut self, interest: Interest, deadline: Option<Instant>) -> Result<Wake, Error> {
        self.core.connection.wait_ready(interest, deadline).map_err(|error| self.core.failed(error))
    }
}

worker_without_waits!();
