//! A worker, without its ways to wait.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    marker::PhantomData,
    ops::Deref,
    sync::Arc,
};

use strait_frame::{Codec, Rkyv};
use strait_sync::fail_point;
use strait_transport::{
    Connection, Error as TransportError, ErrorCode, Interest, Message as Received, SendError, Transport, TransportKind,
};

use super::{
    error::{Error, Unacknowledged, corrupt},
    join::{Joined, is_usage, leave},
    message::{HEADER_BYTES, Message},
};

/// An item, as a worker gets it: owns its bytes, derefs to what they are (`T::Archived` for rkyv, `T` for postcard, `[u8]` for
/// raw), `Send`.
///
/// In an acknowledged queue it is this worker's until it is acknowledged, refused, or the worker goes. One that is merely dropped
/// counts against the worker's prefetch for as long as the worker stays.
pub struct Item<T: ?Sized, C: Codec<T> = Rkyv> {
    held: C::Held<Received>,
    id: u64,
    deliveries: u32,
    timestamp: u64,
    transport: TransportKind,
}

impl<T: ?Sized, C: Codec<T>> Item<T, C> {
    /// The item. The same as dereferencing.
    pub fn get(&self) -> &C::View {
        &self.held
    }

    /// Takes the value out, such as `Decoded<T>` for postcard.
    pub fn into_held(self) -> C::Held<Received> {
        self.held
    }

    /// How often the item has been handed to a worker, this time included. From 2 on somebody may have worked on it before.
    pub fn deliveries(&self) -> u32 {
        self.deliveries
    }

    /// Its number among the items of this worker, from 1.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When the owner sent it, in µs since the Unix epoch; 0 where the connection carries no timestamps.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Which way it came: a connection's first items come over its socket.
    pub fn transport(&self) -> TransportKind {
        self.transport
    }
}

impl<T: ?Sized, C: Codec<T>> Deref for Item<T, C> {
    type Target = C::View;

    fn deref(&self) -> &C::View {
        &self.held
    }
}

impl<T: ?Sized, C: Codec<T>> fmt::Debug for Item<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("id", &self.id).field("deliveries", &self.deliveries).finish_non_exhaustive()
    }
}

/// Pops, and tells the owner.
pub(crate) struct Core<T: ?Sized, C> {
    pub(crate) connection: Connection,
    prefetch: u64,
    acknowledged: bool,
    /// The last item that came.
    last: u64,
    /// Up to where the owner knows that they were taken.
    told: u64,
    /// Items that were given and not acknowledged.
    open: BTreeSet<u64>,
    /// Words that found no room: at most one per item.
    kept: VecDeque<[u8; HEADER_BYTES]>,
    items: PhantomData<fn(C) -> Box<T>>,
}

