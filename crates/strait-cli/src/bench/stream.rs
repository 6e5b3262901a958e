//! Messages one way: written where they will be read from, summed up at the other end, and the sums compared.

use std::time::{Duration, Instant};

use strait::{
    Options,
    transport::{Connection, Interest, SendError, Transport, Wake},
};

use super::{
    only_through_memory,
    pair::{Cpus, Pair},
    round_trip::answer,
    too_slow,
};
use crate::{
    failure::Failure,
    partner::{Task, sum},
};

pub(super) const MESSAGE_BYTES: usize = 32 << 10;
/// Messages before it counts.
const WARM_UP: u64 = 200;
/// So many between two looks at the clock.
const ROUND: u64 = 32;

/// What was carried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    messages: u64,
    elapsed: Duration,
}

impl Carried {
    pub(super) fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub(super) fn bytes_per_second(&self) -> f64 {
        self.messages_per_second() * MESSAGE_BYTES as f64
    }
}

pub(super) fn measure(cpus: &Cpus, options: &Options, time: Duration) -> Result<Carried, Failure> {
    let mut pair = Pair::start(Task::Sum, cpus, options)?;
    let measured = carry(&mut pair.connection, time);
    let over = (pair.connection.transport(), pair.connection.fallback_reason().map(str::to_owned));
    pair.end();
    let measured = measured?;
    only_through_memory(over)?;
    Ok(measured)
}

fn carry(connection: &mut Connection, time: Duration) -> Result<Carried, Failure> {
    let mut seeds = 0..;
    send_some(connection, seeds.by_ref().take(WARM_UP as usize))?;
    confirm(connection, 0..WARM_UP)?;
    let begin = Instant::now();
    while begin.elapsed() < time {
        send_some(connection, seeds.by_ref().take(ROUND as usize))?;
    }
    // Until the last of them has been read, and not until it was sent.
    send(connection, 0, &mut |_| 0)?;
    let told = told(connection)?;
    let elapsed = begin.elapsed();
    let messages = seeds.start - WARM_UP;
    check(told, WARM_UP..seeds.start)?;
    Ok(Carried { messages, elapsed })
}

fn send_some(connection: &mut Connection, seeds: impl Iterator<Item = u64>) -> Result<(), Failure> {
    for seed in seeds {
        send(connection, MESSAGE_BYTES, &mut |span| {
            fill(&mut span[..MESSAGE_BYTES], seed);
            MESSAGE_BYTES
        })?;
    }
    Ok(())
}

/// Asks for the sum of what was sent since the last time, and compares it.
fn confirm(connection: &mut Connection, seeds: std::ops::Range<u64>) -> Result<(), Failure> {
    send(connection, 0, &mut |_| 0)?;
    check(told(connection)?, seeds)
}

/// The sum of what the partner has read, and of how many messages.
fn told(connection: &mut Connection) -> Result<(u64, u64), Failure> {
    let answer = answer(connection)?;
    let word = |at: usize| answer.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    match (answer.len(), word(0), word(8)) {
        (16, Some(sum), Some(count)) => Ok((sum, count)),
        (len, ..) => Err(Failure::DidNotHold(format!("the sum has {len} bytes, expected 16"))),
    }
}

/// Makes the same messages once more.
fn check(told: (u64, u64), seeds: std::ops::Range<u64>) -> Result<(), Failure> {
    let count = seeds.end - seeds.start;
    let mut message = vec![0; MESSAGE_BYTES];
    let total = seeds.fold(0, |total, seed| {
        fill(&mut message, seed);
        sum(total, &message)
    });
    if told != (total, count) {
        return Err(Failure::DidNotHold(format!(
            "the other end read {told:x?} as sum and count, sent were {:x?}",
            (total, count)
        )));
    }
    Ok(())
}

fn send(
    connection: &mut Connection,
    max_bytes: usize,
    write: &mut dyn FnMut(&mut [u8]) -> usize,
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::because("a message could not be sent", error);
    loop {
        match connection.try_send(max_bytes, &mut |span| Ok(write(span))) {
            Ok(()) => return connection.publish().map_err(|error| failed(&error)),
            Err(SendError::Full) => {
                let deadline = Instant::now() + super::PATIENCE;
                match connection.wait_ready(Interest::SPACE, Some(deadline)) {
                    Ok(Wake::TimedOut) => return Err(too_slow("a full ring")),
                    Ok(_) => {}
                    Err(error) => return Err(failed(&error)),
                }
            }
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// Fills `bytes`, a multiple of 8 of them, with words that all differ, and from seed to seed.
pub(super) fn fill(bytes: &mut [u8], seed: u64) {
    let first = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let (words, _) = bytes.as_chunks_mut::<8>();
    for (index, word) in words.iter_mut().enumerate() {
        *word = first.wrapping_add((index as u64).wrapping_mul(0xD1B5_4A32_D192_ED03)).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_or_count_is_noticed() {
        let mut message = vec![0; MESSAGE_BYTES];
        fill(&mut message, 7);
        let right = sum(0, &message);
        check((right, 1), 7..8).unwrap();
        assert!(check((right, 2), 7..8).is_err());
        for at in [0, 1000, MESSAGE_BYTES - 1] {
            message[at] ^= 1;
            assert!(check((sum(0, &message), 1), 7..8).is_err(), "byte {at}");
            message[at] ^= 1;
        }
    }
}
