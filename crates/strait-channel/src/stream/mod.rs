//! Streams: one producer and one consumer, between processes or inside one.
//!
//! ```
//! use strait_channel::stream::{self, Config, Consumer, Endpoint, Producer};
//!
//! # let dir = std::env::temp_dir().join(format!("strait-stream-doc-{}", std::process::id()));
//! # let options = strait_channel::Options { runtime_dir: Some(dir.clone()), ..Default::default() };
//! # let config = Config { options, ..Config::default() };
//! let binding = <Consumer>::bind("lines", &config)?;
//! # let elsewhere = config.clone();
//! let thread = std::thread::spawn(move || {
//!     let mut producer = <Producer>::connect("lines", &elsewhere)?; // in another process, as a rule
//!     producer.send(b"one")?;
//!     producer.send(b"two").map(drop)
//! });
//! let mut consumer = binding.accept()?;
//! while let Some(message) = consumer.recv()? {
//!     println!("{}: {} bytes, {:?} old", message.sequence(), message.len(), message.age());
//! }
//! assert_eq!(consumer.stats().received, 2);
//! thread.join().unwrap()?;
//! # std::fs::remove_dir_all(dir).unwrap();
//! # Ok::<(), stream::Error>(())
//! ```
//!
//! Messages are bytes ([`Raw`], the default), values through a codec ([`Rkyv`], [`Postcard`]), or plain values ([`Plain`]). How two
//! ends meet: [`Endpoint`]. What happens where there is no room: [`Backpressure`].

mod callback;
mod config;
mod consumer;
mod duplex;
mod endpoint;
mod error;
mod header;
mod inbound;
mod outbound;
mod plain;
mod producer;
mod received;
mod stats;
mod verbs;

pub use callback::Callback;
pub use config::{Backpressure, Config};
pub use consumer::Consumer;
pub use duplex::{Duplex, duplex};
use endpoint::Speaks;
pub use endpoint::{Binding, Endpoint};
pub use error::Error;
pub use outbound::Sent;
pub use plain::{Plain, PlainValue};
pub use producer::Producer;
pub use received::Received;
pub use stats::Stats;
pub use strait_frame::{Codec, Postcard, Raw, Rkyv};

/// A stream inside this process, for threads and tasks alike; the ends have the same types as between processes.
///
/// ```
/// use strait_channel::stream::{self, Config};
/// let (mut producer, mut consumer) = stream::local::<[u8], stream::Raw>(&Config::default())?;
/// producer.send(b"hello")?;
/// assert_eq!(&*consumer.recv()?.unwrap(), b"hello");
/// # Ok::<(), stream::Error>(())
/// ```
///
/// # Errors
///
/// [`Option`](strait_transport::Error::Option) where an option is out of range.
#[allow(clippy::type_complexity)]
pub fn local<T: ?Sized, C: Codec<T>>(config: &Config) -> Result<(Producer<T, C>, Consumer<T, C>), Error> {
    let (left, right) = strait_transport::local::pair(&config.options)?;
    Ok((Speaks::over(left, config), Speaks::over(right, config)))
}

/// As [`local`], both ways.
///
/// # Errors
///
/// As [`local`].
#[allow(clippy::type_complexity)]
pub fn local_duplex<T: ?Sized, C: Codec<T>>(config: &Config) -> Result<(Duplex<T, C>, Duplex<T, C>), Error> {
    let (left, right) = strait_transport::local::pair(&config.options)?;
    Ok((Speaks::over(left, config), Speaks::over(right, config)))
}
