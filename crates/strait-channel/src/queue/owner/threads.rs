//! The owner for threads.

use std::{
    fmt, io,
    marker::PhantomData,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::Builder,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Rkyv};
use strait_sync::primitive::spin_hint;
use strait_transport::{Connection, Error as TransportError, Incoming, Interrupt, Listener, Options, Receive, WaitSet};

use super::{
    super::{
        error::Error,
        settings::{Settings, Stats},
    },
    Board,
    engine::Engine,
    identify,
};

/// Rounds between two looks at the clock.
const ROUNDS: u32 = 32;
/// An owner that has found nothing for so long gives its processor away between looks: what it waits for may need it.
const YIELD_AFTER: Duration = Duration::from_micros(5);
/// What it does where the system refuses to let it sleep.
const NAP: Duration = Duration::from_millis(1);

/// Offers a queue of items of type `T`, from one thread.
///
/// ```
/// use std::time::Duration;
/// use strait_channel::{Raw, queue::{Settings, blocking::{Owner, Producer, Worker}}};
///
/// # let dir = std::env::temp_dir().join(format!("strait-queue-doc-{}", std::process::id()));
/// # let options = strait_channel::Options { runtime_dir: Some(dir.clone()), ..Default::default() };
/// let owner = Owner::<[u8], Raw>::bind_with("jobs", Settings::default(), &options)?;
/// let handle = owner.handle();
/// let thread = std::thread::spawn(move || owner.serve());
///
/// let mut producer = Producer::<[u8], Raw>::connect_with("jobs", &options)?;
/// producer.push(b"a job", Duration::from_secs(1))?;
/// let mut worker = Worker::<[u8], Raw>::connect_with("jobs", 16, &options)?;
/// assert_eq!(&*worker.pop(Duration::from_secs(1))?.unwrap(), b"a job");
///
/// handle.shutdown();
/// let stats = thread.join().unwrap()?;
/// assert_eq!((stats.pushed, stats.popped), (1, 1));
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), strait_channel::queue::Error>(())
/// ```
pub struct Owner<T: ?Sized, C = Rkyv> {
    listener: Listener,
    interrupt: Arc<Interrupt>,
    settings: Settings,
    board: Board,
    spin: Duration,
    join_timeout: Duration,
    items: PhantomData<fn(C) -> Box<T>>,
}

/// Ends an owner from anywhere, and tells what it has counted.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    interrupt: Arc<Interrupt>,
    board: Board,
}

impl OwnerHandle {
    /// Ends [`Owner::serve`] at once. The items that it holds go with it: a producer that wants them done
    /// [drains](super::super::blocking::Producer::drain) first. May be called more than once.
    pub fn shutdown(&self) {
        self.interrupt.raise();
    }

    /// What the owner has counted, as of its last round.
    pub fn stats(&self) -> Stats {
        self.board.read()
    }
}

impl<T: ?Sized, C: Codec<T>> Owner<T, C> {
    /// Binds the queue `name`, with the default options.
    ///
    /// # Errors
    ///
    /// As [`bind_with`](Self::bind_with).
    pub fn bind(name: &str, settings: Settings) -> Result<Self, Error> {
        Self::bind_with(name, settings, &Options::default())
    }

    /// Binds the queue `name`. An item may be as large as the owner's ring and its producer's allow. What the owner receives it
    /// always copies: items that wait must not hold a producer's ring.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] for settings out of range; for the rest as [`Listener::bind`].
    pub fn bind_with(name: &str, settings: Settings, options: &Options) -> Result<Self, Error> {
        settings.check()?;
        let options = Options { receive: Receive::Copied, ..identify::<C, T>(options) };
        let interrupt = Arc::new(Interrupt::new()?);
        let listener = Listener::bind(name, &options, Some(interrupt.clone()))?;
        let (spin, join_timeout) = (options.spin, options.limits.handshake_timeout);
        Ok(Self { listener, interrupt, settings, board: Board::new(name), spin, join_timeout, items: PhantomData })
    }

    /// A handle that ends the owner.
    pub fn handle(&self) -> OwnerHandle {
        OwnerHandle { interrupt: self.interrupt.clone(), board: self.board.clone() }
    }

    /// Where the queue's socket lies.
    pub fn path(&self) -> PathBuf {
        self.listener.path()
    }

