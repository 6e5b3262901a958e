//! Sending and receiving, written once: a producer does the one, a consumer the other, a duplex end both.

macro_rules! sends {
    ($end:ident) => {
        impl<T: ?Sized, C: Codec<T>> $end<T, C> {
            /// Sends a message, as the chosen [`Backpressure`](super::Backpressure) says where there is no room.
            ///
            /// # Errors
            ///
            /// [`Error::Full`] under `Fail`; `TimedOut` under `Block` after [`Config::send_timeout`]; `TooLarge`, `Encode`; `PeerGone` or
            /// `Closed` where the consumer is gone, which a producer learns when the ring is full at the latest. The message was not
            /// sent then.
            #[inline]
            pub fn send(&mut self, value: &T) -> Result<Sent, Error> {
                self.out.send(&mut self.connection, |out, connection| out.stage::<T, C>(connection, value))
            }

            /// Sends a message if there is room now.
            ///
            /// # Errors
            ///
            /// [`Error::Full`]; else as [`send`](Self::send).
            #[inline]
            pub fn try_send(&mut self, value: &T) -> Result<(), Error> {
                self.out.try_send::<T, C>(&mut self.connection, value)
            }

            /// Sends a message, waiting for room at most `timeout` whatever the backpressure.
            ///
            /// # Errors
            ///
            /// `TimedOut`; else as [`send`](Self::send).
            pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<(), Error> {
                let deadline = Instant::now().checked_add(timeout);
                self.out
                    .send_until(&mut self.connection, deadline, |out, connection| out.stage::<T, C>(connection, value))
            }

            /// Sends a message in a task; waits for room without a timeout of its own. A future that is dropped has sent nothing.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send).
            pub async fn send_async(&mut self, value: &T) -> Result<Sent, Error> {
                std::future::poll_fn(|cx| self.out.poll_send::<T, C>(&mut self.connection, cx, value)).await
            }

            /// Sends messages with one publish and one wake-up for all that find room together; returns how many were taken, those that
            /// were dropped by choice included. Fewer than were given: the next call says why.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send), where it stopped at the first.
            pub fn send_batch<'a>(&mut self, values: impl IntoIterator<Item = &'a T>) -> Result<usize, Error>
            where
                T: 'a,
            {
                self.out.send_batch::<T, C>(&mut self.connection, values)
            }

            /// Largest encoded value, in bytes.
            pub fn max_message_bytes(&self) -> usize {
                max_body_bytes(self.connection.limits())
            }
        }

        impl<C: Codec<[u8]>> $end<[u8], C> {
            /// Sends a message that `fill` writes where it will be read from; `fill` gets `max_bytes` bytes of any content and returns
            /// how many of them are the message. It may be called more than once.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send); `TooLarge` by `max_bytes`.
            #[inline]
            pub fn send_with(
                &mut self,
                max_bytes: usize,
                mut fill: impl FnMut(&mut [u8]) -> usize,
            ) -> Result<Sent, Error> {
                self.out.send(&mut self.connection, |out, connection| out.stage_with(connection, max_bytes, &mut fill))
            }
        }
    };
}

macro_rules! receives {
    ($end:ident) => {
        impl<T: ?Sized, C: Codec<T>> $end<T, C> {
            /// Waits for the next message, as long as the producer lives; `None` once it has ended the stream.
            ///
            /// A message with a wrong checksum is discarded and counted; [`Received::lost_before`] of the next one shows it.
            ///
            /// # Errors
            ///
            /// `PeerGone` where the producer died, after all that it sent; [`Error::Decode`], after which the stream goes on; `Corrupt`.
            #[inline]
            pub fn recv(&mut self) -> Result<Option<Received<T, C>>, Error> {
                self.inbound.recv_until(&mut self.connection, None)
            }

            /// The next message if it has come, `None` once the producer has ended the stream.
            ///
            /// # Errors
            ///
            /// [`Error::Empty`] where none has; else as [`recv`](Self::recv).
            #[inline]
            pub fn try_recv(&mut self) -> Result<Option<Received<T, C>>, Error> {
                self.inbound.try_recv(&mut self.connection)
            }

            /// As [`recv`](Self::recv), for at most `timeout`.
            ///
            /// # Errors
            ///
            /// `TimedOut`; else as [`recv`](Self::recv).
            pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Received<T, C>>, Error> {
                self.inbound.recv_until(&mut self.connection, Instant::now().checked_add(timeout))
            }

            /// Waits for the next message in a task. A future that is dropped has taken none.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv).
            pub async fn recv_async(&mut self) -> Result<Option<Received<T, C>>, Error> {
                std::future::poll_fn(|cx| self.inbound.poll_recv(&mut self.connection, cx)).await
            }

            /// Waits for a message, then gives `take` it and what has come with it, at most `max`; returns how many, 0 at the end.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv), where nothing was taken before.
            pub fn recv_batch(&mut self, max: usize, take: impl FnMut(Received<T, C>)) -> Result<usize, Error> {
                self.inbound.recv_batch(&mut self.connection, max, take)
            }
        }
    };
}

pub(super) use receives;
pub(super) use sends;
