//! Messages given to a function on a thread of its own.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use strait_frame::{Codec, Raw};
use strait_transport::{Connection, Error as Below, Interest, Transport, TransportKind, WaitSet, pin_current_thread};

use super::{consumer::Consumer, error::Error, received::Received};

/// A connection inside the process has no descriptor to be woken by: its thread looks this often whether it is to stop.
const LOCAL_NAP: Duration = Duration::from_millis(20);

/// A thread that gives messages to a function, made by [`Consumer::on_message`]. Stopped when dropped.
///
/// ```
/// use std::sync::mpsc;
/// use strait_channel::stream::{self, Config};
///
/// let (mut producer, consumer) = stream::local::<[u8], stream::Raw>(&Config::default())?;
/// let (sender, lengths) = mpsc::channel();
/// let callback = consumer.on_message(None, move |message| sender.send(message.len()).unwrap())?;
/// producer.send(b"four")?;
/// assert_eq!(lengths.recv().unwrap(), 4);
/// drop(producer);
/// callback.join()?; // returns at the end of the stream
/// # Ok::<(), stream::Error>(())
/// ```
pub struct Callback<T: ?Sized, C = Raw> {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<Outcome<T, C>>>,
}

/// The consumer, and how its stream ended if it did.
type Outcome<T, C> = (Consumer<T, C>, Result<(), Error>);

struct Stop {
    asked: AtomicBool,
    wait_set: WaitSet,
}

impl Stop {
    fn is_asked(&self) -> bool {
        // ORDERING: Relaxed; a flag that guards no other memory. The notice that wakes a sleeper comes after it.
        self.asked.load(Ordering::Relaxed)
    }
}

impl<T: ?Sized + 'static, C: Codec<T>> Callback<T, C> {
    pub(crate) fn start(
        mut consumer: Consumer<T, C>,
        cpu: Option<usize>,
        mut handle: impl FnMut(Received<T, C>) + Send + 'static,
    ) -> Result<Self, Error> {
        let stop = Arc::new(Stop { asked: AtomicBool::new(false), wait_set: WaitSet::new()? });
        let (pinned, is_pinned) = mpsc::channel();
        let theirs = stop.clone();
        let body = move || {
            let placed = cpu.map_or(Ok(()), pin_current_thread);
            let failed = placed.is_err();
            let _ = pinned.send(placed);
            let outcome = if failed { Ok(()) } else { run(&mut consumer, &theirs, &mut handle) };
            (consumer, outcome)
        };
        let thread = std::thread::Builder::new()
            .name("strait-stream".into())
            .spawn(body)
            .map_err(|error| Below::Io { operation: "starting a thread", source: Arc::new(error) })?;
        match is_pinned.recv() {
            Ok(Ok(())) => Ok(Self { stop, thread: Some(thread) }),
            Ok(Err(error)) => {
                tracing::warn!(target: "strait", %error, "no callback thread");
                let _ = thread.join();
                let expected = "a processor that this process may use";
                let found = cpu.map_or_else(String::new, |cpu| cpu.to_string());
                Err(Below::Option { option: "cpu", found, expected }.into())
            }
            Err(_) => Err(Below::Usage("the callback thread ended before it began").into()),
        }
    }

    /// Stops the thread after the message that it is at, and gives the consumer back, from which what comes next can be received.
    ///
    /// # Errors
    ///
    /// How the stream ended before, unless in good order.
    ///
    /// # Panics
    ///
    /// Where the function did.
    pub fn stop(mut self) -> Result<Consumer<T, C>, Error> {
        self.ask();
        self.outcome().and_then(|(consumer, outcome)| outcome.map(|()| consumer))
    }

    /// Waits for the end of the stream.
    ///
    /// # Errors
    ///
    /// How the stream ended, unless in good order.
    ///
    /// # Panics
    ///
    /// Where the function did.
    pub fn join(mut self) -> Result<(), Error> {
        self.outcome().and_then(|(_, outcome)| outcome)
    }

    fn outcome(&mut self) -> Result<Outcome<T, C>, Error> {
        let Some(thread) = self.thread.take() else { return Err(Below::Usage("the callback is over").into()) };
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    }
}

impl<T: ?Sized, C> Callback<T, C> {
    /// Whether the stream has ended, or the function panicked.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn ask(&self) {
        // ORDERING: Relaxed; `notify` orders it before the wake-up.
        self.stop.asked.store(true, Ordering::Relaxed);
        self.stop.wait_set.notify();
    }
}

impl<T: ?Sized, C> Drop for Callback<T, C> {
    fn drop(&mut self) {
        self.ask();
        // Unless the function itself drops it.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl<T: ?Sized, C> fmt::Debug for Callback<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

fn run<T: ?Sized, C: Codec<T>>(
    consumer: &mut Consumer<T, C>,
    stop: &Stop,
    handle: &mut impl FnMut(Received<T, C>),
) -> Result<(), Error> {
    while !stop.is_asked() {
        match consumer.try_recv() {
            Ok(Some(message)) => handle(message),
            Ok(None) => return Ok(()),
            Err(Error::Empty) => sleep(&mut consumer.connection, stop)?,
            Err(error @ Error::Decode { .. }) => {
                tracing::warn!(target: "strait", %error, "left a message out");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Spins, then sleeps until a message, the end, or the wish to stop.
fn sleep(connection: &mut Connection, stop: &Stop) -> Result<(), Error> {
    if connection.spin_until(Interest::DATA, || stop.is_asked()) {
        return Ok(());
    }
    if connection.transport() == TransportKind::Local {
        connection.wait_ready(Interest::DATA, Some(Instant::now() + LOCAL_NAP))?;
        return Ok(());
    }
    if connection.arm(Interest::DATA)? {
        let woken =
            if stop.is_asked() { Ok(strait_transport::Wake::Ready) } else { stop.wait_set.sleep([&*connection], None) };
        connection.disarm()?;
        woken?;
    }
    Ok(())
}
