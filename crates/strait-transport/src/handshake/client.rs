//! The client's half of the handshake, one type per state.

use std::sync::Arc;

use super::{Settled, frames::Control, greeting, is_ring, settle};
use strait_sync::fail_point;

use crate::{
    error::Error,
    options::{CODEC_ANY, MAX_RING_BYTES, Options},
    segment::{self, Own, Segments},
    socket::{
        fds::Fd,
        framed::{Framed, Rider},
    },
};

/// `Hello` is out.
pub(crate) struct AwaitWelcome;

impl AwaitWelcome {
    /// Sends `Hello`.
    pub(crate) fn hello(framed: &mut Framed, options: &Options) -> Result<Self, Error> {
        framed.send_control(&Control::Hello(greeting(options)).encode(), None)?;
        match framed.flush() {
            // A server that refuses may be gone already: what it said can still be read.
            Ok(()) | Err(Error::PeerGone) => Ok(Self),
            Err(error) => Err(error),
        }
    }

    /// Takes the server's answer.
    pub(crate) fn on_answer(self, answer: Control, options: &Options) -> Result<Settled, Error> {
        let welcome = match answer {
            Control::Welcome(welcome) => welcome,
            Control::Refuse(refusal) => return Err(Error::Refused(refusal)),
            other => return Err(Error::corrupt(format!("a {} frame, expected Welcome or Refuse", other.name()))),
        };
        let same = greeting(options);
        let agrees = welcome.version == same.version
            && welcome.service == same.service
            && (same.codec == CODEC_ANY || (welcome.codec == same.codec && welcome.schema == same.schema))
            && (1..=same.max_in_flight).contains(&welcome.max_in_flight)
            && matches!(welcome.record_align_bytes, 16 | 64)
            && is_ring(welcome.ring_bytes, MAX_RING_BYTES)
            && welcome.checksum >= same.checksum
            && welcome.timestamp >= same.timestamp
            && welcome.shared_memory <= same.shared_memory
            && welcome.trace_context <= same.trace_context;
        if !agrees {
            return Err(Error::corrupt(format!("a Welcome that does not answer the Hello: {welcome:?}")));
        }
        let limit = options.limits.max_ring_bytes;
        if welcome.ring_bytes > limit {
            let expected = "at least the server's ring_bytes";
            return Err(Error::Option { option: "limits.max_ring_bytes", found: limit.to_string(), expected });
        }
        Ok(settle(&welcome, options, welcome.ring_bytes))
    }
}

/// The first message is out, the offer may follow.
pub(crate) struct Ready {
    pub(crate) service: Arc<str>,
}

/// The client's segment is on its way to the server.
pub(crate) struct Offered {
    own: Own,
    session: [u8; 16],
}

impl Ready {
    /// Makes the client's segment and sends `Offer` with it; `Err` says why the connection stays on the socket.
    pub(crate) fn offer(self, framed: &mut Framed, settled: &Settled) -> Result<Result<Offered, String>, Error> {
        let Some(session) = segment::new_session() else {
            return Ok(Err("no random session id could be made".into()));
        };
        let own = match segment::create(settled, &self.service, segment::Side::Client, session) {
            Ok(own) => own,
            Err(error) => return Ok(Err(format!("the client could not make its segment: {error}"))),
        };
        fail_point!("upgrade.client_segment");
        let frame = Control::Offer { total_bytes: segment::total_bytes(settled.own_ring_bytes), session };
        framed.send_control(&frame.encode(), Some(Rider::Segment(own.clone())))?;
        fail_point!("upgrade.offer_queued");
        Ok(Ok(Offered { own, session }))
    }
}

impl Offered {
    /// Maps the server's segment and queues `Commit`, or queues `Decline` and says why.
    pub(crate) fn on_accept(
        self,
        fd: Result<Fd, String>,
        session: [u8; 16],
        settled: &Settled,
        framed: &mut Framed,
    ) -> Result<Result<Segments, String>, Error> {
        let opened = fd.and_then(|fd| {
            if session != self.session {
                return Err("the server answered another session".into());
            }
            segment::open(fd, settled, self.session).map_err(|error| error.to_string())
        });
        match opened {
            Ok(peer) => {
                fail_point!("upgrade.accept_taken");
                framed.send_control(&Control::Commit.encode(), None)?;
                fail_point!("upgrade.commit_queued");
                Ok(Ok(Segments { own: self.own, peer }))
            }
            Err(why) => {
                let reason = format!("the client could not take the server's segment: {why}");
                framed.send_control(&Control::Decline { reason: reason.clone() }.encode(), None)?;
                Ok(Err(reason))
            }
        }
    }
}
