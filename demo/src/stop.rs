//! Stopping in good order: at Ctrl-C, at a termination signal, or when whoever started the program goes away.

use std::{io, thread};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// Calls `stop` once when a signal asks this process to end. A second signal ends it at once.
///
/// # Errors
///
/// What the system says where it refuses to report signals.
pub fn on_signal(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut stop = Some(stop);
        for signal in signals.forever() {
            match stop.take() {
                Some(stop) => stop(),
                None => emulate_default_handler(signal).unwrap_or_else(|_| std::process::exit(1)),
            }
        }
    })?;
    Ok(())
}

/// Calls `stop` when standard input ends: a pipe from another process ends when that process does, however it does.
///
/// # Errors
///
/// What the system says where it gives no thread.
pub fn on_end_of_input(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        // An error is an end as well: nobody is there to write any more.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        stop();
    })?;
    Ok(())
}
