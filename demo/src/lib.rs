//! An exchange and its traders, over `strait`: what the two programs of this package do.
//!
//! - [`exchange`] answers requests: it matches limit orders in one [`book`] and echoes bytes.
//! - [`desk`] lets others call it by name and in JSON.
//! - [`trader`] sends them from one or many clients, checks every answer and counts.
//!
//! [`messages`] is what travels between the two. The book knows nothing of processes, the programs know nothing of memory.

pub mod book;
pub mod connection;
pub mod desk;
pub mod exchange;
pub mod messages;
pub mod orders;
pub mod payload;
pub mod pin;
pub mod report;
pub mod stop;
pub mod trader;
pub mod window;

/// Prints what the libraries log to standard error, as `RUST_LOG` says (nothing below a warning where it is not set).
///
/// `RUST_LOG=strait=debug` shows how each connection comes about.
pub fn log_to_stderr() {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
