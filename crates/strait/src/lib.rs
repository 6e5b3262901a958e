//! Shared-memory IPC for processes of one host: typed calls at the speed of a cache line.
//!
//! A client calls a named server. The connection starts on a Unix socket and moves to shared memory by itself; where that
//! can't be had, the same calls go on over the socket.
//!
//! ```
//! use strait::rpc::{Request, blocking::{Client, Server}};
//!
//! let server = Server::bind("doubler-doc")?;
//! let handle = server.handle();
//! let thread = std::thread::spawn(move || server.serve(|number: Request<u64>| Ok::<u64, String>(number.to_native() * 2)));
//!
//! let client: Client<u64, u64> = Client::connect("doubler-doc")?;
//! assert_eq!(client.call(&21)?.get().to_native(), 42);
//!
//! handle.shutdown();
//! thread.join().unwrap()?;
//! # Ok::<(), strait::rpc::Error>(())
//! ```
//!
//! This crate only puts the others together; each of them is useful alone.
//!
//! | module | crate | what |
//! |---|---|---|
//! | [`config`] | | every knob with its name, default and range, from a file, the environment or a preset |
//! | [`rpc`] | `strait-rpc` | typed calls, async or blocking |
//! | [`stream`] | `strait-channel` | one producer, one consumer: between processes, to a child, in-process |
//! | [`state`] | `strait-channel` | a daemon publishes its latest value, shells read it and send commands |
//! | [`queue`] | `strait-channel` | a named work queue, many producers and many workers |
//! | [`transport`] | `strait-transport` | connections: socket, shared memory, in-process |
//! | [`frame`] | `strait-frame` | envelopes and codecs |
//! | [`spsc`] | `strait-spsc` | rings for one producer and one consumer: records of any length, typed slots |
//! | [`mpmc`] | `strait-mpmc` | a bounded queue for many of both, in a process and between processes |
//! | [`seqlock`] | `strait-seqlock` | the latest value for readers that nobody waits for |
//! | [`region`] | `strait-region` | sealed memory |
//! | [`sync`] | `strait-sync` | words, tickets, futex |
#![forbid(unsafe_code)]

pub mod config;
mod presets;

pub use config::Config;
pub use rkyv;
pub use strait_channel::{queue, state, stream};
pub use strait_frame as frame;
pub use strait_mpmc as mpmc;
pub use strait_region as region;
pub use strait_rpc as rpc;
pub use strait_seqlock as seqlock;
pub use strait_spsc as spsc;
pub use strait_sync as sync;
pub use strait_transport as transport;
pub use strait_transport::{HonestPeer, Options, TransportKind, ValidArchives};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
