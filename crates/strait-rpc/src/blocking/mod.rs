//! Calls from threads, and a server with one thread per connection or a few that poll. The same messages and types as the async ones.

mod client;
#[cfg(not(strait_loom))]
mod methods;
mod poller;
#[cfg(not(strait_loom))]
mod polling;
#[cfg(not(strait_loom))]
mod proxy;
#[cfg(not(strait_loom))]
mod server;
#[cfg(not(strait_loom))]
mod service;
#[cfg(not(strait_loom))]
mod session;

pub use crate::driver::ClientPolling;
#[cfg(not(strait_loom))]
pub use crate::reconnect::blocking::Reconnecting;
pub use client::Client;
#[cfg(not(strait_loom))]
pub use methods::Methods;
pub use poller::Poller;
#[cfg(not(strait_loom))]
pub use polling::Polling;
#[cfg(not(strait_loom))]
pub use proxy::{Proxy, Streaming};
#[cfg(not(strait_loom))]
pub use server::{Server, ServerHandle};
#[cfg(not(strait_loom))]
pub use strait_transport::{PinError, pin_current_thread};
