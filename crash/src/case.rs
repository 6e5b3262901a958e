//! One victim, and what every survivor checks.

use std::{
    cell::Cell,
    fmt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    leaks::{self, Inventory},
    metronome::Metronome,
    place::Place,
    plan::Plan,
    scenario::Role,
    victim::{End, Known, Victim},
};

/// How a check ended: what did not hold is told in a sentence.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// What anything may take that is not a call with a deadline of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// How long a call may take unless it is about something else: short beside the time that a victim is stopped.
pub(crate) const CALL: Duration = Duration::from_millis(60);
/// How long the kernel may take to tell of a death to somebody else than who was told already.
const UNTIL_SEEN: Duration = Duration::from_secs(1);

/// Where a victim says which points it came to.
const TRACE: &str = "trace";

/// A case, as its conductor sees it.
pub(crate) struct Case {
    names: (String, String),
    pub(crate) place: Place,
    plan: Plan,
    victim: Option<Victim>,
    metronome: Metronome,
    /// When the process of the victim was started.
    born: Instant,
    late_limit: Duration,
    latest: Cell<Duration>,
    struck: bool,
}

/// What a case came to that held.
pub(crate) struct Report {
    /// Whether the victim was killed or stopped as planned.
    struck: bool,
    latest: Duration,
    /// What was traced.
    trace: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "struck {} late_us {}", self.struck, self.latest.as_micros())?;
        f.write_str(&self.trace)
    }
}

