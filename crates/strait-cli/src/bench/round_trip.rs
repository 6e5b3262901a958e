//! A message there and back: written anew for each trip, the answer compared in full.

use std::time::{Duration, Instant};

use strait::{
    Options, TransportKind,
    transport::{Connection, Interest, Message, Transport, Wake},
};

use super::{
    Over, PATIENCE,
    pair::{Cpus, Pair},
    samples::Samples,
    too_slow,
};
use crate::{failure::Failure, partner::Task};

pub(super) const PAYLOAD_BYTES: usize = 64;
/// Trips before it counts: to shared memory, and to warm caches.
const WARM_UP: u64 = 2_000;

pub(super) fn measure(cpus: &Cpus, options: &Options, time: Duration) -> Result<(Samples, Over), Failure> {
    let mut pair = Pair::start(Task::Echo, cpus, options)?;
    let measured = trips(&mut pair.connection, time);
    let over = (pair.connection.transport(), pair.connection.fallback_reason().map(str::to_owned));
    pair.end();
    Ok((measured?, over))
}

fn trips(connection: &mut Connection, time: Duration) -> Result<Samples, Failure> {
    let mut samples = Samples::new()?;
    // Over a socket each takes long: some are enough.
    let warm = Instant::now();
    for turn in 0..WARM_UP {
        trip(connection, turn)?;
        if warm.elapsed() > time && connection.transport() != TransportKind::Shared {
            break;
        }
    }
    let mut begin = Instant::now();
    for turn in WARM_UP.. {
        trip(connection, turn)?;
        let end = Instant::now();
        samples.add(end - begin);
        if samples.elapsed() >= time {
            break;
        }
        begin = end;
    }
    Ok(samples)
}

fn trip(connection: &mut Connection, turn: u64) -> Result<(), Failure> {
    let payload = payload(turn);
    connection.send(&payload).map_err(|error| Failure::because("a message could not be sent", error))?;
    let answer = answer(connection)?;
    if *answer != payload {
        return Err(Failure::DidNotHold(format!("message {turn} came back wrong: {:?} for {payload:?}", &*answer)));
    }
    Ok(())
}

/// Bytes that differ in every word, and from turn to turn.
fn payload(turn: u64) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    super::stream::fill(&mut payload, turn);
    payload
}

/// The next message, which must come in time.
pub(super) fn answer(connection: &mut Connection) -> Result<Message, Failure> {
    let failed = |error| Failure::because("the connection failed", error);
    let mut deadline = None;
    loop {
        if let Some(message) = connection.try_recv().map_err(failed)? {
            return Ok(message);
        }
        // The clock is read only where there is something to wait for.
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
        if connection.wait_ready(Interest::DATA, Some(deadline)).map_err(failed)? == Wake::TimedOut {
            return Err(too_slow("a message"));
        }
    }
}
