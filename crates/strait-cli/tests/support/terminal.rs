//! A terminal as a user has one: a pseudo-terminal, with what a program draws on it and the keys that it is sent.
#![allow(dead_code, reason = "each test program uses what it needs")]

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    num::NonZeroU16,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use vt100::Parser;

/// Whoever waits longer than this has waited in vain.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program in its terminal. Killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    /// The side of whoever looks at the screen; `None` once that is closed.
    master: Option<File>,
    reader: Option<JoinHandle<()>>,
    is_hung_up: Arc<AtomicBool>,
    /// The program's side, kept open so that its settings can be asked for when the program has ended.
    program_side: OwnedFd,
    parser: Arc<Mutex<Parser>>,
}

impl Terminal {
    /// Runs `command` in a terminal of so many columns and rows.
    pub(crate) fn run(mut command: Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let path = std::ffi::OsStr::from_bytes(path.as_bytes());
        let program_side = OpenOptions::new().read(true).write(true).open(path).unwrap();
        tcsetwinsize(&program_side, size(columns, rows)).unwrap();
        let side = || program_side.try_clone().unwrap();
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let parser = Arc::new(Mutex::new(Parser::new(cells(rows), cells(columns), 0)));
        let master = File::from(master);
        let is_hung_up = Arc::new(AtomicBool::new(false));
        let reader = thread::spawn({
            let (output, drawn, is_hung_up) = (master.try_clone().unwrap(), parser.clone(), is_hung_up.clone());
            move || draw(output, &drawn, &is_hung_up)
        });
        let (master, reader) = (Some(master), Some(reader));
        Self { child, master, reader, is_hung_up, program_side: program_side.into(), parser }
    }

    /// What stands on the screen.
    pub(crate) fn text(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    /// Whether the program has the screen for itself.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.parser.lock().unwrap().screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    pub(crate) fn hides_cursor(&self) -> bool {
        self.parser.lock().unwrap().screen().hide_cursor()
    }

    /// Whether the terminal gives a shell what it needs: whole lines, and an echo of what is typed.
    pub(crate) fn is_cooked(&self) -> bool {
        tcgetattr(&self.program_side).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.master.as_ref().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Closes the window.
    pub(crate) fn hang_up(&mut self) {
        self.is_hung_up.store(true, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
        self.master = None;
    }

    /// Gives the terminal another size, as a window manager does.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.parser.lock().unwrap().set_size(cells(rows), cells(columns));
        tcsetwinsize(&self.program_side, size(columns, rows)).unwrap();
        // The program has no controlling terminal that would tell it.
        self.signal(rustix::process::Signal::WINCH);
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The screen, as soon as `holds` of it.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if holds(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "never seen: {what}. The screen:\n{text}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The screen, as soon as all of `words` stand on it.
    #[track_caller]
    pub(crate) fn shows(&self, words: &[&str]) -> String {
        self.wait_for(&words.join(", "), |text| words.iter().all(|word| text.contains(word)))
    }

    /// How the program ended, once it has.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it goes on. The screen:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks that the terminal is as it was before the program ran.
    #[track_caller]
    pub(crate) fn is_given_back(&self) {
        self.wait_for("the screen of before", |_| !self.is_taken_over() && !self.hides_cursor());
        assert!(self.is_cooked(), "lines and echo are not back");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.is_hung_up.store(true, Ordering::Relaxed);
    }
}

/// Draws what a program writes.
fn draw(mut output: File, drawn: &Mutex<Parser>, is_hung_up: &AtomicBool) {
    let slice = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let mut bytes = [0; 4096];
    while !is_hung_up.load(Ordering::Relaxed) {
        let mut polled = [PollFd::new(&output, PollFlags::IN)];
        let is_readable = poll(&mut polled, Some(&slice)).is_ok_and(|ready| ready > 0);
        if is_readable && let Ok(read) = output.read(&mut bytes) {
            drawn.lock().unwrap().process(&bytes[..read]);
        }
    }
}

fn cells(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
