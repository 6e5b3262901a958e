//! Measured values: one JSON object each, on standard output with `--json`, and in the file that `--rows` names.

use std::{
    error::Error,
    fs::File,
    io::Write,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
};

use serde::{Deserialize, Serialize};

/// One measured value.
#[derive(Serialize)]
pub(crate) struct JsonRow<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) engine: &'a str,
    pub(crate) payload_bytes: usize,
    pub(crate) metric: &'a str,
    pub(crate) value: f64,
    pub(crate) unit: &'a str,
    pub(crate) run: u32,
}

/// The same, read again.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) engine: String,
    pub(crate) payload_bytes: usize,
    pub(crate) metric: String,
    pub(crate) value: f64,
    pub(crate) run: u32,
}

impl Row {
    pub(crate) fn is_at(&self, (scenario, engine, payload_bytes, metric): (&str, &str, usize, &str)) -> bool {
        let names = (self.scenario.as_str(), self.engine.as_str(), self.metric.as_str());
        names == (scenario, engine, metric) && self.payload_bytes == payload_bytes
    }
}

/// All rows that `--rows` has put into a file.
pub(crate) fn read(file: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let text = std::fs::read_to_string(file)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Where rows go: decided once, before anything is measured.
struct Sink {
    on_stdout: bool,
    file: Option<Mutex<File>>,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Decides where rows go; a file is appended to.
pub(crate) fn open(on_stdout: bool, file: Option<&Path>) -> std::io::Result<()> {
    let open = |path: &Path| File::options().create(true).append(true).open(path).map(Mutex::new);
    let file = file.map(open).transpose()?;
    let _ = SINK.set(Sink { on_stdout, file });
    Ok(())
}

impl JsonRow<'_> {
    /// Puts the row wherever rows go.
    pub(crate) fn put(&self) {
        let Some(sink) = SINK.get() else { return };
        let line = serde_json::to_string(self).unwrap_or_default();
        if sink.on_stdout {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
        if let Some(file) = &sink.file {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = writeln!(file, "{line}") {
                eprintln!("error: a row could not be kept: {error}");
            }
        }
    }
}
