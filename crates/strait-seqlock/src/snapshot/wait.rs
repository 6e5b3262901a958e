//! Sleeping until there is something newer.

use std::time::{Duration, Instant};

use strait_sync::{Words, mutant};

use super::reader::Reader;
use crate::error::WaitError;

/// A writer that dies between publishing and waking wakes nobody: no single sleep is longer than this.
const SLICE: Duration = Duration::from_millis(100);

impl<Peer: Words> Reader<Peer> {
    /// Sleeps until there is something newer than `since`, and returns its version; 0 waits for the first value.
    ///
    /// The writer must call [`notify`](super::Writer::notify) after it has written. Where it does not, or dies before
    /// it can, this looks again at least every 100 ms. It sleeps on the word of the latest version itself, so that
    /// whoever looks too early does not sleep at all; a read-only mapping is enough.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] where there is nothing newer by `deadline` (`None` waits without end),
    /// [`WaitError::Corrupt`] where the writer broke the protocol.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let (mut writer, mut reader) = strait_seqlock::snapshot::channel(64)?;
    /// let thread = std::thread::spawn(move || {
    ///     reader.wait_changed(0, Some(Instant::now() + Duration::from_secs(10)))
    /// });
    /// writer.write(b"sunny")?;
    /// writer.notify();
    /// assert_eq!(thread.join().unwrap(), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_changed(&mut self, since: u64, deadline: Option<Instant>) -> Result<u64, WaitError> {
        loop {
            let (latest, word) = self.latest_word()?;
            if latest.version > since {
                return Ok(latest.version);
            }
            let slice = match deadline {
                None => SLICE,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()).min(SLICE),
            };
            if slice.is_zero() {
                return Err(WaitError::TimedOut { version: latest.version });
            }
            // The kernel compares with the word that was looked at: what is published in between ends the wait at once.
            let expected = mutant!(wait_for_another_word, word, self.peer.load(self.geometry.latest()));
            self.peer.raw().futex_wait(self.geometry.latest(), expected as u32, Some(slice));
        }
    }
}
