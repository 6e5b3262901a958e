//! What is being measured, on standard error: one line that changes where that is a terminal, else a line now and then.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// Where nobody watches a terminal, a line comes as often as this.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    scenario: &'static str,
    steps: usize,
    done: usize,
    start: Instant,
    said: Instant,
    on_terminal: bool,
}

impl Progress {
    pub(crate) fn new(scenario: &'static str, steps: usize) -> Self {
        let now = Instant::now();
        Self { scenario, steps, done: 0, start: now, said: now, on_terminal: std::io::stderr().is_terminal() }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, what: &str) {
        let left = match self.done {
            0 => String::new(),
            done => {
                let each = self.start.elapsed().as_secs_f64() / done as f64;
                format!(", about {:.0} s left", each * self.steps.saturating_sub(done) as f64)
            }
        };
        self.done += 1;
        let line = format!("{} [{}/{}] {what}{left}", self.scenario, self.done, self.steps);
        if self.on_terminal {
            eprint!("\r\x1b[2K{line}");
        } else if self.said.elapsed() >= EVERY {
            eprintln!("{line}");
            self.said = Instant::now();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.on_terminal {
            eprint!("\r\x1b[2K");
        }
    }
}
