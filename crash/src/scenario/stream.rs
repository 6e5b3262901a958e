//! Streams: a producer that dies or stops under its consumer, and the other way round.
#![allow(unsafe_code)]

use std::time::Duration;

use strait::{
    HonestPeer,
    stream::{Config, Consumer, Endpoint, Error, Producer, Received},
    transport::{Error as TransportError, Receive},
};

use super::Role;
use crate::{
    case::{CALL, Case, Outcome, PATIENCE, Told},
    journal::Journal,
    pattern::{number, pattern},
    place::{NAME, Place},
};

pub(super) const ROLES: &[Role] = &[
    Role { name: "producer", play: produce, survive: consume_from_a_producer },
    Role { name: "consumer", play: consume, survive: produce_for_a_consumer },
    Role { name: "holder", play: hold, survive: produce_for_a_consumer },
];

pub(super) const MESSAGES: u64 = 400;
const SENT: &str = "sent";

pub(super) fn config(place: &Place) -> Config {
    // Small, so that it is full, and wraps, all the time.
    Config { options: place.options(8192), ..Config::default() }
}

pub(super) fn message(sequence: u64) -> Vec<u8> {
    pattern(sequence, 16 + (sequence as usize * 131) % 1500)
}

/// Sends one by one and in batches, and notes how far it is.
pub(super) fn produce_with(mut producer: Producer, journal: &Journal) -> Outcome {
    let mut next = 0;
    while next < MESSAGES {
        let count = if next.is_multiple_of(3) { 4 } else { 1 };
        let batch: Vec<Vec<u8>> = (next..next + count).map(message).collect();
        if count == 1 {
            producer.send(&batch[0]).told("send")?;
        } else {
            producer.send_batch(batch.iter().map(|bytes| &bytes[..])).told("send_batch")?;
        }
        next += count;
        journal.note(SENT, next)?;
        if next.is_multiple_of(16) {
            // Longer than the consumer spins.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    producer.finish(PATIENCE).told("finish")
}

fn produce(place: &Place) -> Outcome {
    let producer = Producer::connect(NAME, &config(place)).told("connect")?;
    produce_with(producer, &Journal::open(&place.data(), SENT)?)
}

/// Receives in order and without a gap, to the end of the stream or of the producer. Returns how many came.
pub(super) fn consume_with(case: &Case, consumer: &mut Consumer) -> Outcome<(u64, Option<Error>)> {
    let mut next = 0;
    loop {
        case.patience("the stream")?;
        match case.within("recv", CALL, || consumer.recv_timeout(CALL))? {
            Ok(None) => return Ok((next, None)),
            Ok(Some(message)) => {
                check(&message, next)?;
                next += 1;
            }
            Err(error) if error.is_timeout() => {}
            Err(error) if error.is_peer_gone() => return Ok((next, Some(error))),
            Err(error) => return Err(format!("recv: {error}")),
        }
        if next.is_multiple_of(32) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub(super) fn check(message: &Received<[u8]>, next: u64) -> Outcome {
    if (message.sequence(), number(message)?, message.lost_before()) != (next, next, 0) {
        return Err(format!("message {} came where {next} was due", message.sequence()));
    }
    Ok(())
}

fn consume_from_a_producer(case: &mut Case) -> Outcome {
    let binding = <Consumer>::bind(NAME, &config(&case.place)).told("binding")?;
    let mut noted = 0;
    case.each(|case| {
        let mut consumer = loop {
            match case.within("accept", Place::HANDSHAKE, || binding.accept_timeout(Place::HANDSHAKE))? {
                Ok(consumer) => break consumer,
                Err(error) if error.is_timeout() && !case.is_over() => case.patience("accepting")?,
                // It died before it was there.
                Err(error) if error.is_timeout() => return Ok(()),
                Err(error) => return Err(format!("accept: {error}")),
            }
        };
        let (received, error) = consume_with(case, &mut consumer)?;
        if let Some(error) = &error {
            case.gone("a consumer", error)?;
        }
        let sent = Journal::read(&case.place.data(), SENT, SENT);
        let sent = sent.get(noted..).and_then(<[u64]>::last).copied().unwrap_or(0);
        noted = Journal::read(&case.place.data(), SENT, SENT).len();
        if received < sent {
            return Err(format!("{sent} messages were sent, {received} came"));
        }
        if error.is_none() && received != MESSAGES {
            return Err(format!("the stream ended in good order after {received} of {MESSAGES} messages"));
        }
        Ok(())
    })
}

fn consume(place: &Place) -> Outcome {
    let mut consumer = Consumer::connect(NAME, &config(place)).told("connect")?;
    receive_all(&mut consumer, |_| ())
}

/// Keeps some of what it received in the ring.
fn hold(place: &Place) -> Outcome {
    let mut config = config(place);
    // SAFETY: the producer is the conductor of this very case.
    config.options.receive = Receive::InPlace(unsafe { HonestPeer::assume() });
    let mut consumer = Consumer::connect(NAME, &config).told("connect")?;
    let mut held = std::collections::VecDeque::new();
    receive_all(&mut consumer, |message| {
        held.push_back(message);
        if held.len() > 2 {
            held.pop_front();
        }
    })
}

fn receive_all(consumer: &mut Consumer, mut keep: impl FnMut(Received<[u8]>)) -> Outcome {
    let mut next = 0;
    while let Some(message) = consumer.recv_timeout(PATIENCE).told("recv")? {
        check(&message, next)?;
        keep(message);
        next += 1;
        if next.is_multiple_of(16) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    if next == MESSAGES { Ok(()) } else { Err(format!("the stream ended after {next} of {MESSAGES} messages")) }
}

fn produce_for_a_consumer(case: &mut Case) -> Outcome {
    let binding = <Producer>::bind(NAME, &config(&case.place)).told("binding")?;
    case.each(|case| {
        let mut producer = loop {
            match case.within("accept", Place::HANDSHAKE, || binding.accept_timeout(Place::HANDSHAKE))? {
                Ok(producer) => break producer,
                Err(error) if error.is_timeout() && !case.is_over() => case.patience("accepting")?,
                Err(error) if error.is_timeout() => return Ok(()),
                Err(error) => return Err(format!("accept: {error}")),
            }
        };
        let mut next = 0;
        while next < MESSAGES {
            case.patience("sending")?;
            match case.within("send", CALL, || producer.send_timeout(&message(next), CALL))? {
                Ok(()) => next += 1,
                Err(error) if error.is_timeout() => {}
                Err(error) if error.is_peer_gone() => return case.gone("a producer", &error),
                Err(error) => return Err(format!("send: {error}")),
            }
            if next.is_multiple_of(32) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        match case.within("finish", CALL, || producer.finish(CALL))? {
            Ok(()) => {}
            Err(Error::Connection(TransportError::TimedOut { .. })) => {}
            Err(error) if error.is_peer_gone() => return case.gone("a producer", &error),
            Err(error) => return Err(format!("finish: {error}")),
        }
        Ok(())
    })
}
