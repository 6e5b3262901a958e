//! The server's process, as its starter sees it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::{
        fs::{FileExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
};

use rustix::process::{Pid, Signal};
use strait_transport::Error as TransportError;

use super::error::LaunchError;

/// How much of a server's output an error shows.
const MAX_OUTPUT_BYTES: u64 = 4096;

/// A server that was started. Dropping this leaves it running, and a thread behind that waits for its end so that it does
/// not stay as a zombie.
#[derive(Debug)]
pub(super) struct ServerProcess {
    /// Until its end was seen.
    child: Option<Child>,
    output: Output,
}

impl ServerProcess {
    /// Runs `command` in a process group of its own, with no input, its output in `log` or in memory.
    pub(super) fn spawn(mut command: Command, log: Option<&Path>) -> Result<Self, LaunchError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| LaunchError::Spawn { program: program.as_str().into(), source: Arc::new(source) };
        let output = Output::new(log).map_err(|source| TransportError::Io {
            operation: "making a file for the server's output",
            source: Arc::new(source),
        })?;
        let (stdout, stderr) = (output.file.try_clone().map_err(failed)?, output.file.try_clone().map_err(failed)?);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        let child = command.spawn().map_err(failed)?;
        tracing::info!(target: "strait", program, pid = child.id(), "started a server");
        Ok(Self { child: Some(child), output })
    }

    /// How the process ended, the first time that this is asked after its end.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        // An error means that this process has somebody else to wait for its children; only the timeout is left then.
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// Kills the process and its group, unless it has ended: then its group may be another's by now.
    pub(super) fn kill(&mut self) {
        if self.ended().is_none()
            && let Some(child) = &mut self.child
            && rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL).is_err()
        {
            let _ = child.kill();
        }
    }

    /// The end of what it wrote so far.
    pub(super) fn output(&self) -> Arc<str> {
        self.output.tail().unwrap_or_else(|error| format!("(its output cannot be read: {error})")).into()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let Some(mut child) = self.child.take() else { return };
        let reaper = std::thread::Builder::new().name("strait-reaper".into()).stack_size(64 * 1024);
        if let Err(error) = reaper.spawn(move || child.wait()) {
            tracing::warn!(target: "strait", %error, "no thread to wait for a server: it will be a zombie when it ends");
        }
    }
}

/// Where a server's output goes: a file, not a pipe. A pipe would block the server once it is full, and kill it once
/// its reader is gone.
#[derive(Debug)]
struct Output {
    file: File,
    /// What was in the file before.
    start: u64,
}

impl Output {
    fn new(log: Option<&Path>) -> io::Result<Self> {
        let file = match log {
            Some(path) => OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?,
            None => rustix::fs::memfd_create(c"strait-launch", rustix::fs::MemfdFlags::CLOEXEC)?.into(),
        };
        let start = file.metadata()?.len();
        Ok(Self { file, start })
    }

    fn tail(&self) -> io::Result<String> {
        let end = self.file.metadata()?.len();
        let from = self.start.max(end.saturating_sub(MAX_OUTPUT_BYTES));
        let mut bytes = [0; MAX_OUTPUT_BYTES as usize];
        let mut len = 0;
        // By position: the server writes at the file's own.
        while len < bytes.len() {
            match self.file.read_at(&mut bytes[len..], from + len as u64)? {
                0 => break,
                more => len += more,
            }
        }
        let plain = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c };
        Ok(String::from_utf8_lossy(&bytes[..len]).chars().map(plain).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_tail_is_the_last_of_what_was_written() {
        let output = Output::new(None).unwrap();
        let mut writer = output.file.try_clone().unwrap();
        writer.write_all(&[b'a'; 5000]).unwrap();
        writer.write_all(b"\x1b[31mthe end\n").unwrap();
        let tail = output.tail().unwrap();
        assert_eq!(tail.len(), 4096);
        assert!(tail.ends_with(" [31mthe end\n"), "{tail}");
    }

    #[test]
    fn a_log_is_appended_to_and_only_what_is_new_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "yesterday\n").unwrap();
        let output = Output::new(Some(&path)).unwrap();
        output.file.try_clone().unwrap().write_all(b"today\n").unwrap();
        assert_eq!(output.tail().unwrap(), "today\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "yesterday\ntoday\n");
    }
}
