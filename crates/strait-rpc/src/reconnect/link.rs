//! A connection that is made anew when it was lost.
//!
//! Calls share the client that is connected. The first call that finds none starts a *run*: a thread that tries to connect until
//! it succeeds, gives up, or nobody waits any more. All calls wait for the run, each until its own deadline, and
//! none of them drives it: an attempt may take longer than any of their deadlines, and the next call profits from it. The
//! thread is there only while the connection is not, for clients of tasks too: starting a server blocks.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use strait_sync::{
    fail_point,
    primitive::{Mutex, MutexGuard},
};
use strait_transport::Error as TransportError;

use super::{
    backoff::Backoff,
    outcome::{Fate, History, Retry, may_connect_later},
};
use crate::error::Error;

/// A client that is, or was, connected.
pub(super) struct Live<K> {
    pub(super) client: K,
    /// Whether it has answered a call.
    answered: AtomicBool,
}

/// What a wait for a connection ends in.
pub(super) type Connected<K> = Result<Arc<Live<K>>, Error>;

/// How to connect, and how often.
pub(super) struct Config<K> {
    connect: Arc<dyn Fn() -> Result<K, Error> + Send + Sync>,
    pub(super) backoff: Backoff,
    pub(super) on_reconnect: Option<Arc<dyn Fn(u64) + Send + Sync>>,
    /// Makes a new client like the one before, under the lock.
    pub(super) equip: Arc<dyn Fn(&K) + Send + Sync>,
}

/// What all callers share.
pub(super) struct Link<K> {
    state: Arc<Mutex<State<K>>>,
    pub(super) config: Config<K>,
}

struct State<K> {
    current: Option<Arc<Live<K>>>,
    /// There is a run.
    connecting: bool,
    /// Calls that wait for a connection, by number, and whom to wake for each. A call takes its entry away when it waits no more:
    /// a server may be gone for days, and calls come and go meanwhile.
    waiting: HashMap<u64, Option<Waker>>,
    next_number: u64,
    /// Attempts, and connections without an answer, since the last answer.
    failures: u32,
    /// When the next attempt is due.
    not_before: Option<Instant>,
    /// Runs that gave up.
    given_up: u64,
    last_error: Option<Arc<Error>>,
    connections: u64,
}

impl<K: Send + Sync + 'static> Link<K> {
    pub(super) fn new(connect: impl Fn() -> Result<K, Error> + Send + Sync + 'static) -> Self {
        let state = State {
            current: None,
            connecting: false,
            waiting: HashMap::new(),
            next_number: 0,
            failures: 0,
            not_before: None,
            given_up: 0,
            last_error: None,
            connections: 0,
        };
        let config = Config {
            connect: Arc::new(connect),
            backoff: Backoff::default(),
            on_reconnect: None,
            equip: Arc::new(|_| {}),
        };
        Self { state: Arc::new(Mutex::new(state)), config }
    }

    /// The client that is connected.
    pub(super) fn current(&self) -> Option<Arc<Live<K>>> {
        self.state.lock().current.clone()
    }

    /// How often the connection was made anew.
    pub(super) fn reconnects(&self) -> u64 {
        self.state.lock().connections.saturating_sub(1)
    }

    /// Begins to wait for a connection.
    pub(super) fn wait(&self) -> Waiting<'_, K> {
        let mut state = self.state.lock();
        let number = state.next_number;
        state.next_number += 1; // one for each call: not in a century
        state.waiting.insert(number, None);
        Waiting { link: self, number, given_up: state.given_up }
    }

    /// Takes the outcome of a call on `live`; `None` says to make the call again.
    pub(super) fn settle<T>(
        &self,
        live: &Arc<Live<K>>,
        outcome: Result<T, Error>,
        retry: Retry,
        history: &mut History,
    ) -> Option<Result<T, Error>> {
        match (Fate::of(&outcome), outcome) {
            (Fate::TurnedAway, _) => {
                self.lose(live);
                None
            }
            (Fate::Lost { passes }, Err(Error::Transport(source))) => {
                self.lose(live);
                if passes && retry == Retry::Idempotent {
                    history.lost(source);
                    return None;
                }
                Some(Err(Error::Lost { source, then: None }))
            }
            (Fate::Answered, outcome) => {
                // ORDERING: Relaxed; says only whether there is something to do under the lock, which orders it.
                if !live.answered.load(Ordering::Relaxed) {
                    // ORDERING: Relaxed; as above.
                    live.answered.store(true, Ordering::Relaxed);
                    let mut state = self.state.lock();
                    (state.failures, state.not_before) = (0, None);
                }
                Some(outcome)
            }
            (Fate::Failed | Fate::Lost { .. }, outcome) => Some(outcome),
        }
    }

    /// No new calls on `live`.
    pub(super) fn lose(&self, live: &Arc<Live<K>>) {
        let mut state = self.state.lock();
        let lost = state.current.take_if(|current| Arc::ptr_eq(current, live));
        drop(state);
        // Outside the lock, because its end may close the connection.
        drop(lost);
    }

    /// Starts the thread that connects; `around` runs in it, and runs what it is given.
    fn start(&self, around: impl FnOnce(&dyn Fn()) + Send + 'static) -> io::Result<()> {
        let Config { connect, backoff, on_reconnect, equip } = &self.config;
        let (connect, on_reconnect, equip) = (connect.clone(), on_reconnect.clone(), equip.clone());
        let config = Config { connect, backoff: backoff.clone(), on_reconnect, equip };
        let state = self.state.clone();
        let thread = std::thread::Builder::new().name("strait-connect".into());
        thread.spawn(move || around(&|| run(&state, &config))).map(drop)
    }
}

