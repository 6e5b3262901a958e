//! What a process has done, in a file, which a kill does not undo.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

/// Lines `word number`, each written by one call.
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Appends to the journal `name` in `dir`.
    pub(crate) fn open(dir: &Path, name: &str) -> Result<Self, String> {
        let file = OpenOptions::new().append(true).create(true).open(dir.join(name));
        Ok(Self { file: file.map_err(|error| format!("the journal {name}: {error}"))? })
    }

    pub(crate) fn note(&self, word: &str, number: u64) -> Result<(), String> {
        let line = format!("{word} {number}\n");
        (&self.file).write_all(line.as_bytes()).map_err(|error| format!("a journal: {error}"))
    }

    /// The numbers behind `word`, in the order in which they were noted.
    pub(crate) fn read(dir: &Path, name: &str, word: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(found, _)| *found == word)
            .filter_map(|(_, number)| number.parse().ok())
            .collect()
    }
}
