//! Messages over two rings: the part that shared memory and in-process connections have in common.
//!
//! What differs is how a sleeping peer is woken and how its end is learned: that is a [`Bell`].

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use strait_frame::EncodeError;
use strait_spsc::{
    ClaimError, Corrupt,
    records::{Consumer, Guard, Meta, Producer, Record},
};
use strait_sync::{HonestPeer, Words, WordsMut, fail_point, mutant};
use zerocopy::IntoBytes;

use crate::{
    buffer::Buffer,
    counters::Counters,
    error::{Error, SendError},
    message::{InPlace, Message, TransportKind},
    options::{Framing, Receive},
    stats::ErrorCode,
    transport::{Fill, Interest, MessageLimits, Sleep},
};

/// Wakes the peer, and tells of what the peer did besides writing memory.
pub(crate) trait Bell: Sleep + Sized + 'static {
    const KIND: TransportKind;

    /// Wakes the peer.
    fn ring(&self);

    /// Takes in all rings that have come; returns how many, and whether the peer is gone.
    fn drain(&self) -> Result<(u64, bool), Error>;

    /// Fails in a forked child.
    fn check_fork(&self) -> Result<(), Error>;

    /// Waits in a task for a ring or the peer's end.
    fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Ends the connection.
    fn hang_up(&self);

    /// Tells the peer that this side ends in good order. Before the ring is closed: who sees that sees this.
    fn say_farewell(&self);

    /// Whether the peer has said so.
    fn heard_farewell(&self) -> bool;
}

/// Messages claimed with at most this many bytes are encoded outside the ring where they have a checksum.
const SCRATCH_BYTES: usize = 1024;

/// A writer whose room is there sleeps on for at most so long and one message.
const WRITER_PATIENCE: Duration = Duration::from_millis(2);

/// Needless rings that a peer may send before it is taken for a flood.
const SPARE_RINGS: u64 = 256;

/// One end of two rings.
pub(crate) struct RingTransport<Own: WordsMut, Peer: Words, B: Bell> {
    producer: Producer<Own, Peer>,
    consumer: Consumer<Own, Peer>,
    bell: Arc<B>,
    framing: Framing,
    receive: Receive,
    /// Where small messages are encoded and summed up before they go to the ring.
    scratch: Box<[u128; SCRATCH_BYTES / 16]>,
    counters: Counters,
    /// The size that found no room: the next wait for space is for this much.
    wanted: usize,
    /// Where the consumer stood when the peer's space ticket was last looked at.
    space_checked_at: u64,
    /// When the peer's space ticket was first seen since then.
    writer_seen_at: Option<Instant>,
    /// The tickets that are shown.
    shown: Interest,
    rings_due: u64,
    rings_got: u64,
    /// This side sends no more.
    closed: bool,
    ended: Option<Error>,
}

