//! What a server has done so far.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use strait_transport::{Connection, LiveStats, Stats, TransportKind};

use crate::{description::Health, error::Code};

/// What a server has done so far, as [`ServerHandle::stats`](crate::blocking::ServerHandle::stats) reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Clients that are served over their socket now.
    pub active_on_socket: u64,
    /// Clients that are served in shared memory now.
    pub active_in_memory: u64,
    /// Clients that were connected.
    pub accepted: u64,
    /// Clients whose handshake failed or was refused.
    pub refused: u64,
    /// Clients that stayed on the socket, whatever the reason.
    pub fallbacks: u64,
    /// Calls that came.
    pub calls: u64,
    /// Calls that were answered with an error.
    pub errors: u64,
    /// The last of those.
    pub last_error: Option<LastError>,
    /// All connections together, those that have ended among them: messages, bytes, sleeps, wake-ups, errors, calls in flight. As of now.
    pub connections: Stats,
}

/// The last error that a server answered a call with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// Which error.
    pub code: Code,
    /// Its text.
    pub message: String,
    /// When.
    pub at: SystemTime,
}

impl ServerStats {
    /// What happened between an earlier reading and this one: counts are differences, what is active now and the last error
    /// stay as they are.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(earlier.accepted),
            refused: self.refused.saturating_sub(earlier.refused),
            fallbacks: self.fallbacks.saturating_sub(earlier.fallbacks),
            calls: self.calls.saturating_sub(earlier.calls),
            errors: self.errors.saturating_sub(earlier.errors),
            connections: self.connections.since(&earlier.connections),
            ..self.clone()
        }
    }
}

/// The counters of one server. Sessions add what they have counted by themselves, so that clients share no line per call.
#[derive(Debug)]
pub(crate) struct Counters {
    started: Instant,
    on_socket: AtomicU64,
    in_memory: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    fallbacks: AtomicU64,
    calls: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<LastError>>,
    connections: Mutex<Connections>,
    /// 0 once the server takes no new calls.
    serving: AtomicU64,
}

/// Adds to a counter. Only ever read by people.
fn add(counter: &AtomicU64, count: u64) {
    // ORDERING: Relaxed; a count that guards no other memory.
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    // ORDERING: Relaxed; as in `add`.
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            started: Instant::now(),
            on_socket: zero(),
            in_memory: zero(),
            accepted: zero(),
            refused: zero(),
            fallbacks: zero(),
            calls: zero(),
            errors: zero(),
            last_error: Mutex::new(None),
            connections: Mutex::default(),
            serving: AtomicU64::new(1),
        }
    }

    pub(crate) fn refuse(&self) {
        add(&self.refused, 1);
    }

    /// The server takes no new calls.
    pub(crate) fn stop(&self) {
        // ORDERING: Relaxed; only ever read by people.
        self.serving.store(0, Ordering::Relaxed);
    }

    /// A call was answered with an error.
    pub(crate) fn error(&self, code: Code, text: &str) {
        add(&self.errors, 1);
        let last = LastError { code, message: text.to_owned(), at: SystemTime::now() };
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    pub(crate) fn stats(&self) -> ServerStats {
        ServerStats {
            active_on_socket: get(&self.on_socket),
            active_in_memory: get(&self.in_memory),
            accepted: get(&self.accepted),
            refused: get(&self.refused),
            fallbacks: get(&self.fallbacks),
            calls: get(&self.calls),
            errors: get(&self.errors),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            connections: self.connections().sum(),
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn health(&self) -> Health {
        let uptime = self.started.elapsed().as_millis();
        Health {
            serving: get(&self.serving) != 0,
            clients: get(&self.on_socket) + get(&self.in_memory),
            calls: get(&self.calls),
            uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
        }
    }
}

/// What all connections have counted.
#[derive(Debug, Default)]
struct Connections {
    ended: Stats,
    /// Each under a number of its own.
    live: HashMap<u64, LiveStats>,
    next: u64,
}

impl Connections {
    fn sum(&self) -> Stats {
        self.live.values().fold(self.ended, |sum, live| sum.plus(&live.read()))
    }
}

/// One client in the counters: counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    counters: Arc<Counters>,
    in_memory: bool,
    fell_back: bool,
    calls: u64,
    /// Its number among the connections.
    number: u64,
    live: LiveStats,
}

impl Counted {
    pub(crate) fn new(counters: Arc<Counters>, connection: &mut Connection) -> Self {
        add(&counters.accepted, 1);
        add(&counters.on_socket, 1);
        let live = connection.live_stats();
        let mut connections = counters.connections();
        let number = connections.next;
        connections.next += 1;
        connections.live.insert(number, live.clone());
        drop(connections);
        Self { counters, in_memory: false, fell_back: false, calls: 0, number, live }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts a call; in private memory, until the next [`settle`](Self::settle).
    #[inline]
    pub(crate) fn call(&mut self) {
        self.calls += 1;
    }

    /// Adds what was counted, and looks over what the connection runs. Called where the client has nothing to do at the moment,
    /// and once in a while where it never rests.
    pub(crate) fn settle(&mut self, connection: &Connection) {
        if self.calls > 0 {
            add(&self.counters.calls, std::mem::take(&mut self.calls));
        }
        if !self.in_memory && connection.transport() != TransportKind::Socket {
            self.in_memory = true;
            add(&self.counters.in_memory, 1);
            // ORDERING: Relaxed; as in `add`.
            self.counters.on_socket.fetch_sub(1, Ordering::Relaxed);
        }
        if !self.fell_back && connection.fallback_reason().is_some() {
            self.fell_back = true;
            add(&self.counters.fallbacks, 1);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        add(&self.counters.calls, self.calls);
        let mut connections = self.counters.connections();
        connections.live.remove(&self.number);
        let last = Stats { in_flight: 0, ..self.live.read() };
        connections.ended = connections.ended.plus(&last);
        drop(connections);
        let active = if self.in_memory { &self.counters.in_memory } else { &self.counters.on_socket };
        // ORDERING: Relaxed; as in `add`.
        active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_keeps_what_is_now_and_subtracts_what_was() {
        let earlier = ServerStats { calls: 10, active_on_socket: 5, ..ServerStats::default() };
        let later = ServerStats { calls: 17, active_on_socket: 2, accepted: 1, ..ServerStats::default() };
        let since = later.since(&earlier);
        assert_eq!((since.calls, since.active_on_socket, since.accepted), (7, 2, 1));
    }

    #[test]
    fn the_last_error_is_kept_with_its_time() {
        let counters = Counters::new();
        counters.error(Code::BUSY, "first");
        counters.error(Code::HANDLER, "second");
        let stats = counters.stats();
        assert_eq!(stats.errors, 2);
        let last = stats.last_error.unwrap();
        assert_eq!((last.code, &*last.message), (Code::HANDLER, "second"));
        assert!(last.at.elapsed().unwrap().as_secs() < 60);
    }
}
