//! Frames over the stream: envelopes and payloads, control frames, and the descriptors that come with those.

use std::{collections::VecDeque, io, sync::Arc};

use strait_frame::{ENVELOPE_BYTES, Envelope};

use strait_sync::fail_point;

use crate::{
    buffer::Buffer,
    error::{Error, SendError},
    message::{Message, TransportKind},
    options::Framing,
    segment::{self, Own},
    socket::fds::{self, Ancillary, Fd, FdRef},
    transport::{Fill, MessageLimits},
    waiting::Link,
};

/// One read takes at most this many bytes of small frames.
const READ_BYTES: usize = 64 * 1024;

/// A frame that has arrived whole.
pub(crate) enum Frame {
    /// A message.
    Data(Message),
    /// A control frame, with the descriptors that came no later than it.
    Control(Buffer, usize, Vec<Fd>, bool),
}

struct Partial {
    envelope: Envelope,
    buffer: Buffer,
    filled: usize,
}

/// Frames in both directions over one socket, never blocking.
pub(crate) struct Framed {
    link: Arc<Link>,
    framing: Framing,
    limits: MessageLimits,
    max_control_bytes: u32,
    // in
    input: Box<[u8]>,
    start: usize,
    end: usize,
    partial: Option<Partial>,
    fds: Vec<Fd>,
    truncated: bool,
    ended: bool,
    /// When the peer sent its first control frame, by its clock.
    greeted_us: u64,
    // out
    output: Vec<u8>,
    sent: usize,
    /// Where the last message ends in `output`; behind it are control frames alone.
    messages_end: usize,
    /// Descriptors to send, each with the first byte of the frame that starts at this place in `output`.
    riders: VecDeque<(usize, Rider)>,
    /// When this side sent its first control frame.
    greeting_us: u64,
}

/// A descriptor that travels with a frame.
pub(crate) enum Rider {
    /// The memory of a segment of ours, which stays open here.
    Segment(Own),
}

impl Rider {
    fn fd(&self) -> FdRef<'_> {
        match self {
            Self::Segment(own) => segment::fd(own),
        }
    }
}