impl<K> State<K> {
    /// An attempt, or a connection without an answer so far.
    fn failed(&mut self, backoff: &Backoff) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now().checked_add(backoff.pause(self.failures));
    }

    fn give_up(mut state: MutexGuard<'_, Self>, error: Arc<Error>) {
        state.given_up += 1;
        state.last_error = Some(error);
        Self::end_run(state);
    }

    fn end_run(mut state: MutexGuard<'_, Self>) {
        state.connecting = false;
        let wakers: Vec<Waker> = state.waiting.values_mut().filter_map(Option::take).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Connects, in a thread of its own.
fn run<K>(state: &Mutex<State<K>>, config: &Config<K>) {
    let begun = Instant::now();
    loop {
        let not_before = state.lock().not_before;
        if let Some(at) = not_before {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
        }
        let looked = state.lock();
        if looked.waiting.is_empty() {
            return State::end_run(looked);
        }
        drop(looked);
        fail_point!("reconnect.connecting");
        let connected = catch_unwind(AssertUnwindSafe(|| (config.connect)()))
            .unwrap_or(Err(TransportError::Usage("the function that connects panicked").into()));
        let mut state = state.lock();
        state.failed(&config.backoff);
        match connected {
            Ok(client) => {
                fail_point!("reconnect.connected");
                (config.equip)(&client);
                state.current = Some(Arc::new(Live { client, answered: AtomicBool::new(false) }));
                state.connections += 1;
                state.last_error = None;
                let reconnects = state.connections - 1;
                State::end_run(state);
                if reconnects > 0 {
                    tracing::info!(target: "strait", reconnects, "reconnected");
                    if let Some(on_reconnect) = &config.on_reconnect {
                        on_reconnect(reconnects);
                    }
                }
                return;
            }
            Err(error) => {
                tracing::debug!(target: "strait", %error, "cannot connect now");
                let late = config.backoff.max_elapsed.is_some_and(|max| begun.elapsed() >= max);
                let final_ = late || !may_connect_later(&error);
                let error = Arc::new(error);
                if final_ {
                    return State::give_up(state, error);
                }
                state.last_error = Some(error);
            }
        }
    }
}

/// A call that waits for a connection.
pub(super) struct Waiting<'a, K> {
    link: &'a Link<K>,
    number: u64,
    /// Runs that had given up before.
    given_up: u64,
}

impl<K: Send + Sync + 'static> Waiting<'_, K> {
    /// Looks for a connection, and has one made if nobody does. `around` as in [`Link::start`].
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
        around: impl FnOnce(&dyn Fn()) + Send + 'static,
    ) -> Poll<Connected<K>> {
        let mut state = self.link.state.lock();
        if let Some(live) = &state.current {
            return Poll::Ready(Ok(live.clone()));
        }
        if state.given_up != self.given_up {
            return Poll::Ready(Err(Error::NotConnected { last: state.last_error.clone() }));
        }
        let before = state.waiting.insert(self.number, Some(cx.waker().clone()));
        let begins = !std::mem::replace(&mut state.connecting, true);
        drop(state);
        // Outside the lock: what a waker does when it goes is its own.
        drop(before);
        if begins && let Err(error) = self.link.start(around) {
            let error = TransportError::Io { operation: "starting a thread", source: Arc::new(error) };
            State::give_up(self.link.state.lock(), Arc::new(error.into()));
            return Poll::Ready(Err(self.late()));
        }
        Poll::Pending
    }
}

impl<K> Waiting<'_, K> {
    /// What a call ends in that has waited until its deadline.
    pub(super) fn late(&self) -> Error {
        Error::NotConnected { last: self.link.state.lock().last_error.clone() }
    }
}

impl<K> Drop for Waiting<'_, K> {
    fn drop(&mut self) {
        let waker = self.link.state.lock().waiting.remove(&self.number);
        // Outside the lock: what a waker does when it goes is its own.
        drop(waker);
    }
}

/// When a call ends that may take so long; `None` is never.
pub(super) fn until(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    /// A task, by what it holds.
    struct Task {
        _held: Arc<()>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn calls_that_gave_up_while_a_server_is_gone_leave_nothing_behind() {
        let link: Link<()> = Link::new(|| Err(TransportError::NoServer { path: "gone".into() }.into()));
        let held = Arc::new(());
        let first = link.wait();
        for _ in 0..1000 {
            let call = link.wait();
            let waker = Waker::from(Arc::new(Task { _held: held.clone() }));
            assert!(call.poll(&mut Context::from_waker(&waker), |run| run()).is_pending());
        }
        assert_eq!(link.state.lock().waiting.len(), 1, "the one that waits");
        assert_eq!(Arc::strong_count(&held), 1);
        drop(first);
        assert!(link.state.lock().waiting.is_empty());
    }
}
