//! What a shell knows and does, but for waiting: that is the threads' or the tasks' part.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use strait_transport::{
    Connection, Error as TransportError, ErrorCode, Interest, Message, NoPin, PinnedState, StateReader, Stats,
    Transport, TransportKind,
};

use super::{
    Error,
    form::Body,
    greeting::Found,
    message::{HEADER_BYTES, Header, kind, status},
    reconnect::{Address, Begin, News, Search},
    session::offer,
};

/// A daemon that publishes nothing new may be gone: so often a read looks at the socket.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How far a call has come.
pub(super) enum Step<R> {
    Done(R),
    /// Go on when there is something to receive, or also when there is room.
    Wait(Interest),
    /// There is no daemon now.
    Gone,
}

/// A value's bytes, with version, epoch and since when they are stale.
pub(super) struct Raw {
    pub(super) bytes: Message,
    pub(super) version: u64,
    pub(super) epoch: u64,
    pub(super) stale_since: Option<Instant>,
}

/// A value that comes in pieces.
struct Reading {
    id: u32,
    /// Asked for by a call that has ended since: its value may be older than what the next call may give.
    is_left_over: bool,
    bytes: Vec<u8>,
}

/// A shell's side of everything.
pub(super) struct Core {
    address: Arc<Address>,
    begin: Begin,
    search: Option<Search>,
    /// What the daemon that is there said to the last attempt.
    turned_away: Option<TransportError>,
    /// Why there is no search any more.
    refused: Option<TransportError>,
    connection: Option<Connection>,
    memory: Option<StateReader>,
    /// The memory of the daemon before, while the one that is there has published nothing.
    previous: Option<StateReader>,
    /// The last value that came over the connection.
    last: Option<(Vec<u8>, u64, u64)>,
    fallback: Option<String>,
    client: u64,
    max_value_bytes: u64,
    epoch: u64,
    stale_since: Option<Instant>,
    looked: Instant,
    /// Epoch and version that the user has seen.
    seen: (u64, u64),
    // what is asked of the daemon
    ids: u32,
    reading: Option<Reading>,
    read: Option<Result<(), Error>>,
    watching: bool,
    changed: Option<u64>,
    awaited: Option<u32>,
    reply: Option<(Header, Message)>,
}

impl Core {
    pub(super) fn new(address: Address, begin: Begin, found: Found) -> Self {
        let mut core = Self {
            address: Arc::new(address),
            begin,
            search: None,
            turned_away: None,
            refused: None,
            connection: None,
            memory: None,
            previous: None,
            last: None,
            fallback: None,
            client: 0,
            max_value_bytes: 0,
            epoch: 0,
            stale_since: None,
            looked: Instant::now(),
            seen: (0, 0),
            ids: 0,
            reading: None,
            read: None,
            watching: false,
            changed: None,
            awaited: None,
            reply: None,
        };
        core.adopt(found);
        core
    }

    // ---- the daemon comes and goes ----

    fn adopt(&mut self, found: Found) {
        let Found { connection, memory, fallback, client, max_value_bytes } = found;
        self.epoch += 1;
        let before = std::mem::replace(&mut self.memory, memory);
        self.previous = before.or(self.previous.take());
        (self.connection, self.fallback, self.client) = (Some(connection), fallback, client);
        self.max_value_bytes = max_value_bytes.min(self.address.options.limits.max_state_bytes);
        (self.search, self.turned_away, self.refused) = (None, None, None);
        self.looked = Instant::now();
        tracing::debug!(target: "strait", service = self.address.name, epoch = self.epoch, "a shell has its daemon");
    }

    /// Takes a daemon that the search has found.
    #[inline]
    pub(super) fn look_for_daemon(&mut self) {
        if self.connection.is_none() && self.refused.is_none() {
            match &self.search {
                Some(search) => {
                    if let Some(news) = search.take() {
                        self.hear(news);
                    }
                }
                None => self.search = (self.begin)(&self.address),
            }
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Found(found) => self.adopt(*found),
            News::TurnedAway(error) => self.turned_away = Some(error),
            News::Refused(error) => {
                tracing::warn!(target: "strait", service = self.address.name, %error, "the next daemon refused a shell");
                (self.search, self.refused) = (None, Some(error));
            }
        }
    }

