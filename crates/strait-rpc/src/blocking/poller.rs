//! A thread of its own that polls for several clients.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
#[cfg(not(strait_loom))]
use std::{
    sync::mpsc,
    thread::{Builder, JoinHandle},
};

#[cfg(not(strait_loom))]
use strait_sync::primitive::spin_hint;
use strait_transport::{Connection, WaitSet};
#[cfg(not(strait_loom))]
use strait_transport::{Error as TransportError, pin_current_thread};

use crate::driver::{Bell, ClientPolling, Driver, Look};
#[cfg(not(strait_loom))]
use crate::error::Error;

/// A thread that polls for as many clients as are given to it: it looks for their answers in turn, and hands each to the thread
/// that waits for it. Those sleep meanwhile, so one processor is kept busy however many threads call.
///
/// It works for the connections that run over memory. Once it has found nothing on any of them for as long as
/// [`ClientPolling::idle`] says it sleeps, and threads whose calls are still in flight wait for themselves; the next call wakes
/// it. When it is dropped its clients go on without it.
///
/// ```no_run
/// use strait_rpc::blocking::{Client, ClientPolling, Poller};
///
/// let poller = Poller::start(&ClientPolling { cpu: Some(3), idle: None })?; // has processor 3 for itself
/// let (mut bids, mut asks) = (Client::<u64, u64>::connect("bids")?, Client::<u64, u64>::connect("asks")?);
/// bids.set_poller(&poller);
/// asks.set_poller(&poller);
/// # Ok::<(), strait_rpc::Error>(())
/// ```
pub struct Poller {
    pub(crate) bell: Arc<Bell>,
    #[cfg(not(strait_loom))]
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread: a forked child has none.
    #[cfg(not(strait_loom))]
    process_id: u32,
}

impl Poller {
    /// Starts the thread (`strait-poller`); returns once it is where it belongs.
    ///
    /// # Errors
    ///
    /// [`Error::Pin`] where there is no such processor; [`Error::Transport`] where no descriptor or thread is left.
    #[cfg(not(strait_loom))]
    pub fn start(polling: &ClientPolling) -> Result<Self, Error> {
        let bell = Arc::new(Bell::new(WaitSet::new()?));
        let (tell, started) = mpsc::channel();
        let (rounds, cpu) = (Rounds::new(bell.clone(), polling), polling.cpu);
        let poll = move || {
            let pinned = cpu.map_or(Ok(()), pin_current_thread);
            let goes_on = pinned.is_ok();
            let _ = tell.send(pinned); // who starts it waits for that
            if goes_on {
                rounds.run();
            }
        };
        let thread = Builder::new().name("strait-poller".into()).spawn(poll);
        let thread = thread
            .map_err(|error| TransportError::Io { operation: "starting a polling thread", source: Arc::new(error) })?;
        started.recv().map_err(|_| TransportError::Usage("a polling thread ended before it began"))??;
        Ok(Self { bell, thread: Some(thread), process_id: std::process::id() })
    }

