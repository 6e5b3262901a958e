//! The owner for tasks.

use std::{
    fmt,
    marker::PhantomData,
    path::PathBuf,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Rkyv};
use strait_transport::{Connection, Error as TransportError, Listener, Options, Receive};
use tokio::{sync::watch, task::JoinSet};

use super::{
    super::{
        error::Error,
        settings::{Settings, Stats},
    },
    Board,
    engine::Engine,
    identify,
};

/// Rounds in one poll of the task; then the others of its thread have their turn.
const ROUNDS: u32 = 32;
/// Where no descriptor or the like can be had, the owner waits this long before it accepts again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Offers a queue of items of type `T`, from one task.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use strait_channel::{Raw, queue::{Owner, Producer, Settings, Worker}};
///
/// # let dir = std::env::temp_dir().join(format!("strait-queue-async-doc-{}", std::process::id()));
/// # let options = strait_channel::Options { runtime_dir: Some(dir.clone()), ..Default::default() };
/// let owner = Owner::<[u8], Raw>::bind_with("jobs", Settings { acknowledged: true, ..Settings::default() }, &options)?;
/// let handle = owner.handle();
/// let served = tokio::spawn(owner.serve());
///
/// let mut producer = Producer::<[u8], Raw>::connect_with("jobs", &options).await?;
/// producer.push(b"a job", Duration::from_secs(1)).await?;
/// let mut worker = Worker::<[u8], Raw>::connect_with("jobs", 16, &options).await?;
/// let job = worker.pop(Duration::from_secs(1)).await?.unwrap();
/// assert_eq!(&*job, b"a job");
/// worker.ack(job)?;
/// producer.drain(Duration::from_secs(1)).await?;
///
/// handle.shutdown();
/// assert_eq!(served.await.unwrap()?.acked, 1);
/// # std::fs::remove_dir(dir).unwrap();
/// # Ok::<(), strait_channel::queue::Error>(())
/// # }).unwrap();
/// ```
pub struct Owner<T: ?Sized, C = Rkyv> {
    listener: Listener,
    stop: Arc<watch::Sender<bool>>,
    settings: Settings,
    board: Board,
    join_timeout: Duration,
    items: PhantomData<fn(C) -> Box<T>>,
}

/// Ends an owner from anywhere, and tells what it has counted.
#[derive(Clone, Debug)]
pub struct OwnerHandle {
    stop: Arc<watch::Sender<bool>>,
    board: Board,
}

impl OwnerHandle {
    /// Ends [`Owner::serve`] at once. The items that it holds go with it: a producer that wants them done
    /// [drains](super::super::Producer::drain) first. May be called more than once.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
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
    /// [`Error::Transport`] for settings out of range; for the rest as [`Listener::bind_async`].
    pub fn bind_with(name: &str, settings: Settings, options: &Options) -> Result<Self, Error> {
        settings.check()?;
        // One task has many connections: what it would spin for on one keeps it from the others.
        let options = Options { receive: Receive::Copied, spin_async: Duration::ZERO, ..identify::<C, T>(options) };
        let listener = Listener::bind_async(name, &options)?;
        let (stop, join_timeout) = (Arc::new(watch::Sender::new(false)), options.limits.handshake_timeout);
        Ok(Self { listener, stop, settings, board: Board::new(name), join_timeout, items: PhantomData })
    }

    /// A handle that ends the owner.
    pub fn handle(&self) -> OwnerHandle {
        OwnerHandle { stop: self.stop.clone(), board: self.board.clone() }
    }

    /// Where the queue's socket lies.
    pub fn path(&self) -> PathBuf {
        self.listener.path()
    }

    /// Serves until [`OwnerHandle::shutdown`]. Returns what was counted; what was still held is lost then.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] where this runs outside a tokio runtime. What goes wrong with one participant ends its part alone,
    /// and is logged.
    pub async fn serve(self) -> Result<Stats, Error> {
        let mut engine = Engine::new(self.settings.clone(), self.join_timeout);
        let mut stop = self.stop.subscribe();
        let mut handshakes: JoinSet<Result<Connection, TransportError>> = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(shaken) = handshakes.join_next(), if !handshakes.is_empty() => match shaken {
                    Ok(Ok(connection)) => engine.seat(connection),
                    Ok(Err(error)) => tracing::debug!(target: "strait", %error, "a handshake failed"),
                    // Nothing in it panics, and nobody aborts it.
                    Err(_) => {}
                },
                accepted = self.listener.accept_async() => match accepted {
                    Ok(incoming) => {
                        handshakes.spawn(incoming.handshake_async());
                    }
                    Err(error @ TransportError::Usage(_)) => return Err(error.into()),
                    Err(error) => {
                        tracing::error!(target: "strait", %error, "cannot accept participants now");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = until(engine.deadline()) => {
                    engine.round();
                }
                () = work(&mut engine, &self.board) => {}
            }
        }
        let stats = engine.end();
        self.board.show(stats);
        Ok(stats)
    }
}

/// Rounds, until this task has had its share.
async fn work(engine: &mut Engine, board: &Board) {
    let mut rounds = 0;
    std::future::poll_fn(|cx| {
        loop {
            if engine.round() {
                board.show(engine.stats());
            } else if engine.poll(cx) {
                return Poll::Pending;
            }
            rounds += 1;
            if rounds >= ROUNDS {
                engine.look_after(Instant::now());
                return Poll::Ready(());
            }
        }
    })
    .await;
    tokio::task::yield_now().await;
}

/// Waits until then, if there is a then.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until the owner is told to stop. What `wait_for` returns must not live on: it keeps a future from being `Send`.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone never says stop; then the owner's own end drops this task.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl<T: ?Sized, C> fmt::Debug for Owner<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("listener", &self.listener)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