    /// Fails where the daemon that is there has refused this shell for good.
    pub(super) fn check_refused(&self) -> Result<(), Error> {
        self.refused.clone().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Why `what` did not come by the deadline.
    pub(super) fn too_late(&self, what: &'static str) -> Error {
        match &self.turned_away {
            Some(error) if self.connection.is_none() => error.clone().into(),
            _ => Error::TimedOut { what },
        }
    }

    /// Forgets a refusal, and looks again.
    pub(super) fn retry(&mut self) {
        self.refused = None;
        self.look_for_daemon();
    }

    /// Waits in a thread for the search.
    pub(super) fn wait_for_daemon(&mut self, at_most: Duration) {
        match &self.search {
            Some(search) => {
                if let Some(news) = search.wait(at_most) {
                    self.hear(news);
                }
            }
            None => std::thread::sleep(at_most.min(LOOK_EVERY)),
        }
    }

    /// The daemon is gone, or cannot be talked to any more.
    pub(super) fn lose(&mut self, error: &TransportError) {
        if let Some(connection) = self.connection.take() {
            tracing::debug!(target: "strait", service = self.address.name, %error, "a shell has lost its daemon");
            self.stale_since.get_or_insert_with(Instant::now);
            // Before the connection is closed: with its end a daemon that lives takes the pin back.
            if let Some(memory) = &mut self.memory {
                memory.forgo_pin();
            }
            drop(connection);
            (self.watching, self.changed, self.reading) = (false, None, None);
            (self.turned_away, self.refused) = (None, None);
            self.search = (self.begin)(&self.address);
        }
    }

    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Whether the daemon still holds its end, asked at most every now and then.
    fn look_now_and_then(&mut self) {
        if self.connection.is_some() && self.looked.elapsed() >= LOOK_EVERY {
            self.look();
        }
    }

    /// Takes in what has come, and learns of the daemon's end without waiting.
    pub(super) fn look(&mut self) {
        self.looked = Instant::now();
        let Some(connection) = &mut self.connection else { return };
        let looked = connection.arm(Interest::DATA).and_then(|_| connection.disarm());
        match looked {
            Ok(()) => self.pump(),
            Err(error) => self.lose(&error),
        }
    }

    // ---- what comes ----

    /// Takes in what has come.
    fn pump(&mut self) {
        while let Some(connection) = &mut self.connection {
            let taken = match connection.try_recv() {
                Ok(Some(message)) => self.take(message),
                Ok(None) => return,
                Err(TransportError::Checksum { .. }) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                self.lose(&error);
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<(), TransportError> {
        let corrupt = |what: String| TransportError::Corrupt { what: what.into() };
        let header = Header::of(&message).ok_or_else(|| corrupt(format!("a message of {} bytes", message.len())))?;
        match header.kind {
            kind::VALUE => self.take_piece(header, &message[HEADER_BYTES..])?,
            kind::CHANGED => {
                self.watching = false;
                self.changed = Some(header.version.get());
            }
            // An answer that nobody waits for any more is let go.
            kind::REPLY if self.awaited == Some(header.id.get()) => {
                self.awaited = None;
                self.reply = Some((header, message));
            }
            kind::REPLY | kind::DESCRIPTION => {}
            other => return Err(corrupt(format!("a message of kind {other}, which no daemon sends"))),
        }
        Ok(())
    }

    fn take_piece(&mut self, header: Header, piece: &[u8]) -> Result<(), TransportError> {
        let corrupt = |what: String| TransportError::Corrupt { what: what.into() };
        let Some(reading) = self.reading.as_mut().filter(|reading| reading.id == header.id.get()) else {
            return Err(corrupt("a value that was not asked for".into()));
        };
        let outcome = match header.status {
            status::OK => {
                let (total, offset) = (header.total.get(), header.offset.get());
                let have = reading.bytes.len() as u64;
                if total > self.max_value_bytes || offset != have || have + piece.len() as u64 > total {
                    let (max, len) = (self.max_value_bytes, piece.len());
                    return Err(corrupt(format!(
                        "{len} bytes at {offset} of a value of {total}: {have} bytes have come, and a value has at most {max}"
                    )));
                }
                reading.bytes.extend_from_slice(piece);
                if (reading.bytes.len() as u64) < total {
                    return if piece.is_empty() { Err(corrupt("an empty piece of a value".into())) } else { Ok(()) };
                }
                self.last = Some((std::mem::take(&mut reading.bytes), header.version.get(), self.epoch));
                self.stale_since = None;
                Ok(())
            }
            status::EMPTY => Err(Error::Empty),
            status::OVERTAKEN => Err(TransportError::Overtaken { attempts: 1 }.into()),
            other => return Err(corrupt(format!("a value of status {other}"))),
        };
        let is_left_over = self.reading.take().is_none_or(|reading| reading.is_left_over);
        self.read = (!is_left_over).then_some(outcome);
        Ok(())
    }

    // ---- what is asked for ----

    /// Sends a message to the daemon; `None` where there is no room now, or no daemon.
    fn ask(&mut self, header: Header, body: &[u8]) -> Result<Option<()>, Error> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let sent = offer(connection, &header, body).and_then(|sent| connection.publish().map(|()| sent));
        match sent {
            Ok(sent) => Ok(sent.then_some(())),
            Err(error @ TransportError::TooLarge { .. }) => Err(error.into()),
            Err(error) => {
                self.lose(&error);
                Ok(None)
            }
        }
    }

    fn waiting<R>(&self, interest: Interest) -> Step<R> {
        if self.connection.is_some() { Step::Wait(interest) } else { Step::Gone }
    }

    fn next_id(&mut self) -> u32 {
        self.ids = self.ids.wrapping_add(1);
        self.ids
    }

    /// Reads the memory, where it is mapped; `None` where the daemon must be asked.
    #[inline]
    pub(super) fn read_memory(&mut self) -> Result<Option<Raw>, Error> {
        self.look_for_daemon();
        let Some(memory) = &mut self.memory else { return Ok(None) };
        if let Some((bytes, version)) = memory.read()? {
            if self.seen == (self.epoch, version) {
                self.look_now_and_then();
            }
            if self.connection.is_some() {
                (self.stale_since, self.previous) = (None, None);
            }
            self.seen = (self.epoch, version);
            return Ok(Some(Raw { bytes, version, epoch: self.epoch, stale_since: self.stale_since }));
        }
        self.look_now_and_then();
        let before = self.epoch.saturating_sub(1);
        if let Some(previous) = &mut self.previous
            && let Some((bytes, version)) = previous.read()?
        {
            return Ok(Some(Raw { bytes, version, epoch: before, stale_since: self.stale_since }));
        }
        Err(Error::Empty)
    }

    /// Pins the latest value in the memory; with its epoch.
    #[inline]
    pub(super) fn pin(&mut self) -> Result<(PinnedState<'_>, u64), Error> {
        self.look_for_daemon();
        let version = self.memory.as_ref().map_or(Ok(0), StateReader::version)?;
        if self.seen == (self.epoch, version) {
            self.look_now_and_then();
        }
        let Some(memory) = &mut self.memory else { return Err(TransportError::NoPin(NoPin::NotShared).into()) };
        let pinned = memory.pin()?.ok_or(Error::Empty)?;
        // There is a pin, so there is a connection.
        (self.stale_since, self.previous) = (None, None);
        self.seen = (self.epoch, pinned.version());
        Ok((pinned, self.epoch))
    }

    /// Why there is no pin; `None` where there is one.
    pub(super) fn no_pin(&self) -> Option<NoPin> {
        self.memory.as_ref().map_or(Some(NoPin::NotShared), |memory| memory.no_pin().cloned())
    }

    /// Counts what could not be decoded.
    #[inline]
    pub(super) fn told<R>(&mut self, opened: Result<R, Error>) -> Result<R, Error> {
        if let (Err(Error::Decode(_)), Some(connection)) = (&opened, &mut self.connection) {
            connection.count_error(ErrorCode::DECODE);
        }
        opened
    }

    /// What the connection to the daemon that is there has done.
    pub(super) fn stats(&self) -> Stats {
        self.connection.as_ref().map_or(Stats::default(), Transport::stats)
    }

    /// Begins a read over the connection.
    pub(super) fn begin_read(&mut self) {
        self.read = None;
        if let Some(reading) = &mut self.reading {
            reading.is_left_over = true;
        }
    }

    /// Goes on with it.
    pub(super) fn step_read(&mut self) -> Result<Step<Raw>, Error> {
        if let Some(found) = self.read_memory()? {
            return Ok(Step::Done(found));
        }
        self.pump();
        if let Some(outcome) = self.read.take() {
            outcome?;
        } else if self.connection.is_some() {
            if self.reading.is_none() {
                let id = self.next_id();
                if self.ask(Header { id: id.into(), ..Header::new(kind::READ) }, &[])?.is_none() {
                    return Ok(self.waiting(Interest::BOTH));
                }
                self.reading = Some(Reading { id, is_left_over: false, bytes: Vec::new() });
            }
            return Ok(self.waiting(Interest::DATA));
        }
        let Some((bytes, version, epoch)) = &self.last else { return Ok(Step::Gone) };
        self.seen = (*epoch, *version);
        let bytes = Message::from_bytes(bytes, 0, TransportKind::Socket);
        Ok(Step::Done(Raw { bytes, version: *version, epoch: *epoch, stale_since: self.stale_since }))
    }

    /// What the daemon says that is the latest version, as far as this shell knows.
    pub(super) fn version(&mut self) -> Result<u64, Error> {
        self.look_for_daemon();
        match &self.memory {
            Some(memory) => Ok(memory.version()?),
            None => Ok(self.changed.unwrap_or(0).max(self.last.as_ref().map_or(0, |(_, version, _)| *version))),
        }
    }

    /// Whether there is something that the user has not seen, by a look at the memory alone.
    pub(super) fn newer(&self) -> Result<Option<u64>, Error> {
        let version = match (&self.memory, &self.connection) {
            (Some(memory), Some(_)) => memory.version()?,
            (None, Some(_)) => self.changed.unwrap_or(0),
            _ => 0,
        };
        let is_newer = if self.seen.0 == self.epoch { version > self.seen.1 } else { version > 0 };
        Ok(is_newer.then_some(version))
    }

    /// Goes on with waiting for a change.
    pub(super) fn step_changed(&mut self) -> Result<Step<u64>, Error> {
        self.look_for_daemon();
        self.pump();
        if let Some(version) = self.newer()? {
            self.seen = (self.epoch, version);
            return Ok(Step::Done(version));
        }
        if !self.watching && self.connection.is_some() {
            let since = if self.seen.0 == self.epoch { self.seen.1 } else { 0 };
            self.changed = None;
            if self.ask(Header { version: since.into(), ..Header::new(kind::WATCH) }, &[])?.is_none() {
                return Ok(self.waiting(Interest::BOTH));
            }
            self.watching = true;
            if let Some(version) = self.newer()? {
                self.seen = (self.epoch, version);
                return Ok(Step::Done(version));
            }
        }
        Ok(self.waiting(Interest::DATA))
    }

    /// Begins a command.
    pub(super) fn begin_command(&mut self) -> u32 {
        self.look_for_daemon();
        (self.awaited, self.reply) = (None, None);
        self.next_id()
    }

    /// Goes on with it. `sent` says on which daemon it is under way.
    pub(super) fn step_command(
        &mut self,
        id: u32,
        sent: &mut Option<u64>,
        body: &Body<&[u8]>,
    ) -> Result<Step<Body<Message>>, Error> {
        self.look_for_daemon();
        self.pump();
        if let Some((header, mut reply)) = self.reply.take() {
            reply.skip(HEADER_BYTES);
            return match header.status {
                status::OK => Ok(Step::Done(Body { form: header.form(), bytes: reply })),
                status::FULL => Err(Error::CommandsFull { commands: header.total.get() }),
                _ => Err(Error::Unanswered),
            };
        }
        match *sent {
            Some(epoch) if epoch != self.epoch || self.connection.is_none() => Err(Error::DaemonGone),
            Some(_) => Ok(Step::Wait(Interest::DATA)),
            None => {
                let header = Header { id: id.into(), ..Header::with_form(kind::COMMAND, body.form) };
                if self.ask(header, body.bytes)?.is_none() {
                    return Ok(self.waiting(Interest::BOTH));
                }
                (*sent, self.awaited) = (Some(self.epoch), Some(id));
                Ok(Step::Wait(Interest::DATA))
            }
        }
    }

    // ---- what is known ----

    pub(super) fn client(&self) -> u64 {
        self.client
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn refusal(&self) -> Option<&TransportError> {
        self.refused.as_ref().or(self.turned_away.as_ref())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(super) fn stale_since(&self) -> Option<Instant> {
        self.stale_since
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.memory.is_some()
    }

    pub(super) fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
}