    /// One for a model, and what its thread does.
    #[cfg(strait_loom)]
    pub fn modelled() -> (Self, impl FnOnce() + Send) {
        let bell = Arc::new(Bell::new(WaitSet::modelled()));
        let rounds = Rounds::new(bell.clone(), &ClientPolling::default());
        (Self { bell }, || rounds.run())
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        #[cfg(not(strait_loom))]
        if std::process::id() != self.process_id {
            // The thread is the parent's: there is nothing here to wait for, nor to let go.
            std::mem::forget(self.thread.take());
            return;
        }
        self.bell.close();
        #[cfg(not(strait_loom))]
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there was printed, and its clients go on
        }
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

/// Rounds between two looks at the clock.
const ROUNDS: u32 = 32;
/// How often it is found out whether the server of one of the clients is still there.
const LOOK_AFTER_EVERY: Duration = Duration::from_millis(1);
/// A thread that has found nothing for so long gives its processor away between looks: what it waits for may need it.
const YIELD_AFTER: Duration = Duration::from_micros(5);
/// What it does where the system lets it sleep no more.
#[cfg(not(strait_loom))]
const NAP: Duration = Duration::from_millis(1);

/// What the thread does.
struct Rounds {
    bell: Arc<Bell>,
    clients: Vec<Arc<Driver>>,
    idle: Option<Duration>,
    /// Since the last look at the clock.
    rounds: u32,
    worked: bool,
    worked_at: Instant,
    looked_after_at: Instant,
    /// Whose server is looked after next.
    next: usize,
}

impl Rounds {
    fn new(bell: Arc<Bell>, polling: &ClientPolling) -> Self {
        let (clients, idle, now) = (Vec::new(), polling.idle, Instant::now());
        Self { bell, clients, idle, rounds: 0, worked: false, worked_at: now, looked_after_at: now, next: 0 }
    }

    /// Polls until the [`Poller`] is dropped.
    fn run(mut self) {
        loop {
            if self.bell.wait_set.take_notice() {
                let news = self.bell.take_news();
                self.clients.extend(news.newcomers);
                if news.closed {
                    return;
                }
            }
            let (worked, resting) = self.round(None);
            if resting || self.is_quiet(worked) {
                self.sleep();
            }
        }
    }

    /// A look at each client, and after the server of one; whether any had something to do, and whether all rest.
    #[inline]
    fn round(&mut self, after: Option<usize>) -> (bool, bool) {
        let (mut worked, mut resting, mut index) = (false, true, 0);
        while let Some(client) = self.clients.get(index) {
            let look = client.look(&self.bell, after == Some(index));
            if look == Look::Gone {
                let gone = self.clients.swap_remove(index);
                gone.detach(&self.bell);
                continue;
            }
            worked |= look == Look::Worked;
            resting &= look == Look::Resting;
            index += 1;
        }
        (worked, resting)
    }

    /// Whether nothing has come for as long as is looked. Yields after a while, and looks after a server where one is due.
    #[cfg(not(strait_loom))]
    fn is_quiet(&mut self, worked: bool) -> bool {
        self.worked |= worked;
        self.rounds += 1;
        if self.rounds < ROUNDS {
            if !worked {
                spin_hint();
            }
            return false;
        }
        self.rounds = 0;
        let now = Instant::now();
        if now - self.looked_after_at >= LOOK_AFTER_EVERY {
            self.looked_after_at = now;
            self.next = (self.next + 1) % self.clients.len().max(1);
            self.worked |= self.round(Some(self.next)).0;
        }
        if std::mem::take(&mut self.worked) {
            self.worked_at = now;
            return false;
        }
        let quiet = now - self.worked_at;
        if self.idle.is_some_and(|idle| quiet >= idle) {
            return true;
        }
        if quiet >= YIELD_AFTER {
            std::thread::yield_now();
        }
        false
    }

    /// In a model no time passes: the first look that finds nothing is the last.
    #[cfg(strait_loom)]
    fn is_quiet(&mut self, worked: bool) -> bool {
        !worked
    }

    /// Lets threads drive, and sleeps until a call is sent or there are news.
    fn sleep(&mut self) {
        self.clients.iter().for_each(|client| client.rest(&self.bell));
        let nobody: [&Connection; 0] = [];
        if let Err(error) = self.bell.wait_set.sleep(nobody, None) {
            tracing::warn!(target: "strait", %error, "a polling thread cannot sleep: it naps");
            #[cfg(not(strait_loom))]
            std::thread::sleep(NAP);
        }
        self.worked_at = Instant::now();
    }
}

/// However the thread ends, nobody waits for it.
impl Drop for Rounds {
    fn drop(&mut self) {
        self.bell.close();
        self.clients.extend(self.bell.take_news().newcomers);
        self.clients.iter().for_each(|client| client.detach(&self.bell));
    }
}
