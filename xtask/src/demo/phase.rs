//! One phase: an exchange and its traders, from their start to their end.

use std::{
    path::Path,
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{
    Args,
    child::{Child, Heard, Said},
    programs::Programs,
    progress::Progress,
    tally::Tally,
};
use crate::{failure::Failure, screen::Screen};

/// How long the exchange may take to open its service, and to close it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the traders may take beyond their time. A call that gets no answer ends by itself after 30 s.
const OVERTIME: Duration = Duration::from_secs(45);

/// One of the two runs.
pub(super) struct Phase<'a> {
    /// What it is called.
    pub(super) name: &'static str,
    /// Whether the upgrade to shared memory is on.
    pub(super) shared: bool,
    /// What was asked for.
    pub(super) args: &'a Args,
    /// What to run.
    pub(super) programs: &'a Programs,
}

impl Phase<'_> {
    /// Runs it, and returns the sum over all clients. No process and no file of it is left, however it ends.
    pub(super) fn run(&self, screen: &mut Screen, stop: &AtomicBool) -> Result<Tally, Failure> {
        screen.line("");
        screen.line(self.name);
        let directory = tempfile::Builder::new()
            .prefix("strait-demo-")
            .tempdir()
            .map_err(|error| Failure::because("cannot make a temporary directory", error))?;
        let clients = usize::from(self.args.clients);
        let (tell, hears) = mpsc::channel();
        // The exchange is heard as one more after the traders.
        let exchange = Child::start("exchange".to_owned(), clients, &mut self.exchange(directory.path()), &tell)?;
        let mut run = Run { children: vec![], exchange, hears, progress: Progress::new(clients), screen, stop };
        run.until("the exchange did not open its service", PATIENCE, |progress| progress.is_listening())?;
        for client in 0..clients {
            let mut command = self.trader(directory.path(), client);
            run.children.push(Child::start(format!("trader {client}"), client, &mut command, &tell)?);
        }
        let time = Duration::from_secs(self.args.seconds.into()) + OVERTIME;
        run.until("a trader did not end in time", time, Progress::traders_ended)?;
        run.screen.keep();
        run.exchange.tell_to_end();
        run.until("the exchange did not end in time", PATIENCE, Progress::exchange_ended)?;
        let socket = directory.path().join("strait/exchange.sock");
        if socket.exists() {
            return Err(Failure::DidNotHold("the exchange left its socket file behind".to_owned()));
        }
        run.progress.verdict(self.shared)
    }

    fn exchange(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.programs.exchange);
        if let Some(threads) = self.args.polling {
            command.args(["--polling", &threads.to_string()]);
        }
        self.common(&mut command, directory);
        command
    }

    fn trader(&self, directory: &Path, client: usize) -> Command {
        let mut command = Command::new(&self.programs.trader);
        command.args(["1", "bytes", &self.args.payload_bytes.to_string()]);
        command.args(["--seconds", &self.args.seconds.to_string(), "--first-client", &client.to_string(), "--counts"]);
        self.common(&mut command, directory);
        if !self.shared {
            command.env("STRAIT_DISABLE_SHM", "1");
        }
        command
    }

    fn common(&self, command: &mut Command, directory: &Path) {
        command.args(["--json", "--stop-with-input", "--ring-bytes", &self.args.ring_bytes().to_string()]);
        for (given, flag) in [(self.args.pin, "--pin"), (self.args.in_place, "--in-place")] {
            if given {
                command.arg(flag);
            }
        }
        command.env("XDG_RUNTIME_DIR", directory).env_remove("STRAIT_DISABLE_SHM");
    }
}

/// The processes of a phase, and what is heard from them.
struct Run<'a> {
    // Dropped in this order: the traders end before their exchange.
    children: Vec<Child>,
    exchange: Child,
    hears: Receiver<Heard>,
    progress: Progress,
    screen: &'a mut Screen,
    stop: &'a AtomicBool,
}

impl Run<'_> {
    /// Listens until `done`; fails with `late` when that takes longer than `time`.
    fn until(&mut self, late: &str, time: Duration, done: fn(&Progress) -> bool) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while !done(&self.progress) {
            if self.stop.load(Relaxed) {
                return Err(Failure::DidNotHold("stopped before the demo was over".to_owned()));
            }
            if Instant::now() >= until {
                return Err(Failure::DidNotHold(late.to_owned()));
            }
            match self.hears.recv_timeout(Duration::from_millis(100)) {
                Ok((from, said)) => self.hear(from, said)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::DidNotHold(late.to_owned())),
            }
        }
        Ok(())
    }

    fn hear(&mut self, from: usize, said: Said) -> Result<(), Failure> {
        let child = self.children.get_mut(from).unwrap_or(&mut self.exchange);
        match said {
            Said::Out(line) => {
                self.progress.report(from, &line)?;
                self.progress.show(self.screen);
            }
            Said::Err(line) => {
                self.screen.note(&format!("  {}: {line}", child.name()));
                self.progress.complained(from, line);
            }
            Said::End if self.progress.stream_ended(from) => {
                let status = child.end()?;
                if !status.success() {
                    let why = self.progress.last_complaint(from);
                    return Err(Failure::because(format!("{} failed ({status})", child.name()), why));
                }
                if from == self.children.len() && !self.progress.traders_ended() {
                    return Err(Failure::DidNotHold("the exchange ended before its traders".to_owned()));
                }
            }
            Said::End => {}
        }
        Ok(())
    }
}
