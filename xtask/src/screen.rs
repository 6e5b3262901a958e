//! What is shown: lines that stay, and on a terminal a few below them that are drawn anew.

use std::io::{self, Write};

/// Standard output.
pub(crate) struct Screen {
    visible: bool,
    terminal: bool,
    live: usize,
}

impl Screen {
    /// A screen that shows nothing unless `visible`, and draws lines anew only on a `terminal`.
    pub(crate) fn new(visible: bool, terminal: bool) -> Self {
        Self { visible, terminal, live: 0 }
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, text: &str) {
        self.write(&[text.to_owned()], false);
    }

    /// What a child complains of: shown, or where nothing is shown, on standard error.
    pub(crate) fn note(&mut self, text: &str) {
        if self.visible { self.line(text) } else { eprintln!("{text}") }
    }

    /// A line that says how it goes, where no live lines do.
    pub(crate) fn unless_live(&mut self, text: &str) {
        if !self.terminal {
            self.line(text);
        }
    }

    /// Lines that the next ones replace; on a terminal only.
    pub(crate) fn live(&mut self, lines: impl FnOnce() -> Vec<String>) {
        if self.visible && self.terminal {
            self.write(&lines(), true);
        }
    }

    /// Keeps the lines that were last drawn.
    pub(crate) fn keep(&mut self) {
        self.live = 0;
    }

    fn write(&mut self, lines: &[String], live: bool) {
        if !self.visible {
            return;
        }
        let mut text = String::new();
        if self.live > 0 {
            // Up to the first of the live lines, and clear from there on.
            text.push_str(&format!("\x1b[{}A\x1b[J", self.live));
        }
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.live = if live { lines.len() } else { 0 };
        let mut out = io::stdout().lock();
        // Where nobody reads, the exit code still says how it went.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
