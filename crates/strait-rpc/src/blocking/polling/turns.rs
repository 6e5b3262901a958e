//! A polling thread: its clients take turns.
//!
//! While it looks, nobody has to wake it, and there is no system call (but for clients on their sockets, and one look in a
//! millisecond after a client that might have died). Once it has found nothing for long enough it announces its sleep to all
//! clients, which looks at each once more, and sleeps on all their descriptors at once: see [`WaitSet`](strait_transport::WaitSet).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use strait_sync::primitive::spin_hint;
use strait_transport::Error as TransportError;

use super::{
    super::{
        server::Shared,
        service::Service,
        session::{LOOK_EVERY, Session},
    },
    Polling,
    client::{Client, Turn},
    places::Places,
};

/// Rounds between two looks at the clock.
const ROUNDS: u32 = 32;
/// How often one of the clients is looked after.
const LOOK_AFTER_EVERY: Duration = Duration::from_millis(1);
/// How long a client on its socket is passed over at most, by a thread that works for others meanwhile.
const SKIP_AT_MOST: Duration = Duration::from_millis(1);
/// A thread that has found nothing for so long gives its processor away between looks: what it waits for may need it.
const YIELD_AFTER: Duration = Duration::from_micros(5);

/// The clients of one thread.
pub(super) struct Turns<'a, S> {
    index: usize,
    places: &'a Places,
    shared: &'a Shared<S>,
    polling: &'a Polling,
    clients: Vec<Client<'a, S>>,
    ending: bool,
    worked_at: Instant,
    looked_after_at: Instant,
    skipping_since: Instant,
    /// Who is looked after next.
    next: usize,
}

impl<'a, S: Service> Turns<'a, S> {
    pub(super) fn new(index: usize, places: &'a Places, shared: &'a Shared<S>, polling: &'a Polling) -> Self {
        let now = Instant::now();
        let (worked_at, looked_after_at, skipping_since) = (now, now, now);
        let clients = vec![];
        Self {
            index,
            places,
            shared,
            polling,
            clients,
            ending: false,
            worked_at,
            looked_after_at,
            skipping_since,
            next: 0,
        }
    }

    /// Serves until the server ends.
    pub(super) fn run(mut self) {
        let (mut rounds, mut has_worked) = (0, false);
        loop {
            if self.places.wait_set(self.index).take_notice() {
                self.take_news();
            }
            let worked = self.round();
            if worked {
                self.end_skips();
            }
            if self.ending {
                if self.clients.is_empty() {
                    return;
                }
                if !worked {
                    self.clients.iter_mut().for_each(Client::look_after);
                    std::thread::sleep(LOOK_EVERY);
                }
                continue;
            }
            if !worked {
                spin_hint();
            }
            has_worked |= worked;
            rounds += 1;
            if rounds == ROUNDS || self.clients.is_empty() {
                self.watch_the_clock(has_worked);
                (rounds, has_worked) = (0, false);
            }
        }
    }

    /// Skips are counted in rounds, which are short only while nobody works: in time, none lasts longer than this.
    fn end_skips(&mut self) {
        let now = Instant::now();
        if now - self.skipping_since >= SKIP_AT_MOST {
            self.skipping_since = now;
            self.clients.iter_mut().for_each(Client::end_skip);
        }
    }

    /// New clients, or the server's end.
    fn take_news(&mut self) {
        let news = self.places.news(self.index);
        for connection in news.newcomers {
            let bell = self.places.wait_set(self.index);
            self.clients.push(Client::new(Session::new(connection, self.shared, Some(bell))));
        }
        if news.closed && !self.ending {
            self.ending = true;
            self.clients.iter_mut().for_each(Client::begin_end);
        }
    }

    /// A turn for each client; whether any had something to do.
    #[inline]
    fn round(&mut self) -> bool {
        let (mut worked, mut index) = (false, 0);
        while let Some(client) = self.clients.get_mut(index) {
            // A panic here is a fault of ours, or of what drops a handler's value. It is that client's alone.
            let turn = catch_unwind(AssertUnwindSafe(|| client.turn(self.polling.max_batch)));
            let outcome = match turn.unwrap_or(Err(TransportError::Usage("its turn panicked"))) {
                Ok(Turn::Idle) => {
                    index += 1;
                    continue;
                }
                Ok(Turn::Worked) => {
                    worked = true;
                    index += 1;
                    continue;
                }
                Ok(Turn::Over) => Ok(()),
                Err(error) => Err(error),
            };
            worked = true;
            let client = self.clients.remove(index);
            // What it leaves behind is dropped, handlers' values too.
            let _ = catch_unwind(AssertUnwindSafe(|| client.end(outcome)));
            self.places.left(self.index);
        }
        worked
    }

    /// Looks after a client where one is due, and yields or sleeps after rounds that found nothing.
    fn watch_the_clock(&mut self, has_worked: bool) {
        let now = Instant::now();
        if now - self.looked_after_at >= LOOK_AFTER_EVERY && !self.clients.is_empty() {
            self.looked_after_at = now;
            self.next = (self.next + 1) % self.clients.len();
            self.clients[self.next].look_after();
        }
        if has_worked {
            self.worked_at = now;
            return;
        }
        let quiet = now - self.worked_at;
        if self.clients.is_empty() || self.polling.idle.is_some_and(|idle| quiet >= idle) {
            self.sleep();
            self.worked_at = Instant::now();
        } else if quiet >= YIELD_AFTER {
            std::thread::yield_now();
        }
    }

    /// Sleeps until one of the clients needs a turn, or there are news.
    fn sleep(&mut self) {
        // What the first that is not quiet has to do is done in its next turn, and nobody sleeps.
        let armed = self.clients.iter_mut().position(|client| !client.arm()).unwrap_or(self.clients.len());
        if armed == self.clients.len() {
            let slept = self.places.wait_set(self.index).sleep(self.clients.iter().map(Client::connection), None);
            if let Err(error) = slept {
                // Not for want of anything that a wait could bring: rather late than busy.
                tracing::warn!(target: "strait", %error, "a polling thread cannot sleep: it naps");
                std::thread::sleep(LOOK_EVERY);
            }
        }
        self.clients[..armed].iter_mut().for_each(Client::disarm);
    }
}
