//! The other process of `doctor` and `bench`: this program again, over a connection that it inherits.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use strait::{
    Options,
    transport::{Connection, Error, Interest, Message, Transport, inherit, pin_current_thread},
};

use crate::failure::Failure;

/// What it does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// Copies each into its answer.
    Echo,
    /// Sums each up, and answers an empty one with the sum of all, as [`sum`] makes it, and how many there were.
    Sum,
}

/// Be the other process of `doctor` and `bench`. Not for people.
#[derive(Debug, clap::Args)]
pub(crate) struct Partner {
    task: Task,
    /// The processor to stay on.
    #[arg(long)]
    cpu: Option<usize>,
    /// How long to look for a message before sleeping.
    #[arg(long, default_value_t = 50)]
    spin_us: u64,
}

/// Starts one and connects to it.
pub(crate) fn start(task: Task, cpu: Option<usize>, options: &Options) -> Result<(Child, Connection), Failure> {
    let program =
        std::env::current_exe().map_err(|error| Failure::because("cannot find this program's own file", error))?;
    let mut command = Command::new(program);
    let task = task.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    command.args(["partner", &task, "--spin-us", &options.spin.as_micros().to_string()]);
    if let Some(cpu) = cpu {
        command.args(["--cpu", &cpu.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    inherit::spawn(command, options).map_err(|error| Failure::because("cannot connect to a process of its own", error))
}

/// Waits for its end, which the end of the connection brings about; kills it where that takes too long.
pub(crate) fn end(child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A number that depends on every byte of `message` and on what came before it.
pub(crate) fn sum(before: u64, message: &[u8]) -> u64 {
    let (words, rest) = message.as_chunks::<8>();
    let words = words.iter().fold(before, |sum, word| sum.rotate_left(1).wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(words, |sum, byte| sum.rotate_left(1).wrapping_add(u64::from(*byte)))
}

pub(crate) fn run(args: &Partner) -> Result<(), Failure> {
    if let Some(cpu) = args.cpu {
        pin_current_thread(cpu).map_err(|error| Failure::DidNotHold(error.to_string()))?;
    }
    let spin = Duration::from_micros(args.spin_us);
    // Whether there is shared memory and what messages carry is the other side's to say.
    let options = Options { spin, checksum: false, timestamp: false, ..Options::default() };
    let served = inherit::adopt(&options).and_then(|mut connection| serve(args.task, &mut connection));
    match served {
        Ok(()) | Err(Error::Closed | Error::PeerGone) => Ok(()),
        Err(error) => Err(Failure::DidNotHold(error.to_string())),
    }
}

fn serve(task: Task, connection: &mut Connection) -> Result<(), Error> {
    let (mut total, mut count) = (0, 0_u64);
    loop {
        let message = next(connection)?;
        match task {
            Task::Echo => answer(connection, &message)?,
            Task::Sum if message.is_empty() => {
                let told = [total, count].map(u64::to_le_bytes);
                answer(connection, told.as_flattened())?;
                (total, count) = (0, 0);
            }
            Task::Sum => (total, count) = (sum(total, &message), count + 1),
        }
    }
}

/// The next message.
pub(crate) fn next(connection: &mut Connection) -> Result<Message, Error> {
    loop {
        if let Some(message) = connection.try_recv()? {
            return Ok(message);
        }
        connection.wait_ready(Interest::DATA, None)?;
    }
}

/// Sends, waiting for room.
pub(crate) fn answer(connection: &mut Connection, bytes: &[u8]) -> Result<(), Error> {
    use strait::transport::SendError;
    loop {
        match connection.send(bytes) {
            Ok(()) => return Ok(()),
            Err(SendError::Failed(error)) => return Err(error),
            Err(_full) => drop(connection.wait_ready(Interest::SPACE, None)?),
        }
    }
}
