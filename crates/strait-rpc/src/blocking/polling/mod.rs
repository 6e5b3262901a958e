//! A server whose threads look at their clients in turn, without sleeping while there is anything to do.

mod client;
mod places;
mod turns;

use std::{
    sync::{Arc, mpsc},
    thread::{Builder, Scope},
    time::Duration,
};

use strait_transport::{Error as TransportError, Interrupt, Listener, pin_current_thread};

use super::{
    server::{Shared, accept},
    service::Service,
    session::handshake,
};
use crate::error::Error;
use places::Places;
use turns::Turns;

/// How [`Server::serve_polling`](super::Server::serve_polling) serves.
///
/// ```
/// use std::time::Duration;
/// use strait_rpc::blocking::Polling;
///
/// // Two threads that have two processors for themselves and never rest.
/// let polling = Polling { threads: 2, cpus: vec![2, 3], idle: None, ..Polling::default() };
/// # assert_eq!(polling.max_batch, 16);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polling {
    /// Threads that serve, 1..=1024 (default 1). A client is served by one of them for as long as it stays.
    pub threads: usize,
    /// The processor of each thread; empty (the default) leaves the choice to the system.
    pub cpus: Vec<usize>,
    /// How long a thread looks without finding anything before it sleeps (default 1 ms); `None` never sleeps while it has
    /// clients. A thread looks for some microseconds at least, and one without clients always sleeps.
    pub idle: Option<Duration>,
    /// Messages of one client that are taken in before the next client has its turn, at least 1 (default 16). Their answers are
    /// shown to the client together, at the end of its turn.
    pub max_batch: u32,
}

impl Default for Polling {
    fn default() -> Self {
        Self { threads: 1, cpus: Vec::new(), idle: Some(Duration::from_millis(1)), max_batch: 16 }
    }
}

impl Polling {
    fn check(&self) -> Result<(), Error> {
        let bad = |option, found: usize, expected| {
            Err(TransportError::Option { option, found: found.to_string(), expected }.into())
        };
        if !(1..=1024).contains(&self.threads) {
            return bad("polling.threads", self.threads, "1 to 1024");
        }
        if !self.cpus.is_empty() && self.cpus.len() != self.threads {
            return bad("polling.cpus", self.cpus.len(), "as many as threads, or none");
        }
        if self.max_batch == 0 {
            return bad("polling.max_batch", 0, "at least 1");
        }
        Ok(())
    }
}

/// Serves from as many threads as `polling` says, until `interrupt` is raised.
pub(super) fn serve<S: Service>(
    listener: Listener,
    interrupt: &Interrupt,
    shared: &Shared<S>,
    polling: &Polling,
) -> Result<(), Error> {
    polling.check()?;
    let places = Places::new(polling.threads)?;
    std::thread::scope(|pollers| {
        let outcome = start(pollers, &places, shared, polling).and_then(|()| {
            // A handshake waits for its client: it has a thread of its own, so that it holds up nobody.
            std::thread::scope(|handshakes| {
                accept(listener, interrupt, |incoming| {
                    let places = &places;
                    let greet = move || {
                        if let Some(connection) = handshake(incoming, &shared.counters) {
                            places.hand_over(connection);
                        }
                    };
                    Builder::new().name("strait-greet".into()).spawn_scoped(handshakes, greet).map(drop)
                })
            })
        });
        // All handshakes are over: no client comes after this.
        places.close();
        outcome
    })
}

/// Starts the threads; returns once each is where it belongs, or one can't be.
fn start<'scope, 'env, S: Service>(
    pollers: &'scope Scope<'scope, 'env>,
    places: &'env Places,
    shared: &'env Shared<S>,
    polling: &'env Polling,
) -> Result<(), Error> {
    let (tell, started) = mpsc::channel();
    for index in 0..polling.threads {
        let (tell, cpu) = (tell.clone(), polling.cpus.get(index).copied());
        let poll = move || {
            let pinned = cpu.map_or(Ok(()), pin_current_thread);
            // Whoever waits for it gives up at the first failure.
            let _ = tell.send(pinned);
            Turns::new(index, places, shared, polling).run();
        };
        let spawned = Builder::new().name(format!("strait-poll-{index}")).spawn_scoped(pollers, poll);
        spawned
            .map_err(|error| TransportError::Io { operation: "starting a polling thread", source: Arc::new(error) })?;
    }
    Ok(started.iter().take(polling.threads).collect::<Result<(), _>>()?)
}
