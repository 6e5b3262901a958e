//! The order book: what it promises by example, and beside a naive model.

use proptest::prelude::*;
use strait_demo::{
    book::{Book, BookError, MAX_QUANTITY},
    messages::{Fill, LimitOrder, OrderReply, Side},
};

fn order(client_order_id: u64, side: Side, price: u64, quantity: u32) -> LimitOrder {
    LimitOrder { client_order_id, side, price, quantity }
}

fn fill(maker_order_id: u64, price: u64, quantity: u32) -> Fill {
    Fill { maker_order_id, price, quantity }
}

/// Submits sells of 10 at these prices; the exchange numbers them from 1.
fn with_sells(prices: &[u64]) -> Book {
    let mut book = Book::default();
    for &price in prices {
        book.submit(&order(0, Side::Sell, price, 10)).unwrap();
    }
    book
}

#[test]
fn an_order_that_nothing_crosses_rests() {
    let mut book = with_sells(&[101]);
    let reply = book.submit(&order(7, Side::Buy, 100, 5)).unwrap();
    assert_eq!(reply, OrderReply { client_order_id: 7, order_id: 2, fills: vec![], resting: 5 });
    assert_eq!((book.resting(Side::Buy), book.resting(Side::Sell)), (5, 10));
}

#[test]
fn the_best_price_trades_first_at_the_price_that_was_there() {
    let mut book = with_sells(&[103, 101, 102]);
    let reply = book.submit(&order(7, Side::Buy, 102, 15)).unwrap();
    assert_eq!(reply.fills, [fill(2, 101, 10), fill(3, 102, 5)]);
    assert_eq!(reply.resting, 0);
}

#[test]
fn at_one_price_the_order_that_waited_longest_trades_first() {
    let mut book = with_sells(&[101, 101, 101]);
    let reply = book.submit(&order(7, Side::Buy, 101, 25)).unwrap();
    assert_eq!(reply.fills, [fill(1, 101, 10), fill(2, 101, 10), fill(3, 101, 5)]);
}

#[test]
fn an_order_that_was_filled_in_part_keeps_its_place() {
    let mut book = with_sells(&[101, 101]);
    book.submit(&order(7, Side::Buy, 101, 4)).unwrap();
    let reply = book.submit(&order(8, Side::Buy, 101, 8)).unwrap();
    assert_eq!(reply.fills, [fill(1, 101, 6), fill(2, 101, 2)]);
}

#[test]
fn what_is_left_rests_at_its_limit() {
    let mut book = with_sells(&[101]);
    assert_eq!(book.submit(&order(7, Side::Buy, 105, 30)).unwrap().resting, 20);
    let reply = book.submit(&order(8, Side::Sell, 90, 25)).unwrap();
    assert_eq!(reply.fills, [fill(2, 105, 20)]);
    assert_eq!(reply.resting, 5);
}

#[test]
fn orders_out_of_range_change_nothing() {
    let mut book = with_sells(&[101]);
    let before = book.totals();
    assert_eq!(book.submit(&order(7, Side::Buy, 101, 0)), Err(BookError::Quantity(0)));
    assert_eq!(book.submit(&order(7, Side::Buy, 101, MAX_QUANTITY + 1)), Err(BookError::Quantity(MAX_QUANTITY + 1)));
    assert_eq!(book.submit(&order(7, Side::Buy, 0, 1)), Err(BookError::Price));
    assert_eq!(book.totals(), before);
}

/// Every resting order in one list, in the order of arrival; the best is looked for each time.
#[derive(Default)]
struct Naive {
    resting: Vec<(u64, LimitOrder)>,
    orders: u64,
}

impl Naive {
    fn submit(&mut self, order: &LimitOrder) -> OrderReply {
        self.orders += 1;
        let order_id = self.orders;
        let mut left = *order;
        let mut fills = Vec::new();
        while left.quantity > 0 {
            let crossing = self.resting.iter().enumerate().filter(|(_, (_, maker))| match order.side {
                Side::Buy => maker.side == Side::Sell && maker.price <= order.price,
                Side::Sell => maker.side == Side::Buy && maker.price >= order.price,
            });
            let best = crossing.min_by_key(|(_, (id, maker))| match order.side {
                Side::Buy => (maker.price, *id),
                Side::Sell => (u64::MAX - maker.price, *id),
            });
            let Some((at, &(id, maker))) = best else { break };
            let quantity = left.quantity.min(maker.quantity);
            fills.push(fill(id, maker.price, quantity));
            left.quantity -= quantity;
            self.resting[at].1.quantity -= quantity;
            self.resting.retain(|(_, maker)| maker.quantity > 0);
        }
        if left.quantity > 0 {
            self.resting.push((order_id, left));
        }
        OrderReply { client_order_id: order.client_order_id, order_id, fills, resting: left.quantity }
    }
}

fn orders() -> impl Strategy<Value = Vec<LimitOrder>> {
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    let one = (any::<u64>(), side, 95_u64..105, 1_u32..50)
        .prop_map(|(id, side, price, quantity)| order(id, side, price, quantity));
    prop::collection::vec(one, 0..200)
}

proptest! {
    #[test]
    fn the_book_does_what_the_naive_model_does(orders in orders()) {
        let (mut book, mut naive) = (Book::default(), Naive::default());
        for order in &orders {
            prop_assert_eq!(book.submit(order).unwrap(), naive.submit(order));
        }
        prop_assert_eq!(book.totals().resting_orders, naive.resting.len() as u64);
    }

    #[test]
    fn no_quantity_appears_or_is_lost(orders in orders()) {
        let mut book = Book::default();
        for order in &orders {
            let reply = book.submit(order).unwrap();
            let filled: u32 = reply.fills.iter().map(|fill| fill.quantity).sum();
            prop_assert_eq!(filled + reply.resting, order.quantity);
        }
        let submitted: u64 = orders.iter().map(|order| u64::from(order.quantity)).sum();
        let resting = book.resting(Side::Buy) + book.resting(Side::Sell);
        prop_assert_eq!(submitted, 2 * book.totals().traded + resting);
    }
}
