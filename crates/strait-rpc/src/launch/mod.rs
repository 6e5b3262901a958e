//! A server that its first client starts.

mod error;
mod lock;
mod process;
mod start;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use strait_frame::Codec;
use strait_transport::{Connection, Options};

use self::start::Start;
use crate::{blocking, error::Error};

pub use error::LaunchError;

/// How to start a server where none is running.
///
/// A client tries to connect first. Only where nobody serves under the name (no socket, or one whose server is gone) it starts
/// the server, and connects as soon as that answers. Of many clients that come at once, in any number of processes,
/// one starts it and the others wait.
///
/// The server is a process of its own: it outlives the client, has no input, and is in a process group of its own, so that
/// Ctrl-C in the client's terminal does not reach it. It may go into the background: a first process that ends with
/// success before the server answers is waited for no more, the server is. The client waits for the end of what it started in
/// a small thread (`strait-reaper`), so that no zombie stays.
///
/// What the server writes on its standard output and error is kept, for the error that says why it did not start. It goes
/// into memory and is not cut while the server lives: a server that goes on writing needs a [`log`](Self::log).
///
/// ```no_run
/// use strait_rpc::{Launch, Options, blocking::Client};
///
/// let launch = Launch::command("doubler-server", ["--verbose"]);
/// let client: Client<u64, u64> = Client::connect_or_launch("doubler", &Options::default(), &launch)?;
/// assert_eq!(client.call(&21)?.to_native(), 42);
/// # Ok::<(), strait_rpc::Error>(())
/// ```
#[derive(Clone)]
pub struct Launch {
    command: Arc<dyn Fn() -> Command + Send + Sync>,
    log: Option<PathBuf>,
    timeout: Duration,
}

impl Launch {
    /// How long a server may take unless told otherwise.
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Starts the server by what `command` returns, which is asked once per start. Its standard input, output and error and
    /// its process group are set here; environment, working directory and all else are the command's.
    pub fn new(command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        Self { command: Arc::new(command), log: None, timeout: Self::TIMEOUT }
    }

    /// Starts the server by running `program`, looked up in `PATH` unless it is a path, with `args`.
    pub fn command<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Self {
        let program = program.as_ref().to_owned();
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        Self::new(move || {
            let mut command = Command::new(&program);
            command.args(&args);
            command
        })
    }

    /// Sets how long the server may take from its start to its answer, and how long this client waits for a start by
    /// another one (default 10 s). A server that takes longer is killed with its process group.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Appends the server's standard output and error to the file at `path`, which is made (mode 0600) if it is missing.
    #[must_use]
    pub fn log(self, path: impl Into<PathBuf>) -> Self {
        Self { log: Some(path.into()), ..self }
    }

    /// Connects to the service `name`, for blocking use; starts its server if it is not running. Takes up to twice the
    /// [`timeout`](Self::timeout): once for another client's start that fails, once for the own one.
    ///
    /// # Errors
    ///
    /// [`LaunchError::Connect`] with what [`Connection::connect`] says, but for `NoServer`;
    /// [`LaunchError::Spawn`], [`LaunchError::Exited`], [`LaunchError::TimedOut`], [`LaunchError::Busy`] for the start.
    pub fn connection(&self, name: &str, options: &Options) -> Result<Connection, LaunchError> {
        let mut start = Start::new(self, name, options)?;
        loop {
            let attempt = Connection::connect(name, &start.options());
            if let Some(connection) = start.step(attempt)? {
                return Ok(connection);
            }
            std::thread::sleep(start.pause());
        }
    }

    /// As [`connection`](Self::connection), for async use on the current tokio runtime. A server that is starting when the
    /// future is dropped goes on.
    ///
    /// # Errors
    ///
    /// As [`connection`](Self::connection).
    #[cfg(feature = "tokio")]
    pub async fn connection_async(&self, name: &str, options: &Options) -> Result<Connection, LaunchError> {
        let mut start = Start::new(self, name, options)?;
        loop {
            let attempt = Connection::connect_async(name, &start.options()).await;
            if let Some(connection) = start.step(attempt)? {
                return Ok(connection);
            }
            tokio::time::sleep(start.pause()).await;
        }
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").field("timeout", &self.timeout).field("log", &self.log).finish_non_exhaustive()
    }
}

impl<Req, Resp, C> blocking::Client<Req, Resp, C>
where
    C: Codec<Req> + Codec<Resp>,
{
    /// Connects to the service `name`, and starts its server by `launch` if it is not running.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] as [`connect_with`](Self::connect_with), but for `NoServer`; [`Error::Launch`] where the server
    /// could not be started.
    pub fn connect_or_launch(name: &str, options: &Options, launch: &Launch) -> Result<Self, Error> {
        let options = crate::encode::identify::<C, Req, Resp>(options);
        Ok(Self::over(launch.connection(name, &options)?))
    }
}

#[cfg(feature = "tokio")]
impl<Req, Resp, C> crate::Client<Req, Resp, C>
where
    C: Codec<Req> + Codec<Resp>,
{
    /// Connects to the service `name`, and starts its server by `launch` if it is not running.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] as [`connect_with`](Self::connect_with), but for `NoServer`; [`Error::Launch`] where the server
    /// could not be started.
    pub async fn connect_or_launch(name: &str, options: &Options, launch: &Launch) -> Result<Self, Error> {
        let options = crate::encode::identify::<C, Req, Resp>(options);
        Ok(Self::over(launch.connection_async(name, &options).await?))
    }
}
