//! What a shell does without waiting: written once, for threads and for tasks.

macro_rules! shell_without_waits {
    () => {
        impl<T: ?Sized + 'static, C: Codec<T>> Shell<T, C> {
            /// The latest version, as far as this shell knows; 0 before the first. One load where the memory is mapped.
            ///
            /// # Errors
            ///
            /// [`Error::Transport`] in a forked child.
            pub fn version(&mut self) -> Result<u64, Error> {
                self.core.version()
            }

            /// Pins the latest value, and lends its encoded bytes in place: no copy, and no call to the daemon. They stay as they
            /// are until the result is dropped, while the daemon publishes others. This shell does nothing else meanwhile.
            ///
            /// ```
            /// # use std::time::Instant;
            /// # use strait_channel::state::{Error, blocking::Shell};
            /// fn first_byte(shell: &mut Shell<[u8]>, deadline: Instant) -> Result<u8, Error> {
            ///     if let Ok(pinned) = shell.pin() { Ok(pinned[0]) } else { Ok(shell.read(deadline)?[0]) }
            /// }
            /// ```
            ///
            /// For a shell that connects with [`Options::state_pin`], while the daemon has a pin left for it
            /// ([`Config::max_pins`](super::Config::max_pins)).
            ///
            /// # Errors
            ///
            /// [`Error::Transport`] with [`NoPin`](TransportError::NoPin), which says why, or with
            /// [`Overtaken`](TransportError::Overtaken): read a copy. [`Error::Empty`] before the first value.
            #[inline]
            pub fn pin(&mut self) -> Result<Pinned<'_>, Error> {
                let (value, epoch) = self.core.pin()?;
                Ok(Pinned { value, epoch })
            }

            /// Why [`pin`](Self::pin) finds no pin now; `None` where it has one.
            pub fn no_pin(&self) -> Option<NoPin> {
                self.core.no_pin()
            }

            /// Looks at the connection without waiting, and says since when the daemon is known to be gone.
            pub fn stale_since(&mut self) -> Option<Instant> {
                self.core.look_for_daemon();
                self.core.look();
                self.core.stale_since()
            }

            /// Whether there is a daemon, as of the last look.
            pub fn is_connected(&self) -> bool {
                self.core.is_connected()
            }

            /// What the daemon that has the name now said when this shell came to it; `None` once one has taken it. One that is busy
            /// is asked again; after anything else (another version, type, codec or user, a limit) the search has ended, and every
            /// call that needs a daemon fails with the same, until [`retry`](Self::retry).
            pub fn refusal(&mut self) -> Option<&TransportError> {
                self.core.look_for_daemon();
                self.core.look();
                self.core.refusal()
            }

            /// Looks for a daemon again after a [refusal](Self::refusal).
            pub fn retry(&mut self) {
                self.core.retry();
            }

            /// Whether values are read from shared memory.
            pub fn is_mapped(&self) -> bool {
                self.core.is_mapped()
            }

            /// Why values come over the connection, where they do.
            pub fn fallback_reason(&self) -> Option<&str> {
                self.core.fallback()
            }

            /// The number by which the daemon that is there knows this shell.
            pub fn client(&self) -> u64 {
                self.core.client()
            }

            /// What the connection to the daemon that is there has done; nothing where there is none. Values that are read out of
            /// the daemon's memory are no messages, and nobody counts them.
            pub fn stats(&self) -> Stats {
                self.core.stats()
            }

            /// How many daemons this shell has met.
            pub fn epoch(&self) -> u64 {
                self.core.epoch()
            }
        }

        impl<T: ?Sized + 'static, C: Codec<T>> fmt::Debug for Shell<T, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Shell")
                    .field("epoch", &self.epoch())
                    .field("is_mapped", &self.is_mapped())
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(super) use shell_without_waits;
