//! How new clients come to the polling threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strait_transport::{Connection, Error as TransportError, WaitSet};

/// One place per thread.
pub(super) struct Places {
    doors: Mutex<Vec<Door>>,
    wait_sets: Vec<Arc<WaitSet>>,
}

/// Where a thread's clients wait for it.
#[derive(Default)]
struct Door {
    newcomers: Vec<Connection>,
    /// Those that the thread has, and the newcomers.
    clients: usize,
    /// No more come.
    closed: bool,
}

/// What a thread finds at its door.
pub(super) struct News {
    pub(super) newcomers: Vec<Connection>,
    pub(super) closed: bool,
}

impl Places {
    pub(super) fn new(threads: usize) -> Result<Self, TransportError> {
        let wait_sets = (0..threads).map(|_| WaitSet::new().map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { doors: Mutex::new((0..threads).map(|_| Door::default()).collect()), wait_sets })
    }

    /// Where thread `index` sleeps, and is told to look at its door.
    pub(super) fn wait_set(&self, index: usize) -> &Arc<WaitSet> {
        &self.wait_sets[index]
    }

    /// Gives a client to the thread that has the fewest.
    pub(super) fn hand_over(&self, connection: Connection) {
        let mut doors = self.doors();
        let fewest = (0..doors.len()).min_by_key(|&index| doors[index].clients).unwrap_or(0);
        doors[fewest].clients += 1;
        doors[fewest].newcomers.push(connection);
        drop(doors);
        self.wait_sets[fewest].notify();
    }

    /// No more clients come: the threads end once theirs have been told.
    pub(super) fn close(&self) {
        self.doors().iter_mut().for_each(|door| door.closed = true);
        self.wait_sets.iter().for_each(|set| set.notify());
    }

    /// What is new at the door of thread `index`.
    pub(super) fn news(&self, index: usize) -> News {
        let door = &mut self.doors()[index];
        News { newcomers: std::mem::take(&mut door.newcomers), closed: door.closed }
    }

    /// A client of thread `index` has left.
    pub(super) fn left(&self, index: usize) {
        self.doors()[index].clients -= 1;
    }

    fn doors(&self) -> MutexGuard<'_, Vec<Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
