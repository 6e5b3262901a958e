//! ipc-channel: its channels of bytes, which need no serialisation; waited for in the kernel as its users do, and polled.

use std::{
    fs,
    time::{Duration, Instant},
};

use ipc_channel::{
    TryRecvError,
    ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender},
};
use strait_benches::{Call, Meeting, OneWay, Outcome, RoundTrip, Send, Take};

/// What the server sends at first: where to send requests, and where answers come.
type Ends = (IpcBytesSender, IpcBytesReceiver);

/// The file that says where the client waits for them.
const NAME: &str = "one-shot";

pub(crate) fn round_trips() -> Vec<RoundTrip> {
    vec![
        RoundTrip {
            name: "ipc-channel",
            max_clients: 1,
            serve: |meeting| serve(meeting, receive),
            connect: |meeting| connect(meeting, receive),
        },
        RoundTrip {
            name: "ipc-channel-polled",
            max_clients: 1,
            serve: |meeting| serve(meeting, poll),
            connect: |meeting| connect(meeting, poll),
        },
    ]
}

pub(crate) fn one_way() -> Vec<OneWay> {
    vec![OneWay { name: "ipc-channel", produce, consume }]
}

fn produce(meeting: &Meeting<'_>) -> Outcome<Send> {
    let (ask, _answers) = bootstrap(meeting)?;
    Ok(Box::new(move |message| Ok(ask.send(message)?)))
}

fn consume(meeting: &Meeting<'_>) -> Outcome<Take> {
    let (requests, _replies) = meet(meeting)?;
    Ok(Box::new(move |look| {
        look(&requests.recv()?);
        Ok(())
    }))
}

type Receive = fn(&IpcBytesReceiver) -> Outcome<Vec<u8>>;

fn receive(receiver: &IpcBytesReceiver) -> Outcome<Vec<u8>> {
    Ok(receiver.recv()?)
}

fn poll(receiver: &IpcBytesReceiver) -> Outcome<Vec<u8>> {
    loop {
        match receiver.try_recv() {
            Ok(bytes) => return Ok(bytes),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Finds the client and gives it its ends; keeps the other two.
fn meet(meeting: &Meeting<'_>) -> Outcome<(IpcBytesReceiver, IpcBytesSender)> {
    let patience = Instant::now() + Duration::from_secs(10);
    let name = loop {
        match fs::read_to_string(meeting.dir.join(NAME)) {
            Ok(name) => break name,
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let (ask, requests) = ipc::bytes_channel()?;
    let (replies, answers) = ipc::bytes_channel()?;
    IpcSender::<Ends>::connect(name)?.send((ask, answers))?;
    Ok((requests, replies))
}

/// Says where this process waits for its ends, and waits.
fn bootstrap(meeting: &Meeting<'_>) -> Outcome<Ends> {
    let (server, name) = IpcOneShotServer::<Ends>::new()?;
    // Complete as soon as it is there.
    let unfinished = meeting.dir.join("one-shot.new");
    fs::write(&unfinished, name)?;
    fs::rename(unfinished, meeting.dir.join(NAME))?;
    Ok(server.accept()?.1)
}

fn serve(meeting: &Meeting<'_>, receive: Receive) -> Outcome<()> {
    let (requests, replies) = meet(meeting)?;
    loop {
        replies.send(meeting.answer.to(&receive(&requests)?, &mut [0; 8]))?;
    }
}

fn connect(meeting: &Meeting<'_>, receive: Receive) -> Outcome<Call> {
    let (ask, answers) = bootstrap(meeting)?;
    Ok(Box::new(move |payload, reply| {
        ask.send(payload)?;
        reply(&receive(&answers)?);
        Ok(())
    }))
}
