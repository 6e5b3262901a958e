//! One client of a polling thread: what happens in its turn.

use std::time::Instant;

use strait_transport::{Connection, Error as TransportError, Interest, Transport, TransportKind, Wake};

use super::super::{service::Service, session::Session};

/// A session that never waits.
pub(super) struct Client<'a, S> {
    session: Session<'a, S>,
    stage: Stage,
    /// Turns for which its socket is left alone.
    skips: u32,
    /// How many that were last time.
    skipped: u32,
    /// A wait has found out that the connection is of no use any more.
    failed: Option<TransportError>,
}

/// How far the end of the server has come for a client. A client has at most its window in flight, so no stage goes on for ever.
#[derive(Clone, Copy)]
enum Stage {
    Serving,
    /// What has come before the farewell is executed, up to the message of that number.
    Finishing(u64),
    /// What has come after it is refused, so many messages at most.
    Refusing(u32),
    /// Only the last answers are still to go out.
    Told,
}

/// What a turn came to.
pub(super) enum Turn {
    /// There was nothing to do.
    Idle,
    Worked,
    /// The client has been told all that it is told at the server's end.
    Over,
}

impl<'a, S: Service> Client<'a, S> {
    /// A look at a socket is a system call. While nothing comes there, turns are skipped: 1, 3, 7 and so on, up to this many.
    const MAX_SKIPS: u32 = 63;

    pub(super) fn new(session: Session<'a, S>) -> Self {
        Self { session, stage: Stage::Serving, skips: 0, skipped: 0, failed: None }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.session.out.connection
    }

    /// The server ends.
    pub(super) fn begin_end(&mut self) {
        self.stage = Stage::Finishing(self.session.last_message());
        self.skips = 0;
    }

    /// Closes the connection, and logs why.
    pub(super) fn end(self, outcome: Result<(), TransportError>) {
        self.session.end(outcome);
    }

    /// Looks in its next turn, whatever it skips.
    pub(super) fn end_skip(&mut self) {
        self.skips = 0;
    }

    /// Sends answers that found no room before, and if that was all of them takes in up to `max_batch` messages. Never waits.
    #[inline]
    pub(super) fn turn(&mut self, max_batch: u32) -> Result<Turn, TransportError> {
        if self.skips > 0 {
            self.skips -= 1;
            return Ok(Turn::Idle);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut worked = self.session.out.flush()?;
        if self.session.out.is_empty() {
            worked |= match self.stage {
                Stage::Serving => self.session.work(max_batch)?,
                ending => self.go_on_ending(ending, max_batch)?,
            };
        }
        if worked {
            self.session.out.connection.publish()?;
            self.skipped = 0;
        } else {
            self.rest();
        }
        if !matches!(self.stage, Stage::Serving) {
            self.skips = 0;
            if self.is_read()? {
                return Ok(Turn::Over);
            }
        }
        Ok(if worked { Turn::Worked } else { Turn::Idle })
    }

    /// A step towards the end; whether there was one.
    fn go_on_ending(&mut self, stage: Stage, max_batch: u32) -> Result<bool, TransportError> {
        self.stage = match stage {
            Stage::Finishing(last) => {
                self.session.end_streams()?;
                if self.session.work(max_batch)? && self.session.messages() < last {
                    stage
                } else {
                    self.session.say_farewell()?;
                    Stage::Refusing(self.connection().max_in_flight())
                }
            }
            Stage::Refusing(left) => match self.refuse(left.min(max_batch))? {
                0 => Stage::Told,
                taken => Stage::Refusing(left - taken),
            },
            Stage::Serving | Stage::Told => return Ok(false),
        };
        Ok(true)
    }

    /// Refuses up to `max` messages, until an answer finds no room; how many that were.
    fn refuse(&mut self, max: u32) -> Result<u32, TransportError> {
        let mut taken = 0;
        while taken < max
            && self.session.out.is_empty()
            && let Some(message) = self.session.out.receive()?
        {
            self.session.refuse(message)?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Whether all has gone out to a client that was told of the end. It is given a while for that.
    fn is_read(&mut self) -> Result<bool, TransportError> {
        let is_out = self.session.out.is_empty();
        if is_out && !matches!(self.stage, Stage::Told) {
            return Ok(false);
        }
        if is_out && self.session.out.connection.flush(Some(Instant::now()))? == Wake::Ready {
            return Ok(true);
        }
        self.session.check_grace().map(|()| false)
    }

    /// Nothing has come.
    fn rest(&mut self) {
        let out = &mut self.session.out;
        out.client.settle(&out.connection);
        if out.connection.transport() == TransportKind::Socket {
            self.skipped = (2 * self.skipped + 1).min(Self::MAX_SKIPS);
            self.skips = self.skipped;
        }
    }

    /// Finds out whether the client is still there. In shared memory a death is learned in a wait alone, and a good end is not
    /// looked for in each turn.
    pub(super) fn look_after(&mut self) {
        if self.arm() {
            self.disarm();
        }
    }

    /// Announces a sleep; `false` where the next turn has something to do.
    pub(super) fn arm(&mut self) -> bool {
        self.skips = 0;
        let out = &mut self.session.out;
        out.client.settle(&out.connection);
        // A client that does not read its answers is not read either.
        let interest = if out.is_empty() { Interest::DATA } else { Interest::SPACE };
        out.connection.arm(interest).unwrap_or_else(|error| {
            self.failed = Some(error);
            false
        })
    }

    /// Ends an announced sleep.
    pub(super) fn disarm(&mut self) {
        self.failed = self.session.out.connection.disarm().err();
    }
}