impl<Own, Peer, B> RingTransport<Own, Peer, B>
where
    Own: WordsMut + 'static,
    Peer: Words + 'static,
    B: Bell,
    InPlace: From<Held<Own, Peer, B>>,
{
    pub(crate) fn new(
        (producer, consumer): (Producer<Own, Peer>, Consumer<Own, Peer>),
        bell: Arc<B>,
        framing: Framing,
        receive: Receive,
        counters: Counters,
    ) -> Self {
        let space_checked_at = consumer.position();
        Self {
            producer,
            consumer,
            bell,
            framing,
            receive,
            scratch: Box::new([0; SCRATCH_BYTES / 16]),
            counters,
            wanted: 0,
            space_checked_at,
            writer_seen_at: None,
            shown: Interest::NONE,
            rings_due: 0,
            rings_got: 0,
            closed: false,
            ended: None,
        }
    }

    pub(crate) fn bell(&self) -> &Arc<B> {
        &self.bell
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    pub(crate) fn limits(&self) -> MessageLimits {
        MessageLimits {
            max_send_bytes: self.producer.max_message_bytes(),
            max_receive_bytes: self.consumer.max_message_bytes(),
        }
    }

    #[inline]
    pub(crate) fn try_send(&mut self, max_bytes: usize, fill: &mut Fill<'_>) -> Result<(), SendError> {
        self.bell.check_fork()?;
        if let Some(ended) = &self.ended {
            return Err(ended.clone().into());
        }
        if self.closed {
            return Err(CLOSED_HERE.into());
        }
        let refused = match self.producer.try_claim(max_bytes) {
            Ok(mut grant) => {
                let span = grant.as_mut_slice();
                let (size, checksum) = if !self.framing.checksum {
                    (fill(span).map_err(|error| fill_error(error, max_bytes))?.min(max_bytes), 0)
                } else if max_bytes <= SCRATCH_BYTES {
                    // Reading back from the ring what was just written would wait until its cache lines are ours.
                    let scratch = &mut self.scratch.as_mut_bytes()[..max_bytes];
                    let size = fill(scratch).map_err(|error| fill_error(error, max_bytes))?.min(max_bytes);
                    span[..size].copy_from_slice(&scratch[..size]);
                    (size, strait_frame::checksum(&scratch[..size]))
                } else {
                    let size = fill(span).map_err(|error| fill_error(error, max_bytes))?.min(max_bytes);
                    (size, strait_frame::checksum(&span[..size]))
                };
                let timestamp = self.framing.now();
                grant.stage(size, Meta { timestamp, checksum });
                self.wanted = 0;
                self.counters.staged(size, timestamp);
                return Ok(());
            }
            Err(refused) => refused,
        };
        Err(self.refused(refused, max_bytes))
    }

    #[cold]
    fn refused(&mut self, refused: ClaimError, max_bytes: usize) -> SendError {
        match refused {
            ClaimError::Full => {
                // What was staged is shown now: the peer must know of it before anybody waits for it to be read.
                self.wake_reader();
                // The largest of those that wait: were it the smallest, whoever needs more would find "room" for ever.
                self.wanted = self.wanted.max(max_bytes);
                self.counters.full();
                self.look_at_occupancy();
                SendError::Full
            }
            ClaimError::TooLarge { need, max } => Error::TooLarge { need, max }.into(),
            ClaimError::Corrupt(corrupt) => self.poison(&corrupt).into(),
            _ => CLOSED_HERE.into(),
        }
    }

    #[inline]
    pub(crate) fn publish(&mut self) -> Result<(), Error> {
        if self.producer.publish() {
            self.counters.published();
            if cfg!(not(strait_loom)) && self.producer.occupied_at_most() > self.high_water_known() {
                self.look_at_occupancy();
            }
            self.wake_reader();
        }
        Ok(())
    }

    /// Up to here the high-water mark needs no look at the peer's head for each publication: what is beyond it is exact.
    #[inline]
    fn high_water_known(&self) -> u64 {
        self.counters.high_water_bytes().max(self.producer.capacity_bytes() / 4)
    }

    /// Notes how much of this end's ring is occupied. Not in a model: it is one more load of the peer's head.
    #[cold]
    fn look_at_occupancy(&mut self) {
        // A head that cannot be is told by the next claim.
        if cfg!(not(strait_loom))
            && let Ok(bytes) = self.producer.occupied_bytes()
        {
            self.counters.occupied(bytes);
        }
    }

    #[inline]
    fn wake_reader(&mut self) {
        if self.producer.must_ring_data() {
            self.counters.data_ring();
            self.bell.ring();
            self.look_at_occupancy();
        }
    }

    #[inline]
    pub(crate) fn try_recv(&mut self) -> Result<Option<Message>, Error> {
        self.bell.check_fork()?;
        if self.ended.is_some()
            && let Some(ended @ Error::Corrupt { .. }) = &self.ended
        {
            return Err(ended.clone());
        }
        let taken = self.consumer.next().map(|record| {
            record.map(|record| {
                let (size, meta) = (record.len(), record.meta());
                (received(record, meta, self.receive, &self.bell), size, meta)
            })
        });
        let (message, size, meta) = match taken {
            Ok(Some(taken)) => taken,
            Ok(None) => return self.nothing_came(),
            Err(corrupt) => return Err(self.poison(&corrupt)),
        };
        self.wake_writer();
        if self.framing.checksum {
            let found = strait_frame::checksum(&message);
            if found != meta.checksum {
                return Err(self.wrong_checksum(size, meta.checksum, found));
            }
        }
        self.counters.received(size, meta.timestamp);
        Ok(Some(message))
    }

    fn nothing_came(&mut self) -> Result<Option<Message>, Error> {
        self.look_for_end()?;
        // `ended` was learned before this look at the ring, or by one that followed it: nothing can come after.
        match &self.ended {
            None => Ok(None),
            Some(ended) => Err(ended.clone()),
        }
    }

    #[cold]
    fn wrong_checksum(&mut self, size: usize, expected: u32, found: u32) -> Error {
        self.counters.error(ErrorCode::CHECKSUM);
        tracing::warn!(target: "strait", size, expected, found, "discarded a message: wrong checksum");
        Error::Checksum { size, expected, found }
    }

    /// Learns from the peer's memory alone whether it sends no more; a death is learned from what wakes a sleep.
    #[inline]
    fn look_for_end(&mut self) -> Result<(), Error> {
        if self.ended.is_none() && self.consumer.peer_closed() {
            match self.consumer.at_end() {
                Ok(true) => self.end(),
                Ok(false) => {}
                Err(corrupt) => return Err(self.poison(&corrupt)),
            }
        }
        Ok(())
    }

    /// The peer sends no more: in good order only if it said so.
    #[cold]
    fn end(&mut self) {
        self.end_by(if self.bell.heard_farewell() { Error::Closed } else { Error::PeerGone });
    }

    fn end_by(&mut self, error: Error) {
        if self.ended.is_none() {
            self.counters.ended(&error);
        }
        self.ended = Some(error);
    }

    /// The peer wrote what cannot be: this end is of no use any more, and the peer learns it by a hang-up.
    #[cold]
    fn poison(&mut self, corrupt: &Corrupt) -> Error {
        let error = Error::corrupt(corrupt.to_string());
        self.end_by(error.clone());
        self.bell.hang_up();
        error
    }

    /// Wakes a writer that waits for room: after a quarter of the ring, or a while after its ticket was first seen.
    ///
    /// *None is lost.* A writer sleeps only while more than half the ring is occupied (a claim takes at most a quarter and
    /// padding another), so among the records between the head that it saw last and its tail there is always one such
    /// look, and that look comes after a head that the writer did not see: one of the two fences makes it ring. (A claim that
    /// rewinds finds the ring empty and never sleeps; its padding, where it is a quarter or more, is followed by a look.)
    ///
    /// *None is late.* Where reading a quarter of the ring takes long, the plain look at every message and the clock do it.
    #[inline]
    fn wake_writer(&mut self) {
        let position = self.consumer.position();
        let often = mutant!(looks_for_writers_too_rarely, 4, 1);
        if position.wrapping_sub(self.space_checked_at) >= self.consumer.capacity_bytes() / often {
            self.ring_writer(position);
        } else if cfg!(not(strait_loom)) && self.consumer.producer_seems_to_wait() {
            // Not under loom, where there is no time, and where what must not depend on it is modelled.
            self.ring_writer_in_time(position);
        }
    }

    #[cold]
    fn ring_writer_in_time(&mut self, position: u64) {
        match self.writer_seen_at {
            None => self.writer_seen_at = Some(Instant::now()),
            Some(seen_at) if seen_at.elapsed() >= WRITER_PATIENCE => self.ring_writer(position),
            Some(_) => {}
        }
    }

    fn ring_writer(&mut self, position: u64) {
        self.space_checked_at = position;
        self.writer_seen_at = None;
        if self.consumer.must_ring_space() {
            self.counters.space_ring();
            self.bell.ring();
        }
    }

    #[inline]
    pub(crate) fn is_ready(&mut self, interest: Interest) -> bool {
        if self.ended.is_some() {
            return true;
        }
        if interest.space && self.producer.has_staged() {
            // A look for room shows the peer what is staged; it must be woken for that too.
            let _ = self.publish();
        }
        (interest.data && self.consumer.is_ready())
            || (interest.space && (self.closed || self.producer.has_room(self.wanted).unwrap_or(true)))
    }

    /// As [`Connection::set_rewind`](crate::Connection::set_rewind).
    pub(crate) fn set_rewind(&mut self, rewind: bool) {
        self.producer.set_rewind(rewind);
    }

    /// Shows tickets for what `interest` names; `false` where something is ready already, and then none is shown.
    pub(crate) fn arm(&mut self, interest: Interest) -> Result<bool, Error> {
        self.bell.check_fork()?;
        self.publish()?;
        // What another thread of this process already sleeps on stays shown.
        let shown = self.shown;
        if interest.data {
            self.consumer.arm_data();
            self.shown.data = true;
            self.rings_due += 1;
        }
        if interest.space {
            self.producer.arm_space();
            self.shown.space = true;
            self.rings_due += 1;
        }
        if interest.data {
            self.look_for_end()?;
        }
        if self.is_ready(interest) {
            self.take_back(mutant!(arm_takes_back_a_sleepers_ticket, shown, Interest::NONE));
            return Ok(false);
        }
        self.look_at_occupancy();
        self.counters.sleeps(interest);
        Ok(true)
    }

    /// Takes all tickets back and leaves the doorbells alone.
    pub(crate) fn take_back_all(&mut self) {
        self.take_back(Interest::NONE);
    }

    /// Takes back all tickets but those in `kept`.
    fn take_back(&mut self, kept: Interest) {
        if !kept.data {
            self.consumer.disarm_data();
        }
        if !kept.space {
            self.producer.disarm_space();
        }
        self.shown = kept;
    }

    /// Takes the tickets back and takes in what rang.
    pub(crate) fn disarm(&mut self) -> Result<(), Error> {
        self.take_back(Interest::NONE);
        let (rings, gone) = self.bell.drain()?;
        self.count_rings(rings)?;
        if gone && self.ended.is_none() {
            self.end();
        }
        Ok(())
    }

    /// A peer in good order rings at most once per ticket; it gets twice that, and some to spare.
    pub(crate) fn count_rings(&mut self, rings: u64) -> Result<(), Error> {
        self.rings_got += rings;
        if self.rings_got > 2 * self.rings_due + SPARE_RINGS {
            let what = format!("{} doorbells for {} sleeps: a flood", self.rings_got, self.rings_due);
            self.end_by(Error::corrupt(what));
            self.bell.hang_up();
            return self.ended.clone().map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// Waits in a task; the caller has spun already.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>, interest: Interest) -> Poll<Result<(), Error>> {
        for _ in 0..POLL_TURNS {
            if !self.arm(interest)? {
                return Poll::Ready(Ok(()));
            }
            match self.bell.poll_rung(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => self.disarm()?,
            }
        }
        // A peer that rings as fast as we look must not keep the runtime's thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(crate) fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.bell.say_farewell();
            fail_point!("close.farewell_said");
            self.producer.close();
            self.counters.published();
            fail_point!("close.ring_closed");
            self.wake_reader();
        }
    }
}

/// A record as a message: copied out of the ring, or in place where that is asked for and not too much is held.
#[inline]
fn received<Own, Peer, B>(record: Record<'_, Own, Peer>, meta: Meta, receive: Receive, bell: &Arc<B>) -> Message
where
    Own: WordsMut + 'static,
    Peer: Words + 'static,
    B: Bell,
    InPlace: From<Held<Own, Peer, B>>,
{
    let mut message = match receive {
        Receive::InPlace(trust) | Receive::InPlaceUnvalidated(trust, _) => held(record, meta, trust, bell),
        _ => Err(record),
    }
    .unwrap_or_else(|record| copied(record, meta, B::KIND));
    message.set_valid_archives(receive.valid_archives());
    message
}

/// A record as a message in place; the record again where too much is held.
fn held<'a, Own, Peer, B>(
    record: Record<'a, Own, Peer>,
    meta: Meta,
    trust: HonestPeer,
    bell: &Arc<B>,
) -> Result<Message, Record<'a, Own, Peer>>
where
    Own: WordsMut + 'static,
    Peer: Words + 'static,
    B: Bell,
    InPlace: From<Held<Own, Peer, B>>,
{
    let size = record.len();
    let guard = record.into_guard(trust).map_err(|(record, _too_many_held)| record)?;
    let held = Held { guard: Some(guard), bell: bell.clone() };
    Ok(Message::in_place(held.into(), size, meta.timestamp, B::KIND))
}

/// A record, copied out of the ring.
#[inline]
fn copied<Own: WordsMut, Peer: Words>(record: Record<'_, Own, Peer>, meta: Meta, kind: TransportKind) -> Message {
    let size = record.len();
    let mut buffer = Buffer::take(size);
    record.copy_to(&mut buffer.words_mut()[..size.div_ceil(8)]);
    Message::copied(buffer, size, meta.timestamp, kind)
}

/// What a send gets after `close`.
pub(crate) const CLOSED_HERE: Error = Error::Usage("this end was closed: it sends no more");

/// Needless wake-ups that one poll of a task puts up with.
pub(crate) const POLL_TURNS: usize = 16;

/// What an encoder's failure means for a send.
pub(crate) fn fill_error(error: EncodeError, claimed: usize) -> SendError {
    match error {
        EncodeError::TooLarge { .. } => SendError::Short { claimed },
        other => SendError::Failed(Error::Encode(Arc::new(other))),
    }
}

/// A message in place: gives its space back when dropped, and wakes a writer that waits for it.
pub(crate) struct Held<Own: WordsMut, Peer: Words, B: Bell> {
    guard: Option<Guard<Own, Peer>>,
    bell: Arc<B>,
}

impl<Own: WordsMut, Peer: Words, B: Bell> std::ops::Deref for Held<Own, Peer, B> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.guard.as_deref().unwrap_or_default()
    }
}

impl<Own: WordsMut, Peer: Words, B: Bell> Drop for Held<Own, Peer, B> {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        if self.bell.check_fork().is_err() {
            std::mem::forget(guard); // the mapping belongs to the parent
        } else if guard.release() {
            self.bell.ring();
        }
    }
}
