//! What travels between a trader and the exchange.

use strait::rkyv::{Archive, Deserialize, Serialize};

/// What a trader asks.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(crate = strait::rkyv)]
pub enum ExchangeRequest {
    /// Match this order, and keep in the book what is left of it.
    Order(LimitOrder),
    /// Send these bytes back.
    Echo(Vec<u8>),
    /// Send back the [digest](crate::payload::digest) of these bytes: an answer of 8 bytes.
    Digest(Vec<u8>),
}

/// What the exchange answers.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(crate = strait::rkyv)]
pub enum ExchangeReply {
    /// What became of the order.
    Order(OrderReply),
    /// The bytes, as they came.
    Echo(Vec<u8>),
    /// The digest of the bytes.
    Digest(u64),
}

/// Which way an order trades.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[rkyv(crate = strait::rkyv)]
pub enum Side {
    /// Buys at its price or lower.
    Buy,
    /// Sells at its price or higher.
    Sell,
}

/// An order to trade at a price or a better one.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[rkyv(crate = strait::rkyv)]
pub struct LimitOrder {
    /// The client's own number for the order; it comes back in the reply.
    pub client_order_id: u64,
    /// Which way it trades.
    pub side: Side,
    /// The limit, in ticks, from 1.
    pub price: u64,
    /// How much, from 1 to [`MAX_QUANTITY`](crate::book::MAX_QUANTITY).
    pub quantity: u32,
}

/// One trade of an order against one that was there before it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[rkyv(crate = strait::rkyv)]
pub struct Fill {
    /// The exchange's number of the order that was there.
    pub maker_order_id: u64,
    /// The price: that of the order that was there.
    pub price: u64,
    /// How much.
    pub quantity: u32,
}

/// What became of an order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[rkyv(crate = strait::rkyv)]
pub struct OrderReply {
    /// The client's number of the order.
    pub client_order_id: u64,
    /// The exchange's number of the order; later orders have larger ones.
    pub order_id: u64,
    /// Its trades, best price first, and at one price the order that waited longest first.
    pub fills: Vec<Fill>,
    /// What is left of it and now rests in the book.
    pub resting: u32,
}
