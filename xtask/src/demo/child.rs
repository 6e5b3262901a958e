//! A child process: what it says arrives as events, and it goes when it is dropped.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
    time::{Duration, Instant},
};

use crate::failure::Failure;

/// How long a child may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// Something that a child said.
#[derive(Debug)]
pub(super) enum Said {
    /// A line on standard output.
    Out(String),
    /// A line on standard error.
    Err(String),
    /// One of the two has ended; after both the child is done, or dead.
    End,
}

/// What is heard from several children: which one, and what it said.
pub(super) type Heard = (usize, Said);

/// A child process. It is told to end by the end of its standard input, which also comes when this process is killed.
pub(super) struct Child {
    name: String,
    process: Process,
    input: Option<ChildStdin>,
}

impl Child {
    /// Starts `command`; what it says goes to `heard` as coming from `number`.
    pub(super) fn start(
        name: String,
        number: usize,
        command: &mut Command,
        heard: &Sender<Heard>,
    ) -> Result<Self, Failure> {
        use std::os::unix::process::CommandExt;
        // A process group of its own: Ctrl-C is for this process, which ends its children in order.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut process =
            command.spawn().map_err(|error| Failure::because(format!("{name} could not be started"), error))?;
        if let Some(out) = process.stdout.take() {
            listen(out, number, heard.clone(), Said::Out);
        }
        if let Some(err) = process.stderr.take() {
            listen(err, number, heard.clone(), Said::Err);
        }
        let input = process.stdin.take();
        Ok(Self { name, process, input })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Tells it to end. Does not wait.
    pub(super) fn tell_to_end(&mut self) {
        self.input = None;
    }

    /// Waits until it has ended; kills it when it does not.
    pub(super) fn end(&mut self) -> Result<ExitStatus, Failure> {
        self.tell_to_end();
        let failed = |error| Failure::because("cannot wait for a child", error);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait().map_err(failed)? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.process.kill().map_err(failed)?;
        self.process.wait().map_err(failed)?;
        Err(Failure::DidNotHold(format!("{} did not end within {} s, and was killed", self.name, PATIENCE.as_secs())))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that was waited for already returns at once; what else could fail has nobody left to tell.
        let _ = self.end();
    }
}

fn listen(stream: impl Read + Send + 'static, number: usize, heard: Sender<Heard>, line: fn(String) -> Said) {
    thread::spawn(move || {
        for text in BufReader::new(stream).lines().map_while(Result::ok) {
            if heard.send((number, line(text))).is_err() {
                return;
            }
        }
        // Nobody listens any more where the run was given up.
        let _ = heard.send((number, Said::End));
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_child_ends_with_its_input_and_is_heard() {
        let (heard, hears) = mpsc::channel();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; cat; echo err >&2; exit 3"]);
        let mut child = Child::start("sh".to_owned(), 7, &mut command, &heard).unwrap();
        drop(heard);
        assert!(matches!(hears.recv().unwrap(), (7, Said::Out(line)) if line == "out"));
        assert_eq!(child.end().unwrap().code(), Some(3));
        let rest: Vec<_> = hears.iter().map(|(_, said)| said).collect();
        assert!(rest.iter().any(|said| matches!(said, Said::Err(line) if line == "err")));
        assert_eq!(rest.iter().filter(|said| matches!(said, Said::End)).count(), 2);
    }

    #[test]
    fn a_child_that_does_not_end_is_killed() {
        let (heard, _hears) = mpsc::channel();
        let mut child = Child::start("sleep".to_owned(), 0, Command::new("sleep").arg("60"), &heard).unwrap();
        let failure = child.end().unwrap_err();
        assert_eq!(failure.to_string(), "sleep did not end within 3 s, and was killed");
    }
}
