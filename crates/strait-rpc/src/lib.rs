//! Typed calls over strait connections: many in flight on one connection, answers in any order, blocking or async.
//!
//! ```
//! use rkyv::{Archive, Serialize};
//! use strait_rpc::{Request, blocking};
//!
//! #[derive(Archive, Serialize)]
//! struct Add { left: u32, right: u32 }
//!
//! # let dir = std::env::temp_dir().join(format!("strait-rpc-doc-{}", std::process::id()));
//! # let options = strait_rpc::Options { runtime_dir: Some(dir.clone()), ..Default::default() };
//! let server = blocking::Server::bind_with("adder", &options)?;
//! let handle = server.handle();
//! let thread = std::thread::spawn(move || {
//!     server.serve(|add: Request<Add>| Ok::<u32, String>(add.left.to_native() + add.right.to_native()))
//! });
//!
//! let client = blocking::Client::<Add, u32>::connect_with("adder", &options)?;
//! let sum = client.call(&Add { left: 2, right: 3 })?;
//! assert_eq!(sum.get().to_native(), 5);
//!
//! handle.shutdown();
//! thread.join().unwrap()?;
//! # std::fs::remove_dir(dir).unwrap();
//! # Ok::<(), strait_rpc::Error>(())
//! ```
//!
//! Guarantees, non-guarantees and trade-offs: the crate's README. The bytes: docs/PROTOCOL.md.
#![forbid(unsafe_code)]
// The models take the client's half alone.
#![cfg_attr(strait_loom, allow(dead_code))]

pub mod blocking;
mod calls;
#[cfg(feature = "tokio")]
mod client;
#[cfg(not(strait_loom))]
mod counters;
mod deadline;
#[cfg(not(strait_loom))]
mod description;
mod driver;
mod encode;
mod error;
#[cfg(not(strait_loom))]
mod event;
mod foreign;
#[doc(hidden)]
pub mod fuzz;
mod header;
#[cfg(not(strait_loom))]
mod json;
#[cfg(not(strait_loom))]
mod launch;
#[cfg(not(strait_loom))]
mod names;
mod observe;
#[cfg(not(strait_loom))]
mod outbox;
#[cfg(not(strait_loom))]
mod policy;
#[cfg(all(feature = "tokio", not(strait_loom)))]
mod proxy;
#[cfg(not(strait_loom))]
mod push;
#[cfg(not(strait_loom))]
mod reconnect;
#[cfg(not(strait_loom))]
mod refused;
mod request;
#[cfg(not(strait_loom))]
mod reserved;
mod response;
#[cfg(all(feature = "tokio", not(strait_loom)))]
mod server;
#[cfg(all(feature = "tokio", not(strait_loom)))]
mod service;
#[cfg(all(feature = "tower", not(strait_loom)))]
pub mod tower;
#[cfg(feature = "spans")]
mod trace_context;
mod wakers;

#[cfg(feature = "tokio")]
pub use client::Client;
#[cfg(not(strait_loom))]
pub use counters::{LastError, ServerStats};
#[cfg(not(strait_loom))]
pub use description::{Description, Health, MethodInfo, MethodKind};
pub use encode::schema;
pub use error::{Code, Error};
#[cfg(not(strait_loom))]
pub use event::Event;
#[cfg(not(strait_loom))]
pub use launch::{Launch, LaunchError};
#[cfg(not(strait_loom))]
pub use policy::Policy;
#[cfg(all(feature = "tokio", not(strait_loom)))]
pub use proxy::{Proxy, Streaming};
#[cfg(not(strait_loom))]
pub use push::ClientHandle;
#[cfg(all(feature = "tokio", not(strait_loom)))]
pub use reconnect::tasks::Reconnecting;
#[cfg(not(strait_loom))]
pub use reconnect::{Backoff, Retry};
pub use request::Request;
pub use response::Response;
#[cfg(all(feature = "tokio", not(strait_loom)))]
pub use server::{Server, ServerHandle};
#[cfg(all(feature = "tokio", not(strait_loom)))]
pub use service::Methods;
pub use strait_frame::{Codec, Postcard, Raw, Rkyv};
pub use strait_transport::{HonestPeer, Limits, Options, Receive, TransportKind, ValidArchives};
#[cfg(feature = "spans")]
pub use trace_context::{TraceContext, TraceparentError};

/// How long a call may take unless told otherwise.
pub(crate) const DEFAULT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
/// Whether a trace context may travel with a request.
pub(crate) const CARRIES_TRACES: bool = cfg!(feature = "spans");
/// Service kind of rpc in `Hello`.
pub(crate) const SERVICE_RPC: u8 = 1;
/// Schema of a service of several methods in `Hello`: each method has its own.
pub(crate) const METHODS_SCHEMA: u64 = strait_frame::fnv1a(b"strait methods");

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
