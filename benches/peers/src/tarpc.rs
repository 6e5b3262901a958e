//! tarpc over a Unix socket, with bincode, as its documentation shows it.

use std::path::PathBuf;

use futures::{StreamExt, future};
use serde_bytes::ByteBuf;
use strait_benches::{Answer, Call, Meeting, Outcome, RoundTrip};
use tarpc::{
    client, context,
    serde_transport::unix,
    server::{BaseChannel, Channel},
    tokio_serde::formats::Bincode,
};
use tokio::runtime::Runtime;

pub(crate) fn round_trips() -> Vec<RoundTrip> {
    vec![RoundTrip { name: "tarpc-unix", max_clients: usize::MAX, serve, connect }]
}

#[tarpc::service]
trait Echo {
    async fn echo(bytes: ByteBuf) -> ByteBuf;
}

#[derive(Clone)]
struct Echoing {
    answer: Answer,
}

impl Echo for Echoing {
    async fn echo(self, _: context::Context, bytes: ByteBuf) -> ByteBuf {
        match self.answer {
            Answer::Echo => bytes,
            Answer::Sum => ByteBuf::from(self.answer.to(&bytes, &mut [0; 8])),
        }
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
        let incoming = unix::listen(socket(meeting), Bincode::default).await?;
        let connections = incoming.filter_map(|connection| future::ready(connection.ok()));
        let echoing = Echoing { answer: meeting.answer };
        let served = connections.map(BaseChannel::with_defaults).for_each(|channel| async {
            tokio::spawn(channel.execute(echoing.clone().serve()).for_each(|response| async {
                tokio::spawn(response);
            }));
        });
        served.await;
        Ok(())
    })
}

fn connect(meeting: &Meeting<'_>) -> Outcome<Call> {
    let runtime = runtime()?;
    let client = runtime.block_on(async {
        let transport = unix::connect(socket(meeting), Bincode::default).await?;
        Ok::<_, std::io::Error>(EchoClient::new(client::Config::default(), transport).spawn())
    })?;
    Ok(Box::new(move |payload, reply| {
        let request = ByteBuf::from(payload);
        reply(&runtime.block_on(client.echo(context::current(), request))?);
        Ok(())
    }))
}
