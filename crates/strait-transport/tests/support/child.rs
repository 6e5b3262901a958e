//! Real processes: the test binary runs itself again with a role.
//!
//! A child says lines (`say`) and hears lines (`hear`) over its standard streams; the parent does the same from its side.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use super::PATIENCE;

const ROLE: &str = "STRAIT_TEST_ROLE";
const DIR: &str = "STRAIT_TEST_DIR";
/// What a line of a child begins with, among those of the test harness.
const MARK: &str = "@@ ";

/// A child that plays a role. Killed and waited for when dropped.
pub struct Child {
    process: std::process::Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Child {
    /// Runs `role` in a process of its own. The test binary must have a test `roles` that calls [`play`].
    pub fn start(role: &str, dir: &Path) -> Self {
        Self::start_with(role, dir, &[])
    }

    pub fn start_with(role: &str, dir: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "roles", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(DIR, dir).envs(env.iter().copied());
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

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn finish(mut self) {
        drop(std::mem::replace(&mut self.stdin, dead_end()));
        let start = std::time::Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert!(status.success(), "the child failed: {status}");
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the child does not end");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// A pipe that nobody reads.
fn dead_end() -> ChildStdin {
    let (_read, write) = std::io::pipe().unwrap();
    ChildStdin::from(std::os::fd::OwnedFd::from(write))
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A role: its name, and what it does in a directory.
pub type Role<'a> = (&'a str, fn(&Path));

/// Plays the role that this process was started for, if it was, and ends the process.
pub fn play(roles: &[Role<'_>]) {
    let Ok(role) = std::env::var(ROLE) else { return };
    // SAFETY: a system call without pointers; the process is to die with its parent …
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: as above; … and after a while in any case.
    unsafe { libc::alarm(60) };
    let dir = std::env::var(DIR).unwrap();
    let (_, play) = roles.iter().find(|(name, _)| *name == role).expect("a known role");
    play(Path::new(&dir));
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

/// Runs `test` in a forked child and returns its wait status. Only the forking thread goes on in the child.
pub fn forked(test: impl FnOnce()) -> i32 {
    // SAFETY: the child runs `test` and ends by `_exit`; `test` takes no lock that another thread may have held.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: sets a timer that ends this process.
        unsafe { libc::alarm(20) };
        // The hook would take locks; the panic is told by the status.
        std::panic::set_hook(Box::new(|info| {
            let line = info.location().map_or(0, std::panic::Location::line);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(1 + (line % 254) as i32) }
        }));
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(test));
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(0) };
    }
    assert!(pid > 0, "fork failed");
    let mut status = 0;
    // SAFETY: waits for the child from above; `status` is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

/// As [`forked`], and fails where the child did.
#[track_caller]
pub fn in_child(test: impl FnOnce()) {
    let status = forked(test);
    let line = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) - 1 } else { -1 };
    assert_eq!(status, 0, "the child failed; its assertion is in line {line} (modulo 254), or -1 for a signal");
}
