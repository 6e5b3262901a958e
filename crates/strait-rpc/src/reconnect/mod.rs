//! Clients that connect again.
//!
//! `outcome` says what an error proves, `backoff` how long to wait, `link` keeps the connection and makes it anew, `blocking` and
//! `tasks` are the clients over it.

mod backoff;
pub(crate) mod blocking;
mod link;
mod outcome;
#[cfg(feature = "tokio")]
pub(crate) mod tasks;

pub use backoff::Backoff;
pub use outcome::Retry;
