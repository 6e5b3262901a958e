//! The exchange's desk: the same book for who knows no types, by name and in JSON.

use std::{convert::Infallible, sync::Arc};

use strait::rpc::{Request, blocking::Methods};

use crate::{
    book::Totals,
    exchange::Exchange,
    messages::{LimitOrder, OrderReply},
};

/// The name of the desk of the exchange `service`.
pub fn name(service: &str) -> String {
    format!("{service}.desk")
}

/// What can be called there.
pub fn methods(exchange: &Arc<Exchange>) -> Methods {
    let (orders, totals) = (Arc::clone(exchange), Arc::clone(exchange));
    Methods::new()
        .call_json::<LimitOrder, OrderReply, _, _>("order", move |order: Request<LimitOrder>| orders.submit(&order))
        .call_json::<(), Totals, _, _>("totals", move |_: Request<()>| Ok::<_, Infallible>(totals.totals()))
        .document(
            "order: {\"client_order_id\": N, \"side\": \"Buy\" or \"Sell\", \"price\": N, \"quantity\": N} to what \
             became of it\n\
             totals: null to what happened in the book",
        )
}
