//! Calls from threads, and a server with one thread per connection. The same messages and types as the async ones.

mod client;
#[cfg(not(strait_loom))]
mod methods;
#[cfg(not(strait_loom))]
mod proxy;
#[cfg(not(strait_loom))]
mod server;
#[cfg(not(strait_loom))]
mod service;
#[cfg(not(strait_loom))]
mod session;

#[cfg(not(strait_loom))]
pub use crate::reconnect::blocking::Reconnecting;
pub use client::Client;
#[cfg(not(strait_loom))]
pub use methods::Methods;
#[cfg(not(strait_loom))]
pub use proxy::{Proxy, Streaming};
#[cfg(not(strait_loom))]
pub use server::{Server, ServerHandle};
