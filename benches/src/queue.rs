//! queue: producers push as fast as there is room, workers pop and read every byte.
//!
//! What is counted is items that workers have read (and acknowledged, in `-acked` engines) in the measured time. Each item is
//! filled anew by its producer. Beside the queue stands `floor-relay`: the same connections and processes with a bare relay in the
//! place of the owner, which copies messages from one to the next and knows nothing of capacity, windows or deaths. Nothing is
//! pinned: there are more processes than cores.

use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use strait::{
    frame::Raw,
    queue::{Settings, blocking},
    rpc::Options,
    transport::{Connection, Interest, Listener, SendError, Transport, TransportKind},
};

use crate::{
    engine::{Engine, Role, Side, spawn},
    progress::Progress,
    report::median,
    rows::JsonRow,
    runner::Plan,
};

const NAMES: [&str; 6] = [
    "floor-relay",
    "strait-shm-blocking",
    "strait-shm-blocking-batch16",
    "strait-shm-blocking-acked",
    "strait-socket-blocking",
    "strait-socket-blocking-acked",
];
/// Producers and workers.
const SIZES: [usize; 3] = [1, 2, 4];
const PAYLOADS: [usize; 2] = [64, 1024];
const QUEUE: &str = "bench";
/// Items that a worker reads before it is ready: the first come over its socket.
const WARM_UP: u32 = 500;
const PREFETCH: u32 = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs all engines in all sizes; whether that held.
pub(crate) fn run(plan: &Plan, json: bool) -> bool {
    let (mut held, mut table) = (true, Vec::new());
    let mut choices = Vec::new();
    for payload_bytes in PAYLOADS {
        for size in SIZES {
            for name in NAMES {
                let label = format!("{name}-{size}+{size}");
                let left_out = plan.quick && (size == 2 || payload_bytes != PAYLOADS[0]);
                if plan.chooses(&label, payload_bytes) && !left_out {
                    table.push((label, payload_bytes, Vec::new()));
                    choices.push((name, size, payload_bytes));
                }
            }
        }
    }
    let mut progress = Progress::new("queue", table.len() * plan.runs as usize);
    for run in 1..=plan.runs {
        for (row, (name, size, payload_bytes)) in table.iter_mut().zip(&choices) {
            progress.step(&format!("{} {payload_bytes} B, run {run} of {}", row.0, plan.runs));
            let engine = Engine { scenario: "queue".into(), name: (*name).into(), payload_bytes: *payload_bytes };
            match measure(plan, engine, *size) {
                Ok(value) => {
                    let (engine, payload_bytes) = (row.0.as_str(), *payload_bytes);
                    let (scenario, metric, unit) = ("queue", "items_per_s", "1/s");
                    JsonRow { scenario, engine, payload_bytes, metric, value, unit, run }.put();
                    row.2.push(value);
                }
                Err(error) => {
                    eprintln!("failed: {} {payload_bytes} B: {error}", row.0);
                    held = false;
                }
            }
        }
    }
    drop(progress);
    if !json {
        println!(
            "\nqueue: producers+workers, a process each, and the owner's; not pinned; median of {} runs\n",
            plan.runs
        );
        println!("{:<34} {:>9} {:>12}", "engine-producers+workers", "payload B", "items/s");
        for (label, payload_bytes, values) in table {
            match values.is_empty() {
                true => println!("{label:<34} {payload_bytes:>9} {:>12}", "failed"),
                false => println!("{label:<34} {payload_bytes:>9} {:>12.0}", median(values)),
            }
        }
    }
    held
}

/// A process of the benchmark; killed when dropped.
struct Running(Child);

impl Running {
    fn start(role: &Role, part: &str) -> Result<Self, Box<dyn Error>> {
        let name = format!("{}/{part}", role.engine.name);
        let engine = Engine { name, ..role.engine.clone() };
        let role = Role { engine, meet: role.meet.clone(), ..*role };
        Ok(Self(spawn(&role, Stdio::piped(), Stdio::piped())?))
    }

