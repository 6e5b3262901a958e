//! Published state: a daemon publishes its latest value, any number of shells read it without slowing it, and send it commands.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use strait_channel::state::{Config, Daemon, blocking::Shell};
//! # let dir = std::env::temp_dir().join(format!("strait-state-doc-{}", std::process::id()));
//! # let options = strait_channel::Options { runtime_dir: Some(dir.clone()), ..Config::default().options };
//! # let config = Config { options: options.clone(), ..Config::default() };
//!
//! let mut daemon: Daemon<[u8]> = Daemon::create("weather", &config)?;
//! daemon.publish(b"sunny")?;
//!
//! let mut shell: Shell<[u8]> = Shell::connect_with("weather", &options)?;
//! let soon = || Instant::now() + Duration::from_secs(5);
//! assert_eq!(&*shell.read(soon())?, b"sunny");
//! daemon.publish(b"rain")?;
//! shell.changed(soon())?;
//! assert_eq!(&*shell.read(soon())?, b"rain");
//!
//! let owner = std::thread::spawn(move || {
//!     let command = daemon.command(soon()).expect("it comes");
//!     assert_eq!(&*command, b"forecast?");
//!     command.reply(b"more rain");
//!     daemon
//! });
//! assert_eq!(&*shell.command(b"forecast?", soon())?, b"more rain");
//!
//! drop(owner.join().unwrap());
//! assert_eq!(&*shell.read(soon())?, b"rain");
//! assert!(shell.stale_since().is_some());
//! # let _ = std::fs::remove_dir_all(dir);
//! # Ok::<(), strait_channel::state::Error>(())
//! ```
//!
//! The value lies in the daemon's sealed memory, which shells map for reading alone. Where that cannot be had, the same calls
//! go over the socket: a read is a request then.

pub mod blocking;
mod checkpoint;
mod config;
mod core;
mod daemon;
mod error;
mod form;
mod greeting;
mod inbox;
mod message;
mod reconnect;
mod server;
mod session;
#[cfg(feature = "tokio")]
mod tasks;
mod value;
mod without_waits;

pub use config::Config;
pub use daemon::Daemon;
pub use error::Error;
pub use inbox::Command;
pub use strait_transport::NoPin;
#[cfg(feature = "tokio")]
pub use tasks::Shell;
pub use value::{Pinned, Value};

/// The service kind of published states, in `Hello`.
const SERVICE: u8 = 3;
