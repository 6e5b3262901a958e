//! Calls from threads, and a server with one thread per connection. The same messages and types as the async ones.

mod client;
#[cfg(not(strait_loom))]
mod server;
#[cfg(not(strait_loom))]
mod session;

pub use client::Client;
#[cfg(not(strait_loom))]
pub use server::{Server, ServerHandle};
