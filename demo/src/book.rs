//! A limit order book: price-time priority, partial fills. Plain data, no processes.

use std::collections::{BTreeMap, VecDeque};

use strait::rkyv::{Archive, Deserialize, Serialize};

use crate::messages::{Fill, LimitOrder, OrderReply, Side};

/// Largest quantity of an order. It bounds the trades of one order, and so the size of a reply.
pub const MAX_QUANTITY: u32 = 1_000;
/// Orders that may rest in a book.
pub const MAX_RESTING_ORDERS: u64 = 1 << 20;

/// Why a book does not take an order. The book is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The quantity is out of range.
    #[error("the order's quantity is {0}, expected 1 to {MAX_QUANTITY}: split it")]
    Quantity(u32),
    /// The price is zero.
    #[error("the order's price is 0, expected 1 tick or more")]
    Price,
    /// No further order can rest.
    #[error("{MAX_RESTING_ORDERS} orders rest in the book already, which is its limit: trade against some of them")]
    Full,
}

/// What happened in a book so far.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[rkyv(crate = strait::rkyv)]
pub struct Totals {
    /// Orders taken.
    pub orders: u64,
    /// Trades.
    pub fills: u64,
    /// Quantity that changed hands.
    pub traded: u64,
    /// Orders that rest now.
    pub resting_orders: u64,
}

/// An order that waits at its price.
#[derive(Clone, Copy, Debug)]
struct Resting {
    order_id: u64,
    quantity: u32,
}

/// The orders that wait at each price, those that came first in front.
type Levels = BTreeMap<u64, VecDeque<Resting>>;

/// A limit order book for one instrument.
///
/// ```
/// use strait_demo::{book::Book, messages::{LimitOrder, Side}};
/// let mut book = Book::default();
/// let order = |client_order_id, side, price, quantity| LimitOrder { client_order_id, side, price, quantity };
/// assert_eq!(book.submit(&order(1, Side::Sell, 101, 30))?.resting, 30);
/// let reply = book.submit(&order(2, Side::Buy, 102, 50))?;
/// assert_eq!((reply.fills[0].price, reply.fills[0].quantity, reply.resting), (101, 30, 20));
/// # Ok::<(), strait_demo::book::BookError>(())
/// ```
#[derive(Debug, Default)]
pub struct Book {
    bids: Levels,
    asks: Levels,
    totals: Totals,
}

impl Book {
    /// Matches an order against those that rest, and lets the rest of it rest.
    ///
    /// # Errors
    ///
    /// [`BookError`] when the order is out of range or the book is full. Nothing has changed then.
    pub fn submit(&mut self, order: &LimitOrder) -> Result<OrderReply, BookError> {
        if !(1..=MAX_QUANTITY).contains(&order.quantity) {
            return Err(BookError::Quantity(order.quantity));
        }
        if order.price == 0 {
            return Err(BookError::Price);
        }
        if self.totals.resting_orders >= MAX_RESTING_ORDERS {
            return Err(BookError::Full);
        }
        self.totals.orders += 1;
        let order_id = self.totals.orders;
        let mut left = order.quantity;
        let mut fills = Vec::new();
        while left > 0 {
            let Some(fill) = self.trade(order, left) else { break };
            left -= fill.quantity;
            self.totals.fills += 1;
            self.totals.traded += u64::from(fill.quantity);
            fills.push(fill);
        }
        if left > 0 {
            let own = match order.side {
                Side::Buy => &mut self.bids,
                Side::Sell => &mut self.asks,
            };
            own.entry(order.price).or_default().push_back(Resting { order_id, quantity: left });
            self.totals.resting_orders += 1;
        }
        Ok(OrderReply { client_order_id: order.client_order_id, order_id, fills, resting: left })
    }

    /// What happened so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The quantity that rests on one side.
    pub fn resting(&self, side: Side) -> u64 {
        let levels = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        levels.values().flatten().map(|resting| u64::from(resting.quantity)).sum()
    }

    /// One trade of up to `quantity` with the first order on the other side, if its price will do.
    fn trade(&mut self, order: &LimitOrder, quantity: u32) -> Option<Fill> {
        let mut level = match order.side {
            Side::Buy => self.asks.first_entry().filter(|level| *level.key() <= order.price)?,
            Side::Sell => self.bids.last_entry().filter(|level| *level.key() >= order.price)?,
        };
        let price = *level.key();
        let maker = level.get_mut().front_mut()?;
        let fill = Fill { maker_order_id: maker.order_id, price, quantity: quantity.min(maker.quantity) };
        maker.quantity -= fill.quantity;
        if maker.quantity == 0 {
            level.get_mut().pop_front();
            self.totals.resting_orders -= 1;
            if level.get().is_empty() {
                level.remove();
            }
        }
        Some(fill)
    }
}