/// Runs a case: the plan's victim, its survivor, and the successor of a victim that was killed.
pub(crate) fn run((scenario, name): (&str, &str), role: &Role, plan: Plan, late_limit: Duration) -> Outcome<Report> {
    let dir = tempfile::tempdir().map_err(|error| format!("a directory for the case: {error}"))?;
    let place = Place::at(dir.path().to_owned());
    for dir in [place.runtime_dir(), place.data()] {
        std::fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(place.runtime_dir(), mode).map_err(|error| format!("the runtime directory: {error}"))?;
    let ends = watchdog(format!("{scenario} {name} {plan:?}"));
    let mut case = Case {
        names: (scenario.to_owned(), name.to_owned()),
        place,
        plan,
        victim: None,
        metronome: Metronome::start(),
        born: Instant::now(),
        late_limit,
        latest: Cell::new(Duration::ZERO),
        struck: false,
    };
    let before = Inventory::take();
    (role.survive)(&mut case)?;
    case.victim = None;
    Inventory::settles_to(&before)?;
    let left = leaks::names(&case.place.runtime_dir());
    if !left.is_empty() {
        return Err(format!("left in the runtime directory: {left:?}"));
    }
    drop(ends);
    let trace = std::fs::read_to_string(dir.path().join(TRACE)).unwrap_or_default();
    Ok(Report { struck: case.struck, latest: case.latest.get(), trace })
}

impl Case {
    /// Starts the victim and does `work` with it, to its end. Where it was killed as planned, the same once more with a successor, which
    /// nobody kills.
    pub(crate) fn each(&mut self, mut work: impl FnMut(&mut Self) -> Outcome) -> Outcome {
        let plan = self.plan.clone();
        self.start(&plan, TRACE)?;
        work(self)?;
        let known = self.end()?;
        let was_killed = known.end == Some(End::Killed);
        self.struck = known.was_stopped || was_killed;
        if !was_killed {
            return Ok(());
        }
        self.start(&Plan::Trace, "trace of the successor")?;
        work(self).map_err(|why| format!("with the successor: {why}"))?;
        match self.end()?.end {
            Some(End::Exited(0)) => Ok(()),
            other => Err(format!("the successor ended by {other:?}")),
        }
    }

    /// As [`each`](Self::each), where it is this process that spawns the victim: `work` does so by the command that it gets, and says whom by
    /// [`adopt`](Self::adopt).
    pub(crate) fn each_spawned(
        &mut self,
        role: (&str, &str),
        mut work: impl FnMut(&mut Self, Command) -> Outcome,
    ) -> Outcome {
        for (plan, log) in [(self.plan.clone(), TRACE), (Plan::Trace, "trace of the successor")] {
            let mut command = Victim::command(role, &self.place, &plan, log)?;
            command.stdin(Stdio::piped());
            (self.victim, self.born) = (None, Instant::now());
            work(self, command)?;
            if self.victim.is_some() {
                self.end()?;
            }
            self.struck |= plan != Plan::Trace && std::fs::exists(self.place.dir().join(log)).unwrap_or(false);
        }
        Ok(())
    }

    /// Watches a victim that was started otherwise.
    pub(crate) fn adopt(&mut self, child: Child) {
        self.victim = Some(Victim::watched(child, &self.plan));
    }

    fn start(&mut self, plan: &Plan, log: &str) -> Outcome {
        let role = (self.names.0.as_str(), self.names.1.as_str());
        self.victim = Some(Victim::start(role, &self.place, plan, log)?);
        self.born = Instant::now();
        Ok(())
    }

    fn known(&self) -> Known {
        self.victim.as_ref().map(Victim::known).unwrap_or_default()
    }

    /// Whether the process of the victim has ended, one way or the other.
    pub(crate) fn is_over(&self) -> bool {
        self.known().end.is_some()
    }

    /// Tells the process of the victim to end its work in good order.
    pub(crate) fn tell(&mut self) {
        if let Some(victim) = &mut self.victim {
            victim.tell();
        }
    }

    /// Makes a call that has to end by `timeout`.
    pub(crate) fn within<R>(&self, what: &str, timeout: Duration, call: impl FnOnce() -> R) -> Outcome<R> {
        let (missed, start) = (self.metronome.missed(), Instant::now());
        let result = call();
        let late = start.elapsed().saturating_sub(timeout);
        let late = late.saturating_sub(self.metronome.missed().saturating_sub(missed));
        self.latest.set(self.latest.get().max(late));
        if late > self.late_limit {
            return Err(format!(
                "{what} ended {late:?} after its deadline ({timeout:?}), allowed are {:?}",
                self.late_limit
            ));
        }
        Ok(result)
    }

    /// A survivor was told that its peer is gone: is it?
    pub(crate) fn gone(&self, what: &str, told: &dyn fmt::Display) -> Outcome {
        let start = Instant::now();
        while !self.is_over() {
            if start.elapsed() > UNTIL_SEEN + (self.metronome.missed()) {
                let known = self.known();
                return Err(format!("{what} was told that its peer is gone, which is alive ({known:?}): {told}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Fails where this goes on for too long.
    pub(crate) fn patience(&self, what: &str) -> Outcome {
        if self.born.elapsed() > PATIENCE {
            return Err(format!("{what} goes on for {:?}, the victim is {:?}", self.born.elapsed(), self.known()));
        }
        Ok(())
    }

    /// Tells the victim's process to end and waits for that; anything but a good end or a kill is a failure.
    fn end(&mut self) -> Outcome<Known> {
        self.tell();
        let start = Instant::now();
        loop {
            let known = self.known();
            match known.end {
                Some(End::Killed | End::Exited(0)) => return Ok(known),
                Some(End::Exited(code)) => return Err(format!("the {} failed, with code {code}", self.names.1)),
                None if start.elapsed() > PATIENCE => return Err(format!("the {} does not end", self.names.1)),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// Ends this process where a case hangs; the victims end with their input.
fn watchdog(what: String) -> std::sync::mpsc::Sender<()> {
    let (ends, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(4 * PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{what}: it hangs");
            std::process::exit(1);
        }
    });
    ends
}

/// Says what was tried where it failed.
pub(crate) trait Told<T> {
    fn told(self, what: &str) -> Outcome<T>;
}

impl<T, E: fmt::Display> Told<T> for Result<T, E> {
    fn told(self, what: &str) -> Outcome<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}
