//! The trader: clients that load the exchange, check every answer, and say once per second how it goes.

mod client;
mod work;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use strait::{
    TransportKind,
    rpc::{Error as RpcError, blocking::Client},
};

use crate::{
    connection::ConnectionArgs,
    messages::{ExchangeReply, ExchangeRequest},
    report,
    window::Window,
};
use client::{Event, run_client};
pub use work::{Load, WrongAnswer};

/// How long a report waits for clients that are late.
const GRACE: Duration = Duration::from_millis(300);

/// Why a client ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum TraderError {
    /// It did not reach the exchange.
    #[error("client {client} cannot connect to service {service:?}: {source}")]
    Connect {
        /// Which client.
        client: usize,
        /// The service's name.
        service: String,
        /// What the library says.
        source: RpcError,
    },
    /// It cannot be kept on a core.
    #[error("client {client} cannot be kept on a core: {source}; run it without --pin")]
    Pin {
        /// Which client.
        client: usize,
        /// What the system says.
        source: io::Error,
    },
    /// A call failed.
    #[error("client {client}, call {call}: {source}")]
    Call {
        /// Which client.
        client: usize,
        /// Which call, from 1.
        call: u64,
        /// What the library says.
        source: RpcError,
    },
    /// A call was answered wrongly.
    #[error("client {client}, call {call}: the answer is wrong: {source}")]
    WrongAnswer {
        /// Which client.
        client: usize,
        /// Which call, from 1.
        call: u64,
        /// What is wrong.
        source: WrongAnswer,
    },
}

/// What a trader is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many clients, each with a connection and a thread of its own.
    pub clients: usize,
    /// The number of the first one; it decides about its orders, its bytes and its core.
    pub first_client: usize,
    /// What they send.
    pub load: Load,
    /// When they stop, where the load itself does not end earlier.
    pub duration: Option<Duration>,
    /// Whether a client looks for its answer without ever sleeping.
    pub polling: bool,
    /// How they connect.
    pub connection: ConnectionArgs,
    /// Whether to print JSON objects instead of text.
    pub json: bool,
    /// Whether JSON objects carry every round trip with its count.
    pub counts: bool,
}

/// Does what `plan` says until it is done, `stop` is set or a client fails; returns what went wrong, nothing if nothing did.
pub fn run(plan: &Plan, stop: &Arc<AtomicBool>) -> Vec<TraderError> {
    let mut connections = Vec::new();
    for client in plan.first_client..plan.first_client + plan.clients {
        let connected = Client::<ExchangeRequest, ExchangeReply>::connect_with(
            &plan.connection.service,
            &plan.connection.options(),
        );
        match connected {
            Ok(connection) => connections.push((client, connection)),
            Err(source) => {
                return vec![TraderError::Connect { client, service: plan.connection.service.clone(), source }];
            }
        }
    }
    let (events, received) = mpsc::channel();
    let start = Instant::now();
    thread::scope(|scope| {
        for (client, mut connection) in connections {
            let events = events.clone();
            scope.spawn(move || {
                let result = run_client(plan, client, &mut connection, start, stop, &events);
                if result.is_err() {
                    stop.store(true, Relaxed);
                }
                let fallback = connection.fallback_reason().map(|reason| reason.to_string());
                // Only a reporter that could not print is gone.
                let _ = events.send(Event::Ended { client, fallback, result });
            });
        }
        drop(events);
        let mut reporter = Reporter { plan, start, out: io::stdout(), clients: BTreeMap::new(), failed: Vec::new() };
        if reporter.follow(&received).is_err() {
            // Nobody reads what we print: `trader … | head` has seen enough.
            stop.store(true, Relaxed);
        }
        reporter.failed
    })
}

/// What is known of one client.
#[derive(Default)]
struct Known {
    total: Window,
    transport: Option<TransportKind>,
    ended: bool,
    fallback: Option<String>,
}

struct Reporter<'p, W> {
    plan: &'p Plan,
    start: Instant,
    out: W,
    clients: BTreeMap<usize, Known>,
    failed: Vec<TraderError>,
}