impl<T: ?Sized, C: Codec<T>> Core<T, C> {
    pub(crate) fn new(connection: Connection, joined: Joined) -> Self {
        let (open, kept) = (BTreeSet::new(), VecDeque::new());
        let (prefetch, acknowledged) = (joined.credit.into(), joined.acknowledged);
        Self { connection, prefetch, acknowledged, last: 0, told: 0, open, kept, items: PhantomData }
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    pub(crate) fn unacknowledged(&self) -> Unacknowledged {
        Unacknowledged::Items { not_acknowledged: (self.open.len() + self.kept.len()) as u64 }
    }

    /// What to wait for where there is no item.
    pub(crate) fn interest(&self) -> Interest {
        Interest::data_and(!self.kept.is_empty())
    }

    /// Whether all words have gone out.
    pub(crate) fn flush(&mut self) -> Result<bool, Error> {
        while let Some(word) = self.kept.front() {
            match self.connection.send(word) {
                Ok(()) => drop(self.kept.pop_front()),
                Err(SendError::Failed(error)) => return Err(self.failed(error)),
                Err(_full) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next item, if it has come.
    pub(crate) fn try_pop(&mut self) -> Result<Option<Item<T, C>>, Error> {
        self.flush()?;
        // Whoever asks for more has had what came before. Not in the call that brings an item: a worker that dies in it has not.
        if self.last - self.told >= self.prefetch.div_ceil(2) {
            self.tell()?;
        }
        let word = match self.connection.try_recv() {
            Ok(Some(word)) => word,
            Ok(None) => {
                self.tell()?;
                return Ok(None);
            }
            Err(error @ TransportError::Checksum { .. }) => {
                let error = corrupt(format!("an item of a queue was lost: {error}"));
                return Err(self.failed(error));
            }
            Err(error) => return Err(self.failed(error)),
        };
        fail_point!("worker.popped");
        let (id, deliveries) = self.on_word(&word).map_err(|what| self.failed(corrupt(what)))?;
        self.last = id;
        let opened = open::<T, C>(word, id, deliveries);
        let item = match opened {
            Ok(item) => item,
            Err(error) => {
                self.connection.count_error(ErrorCode::DECODE);
                // Before the owner is told that it was taken.
                self.say(Message::Return { id, discard: true })?;
                return Err(error);
            }
        };
        if self.acknowledged {
            self.open.insert(id);
        }
        Ok(Some(item))
    }

    /// Reads an item's header.
    fn on_word(&self, word: &[u8]) -> Result<(u64, u32), String> {
        let (id, deliveries) = match Message::decode(word)?.0 {
            Message::Item { id, deliveries } => (id, deliveries),
            other => return Err(format!("{other:?} from the owner of a queue to a worker")),
        };
        if id != self.last + 1 {
            return Err(format!("item {id} from the owner of a queue, expected {}", self.last + 1));
        }
        let open = if self.acknowledged { self.open.len() as u64 } else { self.last - self.told };
        if open >= self.prefetch {
            return Err(format!("an item more than the {} that may be ahead", self.prefetch));
        }
        Ok((id, deliveries))
    }

    /// Tells the owner of a queue without acknowledgements what was taken.
    fn tell(&mut self) -> Result<(), Error> {
        if self.acknowledged || self.told == self.last {
            return Ok(());
        }
        self.told = self.last;
        self.say(Message::Taken { id: self.last })
    }

    /// Is done with an item, or refuses it.
    pub(crate) fn close_item(&mut self, id: u64, refused: Option<bool>) -> Result<(), Error> {
        if !self.acknowledged {
            return match refused {
                None => Ok(()),
                Some(_) => Err(TransportError::Usage(
                    "items of this queue are taken once they are popped: offer it with `acknowledged` to give them back",
                )
                .into()),
            };
        }
        if !self.open.remove(&id) {
            return Err(TransportError::Usage("this item is not one that this worker has").into());
        }
        self.say(refused.map_or(Message::Ack { id }, |discard| Message::Return { id, discard }))
    }

    /// Sends a word, or keeps it where there is no room.
    fn say(&mut self, word: Message) -> Result<(), Error> {
        fail_point!("worker.telling");
        self.kept.push_back(word.encode());
        let told = self.flush().map(drop);
        fail_point!("worker.told");
        told
    }

    /// What a failure of the connection means.
    pub(crate) fn failed(&mut self, source: TransportError) -> Error {
        if is_usage(&source) {
            return Error::Transport(source);
        }
        Error::OwnerGone { unacknowledged: self.unacknowledged(), source }
    }

    /// Leaves: what was not taken goes to others.
    pub(crate) fn leave(&mut self) {
        let taken = self.last;
        let _ = self.say(Message::Leave { taken });
        fail_point!("worker.left");
        leave(&mut self.connection);
    }
}

/// Opens an item. It has its header still.
fn open<T: ?Sized, C: Codec<T>>(mut word: Received, id: u64, deliveries: u32) -> Result<Item<T, C>, Error> {
    word.skip(HEADER_BYTES);
    let (timestamp, transport) = (word.timestamp(), word.transport());
    let held = C::open(word).map_err(|error| Error::Unreadable(Arc::new(error)))?;
    Ok(Item { held, id, deliveries, timestamp, transport })
}
