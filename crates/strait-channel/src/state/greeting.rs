//! How a shell gets to know its daemon: two questions, and the memory that comes before the second answer.

use strait_transport::{Connection, Error as TransportError, Interest, Options, StateReader, Transport};

use super::{
    Error, SERVICE,
    message::{Header, kind},
    session::offer,
};

/// A connection on which the questions are asked.
pub(super) struct Greeting {
    pub(super) connection: Connection,
    asked: u8,
    answered: u8,
    client: u64,
    max_value_bytes: u64,
}

/// A daemon, newly found.
pub(super) struct Found {
    pub(super) connection: Connection,
    /// What it publishes, where it could be mapped.
    pub(super) memory: Option<StateReader>,
    pub(super) fallback: Option<String>,
    /// The number of this shell.
    pub(super) client: u64,
    pub(super) max_value_bytes: u64,
}

/// The options of a shell whose state is of a codec and a schema.
pub(super) fn options(options: &Options, codec: u8, schema: u64) -> Options {
    Options { service: SERVICE, codec, schema, ..options.clone() }
}

impl Greeting {
    /// The first question begins the upgrade. The answer to the second comes behind what the upgrade brings.
    const QUESTIONS: u8 = 2;

    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, asked: 0, answered: 0, client: 0, max_value_bytes: 0 }
    }

    /// Goes on as far as possible: `None` when all is known, else what to wait for.
    pub(super) fn step(&mut self) -> Result<Option<Interest>, TransportError> {
        while self.asked < Self::QUESTIONS {
            if !offer(&mut self.connection, &Header::new(kind::DESCRIBE), &[])? {
                return Ok(Some(Interest::BOTH));
            }
            // Each on its own: behind the first one goes the offer of shared memory.
            self.connection.publish()?;
            self.asked += 1;
        }
        while self.answered < Self::QUESTIONS {
            let Some(message) = self.connection.try_recv()? else { return Ok(Some(Interest::DATA)) };
            match Header::of(&message) {
                Some(header) if header.kind == kind::DESCRIPTION => {
                    (self.client, self.max_value_bytes) = (header.offset.get(), header.total.get());
                }
                _ => return Err(TransportError::Corrupt { what: "a daemon that does not describe itself".into() }),
            }
            self.answered += 1;
        }
        Ok(None)
    }

    /// What was found.
    pub(super) fn found(mut self) -> Found {
        let (memory, refused) = match self.connection.take_state() {
            Some(Ok(memory)) => (Some(memory), None),
            Some(Err(why)) => (None, Some(format!("the daemon's memory was not taken: {why}"))),
            None => (None, self.connection.fallback_reason().map(str::to_owned)),
        };
        let fallback = match (&memory, refused) {
            (None, None) => Some("the daemon sent no memory".to_owned()),
            (_, refused) => refused,
        };
        let Self { connection, client, max_value_bytes, .. } = self;
        Found { connection, memory, fallback, client, max_value_bytes }
    }
}

/// Finds the daemon, in a thread.
pub(super) fn find(name: &str, options: &Options) -> Result<Found, Error> {
    let deadline = std::time::Instant::now() + options.limits.handshake_timeout;
    let mut greeting = Greeting::new(Connection::connect(name, options)?);
    while let Some(interest) = greeting.step()? {
        if greeting.connection.wait_ready(interest, Some(deadline))? == strait_transport::Wake::TimedOut {
            return Err(Error::TimedOut { what: "the daemon's answer" });
        }
    }
    Ok(greeting.found())
}

/// Finds the daemon, in a task.
#[cfg(feature = "tokio")]
pub(super) async fn find_async(name: &str, options: &Options) -> Result<Found, Error> {
    let find = async {
        let mut greeting = Greeting::new(Connection::connect_async(name, options).await?);
        while let Some(interest) = greeting.step()? {
            std::future::poll_fn(|cx| greeting.connection.poll_ready(cx, interest)).await?;
        }
        Ok::<_, TransportError>(greeting.found())
    };
    let found = tokio::time::timeout(options.limits.handshake_timeout, find).await;
    Ok(found.map_err(|_| Error::TimedOut { what: "the daemon's answer" })??)
}
