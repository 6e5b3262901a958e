//! rkyv archives instead of raw bytes: what validation costs, in place with and without it.
//!
//! The client makes the orders anew for each call; the server reads every field of every one and replies with their sum, which the
//! client compares with its own. Both engines do the same work; only validation is left out in one.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use strait::{
    rkyv::{Archive, Serialize},
    rpc::{self, Request, blocking},
};

use super::{SERVICE, WARM_UP, check_transport, options};
use crate::engine::{Measured, Peer, Role, Samples};

/// What both engines have in their names.
pub(crate) const PART: &str = "-rkyv-";

#[derive(Archive, Serialize)]
#[rkyv(crate = strait::rkyv)]
pub(crate) struct Order {
    id: u64,
    price: u64,
    symbol: String,
}

/// Bytes that an order takes in its archive: itself, and its symbol behind a pointer.
const ORDER_BYTES: usize = size_of::<ArchivedOrder>() + SYMBOL.len();
const SYMBOL: &str = "XETR:DE000A1EWWW";

/// Orders whose archive takes about as many bytes as the payload is to have.
pub(crate) fn orders(payload_bytes: usize) -> Vec<Order> {
    let count = (payload_bytes / ORDER_BYTES).max(1);
    (0..count).map(|_| Order { id: 0, price: 0, symbol: SYMBOL.to_owned() }).collect()
}

/// Sets every order for this turn; returns what the server is to reply.
pub(crate) fn fill(orders: &mut [Order], turn: u64) -> u64 {
    let mut sum = 0u64;
    for (order, number) in orders.iter_mut().zip(turn..) {
        (order.id, order.price) = (number, number ^ turn);
        sum = sum.wrapping_add(sum_of(order.id, order.price, order.symbol.as_bytes()));
    }
    sum
}

fn sum_of(id: u64, price: u64, symbol: &[u8]) -> u64 {
    symbol.iter().fold(id.wrapping_add(price), |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

pub(crate) fn serve(role: &Role) -> Result<(), Box<dyn Error>> {
    let server = blocking::Server::bind_with(SERVICE, &options(role))?;
    Ok(server.serve(|orders: Request<Vec<Order>>| {
        let sums =
            orders.iter().map(|order| sum_of(order.id.to_native(), order.price.to_native(), order.symbol.as_bytes()));
        Ok::<u64, String>(sums.fold(0, u64::wrapping_add))
    })?)
}

/// A client of [`serve`].
pub(crate) fn connect(role: &Role) -> Result<blocking::Client<Vec<Order>, u64>, rpc::Error> {
    blocking::Client::connect_with(SERVICE, &options(role))
}

pub(super) fn call(role: &Role) -> Result<Measured, Box<dyn Error>> {
    let server = Peer::start(role, role.meet.clone())?;
    let patience = Instant::now() + Duration::from_secs(5);
    let client = loop {
        match connect(role) {
            Ok(client) => break client,
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let mut orders = orders(role.engine.payload_bytes);
    for turn in 0..WARM_UP.min((64 << 20) / role.engine.payload_bytes).max(20) as u64 {
        let sum = fill(&mut orders, turn);
        check(client.call(&orders)?.to_native(), sum)?;
    }
    check_transport(role, client.transport())?;
    let processes = server.both();
    let mut samples = Samples::collect(role.millis, &processes)?;
    for turn in 0u64.. {
        let begin = Instant::now();
        let sum = fill(&mut orders, turn);
        let reply = client.call(&orders)?;
        let same = check(reply.to_native(), sum);
        drop(reply);
        let more = samples.add(begin);
        same?;
        if !more {
            break;
        }
    }
    Ok(samples.summed_up(client.transport().to_string())?)
}

pub(crate) fn check(found: u64, expected: u64) -> Result<(), Box<dyn Error>> {
    if found == expected { Ok(()) } else { Err("the server read other orders than were sent".into()) }
}
