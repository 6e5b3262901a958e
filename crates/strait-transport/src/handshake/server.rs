//! The server's half of the handshake, one type per state.

use std::sync::Arc;

use super::{
    Settled,
    frames::{Control, Greeting, VERSION},
    greeting, is_ring, settle,
};
use strait_sync::fail_point;

use crate::{
    error::{Error, Refusal},
    options::{CODEC_ANY, Options},
    segment::{self, Segments},
    socket::{
        fds::Fd,
        framed::{Framed, Rider},
    },
};

/// Nothing has come yet.
pub(crate) struct AwaitHello;

impl AwaitHello {
    /// Takes the client's `Hello` and sends `Welcome`, or `Refuse` and fails.
    pub(crate) fn on_hello(self, hello: Control, options: &Options, framed: &mut Framed) -> Result<Settled, Error> {
        let Control::Hello(hello) = hello else {
            return Err(Error::corrupt(format!("a {} frame, expected Hello", hello.name())));
        };
        if hello.version == VERSION && !is_possible(&hello) {
            return Err(Error::corrupt(format!("a Hello that cannot be: {hello:?}")));
        }
        if let Err(refusal) = check(&hello, options) {
            refuse(framed, refusal.clone());
            return Err(Error::Refused(refusal));
        }
        let own = greeting(options);
        let welcome = Greeting {
            checksum: own.checksum | hello.checksum,
            timestamp: own.timestamp | hello.timestamp,
            shared_memory: own.shared_memory & hello.shared_memory,
            trace_context: own.trace_context & hello.trace_context,
            max_in_flight: own.max_in_flight.min(hello.max_in_flight),
            record_align_bytes: own.record_align_bytes.max(hello.record_align_bytes),
            ..own
        };
        framed.send_control(&Control::Welcome(welcome).encode(), None)?;
        framed.flush()?;
        fail_point!("handshake.welcome_sent");
        Ok(settle(&welcome, options, hello.ring_bytes))
    }
}

/// Tells the client why not; best effort, the connection ends either way.
pub(crate) fn refuse(framed: &mut Framed, refusal: Refusal) {
    tracing::debug!(target: "strait", %refusal, "refused a client");
    if framed.send_control(&Control::Refuse(refusal).encode(), None).is_ok() {
        let _ = framed.flush();
    }
}

fn is_possible(hello: &Greeting) -> bool {
    hello.max_in_flight > 0 && matches!(hello.record_align_bytes, 16 | 64)
}

fn check(hello: &Greeting, options: &Options) -> Result<(), Refusal> {
    let (server, client) = (greeting(options), hello);
    if client.version != VERSION {
        return Err(Refusal::Version { server: VERSION.into(), client: client.version.into() });
    }
    if client.service != server.service {
        return Err(Refusal::Service { server: server.service.into(), client: client.service.into() });
    }
    if client.codec == CODEC_ANY {
        // It knows no types, and says so: what it sends is checked message by message, as everything is.
    } else if client.codec != server.codec {
        return Err(Refusal::Codec { server: server.codec.into(), client: client.codec.into() });
    }
    if client.codec != CODEC_ANY && client.schema != server.schema {
        return Err(Refusal::Schema { server: server.schema, client: client.schema });
    }
    let max = options.limits.max_ring_bytes;
    if !is_ring(client.ring_bytes, max) {
        return Err(Refusal::RingBytes { server: max, client: client.ring_bytes });
    }
    Ok(())
}

/// Connected, no offer yet.
pub(crate) struct Ready {
    pub(crate) service: Arc<str>,
}

/// The client has the server's segment; its `Commit` or `Decline` comes next.
pub(crate) struct Accepted {
    segments: Segments,
}

impl Ready {
    /// Maps the client's segment, makes the server's and queues `Accept`; or queues `Decline` and says why.
    pub(crate) fn on_offer(
        self,
        fd: Result<Fd, String>,
        session: [u8; 16],
        settled: &Settled,
        framed: &mut Framed,
    ) -> Result<Result<Accepted, String>, Error> {
        let made = fd.and_then(|fd| {
            if !settled.shared_memory {
                return Err("shared memory is switched off here".into());
            }
            let peer = segment::open(fd, settled, session)
                .map_err(|error| format!("the server could not take the client's segment: {error}"))?;
            fail_point!("upgrade.offer_taken");
            let own = segment::create(settled, &self.service, segment::Side::Server, session)
                .map_err(|error| format!("the server could not make its segment: {error}"))?;
            Ok(Segments { own, peer })
        });
        match made {
            Ok(segments) => {
                fail_point!("upgrade.server_segment");
                let frame = Control::Accept { total_bytes: segment::total_bytes(settled.own_ring_bytes), session };
                framed.send_control(&frame.encode(), Some(Rider::Segment(segments.own.clone())))?;
                fail_point!("upgrade.accept_queued");
                Ok(Ok(Accepted { segments }))
            }
            Err(reason) => {
                framed.send_control(&Control::Decline { reason: reason.clone() }.encode(), None)?;
                Ok(Err(reason))
            }
        }
    }
}

impl Accepted {
    /// Queues `Switched`: the server's last bytes on the socket that are not doorbells.
    pub(crate) fn on_commit(self, framed: &mut Framed) -> Result<Segments, Error> {
        fail_point!("upgrade.commit_taken");
        framed.send_control(&Control::Switched.encode(), None)?;
        fail_point!("upgrade.switched_queued");
        Ok(self.segments)
    }
}
