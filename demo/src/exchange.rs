//! The exchange: one book for all its clients, and an echo.

use std::{
    cell::OnceCell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    book::{Book, Totals},
    messages::{
        ArchivedExchangeRequest, ArchivedLimitOrder, ArchivedSide, ExchangeReply, LimitOrder, OrderReply, Side,
    },
    payload, pin,
};

/// What one serving thread counts. Each has its own, so that threads do not wait for each other's cache line.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

thread_local! {
    /// This thread's counters.
    static COUNTERS: OnceCell<Arc<Counters>> = const { OnceCell::new() };
}

/// Answers requests. Shared by every connection.
#[derive(Debug, Default)]
pub struct Exchange {
    book: Mutex<Book>,
    threads: Mutex<Vec<Arc<Counters>>>,
    pin: bool,
}

impl Exchange {
    /// An exchange with an empty book. With `pin`, each serving thread is kept on a core from its first answer on.
    pub fn new(pin: bool) -> Self {
        Self { pin, ..Self::default() }
    }

    /// Answers one request.
    ///
    /// # Errors
    ///
    /// Why the order was not taken, in words.
    pub fn answer(&self, request: &ArchivedExchangeRequest) -> Result<ExchangeReply, String> {
        let (reply, received, sent) = match request {
            ArchivedExchangeRequest::Order(order) => (ExchangeReply::Order(self.submit(order)?), 0, 0),
            ArchivedExchangeRequest::Echo(bytes) => (ExchangeReply::Echo(bytes.to_vec()), bytes.len(), bytes.len()),
            ArchivedExchangeRequest::Digest(bytes) => {
                (ExchangeReply::Digest(payload::digest(bytes)), bytes.len(), size_of::<u64>())
            }
        };
        COUNTERS.with(|counters| {
            let counters = counters.get_or_init(|| self.new_thread());
            // ORDERING: Relaxed, all three; counts that guard no other memory. Read by `summary`.
            counters.requests.fetch_add(1, Relaxed);
            counters.received_bytes.fetch_add(received as u64, Relaxed);
            counters.sent_bytes.fetch_add(sent as u64, Relaxed);
        });
        Ok(reply)
    }

    /// Matches one order; who has but that to ask is not counted among the requests.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn submit(&self, order: &ArchivedLimitOrder) -> Result<OrderReply, String> {
        lock(&self.book).submit(&native(order)).map_err(|error| error.to_string())
    }

    /// What happened in the book so far.
    pub fn totals(&self) -> Totals {
        lock(&self.book).totals()
    }

    /// What was done so far, over as many connections.
    pub fn summary(&self, connections: u64) -> Summary {
        let threads = lock(&self.threads);
        // ORDERING: Relaxed; pairs with nothing: counts of threads that may still be counting.
        let sum =
            |counter: fn(&Counters) -> &AtomicU64| threads.iter().map(|thread| counter(thread).load(Relaxed)).sum();
        Summary {
            connections,
            requests: sum(|thread| &thread.requests),
            received_bytes: sum(|thread| &thread.received_bytes),
            sent_bytes: sum(|thread| &thread.sent_bytes),
            book: self.totals(),
        }
    }

    /// What a thread does before its first answer.
    fn new_thread(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        let mut threads = lock(&self.threads);
        if self.pin
            && let Err(error) = pin::pin_to_core(2 * threads.len() + 1)
        {
            eprintln!("exchange: a thread cannot be kept on a core, and goes on without: {error}");
        }
        threads.push(Arc::clone(&counters));
        counters
    }
}

/// What an exchange did. Bytes are those that were echoed or digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Connections that were made.
    pub connections: u64,
    /// Requests answered.
    pub requests: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent back.
    pub sent_bytes: u64,
    /// What happened in the book.
    pub book: Totals,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{} connections, {} requests; {:.1} MiB in, {:.1} MiB out; {} orders, {} trades of {} in sum, {} orders resting",
            self.connections,
            self.requests,
            mib(self.received_bytes),
            mib(self.sent_bytes),
            self.book.orders,
            self.book.fills,
            self.book.traded,
            self.book.resting_orders,
        )
    }
}

/// A panic in one connection's thread does not stop the others: book and list are whole between any two statements that
/// can panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn native(order: &ArchivedLimitOrder) -> LimitOrder {
    LimitOrder {
        client_order_id: order.client_order_id.to_native(),
        side: match order.side {
            ArchivedSide::Buy => Side::Buy,
            ArchivedSide::Sell => Side::Sell,
        },
        price: order.price.to_native(),
        quantity: order.quantity.to_native(),
    }
}
