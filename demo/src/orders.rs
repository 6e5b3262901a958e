//! A stream of orders, and the check of each answer.

use crate::messages::{ArchivedFill, ArchivedOrderReply, LimitOrder, Side};

/// The price in the middle, in ticks. Nobody buys below it or sells above it, so that every order meets those that wait and
/// the book stays small however long it runs.
const MIDDLE: u64 = 10_000;

/// What is wrong with the answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongOrderReply {
    /// It answers another order.
    #[error("it is for order {found}, expected {expected}")]
    OtherOrder {
        /// The order that was sent.
        expected: u64,
        /// The one that the reply names.
        found: u64,
    },
    /// The exchange's numbers do not grow.
    #[error("the exchange numbered it {found}, expected more than the {before} of the order before")]
    Number {
        /// The number of the client's order before.
        before: u64,
        /// The number of this one.
        found: u64,
    },
    /// What traded and what rests is not what was ordered.
    #[error("{filled} traded and {resting} rest, expected {ordered} in sum")]
    Quantity {
        /// Quantity of the order.
        ordered: u32,
        /// Sum of the trades.
        filled: u64,
        /// What rests.
        resting: u32,
    },
    /// A trade at a price that is worse than the limit, or better than one before it.
    #[error("trade {number} is at price {price}, expected no worse than the limit {limit} and best prices first")]
    Price {
        /// Which trade, from 0.
        number: usize,
        /// Its price.
        price: u64,
        /// The order's limit.
        limit: u64,
    },
}

/// The orders of one client.
#[derive(Debug)]
pub struct OrderFlow {
    random: u64,
    next_id: u64,
    last_number: u64,
}

impl OrderFlow {
    /// A stream that differs from client to client, and is the same on every run.
    pub fn new(client: usize) -> Self {
        let client = client as u64 + 1;
        Self { random: client.wrapping_mul(0x9E37_79B9_7F4A_7C15), next_id: client << 40, last_number: 0 }
    }

    /// The next order: 1 to 100 at one of four prices.
    pub fn order(&mut self) -> LimitOrder {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.next_id += 1;
        let away = (self.random >> 32) % 4;
        let (side, price) = match self.random >> 63 {
            0 => (Side::Buy, MIDDLE + away),
            _ => (Side::Sell, MIDDLE - away),
        };
        LimitOrder { client_order_id: self.next_id, side, price, quantity: (self.random >> 40) as u32 % 100 + 1 }
    }

    /// Checks what the exchange made of `order`.
    ///
    /// # Errors
    ///
    /// [`WrongOrderReply`] naming the first thing that cannot be true.
    pub fn check(&mut self, order: &LimitOrder, reply: &ArchivedOrderReply) -> Result<(), WrongOrderReply> {
        let found = reply.client_order_id.to_native();
        if found != order.client_order_id {
            return Err(WrongOrderReply::OtherOrder { expected: order.client_order_id, found });
        }
        let before = std::mem::replace(&mut self.last_number, reply.order_id.to_native());
        if self.last_number <= before {
            return Err(WrongOrderReply::Number { before, found: self.last_number });
        }
        let filled: u64 = reply.fills.iter().map(|fill| u64::from(fill.quantity.to_native())).sum();
        let resting = reply.resting.to_native();
        if filled + u64::from(resting) != u64::from(order.quantity) {
            return Err(WrongOrderReply::Quantity { ordered: order.quantity, filled, resting });
        }
        let mut best = if order.side == Side::Buy { 0 } else { u64::MAX };
        for (number, fill) in reply.fills.iter().enumerate() {
            let price = fill.price.to_native();
            let in_order = match order.side {
                Side::Buy => (best..=order.price).contains(&price),
                Side::Sell => (order.price..=best).contains(&price),
            };
            if !in_order {
                return Err(WrongOrderReply::Price { number, price, limit: order.price });
            }
            best = price;
        }
        Ok(())
    }
}

/// Bytes of an order as it travels.
pub const ORDER_BYTES: usize = size_of::<<LimitOrder as strait::rkyv::Archive>::Archived>();

/// Bytes of the answer to an order as it travels.
pub fn reply_bytes(reply: &ArchivedOrderReply) -> usize {
    size_of::<ArchivedOrderReply>() + reply.fills.len() * size_of::<ArchivedFill>()
}

#[cfg(test)]
mod tests {
    use strait::rkyv::{access, rancor::Error, to_bytes};

    use super::*;
    use crate::{
        book::Book,
        messages::{Fill, OrderReply},
    };

    fn checked(flow: &mut OrderFlow, order: &LimitOrder, reply: &OrderReply) -> Result<(), WrongOrderReply> {
        let bytes = to_bytes::<Error>(reply).unwrap();
        flow.check(order, access::<ArchivedOrderReply, Error>(&bytes).unwrap())
    }

    #[test]
    fn what_the_book_answers_is_right_and_the_book_stays_small() {
        let (mut book, mut flow) = (Book::default(), OrderFlow::new(0));
        for _ in 0..20_000 {
            let order = flow.order();
            let reply = book.submit(&order).unwrap();
            checked(&mut flow, &order, &reply).unwrap();
        }
        assert!(book.totals().fills > 10_000);
        assert!(book.totals().resting_orders < 2_000, "{:?}", book.totals());
    }

    #[test]
    fn a_wrong_answer_is_told_apart() {
        let order = LimitOrder { client_order_id: 9, side: Side::Buy, price: 100, quantity: 10 };
        let fill = |price, quantity| Fill { maker_order_id: 1, price, quantity };
        let right = OrderReply { client_order_id: 9, order_id: 5, fills: vec![fill(98, 4), fill(99, 4)], resting: 2 };
        let after = |change: fn(&mut OrderReply)| {
            let mut reply = right.clone();
            change(&mut reply);
            let mut flow = OrderFlow { last_number: 4, ..OrderFlow::new(0) };
            checked(&mut flow, &order, &reply)
        };
        assert_eq!(after(|_| ()), Ok(()));
        assert_eq!(after(|r| r.client_order_id = 8), Err(WrongOrderReply::OtherOrder { expected: 9, found: 8 }));
        assert_eq!(after(|r| r.order_id = 4), Err(WrongOrderReply::Number { before: 4, found: 4 }));
        assert_eq!(after(|r| r.resting = 3), Err(WrongOrderReply::Quantity { ordered: 10, filled: 8, resting: 3 }));
        assert_eq!(after(|r| r.fills[1].price = 97), Err(WrongOrderReply::Price { number: 1, price: 97, limit: 100 }));
        assert_eq!(
            after(|r| r.fills[1].price = 101),
            Err(WrongOrderReply::Price { number: 1, price: 101, limit: 100 })
        );
    }
}
