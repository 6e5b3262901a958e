//! One client: calls, one after the other, until told to stop.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use strait::{
    TransportKind,
    rpc::blocking::{Client, ClientPolling},
};

use super::{Plan, TraderError, work::Work};
use crate::{
    messages::{ExchangeReply, ExchangeRequest},
    pin,
    window::Window,
};

/// What a client tells the reporter.
pub(super) enum Event {
    /// Its replies come another way than before, from this call on.
    Moved { client: usize, from: Option<TransportKind>, to: TransportKind, call: u64 },
    /// What it counted since its last one. `whole` windows end with a second, the last one when the client stops.
    Window { client: usize, window: Window, whole: bool },
    /// It makes no more calls.
    Ended { client: usize, fallback: Option<String>, result: Result<(), TraderError> },
}

/// Calls until the load or the time is used up, or `stop` is set.
pub(super) fn run_client(
    plan: &Plan,
    client: usize,
    connection: &mut Client<ExchangeRequest, ExchangeReply>,
    start: Instant,
    stop: &AtomicBool,
    events: &Sender<Event>,
) -> Result<(), TraderError> {
    if plan.connection.pin {
        pin::pin_to_core(2 * client).map_err(|source| TraderError::Pin { client, source })?;
    }
    if plan.polling {
        // Where it is: it was pinned above, or is not to be.
        let polling = ClientPolling { cpu: None, idle: None };
        connection.set_polling(&polling).map_err(|source| TraderError::Call { client, call: 0, source })?;
    }
    let mut counter = Counter { client, events, start, window: Window::default(), from: start, seconds: 0, on: None };
    let mut work = Work::new(plan.load, client);
    let mut call = 0;
    let result = loop {
        if stop.load(Relaxed) || plan.duration.is_some_and(|duration| start.elapsed() >= duration) {
            break Ok(());
        }
        let Some(request) = work.next() else { break Ok(()) };
        call += 1;
        let sent = Instant::now();
        let response = match connection.call(request) {
            Ok(response) => response,
            Err(source) => break Err(TraderError::Call { client, call, source }),
        };
        let round_trip = sent.elapsed();
        match work.check(response.get()) {
            Ok((sent, received)) => counter.count(call, round_trip, sent, received, response.transport()),
            Err(source) => break Err(TraderError::WrongAnswer { client, call, source }),
        }
    };
    counter.close(false);
    result
}

/// Counts calls, and hands on what it counted at the end of each second.
struct Counter<'e> {
    client: usize,
    events: &'e Sender<Event>,
    start: Instant,
    window: Window,
    from: Instant,
    seconds: u64,
    on: Option<TransportKind>,
}

impl Counter<'_> {
    fn count(&mut self, call: u64, round_trip: Duration, sent: usize, received: usize, transport: TransportKind) {
        self.window.record(round_trip, sent, received, transport);
        let from = self.on.replace(transport);
        if from != self.on {
            // The receiver is gone only where nothing can be printed any more; then `stop` is on its way.
            let _ = self.events.send(Event::Moved { client: self.client, from, to: transport, call });
        }
        let seconds = self.start.elapsed().as_secs();
        if seconds > self.seconds {
            self.seconds = seconds;
            self.close(true);
        }
    }

    fn close(&mut self, whole: bool) {
        let mut window = std::mem::take(&mut self.window);
        let now = Instant::now();
        window.finish(now - self.from);
        self.from = now;
        // As above.
        let _ = self.events.send(Event::Window { client: self.client, window, whole });
    }
}
