//! A process that is to die or to be stopped, and who watches it.

use std::{
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::{place::Place, plan::Plan};

/// How long a stopped victim stays stopped: longer than several calls of a survivor.
const HOLD: Duration = Duration::from_millis(160);
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// What is known of a victim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// It was stopped at least once.
    pub(crate) was_stopped: bool,
    pub(crate) end: Option<End>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Killed,
    Exited(i32),
}

/// A process of a case. Killed when dropped.
pub(crate) struct Victim {
    pid: Pid,
    input: Option<ChildStdin>,
    known: Arc<Mutex<Known>>,
    watcher: Option<JoinHandle<()>>,
}

impl Victim {
    /// The program that plays `role`.
    pub(crate) fn command(
        (scenario, role): (&str, &str),
        place: &Place,
        plan: &Plan,
        log: &str,
    ) -> Result<Command, String> {
        let program = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
        let mut command = Command::new(program);
        command.args(["play", scenario, role]).arg(place.dir());
        plan.tell(&mut command, &place.dir().join(log));
        Ok(command)
    }

    /// Starts a process that plays `role`, and has it end as `plan` says.
    pub(crate) fn start(role: (&str, &str), place: &Place, plan: &Plan, log: &str) -> Result<Self, String> {
        let mut command = Self::command(role, place, plan, log)?;
        let child = command.stdin(Stdio::piped()).spawn().map_err(|error| format!("starting {}: {error}", role.1))?;
        Ok(Self::watched(child, plan))
    }

    /// Watches a process that was started, and of whose end nobody else asks.
    pub(crate) fn watched(mut child: Child, plan: &Plan) -> Self {
        let (pid, input) = (Pid::from_child(&child), child.stdin.take());
        let known = Arc::new(Mutex::new(Known::default()));
        let (watched, plan) = (known.clone(), plan.clone());
        let watcher = std::thread::spawn(move || watch(pid, &plan, &watched));
        Self { pid, input, known, watcher: Some(watcher) }
    }

    pub(crate) fn known(&self) -> Known {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes its input: it ends its work in good order.
    pub(crate) fn tell(&mut self) {
        self.input = None;
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if self.known().end.is_none() {
            // The watcher has not reaped it, so that the pid is still its own.
            let _ = kill_process(self.pid, Signal::KILL);
        }
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// Watches the process until its end; lets it go on where it was stopped.
fn watch(pid: Pid, plan: &Plan, known: &Mutex<Known>) {
    let note = |change: &dyn Fn(&mut Known)| change(&mut known.lock().unwrap_or_else(PoisonError::into_inner));
    let (born, mut strikes) = (Instant::now(), matches!(plan, Plan::After(..)));
    loop {
        if let Plan::After(signal, after) = plan
            && strikes
            && born.elapsed() >= *after
        {
            strikes = false;
            let _ = kill_process(pid, *signal);
        }
        match waitpid(Some(pid), WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(None) => std::thread::sleep(LOOK_EVERY),
            Ok(Some((_, status))) if status.stopped() => {
                note(&|known| known.was_stopped = true);
                std::thread::sleep(HOLD);
                let _ = kill_process(pid, Signal::CONT);
            }
            Ok(Some((_, status))) => {
                let end = status.exit_status().map_or(End::Killed, End::Exited);
                return note(&|known| known.end = Some(end));
            }
            Err(_) => return note(&|known| known.end = Some(End::Killed)),
        }
    }
}
