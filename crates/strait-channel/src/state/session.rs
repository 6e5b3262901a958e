//! One shell, as the daemon serves it.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use strait_sync::fail_point;
use strait_transport::{Connection, Error, Interest, Message, SendError, StateMemory, Transport};

use super::{
    form::{Body, Form},
    inbox::{Answer, Inbox},
    message::{HEADER_BYTES, Header, kind, status},
};

/// Messages that are taken from one shell before the next one has its turn.
const TURN: usize = 32;

/// What all sessions share.
pub(super) struct Shared {
    pub(super) inbox: std::sync::Arc<Inbox>,
    /// Shells that want to be told of the next value.
    pub(super) watchers: AtomicUsize,
    pub(super) commands: usize,
}

/// A value on its way over the connection, in pieces.
struct Transfer {
    value: Message,
    header: Header,
    sent: usize,
}

/// A shell's connection and what it has asked for.
pub(super) struct Session {
    pub(super) client: u64,
    pub(super) connection: Connection,
    /// What it may map, and the pin that it may have there.
    memory: StateMemory,
    /// Small answers that wait for room. No more is received while there are many.
    outbox: VecDeque<(Header, Vec<u8>)>,
    transfer: Option<Transfer>,
    watch: Option<u64>,
    /// Commands whose answer is not out yet.
    outstanding: usize,
}

/// What the daemon has published, for those who cannot map it.
pub(super) trait Latest {
    fn version(&self) -> Result<u64, Error>;
    fn read(&mut self) -> Result<Option<(Message, u64)>, Error>;
    fn max_value_bytes(&self) -> usize;
}

impl Session {
    pub(super) fn new(client: u64, connection: Connection, memory: StateMemory) -> Self {
        Self { client, connection, memory, outbox: VecDeque::new(), transfer: None, watch: None, outstanding: 0 }
    }

    fn takes_more(&self, shared: &Shared) -> bool {
        self.outbox.len() <= 2 * shared.commands + TURN
    }

    /// What to wait for.
    pub(super) fn interest(&self, shared: &Shared) -> Interest {
        let sends = !self.outbox.is_empty() || self.transfer.is_some();
        match (self.takes_more(shared), sends) {
            (true, sends) => Interest::data_and(sends),
            (false, _) => Interest::SPACE,
        }
    }

    /// Takes what has come and sends what there is room for; whether anything moved.
    pub(super) fn turn(&mut self, shared: &Shared, latest: &mut impl Latest) -> Result<bool, Error> {
        let mut moved = false;
        for _ in 0..TURN {
            if !self.takes_more(shared) {
                break;
            }
            match self.connection.try_recv() {
                Ok(Some(message)) => self.take(message, shared, latest)?,
                Ok(None) => break,
                // What was damaged on its way was discarded: its sender's deadline tells.
                Err(Error::Checksum { .. }) => {}
                Err(error) => return Err(error),
            }
            moved = true;
        }
        if let Some(since) = self.watch {
            let version = latest.version()?;
            if version > since {
                self.unwatch(shared);
                self.outbox.push_back((Header { version: version.into(), ..Header::new(kind::CHANGED) }, Vec::new()));
            }
        }
        Ok(self.send()? | moved)
    }

