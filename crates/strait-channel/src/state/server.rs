//! The threads of a daemon: one takes shells in, one serves all of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
};

use strait_transport::{
    Connection, Error, Interrupt, Listener, Message, StateMemory, StateReader, StateRegion, Transport,
};

use super::session::{Latest, Session, Shared};

/// Shells between the thread that greets them and the one that serves them.
pub(super) struct Door {
    arrived: Mutex<Vec<(Connection, StateMemory)>>,
    closing: AtomicBool,
    pub(super) shared: Shared,
}

impl Door {
    pub(super) fn new(shared: Shared) -> Self {
        Self { arrived: Mutex::default(), closing: AtomicBool::new(false), shared }
    }

    fn hand_over(&self, connection: Connection, memory: StateMemory) {
        self.arrived.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((connection, memory));
        self.shared.inbox.set.notify();
    }

    fn take_arrived(&self) -> Vec<(Connection, StateMemory)> {
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// Both threads; dropping it ends them.
pub(super) struct Server {
    pub(super) door: Arc<Door>,
    interrupt: Arc<Interrupt>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts them.
    pub(super) fn start<R: Latest + Send + 'static>(
        listener: Listener,
        interrupt: Arc<Interrupt>,
        shared: Shared,
        latest: R,
        memory: StateMemory,
    ) -> Result<Self, Error> {
        let door = Arc::new(Door::new(shared));
        let mut server = Self { door: door.clone(), interrupt, threads: Vec::new() };
        let greets = door.clone();
        server.spawn("strait-state-greet", move || greet(&listener, &greets, &memory))?;
        server.spawn("strait-state", move || serve(&door, latest))?;
        Ok(server)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = Builder::new().name(name.into()).spawn(run);
        let failed = |error| Error::Io { operation: "starting a thread of the daemon", source: Arc::new(error) };
        self.threads.push(thread.map_err(failed)?);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // ORDERING: Release; pairs with the load in `serve`. The notice that follows wakes that thread in any case.
        self.door.closing.store(true, Ordering::Release);
        self.interrupt.raise();
        self.door.shared.inbox.set.notify();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Takes shells in until the interrupt. Each handshake has a thread of its own, so that it holds up nobody.
fn greet(listener: &Listener, door: &Door, memory: &StateMemory) {
    std::thread::scope(|handshakes| {
        loop {
            let incoming = match listener.accept() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(target: "strait", %error, "the daemon takes no more shells");
                    break;
                }
            };
            let greet = move || match incoming.handshake() {
                Ok(mut connection) => {
                    let memory = memory.for_client();
                    connection.attach_state(memory.clone());
                    door.hand_over(connection, memory);
                }
                Err(error) => tracing::debug!(target: "strait", %error, "a shell did not get in"),
            };
            if let Err(error) = Builder::new().name("strait-greet".into()).spawn_scoped(handshakes, greet) {
                tracing::warn!(target: "strait", %error, "no thread for a shell's handshake: turned it away");
            }
        }
    });
}

/// Serves all shells until the door closes.
fn serve(door: &Door, mut latest: impl Latest) {
    let shared = &door.shared;
    let mut sessions: HashMap<u64, Session> = HashMap::new();
    let mut clients = 0u64;
    // ORDERING: Acquire; pairs with the store in `Server::drop`.
    while !door.closing.load(Ordering::Acquire) {
        // Before the looks: what is told of from here on ends the sleep.
        shared.inbox.set.take_notice();
        for (connection, memory) in door.take_arrived() {
            clients += 1;
            sessions.insert(clients, Session::new(clients, connection, memory));
        }
        hand_out(shared, &mut sessions);
        let mut moved = false;
        sessions.retain(|_, session| match session.turn(shared, &mut latest) {
            Ok(any) => {
                moved |= any;
                true
            }
            Err(error) => {
                tracing::debug!(target: "strait", client = session.client, %error, "a shell has left");
                session.take_pin_back(&error);
                session.end(shared);
                false
            }
        });
        if !moved {
            sleep(shared, &mut sessions);
        }
    }
    // What the owner answered before it went is still on its way.
    hand_out(shared, &mut sessions);
    for session in sessions.values_mut() {
        let _ = session.turn(shared, &mut latest); // a shell that is gone needs no answer
        session.end(shared);
    }
}

/// Gives the owner's answers to the sessions that they are for.
fn hand_out(shared: &Shared, sessions: &mut HashMap<u64, Session>) {
    for answer in shared.inbox.take_answers() {
        if let Some(session) = sessions.get_mut(&answer.client) {
            session.answer(answer);
        }
    }
}

/// Sleeps until a shell needs a look, or somebody tells.
fn sleep(shared: &Shared, sessions: &mut HashMap<u64, Session>) {
    let mut ready = false;
    let mut armed = Vec::with_capacity(sessions.len());
    for (client, session) in sessions.iter_mut() {
        let interest = session.interest(shared);
        match session.connection.arm(interest) {
            Ok(true) => armed.push(*client),
            // Something is there, or the end: the next turn takes it.
            Ok(false) | Err(_) => {
                ready = true;
                break;
            }
        }
    }
    if !ready {
        let connections = sessions.values().map(|session| &session.connection);
        if let Err(error) = shared.inbox.set.sleep(connections, None) {
            tracing::error!(target: "strait", %error, "the daemon cannot sleep");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    for client in armed {
        if let Some(session) = sessions.get_mut(&client) {
            let _ = session.connection.disarm(); // and the next turn tells
        }
    }
}

impl<W: StateRegion> Latest for StateReader<W> {
    fn version(&self) -> Result<u64, Error> {
        Self::version(self)
    }

    fn read(&mut self) -> Result<Option<(Message, u64)>, Error> {
        Self::read(self)
    }

    fn max_value_bytes(&self) -> usize {
        Self::max_value_bytes(self)
    }
}