    /// Serves from this thread until [`OwnerHandle::shutdown`]; another one waits for participants, and each handshake has one
    /// while it lasts. Returns what was counted; what was still held is lost then.
    ///
    /// While there is something to do nobody has to wake it; after [`Options::spin`] without, it sleeps.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where the system refuses to accept participants. What goes wrong with one ends its part alone, and is
    /// logged.
    pub fn serve(self) -> Result<Stats, Error> {
        let engine = Engine::new(self.settings.clone(), self.join_timeout);
        let door = Door { state: Mutex::default(), wait_set: WaitSet::new()? };
        let (door, interrupt, listener) = (&door, &*self.interrupt, self.listener);
        let mut stats = Stats::default();
        let accepted = std::thread::scope(|scope| {
            let greet = move || {
                let outcome = std::thread::scope(|handshakes| {
                    accept(listener, |incoming| {
                        let greet = move || match incoming.handshake() {
                            Ok(connection) => door.enter(connection),
                            Err(error) => tracing::debug!(target: "strait", %error, "a handshake failed"),
                        };
                        Builder::new().name("strait-greet".into()).spawn_scoped(handshakes, greet).map(drop)
                    })
                });
                interrupt.raise();
                door.close();
                outcome
            };
            let greeting = Builder::new().name("strait-greet".into()).spawn_scoped(scope, greet);
            let greeting = greeting.map_err(|error| io_error("starting a thread", error))?;
            stats = run(engine, door, &self.board, self.spin);
            // It has closed the door, so it has come to its end.
            greeting.join().unwrap_or(Ok(()))
        });
        accepted?;
        Ok(stats)
    }
}

fn io_error(operation: &'static str, error: io::Error) -> TransportError {
    TransportError::Io { operation, source: Arc::new(error) }
}

/// Takes participants until the listener's interrupt is raised.
fn accept(listener: Listener, mut greet: impl FnMut(Incoming) -> io::Result<()>) -> Result<(), TransportError> {
    while let Some(incoming) = listener.accept()? {
        if let Err(error) = greet(incoming) {
            tracing::error!(target: "strait", %error, "no thread for a participant: turned it away");
        }
    }
    Ok(())
}

/// Where participants that have shaken hands wait for the owner.
struct Door {
    state: Mutex<DoorState>,
    wait_set: WaitSet,
}

#[derive(Default)]
struct DoorState {
    newcomers: Vec<Connection>,
    closed: bool,
}

impl Door {
    fn change(&self, change: impl FnOnce(&mut DoorState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.wait_set.notify();
    }

    fn enter(&self, connection: Connection) {
        self.change(|state| state.newcomers.push(connection));
    }

    fn close(&self) {
        self.change(|state| state.closed = true);
    }
}

/// Rounds, and sleep between them, until the door is closed.
fn run(mut engine: Engine, door: &Door, board: &Board, spin: Duration) -> Stats {
    let (mut rounds, mut has_worked) = (0, false);
    let mut worked_at = Instant::now();
    loop {
        if door.wait_set.take_notice() {
            let mut state = door.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.newcomers.drain(..).for_each(|connection| engine.seat(connection));
            if state.closed {
                let stats = engine.end();
                board.show(stats);
                return stats;
            }
            worked_at = Instant::now();
        }
        let worked = engine.round();
        has_worked |= worked;
        rounds += 1;
        if worked {
            board.show(engine.stats());
        } else {
            spin_hint();
        }
        if rounds < ROUNDS && worked {
            continue;
        }
        rounds = 0;
        let now = Instant::now();
        engine.look_after(now);
        if std::mem::take(&mut has_worked) {
            worked_at = now;
        } else if engine.is_empty() || now - worked_at >= spin {
            sleep(&mut engine, &door.wait_set);
            worked_at = Instant::now();
        } else if now - worked_at >= YIELD_AFTER {
            std::thread::yield_now();
        }
    }
}

/// Sleeps until somebody has something to do, or must have joined.
fn sleep(engine: &mut Engine, wait_set: &WaitSet) {
    if engine.arm()
        && let Err(error) = wait_set.sleep(engine.armed(), engine.deadline())
    {
        // Not for want of anything that a wait could bring: rather late than busy.
        tracing::warn!(target: "strait", %error, "the owner of a queue cannot sleep: it naps");
        std::thread::sleep(NAP);
    }
    engine.disarm();
}

impl<T: ?Sized, C> fmt::Debug for Owner<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("listener", &self.listener)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
