//! A named work queue: many producers and many workers, in any processes, through its owner.
//!
//! The owner holds the items in private memory and speaks with each participant over a connection of its own, which moves to
//! shared memory by itself. So no participant can harm another: who dies, stops or floods takes up its own connection and no
//! more.
//!
//! - **Without acknowledgements** (the default) an item is given to one worker, once. What a worker that dies had been given and
//!   not taken is lost, and counted.
//! - **With them** ([`Settings::acknowledged`]) an item is given to another worker, and counts its [deliveries](Item::deliveries),
//!   until one acknowledges it.
//!
//! The queue is bounded, in items and bytes: an owner that has as much takes no more, and producers wait ([`push`]), with a limit, or
//! fail at once ([`try_push`]). Producers have their turns alike, however much each brings. Items go to the worker that has the
//! fewest, at most its prefetch ahead. Nobody who waits costs anything.
//!
//! [`push`]: blocking::Producer::push
//! [`try_push`]: blocking::Producer::try_push

pub mod blocking;
mod error;
mod join;
mod ledger;
mod message;
mod owner;
mod places;
mod producer;
mod settings;
#[cfg(feature = "tokio")]
mod tasks;
mod without_waits;
mod worker;

pub use error::{Error, Unacknowledged};
#[cfg(feature = "tokio")]
pub use owner::tasks::{Owner, OwnerHandle};
pub use settings::{Settings, Stats};
#[cfg(feature = "tokio")]
pub use tasks::{Producer, Worker};
pub use worker::Item;

/// Service kind of a queue in `Hello`.
pub(crate) const SERVICE_QUEUE: u8 = 4;
