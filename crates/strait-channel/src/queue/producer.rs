//! A producer, without its ways to wait.

use std::{marker::PhantomData, sync::Arc};

use strait_frame::{Codec, EncodeError, Sink};
use strait_sync::fail_point;
use strait_transport::{Connection, Error as TransportError, Interest, SendError, Transport};

use super::{
    error::{Error, Unacknowledged, corrupt},
    join::{Joined, is_usage, leave},
    message::{HEADER_BYTES, Message},
};

/// Pushes, and hears how far the owner is.
pub(crate) struct Core<T: ?Sized, C> {
    pub(crate) connection: Connection,
    window: u64,
    max_item_bytes: usize,
    pushed: u64,
    accepted: u64,
    settled: u64,
    /// How long the last item was.
    hint: usize,
    items: PhantomData<fn(C, &T)>,
}

impl<T: ?Sized, C: Codec<T>> Core<T, C> {
    pub(crate) fn new(connection: Connection, joined: Joined) -> Self {
        let own = connection.limits().max_send_bytes - HEADER_BYTES;
        let max_item_bytes = usize::try_from(joined.max_item_bytes).map_or(own, |owners| owners.min(own));
        let window = joined.credit.into();
        Self { connection, window, max_item_bytes, pushed: 0, accepted: 0, settled: 0, hint: 0, items: PhantomData }
    }

    pub(crate) fn unacknowledged(&self) -> Unacknowledged {
        Unacknowledged::Pushes { pushed: self.pushed, accepted: self.accepted, settled: self.settled }
    }

    pub(crate) fn max_item_bytes(&self) -> usize {
        self.max_item_bytes
    }

    /// Whether the owner has all that was pushed.
    pub(crate) fn is_accepted(&mut self) -> Result<bool, Error> {
        self.hear()?;
        Ok(self.accepted == self.pushed)
    }

    /// Whether all that was pushed is done with.
    pub(crate) fn is_settled(&mut self) -> Result<bool, Error> {
        self.hear()?;
        Ok(self.settled == self.pushed)
    }

    /// What to wait for after [`Error::Full`].
    pub(crate) fn interest(&self) -> Interest {
        Interest::data_and(self.pushed - self.accepted < self.window)
    }

    /// Pushes, where there is room.
    pub(crate) fn try_push(&mut self, item: &T) -> Result<(), Error> {
        self.stage(item)?;
        self.publish()
    }

    /// Shows the owner what was staged.
    pub(crate) fn publish(&mut self) -> Result<(), Error> {
        self.connection.publish().map_err(|error| self.failed(error))
    }

    /// Stages `next` and all that comes behind it, as far as there is room, and publishes them at once. Says how many, and leaves
    /// in `next` what found none.
    pub(crate) fn stage_batch<'a>(
        &mut self,
        next: &mut Option<&'a T>,
        rest: &mut impl Iterator<Item = &'a T>,
    ) -> (usize, Result<(), Error>) {
        let (mut staged, mut stopped) = (0, Ok(()));
        while let Some(item) = *next {
            stopped = self.stage(item);
            if stopped.is_err() {
                break;
            }
            staged += 1;
            *next = rest.next();
        }
        (staged, self.publish().and(stopped))
    }

    /// Pushes without showing it to the owner yet, where there is room.
    fn stage(&mut self, item: &T) -> Result<(), Error> {
        // Not for each item: while there is window left, the owner's word can wait.
        if self.pushed - self.accepted > self.window / 2 {
            self.hear()?;
            if self.pushed - self.accepted >= self.window {
                return Err(Error::Full);
            }
        }
        match self.send(item) {
            Ok(()) => {}
            Err(SendError::Failed(error)) => return Err(self.failed(error)),
            Err(_) => {
                self.hear()?;
                return Err(Error::Full);
            }
        }
        fail_point!("producer.staged");
        self.pushed += 1;
        Ok(())
    }

    fn send(&mut self, item: &T) -> Result<(), SendError> {
        let (header, mut body) = (Message::Push { sequence: self.pushed + 1 }.encode(), 0);
        let mut fill = |span: &mut [u8]| {
            span[..HEADER_BYTES].copy_from_slice(&header);
            let mut sink = Sink::new(&mut span[HEADER_BYTES..]);
            C::encode(item, &mut sink)?;
            body = sink.len();
            Ok(HEADER_BYTES + body)
        };
        let claim = C::size_hint(item).max(self.hint).min(self.max_item_bytes);
        let mut sent = self.connection.try_send(HEADER_BYTES + claim, &mut fill);
        if let Err(SendError::Short { .. }) = sent {
            let failed = |error| TransportError::Encode(Arc::new(error));
            let need = C::encoded_len(item).map_err(failed)?;
            if need > self.max_item_bytes {
                return Err(TransportError::TooLarge { need, max: self.max_item_bytes }.into());
            }
            sent = self.connection.try_send(HEADER_BYTES + need, &mut fill);
            if let Err(SendError::Short { .. }) = sent {
                // An encoder that counts less than it writes: there is no size at which trying again would help.
                return Err(failed(EncodeError::TooLarge { need: need + 1, capacity: need }).into());
            }
        }
        sent?;
        self.hint = body;
        Ok(())
    }

    /// Takes in what the owner has said.
    fn hear(&mut self) -> Result<(), Error> {
        loop {
            match self.connection.try_recv() {
                Ok(Some(word)) => self.on_word(&word).map_err(|what| self.failed(corrupt(what)))?,
                Ok(None) => return Ok(()),
                // The next word says as much, and more.
                Err(TransportError::Checksum { .. }) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn on_word(&mut self, word: &[u8]) -> Result<(), String> {
        let (accepted, settled) = match Message::decode(word)? {
            (Message::Progress { accepted }, settled) => (accepted, settled),
            (other, _) => return Err(format!("{other:?} from the owner of a queue to a producer")),
        };
        let settled = settled.try_into().map(u64::from_le_bytes).unwrap_or_default();
        if accepted < self.accepted || accepted > self.pushed || settled < self.settled || settled > accepted {
            return Err(format!(
                "the owner has accepted {accepted} and settled {settled} items of {}, after {} and {}",
                self.pushed, self.accepted, self.settled
            ));
        }
        (self.accepted, self.settled) = (accepted, settled);
        fail_point!("producer.told");
        Ok(())
    }

    /// What a failure of the connection means.
    pub(crate) fn failed(&mut self, source: TransportError) -> Error {
        if is_usage(&source) {
            return Error::Transport(source);
        }
        // What the owner said last may still lie here.
        while let Ok(Some(word)) = self.connection.try_recv() {
            if self.on_word(&word).is_err() {
                break;
            }
        }
        Error::OwnerGone { unacknowledged: self.unacknowledged(), source }
    }

    /// Leaves: the owner reads what was pushed.
    pub(crate) fn leave(&mut self) {
        leave(&mut self.connection);
    }
}
