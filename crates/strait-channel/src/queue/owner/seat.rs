//! One participant, as the owner sees it.

use std::time::Instant;

use strait_transport::{Connection, Error, Interest, Message as Received, SendError, Transport, TransportKind};

use super::super::{
    error::corrupt,
    ledger::Progress,
    message::{HEADER_BYTES, Message, Part},
    places::Key,
};

/// Somebody who is connected.
pub(super) struct Seat {
    pub(super) connection: Connection,
    pub(super) role: Role,
    /// A wait has found out that the connection ends. What it has sent is read first.
    failed: Option<Error>,
    /// There is something to publish.
    unpublished: bool,
    /// A word of the owner found no room.
    pub(super) blocked: bool,
    /// Looks at its socket that are left out.
    skips: u32,
    /// How many that were last time.
    skipped: u32,
    armed: bool,
}

/// What a participant is.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// It must say so by then.
    Newcomer {
        until: Instant,
    },
    Producer {
        key: Key,
        told: Progress,
    },
    Worker {
        key: Key,
    },
}

impl Seat {
    /// A look at a socket is a system call. While nothing comes there, rounds are skipped: 1, 3, 7 and so on, up to this many.
    const MAX_SKIPS: u32 = 63;

    pub(super) fn new(connection: Connection, until: Instant) -> Self {
        let role = Role::Newcomer { until };
        Self { connection, role, failed: None, unpublished: false, blocked: false, skips: 0, skipped: 0, armed: false }
    }

    /// The next message. An error is final, and comes after all that was sent.
    #[inline]
    pub(super) fn hear(&mut self) -> Result<Option<Received>, Error> {
        if self.failed.is_none() {
            if self.skips > 0 {
                self.skips -= 1;
                return Ok(None);
            }
            // One load of one line, where a look at the peer's other words would take them from it each time.
            if !self.connection.is_ready(Interest::DATA) {
                if self.connection.transport() == TransportKind::Socket {
                    self.skipped = (2 * self.skipped + 1).min(Self::MAX_SKIPS);
                    self.skips = self.skipped;
                }
                return Ok(None);
            }
        }
        self.skipped = 0;
        match self.connection.try_recv() {
            Ok(None) => self.failed.take().map_or(Ok(None), Err),
            // Whose word it was cannot be known any more.
            Err(error @ Error::Checksum { .. }) => Err(corrupt(format!("a word on a queue was lost: {error}"))),
            heard => heard,
        }
    }

    /// Welcomes somebody who has joined.
    pub(super) fn welcome(&mut self, acknowledged: bool, credit: u32) -> Result<(), Error> {
        let max_item_bytes = (self.connection.limits().max_send_bytes - HEADER_BYTES) as u64;
        // Nothing was sent before it, so that there is room.
        self.say(Message::Joined { acknowledged, credit, max_item_bytes }, &[]).map(drop)
    }

    /// Sends a word, for the next publication; `false` where there is no room.
    pub(super) fn say(&mut self, message: Message, body: &[u8]) -> Result<bool, Error> {
        let len = HEADER_BYTES + body.len();
        let sent = self.connection.try_send(len, &mut |span| {
            span[..HEADER_BYTES].copy_from_slice(&message.encode());
            span[HEADER_BYTES..len].copy_from_slice(body);
            Ok(len)
        });
        self.unpublished |= sent.is_ok();
        match sent {
            Ok(()) => Ok(true),
            Err(SendError::Failed(error)) => Err(error),
            Err(_full) => Ok(false),
        }
    }

    /// Tells a producer how far the owner is, where it does not know yet. What finds no room is told later, with what is then.
    pub(super) fn tell(&mut self, now: Progress) -> Result<(), Error> {
        let Role::Producer { key, told } = self.role else { return Ok(()) };
        if told == now || (self.blocked && !self.connection.is_ready(Interest::SPACE)) {
            return Ok(());
        }
        self.blocked = !self.say(Message::Progress { accepted: now.accepted }, &now.settled.to_le_bytes())?;
        if !self.blocked {
            self.role = Role::Producer { key, told: now };
        }
        Ok(())
    }

    pub(super) fn publish(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.unpublished) {
            self.connection.publish()?;
        }
        Ok(())
    }

    /// Finds out whether it is still there. In shared memory a death is learned in a wait alone.
    pub(super) fn look_after(&mut self) {
        self.arm(Interest::DATA);
        self.disarm();
    }

    /// Announces a sleep; `false` where the next round has something to do.
    pub(super) fn arm(&mut self, interest: Interest) -> bool {
        self.skips = 0;
        if self.failed.is_some() {
            return false;
        }
        match self.connection.arm(interest) {
            Ok(quiet) => {
                self.armed = true;
                quiet
            }
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }

    /// Whether a sleep is announced.
    pub(super) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Ends an announced sleep.
    pub(super) fn disarm(&mut self) {
        if std::mem::take(&mut self.armed)
            && let Err(error) = self.connection.disarm()
        {
            self.failed.get_or_insert(error);
        }
    }

    /// As [`arm`](Self::arm), in a task.
    #[cfg(feature = "tokio")]
    pub(super) fn poll(&mut self, cx: &mut std::task::Context<'_>, interest: Interest) -> bool {
        self.skips = 0;
        if self.failed.is_some() {
            return false;
        }
        match self.connection.poll_ready(cx, interest) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(Ok(())) => false,
            std::task::Poll::Ready(Err(error)) => {
                self.failed = Some(error);
                false
            }
        }
    }
}

/// Reads a newcomer's first word.
pub(super) fn read_join(bytes: &[u8]) -> Result<Part, Error> {
    match Message::decode(bytes).map_err(corrupt)? {
        (Message::Join(part), _) => Ok(part),
        (other, _) => Err(corrupt(format!("{other:?} from somebody who has not joined"))),
    }
}
