//! Real processes: the test binary runs itself again with a role.
//!
//! A child says lines (`say`) and hears lines (`hear`) over its standard streams; the parent does the same from its side.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

const ROLE: &str = "STRAIT_TEST_ROLE";
const ARGUMENT: &str = "STRAIT_TEST_ARGUMENT";
/// What a line of a child begins with, among those of the test harness.
const MARK: &str = "@@ ";
/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a child does with its argument.
pub type Role = fn(&str);

/// A child that plays a role. Killed and waited for when dropped.
pub struct Child {
    process: std::process::Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Child {
    /// Runs `role` in a process of its own. The test binary must have a test `roles` that calls [`play`].
    pub fn start(role: &str, argument: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "roles", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(ARGUMENT, argument);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, said)) = line.split_once(MARK)
                    && sender.send(said.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Self { process, stdin, lines }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line that the child says.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("the child said nothing: {error}"),
        }
    }

    #[track_caller]
    pub fn expect(&self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call; the child is not waited for yet, so the number is still its own.
        let result = unsafe { libc::kill(self.pid() as i32, signal) };
        assert_eq!(result, 0);
    }

    /// Kills it (signal 9) and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays the role that this process was started for, if it was, and ends the process.
pub fn play(roles: &[(&str, Role)]) {
    let Ok(role) = std::env::var(ROLE) else { return };
    // SAFETY: a system call without pointers; the process is to die with its parent …
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: as above; … and after a while in any case.
    unsafe { libc::alarm(60) };
    let (_, play) = roles.iter().find(|(name, _)| *name == role).expect("a known role");
    play(&std::env::var(ARGUMENT).unwrap());
    std::process::exit(0);
}

/// Says a line to the parent.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{MARK}{line}").unwrap();
    stdout.flush().unwrap();
}

/// The next line of the parent; empty at its end.
pub fn hear() -> String {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
