//! rpc: one call after the other, the payload echoed.
//!
//! The client fills the whole payload anew for each call and compares the whole reply; the server copies the whole request
//! into its reply.

pub(crate) mod archives;
mod floor;
mod others;
mod system;

use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use strait::{
    HonestPeer, TransportKind, ValidArchives,
    frame::{Codec, DecodeError, EncodeError, Raw, RawBytes, Sink, StableBytes},
    rpc::{self, Options, Receive, Request, blocking},
};

pub use self::others::{Answer, Call, Meeting, Outcome, RoundTrip};
pub(crate) use self::others::{SHORT, unless_gone};
use crate::{
    engine::{Engine, Measured, Peer, Role, Samples, Side},
    wake,
};

pub(crate) const SERVICE: &str = "bench";
/// Payloads above this need a ring of 8 MiB, and get one.
const DEFAULT_RING_UP_TO: usize = 20_000;
const LARGE_RING_BYTES: u64 = 8 << 20;
const SMALLEST_RING_BYTES: u64 = 4096;

/// The engines, from the slowest path to the fastest.
const NAMES: [&str; 11] = [
    "strait-socket-blocking",
    "strait-socket-polled",
    "strait-shm-async",
    "strait-shm-async-nosum",
    "strait-shm-blocking",
    "strait-shm-blocking-nosum",
    "strait-shm-polling",
    "strait-shm-inplace",
    "strait-shm-inplace-nosum",
    // Archives instead of raw bytes, to be compared with each other.
    "strait-shm-rkyv-inplace",
    "strait-shm-rkyv-unvalidated",
];

/// The engine that others are compared with.
pub(crate) const REFERENCE: &str = "strait-shm-blocking";

/// Ours with each payload, and beside them the system's ways and the `peers`.
pub(crate) fn engines(peers: &[RoundTrip]) -> Vec<Engine> {
    let sizes = [64, 4096, 20_000, 64 << 10, 1 << 20];
    let of_size = |payload_bytes: usize| {
        let ours = NAMES.map(|name| Engine { scenario: "rpc".into(), name: name.into(), payload_bytes });
        let ways = floor::WAYS.iter().chain(others(peers)).map(move |way| way.engine(payload_bytes));
        ours.into_iter().chain(ways)
    };
    // What its aim is about, and no more.
    let smallest = ["strait-shm-blocking", "strait-shm-blocking-nosum"].map(|name| Engine {
        scenario: "rpc".into(),
        name: name.into(),
        payload_bytes: 32,
    });
    smallest.into_iter().chain(sizes.into_iter().flat_map(of_size)).collect()
}

/// The system's ways and the `peers`.
pub(crate) fn others(peers: &[RoundTrip]) -> impl Iterator<Item = &RoundTrip> {
    system::WAYS.iter().chain(peers)
}

/// Bytes that the server echoes out of the request itself: raw bytes both ways, without a buffer between them.
pub(crate) enum Echo {}

impl Codec<Vec<u8>> for Echo {
    const ID: u8 = <Raw as Codec<Vec<u8>>>::ID;
    type View = [u8];
    type Held<B: StableBytes> = RawBytes<B>;

    fn encode(value: &Vec<u8>, sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        sink.write(value)
    }

    fn open<B: StableBytes>(bytes: B) -> Result<RawBytes<B>, DecodeError> {
        <Raw as Codec<Vec<u8>>>::open(bytes)
    }

    fn schema() -> u64 {
        1
    }

    fn size_hint(value: &Vec<u8>) -> usize {
        value.len()
    }
}

/// A reply that is its request, or the sum of that.
struct Echoed {
    request: Request<Vec<u8>, Echo>,
    answer: Answer,
}

impl Codec<Echoed> for Echo {
    const ID: u8 = <Raw as Codec<Vec<u8>>>::ID;
    type View = [u8];
    type Held<B: StableBytes> = RawBytes<B>;

    fn encode(value: &Echoed, sink: &mut Sink<'_>) -> Result<(), EncodeError> {
        sink.write(value.answer.to(&value.request, &mut [0; 8]))
    }

    fn open<B: StableBytes>(bytes: B) -> Result<RawBytes<B>, DecodeError> {
        <Raw as Codec<Vec<u8>>>::open(bytes)
    }

    fn schema() -> u64 {
        1
    }

    fn size_hint(value: &Echoed) -> usize {
        value.answer.bytes(value.request.len())
    }
}

pub(crate) fn options(role: &Role) -> Options {
    let name = role.engine.name.as_str();
    let mut options = Options { runtime_dir: Some(PathBuf::from(&role.meet)), schema: 1, ..Options::default() };
    if role.engine.payload_bytes > DEFAULT_RING_UP_TO {
        options.ring_bytes = LARGE_RING_BYTES;
    }
    if name.ends_with("-small") {
        options.ring_bytes = SMALLEST_RING_BYTES;
    }
    options.shared_memory = name.contains("-shm-") || role.engine.scenario == "instructions";
    options.checksum = !name.ends_with("-nosum");
    options.timestamp = options.checksum;
    if name.contains("-inplace") {
        #[allow(unsafe_code)]
        // SAFETY: both processes are this very program.
        let trust = unsafe { HonestPeer::assume() };
        options.receive = Receive::InPlace(trust);
    }
    if name.ends_with("-unvalidated") {
        #[allow(unsafe_code)]
        // SAFETY: both processes are this very program.
        let honest = unsafe { HonestPeer::assume() };
        #[allow(unsafe_code)]
        // SAFETY: as above, with the same types at both ends.
        let valid = unsafe { ValidArchives::assume() };
        options.receive = Receive::InPlaceUnvalidated(honest, valid);
    }
    if name.ends_with("-polled") {
        options.spin_socket = Duration::from_millis(50);
    }
    if role.engine.scenario == "instructions" {
        (options.spin, options.spin_async) = (Duration::ZERO, Duration::ZERO);
    }
    if options.shared_memory && role.engine.scenario == "rpc" {
        // Both sides are to be awake all the time: what is measured is the ring and not the parking.
        options.spin = Duration::from_millis(50);
        options.spin_async = Duration::from_millis(1);
    }
    options
}

