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
#[cfg(all(feature = "tokio", not(strait_loom)))]
mod client;
mod deadline;
mod driver;
mod encode;
mod error;
mod header;
mod request;
mod response;
#[cfg(all(feature = "tokio", not(strait_loom)))]
mod server;
mod wakers;

#[cfg(all(feature = "tokio", not(strait_loom)))]
pub use client::Client;
pub use encode::schema;
pub use error::{Code, Error};
pub use request::Request;
pub use response::Response;
#[cfg(all(feature = "tokio", not(strait_loom)))]
pub use server::{Server, ServerHandle};
pub use strait_frame::{Codec, Postcard, Raw, Rkyv};
pub use strait_transport::{HonestPeer, Limits, Options, Receive, TransportKind, ValidArchives};

/// How long a call may take unless told otherwise.
pub(crate) const DEFAULT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
/// Service kind of rpc in `Hello`.
pub(crate) const SERVICE_RPC: u8 = 1;

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
