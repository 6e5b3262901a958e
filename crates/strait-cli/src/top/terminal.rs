//! The terminal: taken over, drawn to, listened to, and given back however this ends.

#[cfg(test)]
#[path = "../../tests/support/terminal.rs"]
mod pseudo;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::emulate_default_handler,
};

use super::{app::App, keys, screen};
use crate::{channels::Watch, failure::Failure};

/// How long a signal may wait to be noticed.
const SLICE: Duration = Duration::from_millis(100);
/// There are no rates before the second look: it comes soon.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// Draws until a key or a signal ends it.
pub(crate) fn run(app: &mut App, watch: &mut Watch, interval: Duration) -> Result<(), Failure> {
    let signals = Signals::catch().map_err(|error| Failure::because("cannot listen for signals", error))?;
    let outcome = on_screen(|terminal| until_done(terminal, app, watch, interval, &signals))?;
    // Whoever sent the signal sees that it has ended this process.
    if let Some(signal) = signals.caught() {
        let _ = emulate_default_handler(signal);
    }
    outcome
}

/// Takes the terminal over for `work`, and gives it back: ratatui's panic hook does where `work` panics.
fn on_screen<T>(work: impl FnOnce(&mut DefaultTerminal) -> T) -> Result<T, Failure> {
    let mut terminal = ratatui::try_init().map_err(|error| Failure::because("cannot take over the terminal", error))?;
    let done = work(&mut terminal);
    ratatui::restore();
    Ok(done)
}

fn until_done(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    watch: &mut Watch,
    interval: Duration,
    signals: &Signals,
) -> Result<(), Failure> {
    let gone = |error| Failure::because("the terminal is gone", error);
    let mut next_look = Instant::now();
    let mut looks = 0_u64;
    while !app.is_done && signals.caught().is_none() {
        if Instant::now() >= next_look {
            let look = watch.look()?;
            let wanted = if looks == 0 { interval.min(SECOND_LOOK) } else { interval };
            next_look = Instant::now() + look.pause(wanted);
            looks += 1;
            app.update(look);
        }
        terminal.draw(|frame| screen::draw(frame, app)).map_err(gone)?;
        wait(app, next_look, signals).map_err(gone)?;
    }
    Ok(())
}

/// Returns when there is something to draw: a key was pressed, the terminal has another size, or it is time for a look.
fn wait(app: &mut App, next_look: Instant, signals: &Signals) -> io::Result<()> {
    let mut has_changed = false;
    while !has_changed && signals.caught().is_none() {
        let left = next_look.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        wait_for_input(left.min(SLICE))?;
        // All that was typed meanwhile is drawn once.
        while event::poll(Duration::ZERO)? {
            has_changed = true;
            let Event::Key(key) = event::read()? else { continue };
            let command = (key.kind != KeyEventKind::Release).then(|| keys::command(key, app)).flatten();
            if let Some(command) = command {
                app.command(command);
            }
        }
    }
    Ok(())
}

/// Waits for a key, for so long at most. A terminal that is gone is an error here: crossterm would read it again and again.
fn wait_for_input(time: Duration) -> io::Result<()> {
    let input = io::stdin();
    let mut polled = [PollFd::new(&input, PollFlags::IN)];
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut polled, Some(&time)) {
        // A signal: it may be that of a new size.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_gone = polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
    if is_gone { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// The signals that ask this process to end. SIGHUP is not among them: it comes where there is no terminal to give back.
struct Signals(Arc<AtomicUsize>);

impl Signals {
    fn catch() -> io::Result<Self> {
        let caught = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            let number = usize::try_from(signal).map_err(io::Error::other)?;
            signal_hook::flag::register_usize(signal, caught.clone(), number)?;
        }
        Ok(Self(caught))
    }

    /// The signal that has come, if one has.
    fn caught(&self) -> Option<i32> {
        // ORDERING: Relaxed; the number is all that the handler tells.
        let number = self.0.load(Ordering::Relaxed);
        i32::try_from(number).ok().filter(|number| *number != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{on_screen, pseudo::Terminal};

    /// Set in the process that panics.
    const PANICS: &str = "STRAIT_TEST_PANICS";

    /// Run in a terminal by the test below; nothing without it.
    #[test]
    fn panics() {
        if std::env::var_os(PANICS).is_some() {
            let _ = on_screen(|terminal| {
                terminal.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
                std::io::stdin().read_line(&mut String::new()).unwrap();
                panic!("on purpose");
            });
        }
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "top::terminal::tests::panics", "--nocapture", "--test-threads=1"])
            .env(PANICS, "1")
            .env("RUST_BACKTRACE", "0");
        let mut terminal = Terminal::run(command, 80, 20);
        terminal.shows(&["drawn"]);
        assert!(terminal.is_taken_over() && terminal.hides_cursor() && !terminal.is_cooked());
        terminal.press("\n");
        assert!(!terminal.ended().success());
        terminal.is_given_back();
        terminal.shows(&["on purpose"]);
    }
}