    fn take(&mut self, message: Message, shared: &Shared, latest: &mut impl Latest) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Corrupt { what: what.into() });
        let Some(header) = Header::of(&message) else {
            return wrong(format!("a message of {} bytes, expected at least {HEADER_BYTES}", message.len()));
        };
        match header.kind {
            kind::DESCRIBE => {
                let description = Header {
                    id: header.id,
                    version: latest.version()?.into(),
                    total: (latest.max_value_bytes() as u64).into(),
                    offset: self.client.into(),
                    ..Header::new(kind::DESCRIPTION)
                };
                self.outbox.push_back((description, Vec::new()));
            }
            kind::READ if self.transfer.is_some() => {
                return wrong("a second Read before the first was answered".into());
            }
            kind::READ => self.read(header, latest),
            kind::WATCH => {
                self.unwatch(shared);
                self.watch = Some(header.version.get());
                // ORDERING: SeqCst; pairs with the fence in `Daemon::published`: either that sees this watcher, or the look
                // at the version that follows here sees what it published.
                shared.watchers.fetch_add(1, Ordering::SeqCst);
                std::sync::atomic::fence(Ordering::SeqCst);
            }
            kind::COMMAND if self.outstanding >= shared.commands => {
                let full = Header {
                    id: header.id,
                    status: status::FULL,
                    total: (shared.commands as u64).into(),
                    ..Header::new(kind::REPLY)
                };
                self.outbox.push_back((full, Vec::new()));
            }
            kind::COMMAND => {
                self.outstanding += 1;
                fail_point!("daemon.command_taken");
                shared.inbox.push(self.client, header.id.get(), message);
            }
            other => return wrong(format!("a message of kind {other}, which no shell sends")),
        }
        Ok(())
    }

    fn read(&mut self, asked: Header, latest: &mut impl Latest) {
        let mut header = Header { id: asked.id, ..Header::new(kind::VALUE) };
        match latest.read() {
            Ok(Some((value, version))) => {
                (header.version, header.total) = (version.into(), (value.len() as u64).into());
                self.transfer = Some(Transfer { value, header, sent: 0 });
            }
            found => {
                header.status = if matches!(found, Ok(None)) { status::EMPTY } else { status::OVERTAKEN };
                self.outbox.push_back((header, Vec::new()));
            }
        }
    }

    fn unwatch(&mut self, shared: &Shared) {
        if self.watch.take().is_some() {
            // ORDERING: SeqCst; as where it was counted.
            shared.watchers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Takes the answer to one of this shell's commands.
    pub(super) fn answer(&mut self, answer: Answer) {
        let Answer { id, mut status, mut body, .. } = answer;
        if body.bytes.len() > self.body_bytes() {
            tracing::warn!(target: "strait", need = body.bytes.len(), max = self.body_bytes(), "an answer to a command is too long");
            (status, body) = (status::UNANSWERED, Body { form: Form::BYTES, bytes: Vec::new() });
        }
        let header = Header { id: id.into(), status, ..Header::with_form(kind::REPLY, body.form) };
        fail_point!("daemon.command_answered");
        self.outbox.push_back((header, body.bytes));
    }

    fn body_bytes(&self) -> usize {
        self.connection.limits().max_send_bytes - HEADER_BYTES
    }

    /// Sends until there is no room; whether anything went out.
    fn send(&mut self) -> Result<bool, Error> {
        let mut sent = false;
        while let Some((header, body)) = self.outbox.front() {
            if !offer(&mut self.connection, header, body)? {
                break;
            }
            if header.kind == kind::REPLY && header.status != status::FULL {
                self.outstanding -= 1;
            }
            self.outbox.pop_front();
            sent = true;
        }
        let piece_bytes = self.body_bytes();
        while let Some(transfer) = &mut self.transfer {
            let end = (transfer.sent + piece_bytes).min(transfer.value.len());
            let header = Header { offset: (transfer.sent as u64).into(), ..transfer.header };
            if !offer(&mut self.connection, &header, &transfer.value[transfer.sent..end])? {
                break;
            }
            transfer.sent = end;
            sent = true;
            if end == transfer.value.len() {
                self.transfer = None;
            }
        }
        if sent {
            self.connection.publish()?;
        }
        Ok(sent)
    }

    /// Takes the shell's pin back where the connection says that it pins no more: it is dead or has closed, or it broke the
    /// protocol. Where this side failed, the shell may still read in place: its pin stays with it.
    pub(super) fn take_pin_back(&self, error: &Error) {
        if matches!(error, Error::PeerGone | Error::Closed | Error::Corrupt { .. }) {
            fail_point!("pin.taking_back");
            self.memory.revoke_pin();
        } else if self.memory.has_pin() {
            tracing::warn!(target: "strait", %error, "a shell's pin stays taken: it may still read, and its end cannot be told");
        }
    }

    /// The shell is gone.
    pub(super) fn end(&mut self, shared: &Shared) {
        self.unwatch(shared);
        shared.inbox.forget(self.client);
        self.connection.close();
    }
}

/// Sends one message; `false` where there is no room.
pub(super) fn offer(connection: &mut Connection, header: &Header, body: &[u8]) -> Result<bool, Error> {
    use zerocopy::IntoBytes;
    let bytes = HEADER_BYTES + body.len();
    let sent = connection.try_send(bytes, &mut |span| {
        span[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        span[HEADER_BYTES..bytes].copy_from_slice(body);
        Ok(bytes)
    });
    match sent {
        Ok(()) => Ok(true),
        Err(SendError::Full) => Ok(false),
        Err(SendError::Failed(error)) => Err(error),
        Err(_) => Err(Error::TooLarge { need: bytes, max: connection.limits().max_send_bytes }),
    }
}