impl<W: Write> Reporter<'_, W> {
    /// Reports each second until every client has ended, then the totals.
    fn follow(&mut self, events: &Receiver<Event>) -> io::Result<()> {
        self.clients = (0..self.plan.clients).map(|n| (self.plan.first_client + n, Known::default())).collect();
        let mut second = 1;
        let mut heard = BTreeMap::new();
        loop {
            let due = self.start + Duration::from_secs(second) + GRACE;
            match events.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(event) => self.take(event, &mut heard)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let all = self.clients.iter().all(|(client, known)| known.ended || heard.contains_key(client));
            if (all && !heard.is_empty()) || Instant::now() >= due {
                self.second(second, &heard)?;
                heard.clear();
                second += 1;
            }
        }
        self.totals()
    }

    fn take(&mut self, event: Event, heard: &mut BTreeMap<usize, Window>) -> io::Result<()> {
        match event {
            Event::Moved { client, from, to, call } => {
                self.known(client).transport = Some(to);
                self.moved(client, from, to, call)?;
            }
            Event::Window { client, window, whole } => {
                self.known(client).total.append(&window);
                if whole {
                    let heard = heard.entry(client).or_default();
                    heard.append(&window);
                    heard.finish(heard.elapsed);
                }
            }
            Event::Ended { client, fallback, result } => {
                let known = self.known(client);
                known.ended = true;
                known.fallback = fallback;
                self.failed.extend(result.err());
            }
        }
        Ok(())
    }

    fn known(&mut self, client: usize) -> &mut Known {
        self.clients.entry(client).or_default()
    }

    /// A client's replies come another way from now on.
    fn moved(&mut self, client: usize, from: Option<TransportKind>, to: TransportKind, call: u64) -> io::Result<()> {
        let name = report::short_name;
        if self.plan.json {
            let from = from.map(name);
            let object = json!({"event": "transport", "client": client, "from": from, "to": name(to), "call": call});
            return writeln!(self.out, "{object}");
        }
        match from {
            None => writeln!(self.out, "client {client}: call {call} over {to}"),
            Some(from) => writeln!(self.out, "client {client}: from {from} to {to}, from call {call} on"),
        }
    }

    fn second(&mut self, second: u64, heard: &BTreeMap<usize, Window>) -> io::Result<()> {
        if self.plan.json {
            for (client, window) in heard {
                let mut object = report::json("second", *client, window, self.plan.counts);
                object["second"] = second.into();
                writeln!(self.out, "{object}")?;
            }
            return Ok(());
        }
        let mut sum = Window::default();
        heard.values().for_each(|window| sum.join(window));
        let on: Vec<_> = self.clients.iter().map(|(client, known)| (*client, known.transport)).collect();
        writeln!(self.out, "{second:>4} s {}  {}", report::rates(&sum), report::transports(&on))
    }

    fn totals(&mut self) -> io::Result<()> {
        let mut sum = Window::default();
        for (client, known) in &mut self.clients {
            known.total.finish(known.total.elapsed);
            sum.join(&known.total);
            if self.plan.json {
                let mut object = report::json("total", *client, &known.total, self.plan.counts);
                object["fallback"] = known.fallback.clone().into();
                writeln!(self.out, "{object}")?;
            }
        }
        if self.plan.json {
            return self.out.flush();
        }
        let on: Vec<_> = self.clients.iter().map(|(client, known)| (*client, known.total.transport)).collect();
        writeln!(self.out, " total {}  {}", report::rates(&sum), report::transports(&on))?;
        writeln!(
            self.out,
            "       {} calls answered and checked, {} over the socket, {} through shared memory",
            sum.requests(),
            sum.over_socket,
            sum.over_shared,
        )?;
        if let Some((client, reason)) =
            self.clients.iter().find_map(|(client, known)| Some((client, known.fallback.as_ref()?)))
        {
            writeln!(self.out, "       client {client} is on the socket because: {reason}")?;
        }
        self.out.flush()
    }
}
