//! syscalls: how many system calls a message takes, of both processes together.
//!
//! Counted apart from what is timed, because counting costs time: by `perf stat` on the kernel's own trace point where that is
//! permitted, else by `strace`. Each engine runs twice, briefly and longer; what the longer run has more of, system calls and
//! messages, gives the ratio, so that what starting up takes is not in it.

use std::{
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{
    engine::{Engine, Role, Side},
    progress::Progress,
    report::median,
    rows::JsonRow,
    runner::Plan,
};

const PAYLOAD_BYTES: usize = 64;
const MILLIS: [u64; 2] = [50, 250];

#[derive(Clone, Copy)]
enum Counter {
    Perf,
    Strace,
}

impl Counter {
    /// What can count here.
    fn find() -> Option<Self> {
        let dir = std::env::temp_dir().join(format!("strait-bench-counter-{}", std::process::id()));
        fs::create_dir_all(&dir).ok()?;
        let counts = |counter: &Self| {
            let mut command = counter.command(&dir);
            let ran = command.arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
            ran.is_ok_and(|status| status.success()) && counter.count(&dir).is_ok_and(|count| count > 0.0)
        };
        let found = [Self::Perf, Self::Strace].into_iter().find(counts);
        let _ = fs::remove_dir_all(dir);
        found
    }

    fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf stat -e raw_syscalls:sys_enter",
            Self::Strace => "strace -f -c",
        }
    }

    fn command(self, dir: &Path) -> Command {
        let (program, arguments) = match self {
            Self::Perf => ("perf", &["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o"]),
            Self::Strace => ("strace", &["-f", "-c", "-U", "calls,name", "-o"]),
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(dir.join("counted"));
        command
    }

    /// The count of the program that ended last.
    fn count(self, dir: &Path) -> Result<f64, Box<dyn Error>> {
        let text = fs::read_to_string(dir.join("counted"))?;
        let line = match self {
            Self::Perf => text.lines().find(|line| line.contains("sys_enter")),
            Self::Strace => text.lines().find(|line| line.ends_with("total")),
        };
        let number = line.and_then(|line| line.split([',', ' ']).find(|field| !field.is_empty()));
        Ok(number.ok_or("nothing was counted")?.parse()?)
    }
}

/// What an engine's client prints, of either scenario: how much was sent from the start on.
#[derive(Deserialize)]
struct Sent {
    messages: u64,
}

/// Runs all engines of calls and streams; whether that held.
pub(crate) fn run(plan: &Plan, engines: &[Engine], json: bool) -> bool {
    let Some(counter) = Counter::find() else {
        println_unless(json, "\nsyscalls: skipped: neither `perf stat` nor `strace` may count here");
        return true;
    };
    let engines = engines.iter().filter(|engine| plan.chooses(&engine.name, engine.payload_bytes));
    let engines: Vec<&Engine> = engines.filter(|engine| engine.payload_bytes == PAYLOAD_BYTES).collect();
    let mut progress = Progress::new("syscalls", engines.len());
    let (mut held, mut lines) = (true, Vec::new());
    let runs = plan.runs.min(3);
    for engine in engines {
        progress.step(&engine.name);
        let mut counts = Vec::new();
        for run in 1..=runs {
            match per_message(plan, engine, counter) {
                Ok(value) => {
                    let Engine { scenario, name, payload_bytes } = engine;
                    let message = if scenario == "rpc" { "request" } else { "message" };
                    let (metric, payload_bytes) = (&*format!("syscalls_per_{message}"), *payload_bytes);
                    JsonRow { scenario, engine: name, payload_bytes, metric, value, unit: "", run }.put();
                    counts.push(value);
                }
                Err(error) => {
                    eprintln!("failed: {} {}: {error}", engine.scenario, engine.name);
                    held = false;
                }
            }
        }
        lines.push(match counts.is_empty() {
            true => format!("{:<8} {:<28} {:>12}", engine.scenario, engine.name, "failed"),
            false => format!("{:<8} {:<28} {:>12.4}", engine.scenario, engine.name, median(counts)),
        });
    }
    drop(progress);
    println_unless(json, &format!("\nsyscalls: of both processes, per message of {PAYLOAD_BYTES} B, counted by"));
    println_unless(json, &format!("`{}`; median of {runs} runs\n", counter.name()));
    println_unless(json, &format!("{:<8} {:<28} {:>12}", "scenario", "engine", "per message"));
    lines.iter().for_each(|line| println_unless(json, line));
    held
}

fn println_unless(json: bool, line: &str) {
    if !json {
        println!("{line}");
    }
}

fn per_message(plan: &Plan, engine: &Engine, counter: Counter) -> Result<f64, Box<dyn Error>> {
    let [short, long] = MILLIS.map(|millis| count(plan, engine, millis, counter));
    let ((short_calls, short_messages), (long_calls, long_messages)) = (short?, long?);
    if long_messages <= short_messages {
        return Err(format!("{long_messages} messages in the longer run, {short_messages} in the shorter").into());
    }
    Ok(((long_calls - short_calls) / (long_messages - short_messages) as f64).max(0.0))
}

/// System calls and messages of one run.
fn count(plan: &Plan, engine: &Engine, millis: u64, counter: Counter) -> Result<(f64, u64), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("strait-bench-syscalls-{}", std::process::id()));
    let meet = dir.join("meet");
    fs::create_dir_all(&meet)?;
    fs::set_permissions(&meet, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let role = Role {
        engine: engine.clone(),
        side: Side::Client,
        cores: plan.cores,
        millis,
        meet: meet.to_string_lossy().into_owned(),
    };
    let mut command = counter.command(&dir);
    let role = serde_json::to_string(&role)?;
    let output = command.arg(std::env::current_exe()?).args(["--role", &role]).stderr(Stdio::inherit()).output();
    let counted = counter.count(&dir);
    let _ = fs::remove_dir_all(&dir);
    let output = output?;
    if !output.status.success() {
        return Err(format!("its client ended with {}", output.status).into());
    }
    let sent: Sent = serde_json::from_slice(&output.stdout)?;
    Ok((counted?, sent.messages))
}