    fn streams(&mut self) -> Result<(ChildStdin, BufReader<ChildStdout>), Box<dyn Error>> {
        let (input, output) = (self.0.stdin.take().ok_or("no input")?, self.0.stdout.take().ok_or("no output")?);
        Ok((input, BufReader::new(output)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One run: an owner, `size` producers and `size` workers; items per second.
fn measure(plan: &Plan, engine: Engine, size: usize) -> Result<f64, Box<dyn Error>> {
    let meet = std::env::temp_dir().join(format!("strait-bench-queue-{}", std::process::id()));
    let meet_text = meet.to_string_lossy().into_owned();
    let role = Role { engine, side: Side::Client, cores: plan.cores, millis: plan.millis, meet: meet_text };
    let outcome = measure_at(&role, size);
    let _ = std::fs::remove_dir_all(&meet);
    outcome
}

fn measure_at(role: &Role, size: usize) -> Result<f64, Box<dyn Error>> {
    let mut all = vec![Running::start(role, "owner")?];
    let (_owner, mut ready) = all[0].streams()?;
    expect(&mut ready, "ready")?;
    let mut workers = Vec::new();
    for _ in 0..size {
        all.push(Running::start(role, "worker")?);
        workers.extend(all.last_mut().map(Running::streams).transpose()?);
        all.push(Running::start(role, "producer")?);
    }
    for (_, output) in &mut workers {
        expect(output, "ready")?;
    }
    for (input, _) in &mut workers {
        input.write_all(b"go\n")?;
    }
    let mut items_per_s = 0.0;
    for (_, output) in &mut workers {
        let mut line = String::new();
        output.read_line(&mut line)?;
        items_per_s += line.trim().parse::<f64>().map_err(|_| "a worker failed")?;
    }
    // The owner last: the others would say that it is gone.
    while all.pop().is_some() {}
    Ok(items_per_s)
}

fn expect(output: &mut impl BufRead, word: &str) -> Result<(), Box<dyn Error>> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.trim() == word { Ok(()) } else { Err(format!("a process ended before it was {word}").into()) }
}

/// One process: the owner (or the relay), a producer or a worker.
pub(crate) fn run_role(role: &Role) -> Result<(), Box<dyn Error>> {
    let (name, part) = role.engine.name.split_once('/').ok_or("no part in the engine's name")?;
    let options = Options {
        runtime_dir: Some(role.meet.clone().into()),
        shared_memory: !name.contains("-socket-"),
        ..Options::default()
    };
    match (name.starts_with("floor"), part) {
        (true, "owner") => relay(&options),
        (true, "producer") => produce(role, &mut Bare::connect(&options, b"producer")?),
        (true, _) => work(role, &mut Bare::connect(&options, b"worker")?),
        (false, "owner") => own(&options, name.ends_with("-acked")),
        (false, "producer") => {
            let mut producer = patiently(|| blocking::Producer::connect_with(QUEUE, &options))?;
            if name.contains("-batch16") {
                let items = vec![vec![0; role.engine.payload_bytes]; 16];
                return produce(role, &mut Batches { producer, items, filled: 0 });
            }
            produce(role, &mut producer)
        }
        (false, _) => work(role, &mut patiently(|| blocking::Worker::connect_with(QUEUE, PREFETCH, &options))?),
    }
}

/// Tries for a while: the others are just starting.
fn patiently<T, E: Error + 'static>(mut connect: impl FnMut() -> Result<T, E>) -> Result<T, Box<dyn Error>> {
    let patience = Instant::now() + PATIENCE;
    loop {
        match connect() {
            Ok(connected) => return Ok(connected),
            Err(error) if Instant::now() > patience => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn say(line: &str) {
    println!("{line}");
}

fn own(options: &Options, acknowledged: bool) -> Result<(), Box<dyn Error>> {
    let owner =
        blocking::Owner::<[u8], Raw>::bind_with(QUEUE, Settings { acknowledged, ..Settings::default() }, options)?;
    say("ready");
    owner.serve()?;
    Ok(())
}

/// What a producer pushes into.
trait Push {
    fn push(&mut self, item: &[u8]) -> Result<(), Box<dyn Error>>;
}

/// What a worker pops from.
trait Pop {
    fn pop(&mut self, read: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, Box<dyn Error>>;
    fn transport(&self) -> TransportKind;
}

impl Push for blocking::Producer<[u8], Raw> {
    fn push(&mut self, item: &[u8]) -> Result<(), Box<dyn Error>> {
        Ok(blocking::Producer::push(self, item, PATIENCE)?)
    }
}

impl Pop for blocking::Worker<[u8], Raw> {
    fn pop(&mut self, read: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, Box<dyn Error>> {
        let item = blocking::Worker::pop(self, PATIENCE)?.ok_or("no item came")?;
        let right = read(&item);
        self.ack(item)?;
        Ok(right)
    }

    fn transport(&self) -> TransportKind {
        blocking::Worker::transport(self)
    }
}

/// The same in batches of 16.
struct Batches {
    producer: blocking::Producer<[u8], Raw>,
    items: Vec<Vec<u8>>,
    filled: usize,
}

impl Push for Batches {
    fn push(&mut self, item: &[u8]) -> Result<(), Box<dyn Error>> {
        self.items[self.filled].copy_from_slice(item);
        self.filled += 1;
        if self.filled == self.items.len() {
            self.filled = 0;
            let pushed = self.producer.push_batch(self.items.iter().map(|item| &item[..]), PATIENCE)?;
            if pushed < self.items.len() {
                return Err("a batch found no room".into());
            }
        }
        Ok(())
    }
}

/// Pushes until it is killed.
fn produce(role: &Role, queue: &mut impl Push) -> Result<(), Box<dyn Error>> {
    let mut item = vec![0u8; role.engine.payload_bytes];
    for number in 0u64.. {
        item.fill(number as u8);
        queue.push(&item)?;
    }
    Ok(())
}

/// Pops and reads every byte; prints items per second.
fn work(role: &Role, queue: &mut impl Pop) -> Result<(), Box<dyn Error>> {
    let bytes = role.engine.payload_bytes;
    let mut read = |item: &[u8]| item.len() == bytes && item.iter().all(|byte| *byte == item[0]);
    let over = if role.engine.name.contains("-socket-") { TransportKind::Socket } else { TransportKind::Shared };
    let mut warm = 0;
    while warm < WARM_UP || queue.transport() != over {
        if !queue.pop(&mut read)? {
            return Err("an item is not what was pushed".into());
        }
        warm += 1;
    }
    say("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let start = Instant::now();
    let until = start + Duration::from_millis(role.millis);
    let mut items = 0u64;
    while Instant::now() < until {
        if !queue.pop(&mut read)? {
            return Err("an item is not what was pushed".into());
        }
        items += 1;
    }
    say(&(items as f64 / start.elapsed().as_secs_f64()).to_string());
    Ok(())
}

/// A connection to the relay.
struct Bare(Connection);

impl Bare {
    fn connect(options: &Options, part: &[u8]) -> Result<Self, Box<dyn Error>> {
        let mut connection = patiently(|| Connection::connect(QUEUE, options))?;
        connection.send(part)?;
        Ok(Self(connection))
    }
}

impl Push for Bare {
    fn push(&mut self, item: &[u8]) -> Result<(), Box<dyn Error>> {
        loop {
            match self.0.send(item) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) => drop(self.0.wait_ready(Interest::SPACE, Some(Instant::now() + PATIENCE))?),
                Err(error) => return Err(error.into()),
            }
            // Nothing is said to a producer, but its socket has to be read for it to get into shared memory.
            if self.0.transport() == TransportKind::Socket {
                self.0.try_recv()?;
            }
        }
    }
}

impl Pop for Bare {
    fn pop(&mut self, read: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, Box<dyn Error>> {
        loop {
            if let Some(message) = self.0.try_recv()? {
                return Ok(read(&message));
            }
            self.0.wait_ready(Interest::DATA, Some(Instant::now() + PATIENCE))?;
        }
    }

    fn transport(&self) -> TransportKind {
        self.0.transport()
    }
}

/// Takes a message from each producer in turn and gives it to each worker in turn, for ever. It never sleeps, as befits a floor,
/// but yields when it has found nothing. What finds no room waits for its turn.
fn relay(options: &Options) -> Result<(), Box<dyn Error>> {
    /// Messages of one producer in a turn, as the owner of a queue takes them.
    const TURN: usize = 16;
    let listener = Listener::bind(QUEUE, options, None)?;
    say("ready");
    let (tell, newcomers) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(Some(incoming)) = listener.accept() {
            if let Ok(connection) = incoming.handshake()
                && tell.send(connection).is_err()
            {
                return;
            }
        }
    });
    let (mut strangers, mut producers, mut workers) = (Vec::new(), Vec::new(), Vec::<Connection>::new());
    let (mut turn, mut waits) = (0, None);
    loop {
        strangers.extend(newcomers.try_iter());
        let mut index = 0;
        while index < strangers.len() {
            match strangers[index].try_recv()? {
                Some(part) if *part == *b"worker" => workers.push(strangers.swap_remove(index)),
                Some(_) => producers.push(strangers.swap_remove(index)),
                None => index += 1,
            }
        }
        let mut worked = false;
        for producer in &mut producers {
            for _ in 0..TURN {
                let taken = waits.take().or_else(|| producer.try_recv().ok().flatten());
                let Some(message) = taken else { break };
                let count = workers.len();
                let mut places = (0..count).map(|step| (turn + step) % count);
                let Some(place) = places.find(|place| give(&mut workers[*place], &message)) else {
                    waits = Some(message);
                    break;
                };
                turn = place + 1;
                worked = true;
            }
        }
        workers.retain_mut(|worker| worker.publish().is_ok());
        if !worked {
            std::thread::yield_now();
        }
        // A socket has to be read for its connection to get into shared memory.
        workers.retain_mut(|worker| worker.transport() != TransportKind::Socket || worker.try_recv().is_ok());
    }
}

/// Sends a message, where there is room.
fn give(worker: &mut Connection, message: &[u8]) -> bool {
    let sent = worker.try_send(message.len(), &mut |span| {
        span[..message.len()].copy_from_slice(message);
        Ok(message.len())
    });
    sent.is_ok()
}
