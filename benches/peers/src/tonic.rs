//! tonic: gRPC over a Unix socket. The service is written by hand: one unary method whose messages are bytes.

use std::{convert::Infallible, path::PathBuf, rc::Rc};

use bytes::{Buf, BufMut, Bytes};
use strait_benches::{Answer, Call, Meeting, Outcome, RoundTrip};
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    client,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::{self, uri::PathAndQuery},
    server,
    transport::{Endpoint, Server},
};
use tower::service_fn;

pub(crate) fn round_trips() -> Vec<RoundTrip> {
    vec![RoundTrip { name: "tonic-unix", max_clients: usize::MAX, serve, connect }]
}

/// Bytes as they are, without a protobuf message around them.
#[derive(Clone, Copy)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// One thread: both processes are pinned to one core.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn socket(meeting: &Meeting<'_>) -> PathBuf {
    meeting.dir.join("socket")
}

fn serve(meeting: &Meeting<'_>) -> Outcome<()> {
    runtime()?.block_on(async {
        let incoming = UnixListenerStream::new(UnixListener::bind(socket(meeting))?);
        let answer = meeting.answer;
        let echo = move |request: Request<Bytes>| async move {
            let request = request.into_inner();
            let reply = match answer {
                Answer::Echo => request,
                Answer::Sum => Bytes::copy_from_slice(answer.to(&request, &mut [0; 8])),
            };
            Ok::<_, Status>(Response::new(reply))
        };
        let service = service_fn(move |request: http::Request<Body>| async move {
            Ok::<_, Infallible>(server::Grpc::new(Plain).unary(service_fn(echo), request).await)
        });
        Ok(Server::builder().serve_with_incoming(service, incoming).await?)
    })
}

fn connect(meeting: &Meeting<'_>) -> Outcome<Call> {
    let runtime = Rc::new(runtime()?);
    let uri = format!("unix://{}", socket(meeting).display());
    let channel = runtime.block_on(async { Endpoint::from_shared(uri)?.connect().await })?;
    let mut client = client::Grpc::new(channel);
    Ok(Box::new(move |payload, reply| {
        let answer = runtime.block_on(async {
            client.ready().await?;
            let request = Request::new(Bytes::copy_from_slice(payload));
            let path = PathAndQuery::from_static("/bench.Echo/Echo");
            Ok::<_, Box<dyn std::error::Error>>(client.unary(request, path, Plain).await?)
        })?;
        reply(answer.get_ref());
        Ok(())
    }))
}
