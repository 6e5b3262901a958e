//! Servers that their clients start. They note what they do in files beside the runtime directory, and end with their test.
#![allow(dead_code)]

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use strait_rpc::{Launch, Options, Request, blocking::Server};

use crate::{
    process::{command, options},
    support::{NAME, Scratch, until},
};

/// Ends the server in good order.
pub(crate) const STOP: u64 = u64::MAX;
/// Writes a megabyte to the standard error.
pub(crate) const TALK: u64 = u64::MAX - 1;
/// Takes a minute, in the first server alone.
pub(crate) const HANG_IN_FIRST: u64 = u64::MAX - 2;

/// A place for servers, which are killed when it is dropped.
pub(crate) struct Place(Scratch);

impl Place {
    pub(crate) fn new() -> Self {
        Self(Scratch::new())
    }

    pub(crate) fn options(&self) -> Options {
        self.0.options()
    }

    /// Starts the server of this binary in `role`.
    pub(crate) fn launch(&self, role: &'static str) -> Launch {
        launch(role, self.options())
    }

    /// The files in the runtime directory.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.options().runtime_dir.unwrap()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The process ids of the servers that were started.
    pub(crate) fn started(&self) -> Vec<u64> {
        lines(&self.options(), "started")
    }

    /// The calls that were executed.
    pub(crate) fn executed(&self) -> Vec<u64> {
        lines(&self.options(), "executed")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.started().into_iter().filter(|&pid| runs(pid)).for_each(kill);
    }
}

/// Starts the server of this binary in `role`.
pub(crate) fn launch(role: &'static str, options: Options) -> Launch {
    Launch::new(move || command("child", role, &options))
}

/// Kills a server.
pub(crate) fn kill(pid: u64) {
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
}

/// Whether the process is there, be it as a zombie.
pub(crate) fn exists(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Whether the process runs this binary. A zombie runs nothing.
pub(crate) fn runs(pid: u64) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| Some(exe) == std::env::current_exe().ok())
}

pub(crate) fn path(options: &Options, file: &str) -> PathBuf {
    options.runtime_dir.as_ref().unwrap().parent().unwrap().join(file)
}

fn lines(options: &Options, file: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(path(options, file)).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Says that this process was started.
pub(crate) fn note_start() {
    note(&journal("started"), std::process::id().into());
}

fn journal(file: &str) -> File {
    OpenOptions::new().append(true).create(true).open(path(&options(), file)).unwrap()
}

fn note(mut file: &File, number: u64) {
    file.write_all(format!("{number}\n").as_bytes()).unwrap();
}

/// Notes each call and answers with its process id.
pub(crate) fn server() {
    note_start();
    // Should the test be gone.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        std::process::exit(1);
    });
    let server = Server::bind_with(NAME, &options()).unwrap();
    let (handle, executed) = (Arc::new(OnceLock::new()), journal("executed"));
    handle.set(server.handle()).unwrap();
    server
        .serve(move |request: Request<u64>| {
            let number = request.to_native();
            note(&executed, number);
            match number {
                STOP => handle.get().unwrap().shutdown(),
                TALK => (0..16).for_each(|_| eprintln!("{}", "x".repeat(1 << 16))),
                HANG_IN_FIRST if lines(&options(), "started").len() == 1 => std::thread::sleep(Duration::from_secs(60)),
                _ => {}
            }
            Ok::<u64, String>(std::process::id().into())
        })
        .unwrap();
}

/// Never serves.
pub(crate) fn hangs() {
    note_start();
    eprintln!("still looking for my configuration");
    std::thread::sleep(Duration::from_secs(60));
}

/// Fails.
pub(crate) fn fails() {
    eprintln!("cannot open the database: no such file");
    std::process::exit(3);
}

/// Waits until a child of this process is gone. A zombie is not.
#[track_caller]
pub(crate) fn until_gone(pid: u64) {
    until("the server is gone, and no zombie", || !exists(pid));
}

/// Waits until a process has ended that is another one's child, which may leave it as a zombie.
#[track_caller]
pub(crate) fn until_ended(pid: u64) {
    until("the server has ended", || !runs(pid));
}
