//! What a producer and a worker do without waiting: written once, for threads and for tasks.

macro_rules! producer_without_waits {
    () => {
        impl<T: ?Sized, C: Codec<T>> Producer<T, C> {
            /// Pushes an item, where there is room for it now.
            ///
            /// # Errors
            ///
            /// [`Error::Full`] where there is none; [`Error::OwnerGone`]; [`Error::Transport`] for an item that is too large or cannot be
            /// encoded. The item was not pushed then.
            pub fn try_push(&mut self, item: &T) -> Result<(), Error> {
                self.core.try_push(item)
            }

            /// What the owner has acknowledged, as far as it was heard: [`flush`](Self::flush) and a push that finds no room listen.
            pub fn unacknowledged(&self) -> Unacknowledged {
                self.core.unacknowledged()
            }

            /// Largest item, encoded, in bytes.
            pub fn max_item_bytes(&self) -> usize {
                self.core.max_item_bytes()
            }

            /// What the connection to the owner has done so far.
            pub fn stats(&self) -> strait_transport::Stats {
                self.core.connection.stats()
            }

            /// Over what the connection runs now.
            pub fn transport(&self) -> TransportKind {
                self.core.connection.transport()
            }
        }

        impl<T: ?Sized, C: Codec<T>> Drop for Producer<T, C> {
            /// Leaves in good order: the owner takes what was pushed. While the connection is on its socket, what that has no room for is
            /// lost: [`flush`](Self::flush) first.
            fn drop(&mut self) {
                self.core.leave();
            }
        }

        impl<T: ?Sized, C: Codec<T>> fmt::Debug for Producer<T, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Producer").field("unacknowledged", &self.core.unacknowledged()).finish_non_exhaustive()
            }
        }
    };
}

macro_rules! worker_without_waits {
    () => {
        impl<T: ?Sized, C: Codec<T>> Worker<T, C> {
            /// The next item, if one is here.
            ///
            /// # Errors
            ///
            /// As [`pop`](Self::pop).
            pub fn try_pop(&mut self) -> Result<Option<Item<T, C>>, Error> {
                self.core.try_pop()
            }

            /// Is done with an item. Never waits; where the connection has no room, the word goes out with the next call. In a queue
            /// without acknowledgements it does nothing.
            ///
            /// # Errors
            ///
            /// [`Error::OwnerGone`]; [`Error::Transport`] of kind `Usage` for an item of another worker.
            pub fn ack(&mut self, item: Item<T, C>) -> Result<(), Error> {
                self.core.close_item(item.id(), None)
            }

            /// Gives an item of an acknowledged queue back, for any worker, behind all that wait.
            ///
            /// # Errors
            ///
            /// As [`ack`](Self::ack); [`Error::Transport`] of kind `Usage` in a queue without acknowledgements.
            pub fn give_back(&mut self, item: Item<T, C>) -> Result<(), Error> {
                self.core.close_item(item.id(), Some(false))
            }

            /// Has an item of an acknowledged queue thrown away: the owner counts it as lost.
            ///
            /// # Errors
            ///
            /// As [`give_back`](Self::give_back).
            pub fn discard(&mut self, item: Item<T, C>) -> Result<(), Error> {
                self.core.close_item(item.id(), Some(true))
            }

            /// Whether the queue's items are acknowledged, as its owner has decided.
            pub fn is_acknowledged(&self) -> bool {
                self.core.is_acknowledged()
            }

            /// Items that this worker has been given and has not acknowledged.
            pub fn unacknowledged(&self) -> Unacknowledged {
                self.core.unacknowledged()
            }

            /// What the connection to the owner has done so far.
            pub fn stats(&self) -> strait_transport::Stats {
                self.core.connection.stats()
            }

            /// Over what the connection runs now.
            pub fn transport(&self) -> TransportKind {
                self.core.connection.transport()
            }
        }

        impl<T: ?Sized, C: Codec<T>> Drop for Worker<T, C> {
            /// Leaves in good order: items that it has not popped, or not acknowledged, go to others.
            fn drop(&mut self) {
                self.core.leave();
            }
        }

        impl<T: ?Sized, C: Codec<T>> fmt::Debug for Worker<T, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Worker").field("unacknowledged", &self.core.unacknowledged()).finish_non_exhaustive()
            }
        }
    };
}

pub(super) use producer_without_waits;
pub(super) use worker_without_waits;
