//! Real processes that talk through strait: the test program runs itself again, with its part in the environment.
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::{
    env,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use strait::{
    Options,
    rpc::{
        Request,
        blocking::{Client, Server},
    },
    state::{self, Daemon},
    stream::{self, Consumer, Endpoint, Producer},
};

const PART: &str = "STRAIT_TEST_PART";
const SERVICE: &str = "STRAIT_TEST_SERVICE";
const RUNTIME_DIR: &str = "STRAIT_TEST_DIR";
const PACE_US: &str = "STRAIT_TEST_PACE_US";
/// Whoever waits longer than this has waited in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A service of its own, for the processes of one test.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    pub(crate) service: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        static SCENES: AtomicUsize = AtomicUsize::new(0);
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::tempdir().unwrap();
        Self { directory, service: format!("scene-{}-{number}", std::process::id()) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a process that plays `part`, and waits until it says that it does.
    pub(crate) fn play(&self, part: &str) -> Actor {
        self.cast(part).start()
    }

    /// A process that is to play `part`.
    pub(crate) fn cast(&self, part: &str) -> Cast {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "actor", "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .env(SERVICE, &self.service)
            .env(RUNTIME_DIR, self.path().join("run"));
        Cast(command)
    }
}

/// A process before it is started.
pub(crate) struct Cast(Command);

impl Cast {
    /// How long it rests after each message.
    pub(crate) fn pace(mut self, pace: Duration) -> Self {
        self.0.env(PACE_US, pace.as_micros().to_string());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    /// Another argument, which it does not read.
    pub(crate) fn arg(mut self, text: &str) -> Self {
        self.0.args(["--skip", text]);
        self
    }

    /// As another user. Only root may.
    pub(crate) fn user(mut self, id: u32) -> Self {
        self.0.gid(id).uid(id);
        self
    }

    pub(crate) fn start(mut self) -> Actor {
        let mut child = self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready"));
        assert!(is_ready, "the process ended before it was ready");
        // It must not stop at a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Actor { child, _input: input }
    }
}

/// A process that plays its part until this is dropped.
pub(crate) struct Actor {
    child: Child,
    _input: Option<ChildStdin>,
}

impl Actor {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it, as Ctrl-Z does.
    pub(crate) fn stop(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the test `actor` of each program does: nothing, unless this process was started to play a part.
pub(crate) fn act() {
    let Ok(part) = env::var(PART) else { return };
    // Whoever started this process is gone, or has enough of it.
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let service = env::var(SERVICE).unwrap();
    match &*part {
        "server" => serve(&service),
        "hidden server" => {
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).unwrap();
            serve(&service);
        }
        "client" => call(&service),
        "producer" => produce(&service),
        "consumer" => consume(&service),
        "daemon" => publish(&service),
        "shell" => watch(&service),
        "holder" => {
            ready();
            loop {
                thread::park();
            }
        }
        other => panic!("no part {other}"),
    }
}

fn options() -> Options {
    Options { runtime_dir: Some(env::var_os(RUNTIME_DIR).unwrap().into()), ..Options::default() }
}

fn ready() {
    let mut out = std::io::stdout();
    writeln!(out, "ready").unwrap();
    out.flush().unwrap();
}

fn rest() {
    if let Some(pace_us) = env::var(PACE_US).ok().and_then(|text| text.parse().ok()) {
        thread::sleep(Duration::from_micros(pace_us));
    }
}

fn serve(service: &str) {
    let server = Server::bind_with(service, &options()).unwrap();
    ready();
    server.serve(|number: Request<u64>| Ok::<u64, String>(number.to_native() * 2)).unwrap();
}

fn call(service: &str) {
    let client: Client<u64, u64> = Client::connect_with(service, &options()).unwrap();
    for number in 0_u64.. {
        // Until the server is gone.
        let Ok(reply) = client.call(&number) else { return };
        assert_eq!(reply.to_native(), number * 2);
        // A later call is over shared memory, where that can be had.
        if number == 2 {
            ready();
        }
        rest();
    }
}

fn stream_config() -> stream::Config {
    let options = Options { ring_bytes: 1 << 16, ..options() };
    stream::Config { options, ..stream::Config::default() }
}

fn produce(service: &str) {
    let mut producer = <Producer>::connect(service, &stream_config()).unwrap();
    ready();
    let message = [7; 4096];
    // Until the consumer is gone.
    while producer.send(&message).is_ok() {}
}

fn consume(service: &str) {
    let binding = <Consumer>::bind(service, &stream_config()).unwrap();
    ready();
    let mut consumer = binding.accept().unwrap();
    while let Some(message) = consumer.recv().unwrap() {
        assert_eq!(message.len(), 4096);
        rest();
    }
}

fn publish(service: &str) {
    let config = state::Config { max_value_bytes: 4096, options: options(), ..state::Config::default() };
    let mut daemon = Daemon::<[u8], strait::frame::Raw>::create(service, &config).unwrap();
    ready();
    loop {
        daemon.publish(&[7; 100]).unwrap();
        rest();
    }
}

fn watch(service: &str) {
    let mut shell = state::blocking::Shell::<[u8], strait::frame::Raw>::connect_with(service, &options()).unwrap();
    shell.read(Instant::now() + PATIENCE).unwrap();
    ready();
    loop {
        let deadline = Instant::now() + PATIENCE;
        shell.changed(deadline).unwrap();
        assert_eq!(shell.read(deadline).unwrap().len(), 100);
    }
}

/// What `look` finds, as soon as it does.
#[track_caller]
pub(crate) fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never seen: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