impl Framed {
    pub(crate) fn new(link: Arc<Link>, max_control_bytes: u32) -> Self {
        Self {
            link,
            framing: Framing { checksum: true, timestamp: true },
            // Until Welcome nothing but control frames may pass.
            limits: MessageLimits { max_send_bytes: 0, max_receive_bytes: 0 },
            max_control_bytes,
            input: vec![0; READ_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            partial: None,
            fds: Vec::new(),
            truncated: false,
            ended: false,
            greeted_us: 0,
            output: Vec::new(),
            sent: 0,
            messages_end: 0,
            riders: VecDeque::new(),
            greeting_us: 0,
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Sets what the handshake has settled.
    pub(crate) fn settle(&mut self, framing: Framing, limits: MessageLimits) {
        self.framing = framing;
        self.limits = limits;
    }

    /// What both sides know of the connection before shared memory: when Hello and Welcome were sent. For tools that look for the
    /// other end; it is neither secret nor unique.
    #[cfg(not(strait_loom))]
    pub(crate) fn session(&self, is_client: bool) -> [u8; 16] {
        let (own, peer) = (self.greeting_us, self.greeted_us);
        let (hello, welcome) = if is_client { (own, peer) } else { (peer, own) };
        (u128::from(hello) << 64 | u128::from(welcome)).to_be_bytes()
    }

    // ---- in ----

    /// The next whole frame; reads the socket as far as needed. `None` where it has no more for now.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            if !self.fill()? {
                return if self.ended { Err(Error::PeerGone) } else { Ok(None) };
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Frame>, Error> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => {
                let Some(envelope) = self.input[self.start..self.end].first_chunk::<ENVELOPE_BYTES>() else {
                    return Ok(None);
                };
                let max_payload = u32::try_from(self.limits.max_receive_bytes).unwrap_or(u32::MAX);
                let envelope = Envelope::decode(envelope, max_payload, self.max_control_bytes)?;
                self.start += ENVELOPE_BYTES;
                let buffer = Buffer::take(envelope.size as usize);
                Partial { envelope, buffer, filled: 0 }
            }
        };
        let size = partial.envelope.size as usize;
        let take = (size - partial.filled).min(self.end - self.start);
        let bytes = &self.input[self.start..self.start + take];
        partial.buffer.bytes_mut()[partial.filled..partial.filled + take].copy_from_slice(bytes);
        partial.filled += take;
        self.start += take;
        if partial.filled < size {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial { envelope, buffer, .. } = partial;
        if envelope.control || self.framing.checksum {
            let payload = &buffer.bytes()[..size];
            if let Err(mismatch) = envelope.verify(payload) {
                if envelope.control {
                    return Err(mismatch.into());
                }
                let found = strait_frame::checksum(payload);
                return Err(Error::Checksum { size, expected: envelope.checksum, found });
            }
        }
        if envelope.control {
            if self.greeted_us == 0 {
                self.greeted_us = envelope.timestamp;
            }
            let truncated = std::mem::take(&mut self.truncated);
            return Ok(Some(Frame::Control(buffer, size, std::mem::take(&mut self.fds), truncated)));
        }
        Ok(Some(Frame::Data(Message::copied(buffer, size, envelope.timestamp, TransportKind::Socket))))
    }

    /// Reads once from the socket; `false` where it has nothing, or has ended.
    fn fill(&mut self) -> Result<bool, Error> {
        if self.ended {
            return Ok(false);
        }
        // A descriptor comes no later than the first byte of its frame. Where no control frame has begun among the bytes that
        // were read, it came with a message, which takes none.
        let may_belong = match &self.partial {
            Some(partial) => partial.envelope.control,
            None => self.start < self.end,
        };
        if !may_belong {
            self.fds.clear();
            self.truncated = false;
        }
        let mut ancillary = Ancillary::default();
        // A long payload goes straight to where it belongs.
        let direct = self.partial.is_some() && self.start == self.end;
        let result = if let (Some(partial), true) = (&mut self.partial, direct) {
            let size = partial.envelope.size as usize;
            let result =
                fds::receive(self.link.fd(), &mut partial.buffer.bytes_mut()[partial.filled..size], &mut ancillary);
            if let Ok(received) = result {
                partial.filled += received;
            }
            result
        } else {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let result = fds::receive(self.link.fd(), &mut self.input[self.end..], &mut ancillary);
            if let Ok(received) = result {
                self.end += received;
            }
            result
        };
        self.truncated |= ancillary.truncated;
        self.fds.append(&mut ancillary.fds);
        if self.fds.len() > 4 {
            return Err(Error::corrupt("more than 4 descriptors wait for a frame that takes them"));
        }
        if let Some(pidfd) = ancillary.pidfd {
            self.link.keep_pidfd(pidfd);
        }
        match result {
            Ok(0) => {
                self.ended = true;
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if is_hang_up(&error) => {
                self.ended = true;
                Ok(false)
            }
            Err(error) => Err(Error::io("recvmsg", error)),
        }
    }

    /// Bytes that came behind the last frame: after the switch they are doorbells.
    pub(crate) fn take_rest(&mut self) -> usize {
        let rest = self.end - self.start;
        self.start = self.end;
        rest
    }

    // ---- out ----

    /// Appends a data frame that `fill` writes; its length in bytes and its timestamp.
    pub(crate) fn try_send(&mut self, max_bytes: usize, fill: &mut Fill<'_>) -> Result<(usize, u64), SendError> {
        let max = self.limits.max_send_bytes;
        if max_bytes > max {
            return Err(Error::TooLarge { need: max_bytes, max }.into());
        }
        if !self.has_room(max_bytes) {
            self.flush()?;
            if !self.has_room(max_bytes) {
                return Err(SendError::Full);
            }
        }
        let mut draft = Draft::new(&mut self.output, max_bytes);
        let size = fill(draft.payload()).map_err(|error| crate::ring::fill_error(error, max_bytes))?.min(max_bytes);
        let envelope = Envelope::seal(&draft.payload()[..size], self.framing.now(), self.framing.checksum);
        let envelope = envelope.map_err(Error::from)?;
        draft.finish(size, envelope);
        self.messages_end = self.output.len();
        Ok((size, envelope.timestamp))
    }

    /// Whether a message of `bytes` would be taken: some output may wait, without end it may not.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let waiting = self.output.len() - self.sent;
        waiting == 0 || waiting + ENVELOPE_BYTES + bytes <= self.limits.max_send_bytes + ENVELOPE_BYTES
    }

    /// Appends a control frame.
    pub(crate) fn send_control(&mut self, payload: &[u8], rider: Option<Rider>) -> Result<(), Error> {
        let mut envelope = Envelope::seal(payload, strait_frame::now_micros(), true)?;
        envelope.control = true;
        if self.greeting_us == 0 {
            self.greeting_us = envelope.timestamp;
        }
        if let Some(rider) = rider {
            self.riders.push_back((self.output.len(), rider));
        }
        self.output.extend_from_slice(&envelope.encode());
        self.output.extend_from_slice(payload);
        Ok(())
    }

    /// Gives up what waits for the socket: nobody will read it. Says whether a message was in it.
    pub(crate) fn discard_output(&mut self) -> bool {
        let had_message = self.sent < self.messages_end;
        self.output.clear();
        self.riders.clear();
        (self.sent, self.messages_end) = (0, 0);
        had_message
    }

    /// Whether output waits for the socket.
    pub(crate) fn has_output(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Sends as much as the socket takes now.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        while self.sent < self.output.len() {
            // A descriptor goes with the first byte of its frame, so a send ends where the next such frame begins.
            let mut end = self.output.len();
            let mut rider = None;
            if let Some((at, first)) = self.riders.front() {
                if *at == self.sent {
                    rider = Some(first.fd());
                    end = self.riders.get(1).map_or(end, |(at, _)| *at);
                } else {
                    end = *at;
                }
            }
            let with_fd = rider.is_some();
            match fds::send(self.link.fd(), &self.output[self.sent..end], rider) {
                Ok(sent) => {
                    self.sent += sent;
                    fail_point!("socket.sent");
                    if with_fd && sent > 0 {
                        fail_point!("socket.descriptor_sent");
                        self.riders.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_hang_up(&error) => return Err(Error::PeerGone),
                Err(error) => return Err(Error::io("sendmsg", error)),
            }
        }
        if self.sent == self.output.len() {
            self.output.clear();
            (self.sent, self.messages_end) = (0, 0);
        } else if self.sent > READ_BYTES {
            self.output.drain(..self.sent);
            self.messages_end = self.messages_end.saturating_sub(self.sent);
            self.riders.iter_mut().for_each(|(at, _)| *at -= self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}

/// A frame that is being written at the end of the output. Dropped unfinished, even by a panic of whoever fills it, it leaves
/// no trace.
struct Draft<'a> {
    output: &'a mut Vec<u8>,
    at: usize,
}

impl<'a> Draft<'a> {
    fn new(output: &'a mut Vec<u8>, max_bytes: usize) -> Self {
        let at = output.len();
        output.resize(at + ENVELOPE_BYTES + max_bytes, 0);
        Self { output, at }
    }

    fn payload(&mut self) -> &mut [u8] {
        &mut self.output[self.at + ENVELOPE_BYTES..]
    }

    fn finish(mut self, size: usize, envelope: Envelope) {
        self.output[self.at..self.at + ENVELOPE_BYTES].copy_from_slice(&envelope.encode());
        self.at += ENVELOPE_BYTES + size; // what is dropped begins here
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        self.output.truncate(self.at);
    }
}

pub(crate) fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}