pub(crate) fn run(role: &Role, peers: &[RoundTrip]) -> Result<Option<Measured>, Box<dyn Error>> {
    if let Some(way) = floor::WAYS.iter().chain(others(peers)).find(|way| way.name == role.engine.name) {
        return way.run(role);
    }
    if role.engine.name.contains(archives::PART) {
        return match role.side {
            Side::Server => archives::serve(role).map(|()| None),
            Side::Client => archives::call(role).map(Some),
        };
    }
    let is_async = role.engine.name.contains("-async");
    match (role.side, is_async) {
        (Side::Server, false) => serve_blocking(role).map(|()| None),
        (Side::Server, true) => runtime()?.block_on(serve_async(role)).map(|()| None),
        (Side::Client, false) => call_blocking(role).map(Some),
        (Side::Client, true) => runtime()?.block_on(call_async(role)).map(Some),
    }
}

pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

pub(crate) fn serve_blocking(role: &Role) -> Result<(), Box<dyn Error>> {
    let server = blocking::Server::<Echo>::bind_as(SERVICE, &options(role))?;
    let answer = Answer::of(role);
    let echo = move |request| Ok::<_, String>(Echoed { request, answer });
    match role.engine.name.contains("-polling") {
        true => server.serve_polling(echo, &blocking::Polling::default())?,
        false => server.serve(echo)?,
    }
    Ok(())
}

pub(crate) async fn serve_async(role: &Role) -> Result<(), Box<dyn Error>> {
    let server = rpc::Server::<Echo>::bind_as(SERVICE, &options(role))?;
    let answer = Answer::of(role);
    Ok(server.serve(move |request| async move { Ok::<_, String>(Echoed { request, answer }) }).await?)
}

/// Calls before the measurement: the first ones go over the socket.
const WARM_UP: usize = 2_000;

/// Checks that what was asked for is what is measured.
fn check_transport(role: &Role, transport: TransportKind) -> Result<(), Box<dyn Error>> {
    let expected = if role.engine.name.contains("-shm-") { TransportKind::Shared } else { TransportKind::Socket };
    if transport == expected { Ok(()) } else { Err(format!("runs over {transport}, expected {expected}").into()) }
}

pub(crate) fn check(reply: &[u8], request: &[u8]) -> Result<(), Box<dyn Error>> {
    if reply == request { Ok(()) } else { Err("a reply is not its request".into()) }
}

fn call_blocking(role: &Role) -> Result<Measured, Box<dyn Error>> {
    let server = Peer::start(role, role.meet.clone())?;
    let options = options(role);
    let patience = Instant::now() + Duration::from_secs(5);
    let client = loop {
        match blocking::Client::<Vec<u8>, Vec<u8>, Echo>::connect_with(SERVICE, &options) {
            Ok(client) => break client,
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let mut payload = vec![0u8; role.engine.payload_bytes];
    for turn in 0..WARM_UP.min((64 << 20) / payload.len()).max(20) {
        payload.fill(turn as u8);
        check(&client.call(&payload)?, &payload)?;
    }
    check_transport(role, client.transport())?;
    let processes = server.both();
    let mut samples = Samples::collect(role.millis, &processes)?;
    for turn in 0u64.. {
        wake::rest(role);
        let begin = Instant::now();
        payload.fill(turn as u8);
        let reply = client.call(&payload)?;
        let same = check(&reply, &payload);
        drop(reply);
        let more = samples.add(begin);
        same?;
        if !more {
            break;
        }
    }
    Ok(samples.summed_up(client.transport().to_string())?)
}

async fn call_async(role: &Role) -> Result<Measured, Box<dyn Error>> {
    let server = Peer::start(role, role.meet.clone())?;
    let options = options(role);
    let patience = Instant::now() + Duration::from_secs(5);
    let client = loop {
        match rpc::Client::<Vec<u8>, Vec<u8>, Echo>::connect_with(SERVICE, &options).await {
            Ok(client) => break client,
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    let mut payload = vec![0u8; role.engine.payload_bytes];
    for turn in 0..WARM_UP.min((64 << 20) / payload.len()).max(20) {
        payload.fill(turn as u8);
        check(&client.call(&payload).await?, &payload)?;
    }
    check_transport(role, client.transport())?;
    let processes = server.both();
    let mut samples = Samples::collect(role.millis, &processes)?;
    for turn in 0u64.. {
        wake::rest(role);
        let begin = Instant::now();
        payload.fill(turn as u8);
        let reply = client.call(&payload).await?;
        let same = check(&reply, &payload);
        drop(reply);
        let more = samples.add(begin);
        same?;
        if !more {
            break;
        }
    }
    Ok(samples.summed_up(client.transport().to_string())?)
}
