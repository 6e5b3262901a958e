//! Starts victim, honest clients and attacker, and judges what became of them.

use std::{
    collections::BTreeMap,
    fs::Permissions,
    io::{BufRead, BufReader, Lines, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    broker,
    watch::{Holdings, time},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long the honest clients are measured alone.
const BEFORE: Duration = Duration::from_secs(2);
/// How long what the attacker has left may stay.
const SETTLE: Duration = Duration::from_secs(10);

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds of attacks
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where the attacker's choices begin; new each time where it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Print only JSON, one object per line
    #[arg(long)]
    json: bool,
}

/// Runs it all; an error is a finding, and names the seed.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}: {} s of attacks after {} s without", args.seconds, BEFORE.as_secs());
    attacked(args, seed).map_err(|error| {
        format!("{error} (again: cargo xtask hostile --seed {seed} --seconds {})", args.seconds).into()
    })
}

fn attacked(args: &Args, seed: u64) -> Result<(), Failure> {
    // Nobody else may enter it.
    let directory = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?;
    let mut victim = Process::start("the victim", directory.path(), Stdio::piped(), Stdio::piped(), &["victim"])?;
    let log = victim.log()?;
    victim.line()?;
    let mut honest =
        Process::start("the honest clients", directory.path(), Stdio::piped(), Stdio::inherit(), &["honest"])?;
    honest.line()?;
    std::thread::sleep(Duration::from_millis(500));
    honest.measure()?;
    std::thread::sleep(BEFORE);
    let before = honest.measure()?;
    let held = Holdings::of(victim.child.id())?;

    let (ours, theirs) = UnixStream::pair()?;
    let path = directory.path().to_owned();
    let brokering = std::thread::spawn(move || broker::serve(ours, path));
    let (seconds, seed_text) = (args.seconds.to_string(), seed.to_string());
    let input = Stdio::from(OwnedFd::from(theirs));
    let mut attacker =
        Process::start("the attacker", Path::new(""), input, Stdio::inherit(), &["attacker", &seconds, &seed_text])?;
    let rows = attacker.rows(&mut victim)?;
    attacker.must_end()?;
    drop(attacker);
    brokering.join().map_err(|_| "the broker panicked")?;

    let under = honest.measure()?;
    let left = held.settle(victim.child.id(), SETTLE)?;
    honest.end()?;
    let streams = victim.end()?;
    let errors = log.join().map_err(|_| "the reader of the victim's log panicked")?;

    report(args, &before, &under, &rows, &errors, &streams);
    judge(&under, &rows, &held, &left)?;
    if args.json {
        println!(
            "{}",
            json!({"scenario": "hostile", "seed": seed, "held": format!("{held:?}"), "left": format!("{left:?}")})
        );
    } else {
        println!("\nthe victim holds what it held before: {held:?}; now {left:?}");
        println!("held: nothing was found in {} s", args.seconds);
    }
    Ok(())
}

/// What must hold besides what has ended the run already.
fn judge(under: &Value, rows: &[Value], held: &Holdings, left: &Holdings) -> Result<(), Failure> {
    if !left.fits(held) {
        return Err(format!("the victim keeps what it should have let go: it had {held:?}, and has {left:?}").into());
    }
    for (name, row) in under.as_object().into_iter().flatten() {
        if row["count"].as_u64().unwrap_or(0) == 0 {
            return Err(format!("the honest client of `{name}` had no answer in all that time").into());
        }
    }
    for row in rows.iter().filter(|row| row["attack"].is_string()) {
        let reached = row["reaches"].as_str().unwrap_or_default();
        if row["outcomes"][reached].as_u64().unwrap_or(0) == 0 {
            return Err(format!("{} never came to `{reached}`: {}", row["attack"], row["outcomes"]).into());
        }
    }
    Ok(())
}

fn report(args: &Args, before: &Value, under: &Value, rows: &[Value], errors: &BTreeMap<String, u64>, streams: &str) {
    if args.json {
        for (phase, latencies) in [("before", before), ("under attack", under)] {
            for (client, row) in latencies.as_object().into_iter().flatten() {
                for metric in ["p50", "p99", "p999", "max"] {
                    println!(
                        "{}",
                        json!({"scenario": "hostile", "engine": format!("honest-{client}"), "phase": phase, "metric": format!("rtt_{metric}"), "value": row[metric], "unit": "ns"})
                    );
                }
            }
        }
        rows.iter().for_each(|row| println!("{row}"));
        println!("{}", json!({"scenario": "hostile", "errors": errors}));
        return;
    }
    println!("\n{:<30} {:>9} {:>12}  what became of it", "attack", "attempts", "mutations");
    let mut all = 0;
    for row in rows.iter().filter(|row| row["attack"].is_string()) {
        let outcomes: Vec<String> =
            row["outcomes"].as_object().into_iter().flatten().map(|(name, count)| format!("{name} {count}")).collect();
        all += row["mutations"].as_u64().unwrap_or(0);
        let name = row["attack"].as_str().unwrap_or_default();
        println!(
            "{name:<30} {:>9} {:>12}  {}",
            row["attempts"].to_string(),
            row["mutations"].to_string(),
            outcomes.join(", ")
        );
    }
    println!("{:<30} {:>9} {all:>12}", "all", "");
    println!("\nwhat the victim said of it (its log, by kind; how streams ended: {streams}):");
    for (error, count) in errors {
        println!("{count:>9}  {error}");
    }
    println!("\n{:<8} {:<13} {:>9} {:>9} {:>9} {:>9} {:>9}", "honest", "", "answers", "p50", "p99", "p99.9", "max");
    for (name, row) in under.as_object().into_iter().flatten() {
        for (phase, row) in [("before", &before[name]), ("under attack", row)] {
            let [p50, p99, p999, max] = ["p50", "p99", "p999", "max"].map(|metric| time(&row[metric]));
            println!("{name:<8} {phase:<13} {:>9} {p50:>9} {p99:>9} {p999:>9} {max:>9}", row["count"].to_string());
        }
    }
}

/// One of the processes; killed where it is dropped.
struct Process {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(
        name: &'static str,
        directory: &Path,
        input: Stdio,
        errors: Stdio,
        arguments: &[&str],
    ) -> Result<Self, Failure> {
        let mut command = Command::new("/proc/self/exe");
        command.args(arguments).stdin(input).stdout(Stdio::piped()).stderr(errors);
        if !directory.as_os_str().is_empty() {
            command.arg(directory);
        }
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Self { name, input: child.stdin.take(), child, output })
    }

    /// The next line that it prints.
    fn line(&mut self) -> Result<String, Failure> {
        match self.output.next() {
            Some(line) => Ok(line?),
            None => Err(format!("{} ended early: {}", self.name, self.child.wait()?).into()),
        }
    }

    /// What was measured since the last time.
    fn measure(&mut self) -> Result<Value, Failure> {
        writeln!(self.input.as_ref().ok_or("no input")?)?;
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// Counts its log by kinds in a thread; a panic or a failure is passed on as it is.
    fn log(&mut self) -> Result<JoinHandle<BTreeMap<String, u64>>, Failure> {
        let log = BufReader::new(self.child.stderr.take().ok_or("no log")?);
        Ok(std::thread::spawn(move || {
            let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
            for line in log.lines().map_while(Result::ok) {
                let line = line.trim_start();
                let event = ["DEBUG ", "INFO ", "WARN ", "ERROR "].iter().find_map(|level| line.strip_prefix(level));
                match event {
                    Some(event) => *kinds.entry(kind(event)).or_default() += 1,
                    None => eprintln!("the victim: {line}"),
                }
            }
            kinds
        }))
    }

    /// The rows of the attacker, until its output ends. Meanwhile says what it is at, and whether the victim lives.
    fn rows(&mut self, victim: &mut Self) -> Result<Vec<Value>, Failure> {
        let (sender, receiver) = mpsc::channel();
        let output = std::mem::replace(&mut self.output, BufReader::new(empty()?).lines());
        let reading = std::thread::spawn(move || output.map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let mut rows = Vec::new();
        loop {
            match receiver.recv_timeout(Duration::from_millis(500)) {
                Ok(line) => {
                    let row: Value = serde_json::from_str(&line)?;
                    if let Some(round) = row["round"].as_u64() {
                        eprintln!("round {round}: {} mutations", row["mutations"]);
                    }
                    if let Some(who) = row["attacker"].as_str() {
                        eprintln!("the attacker is {who}");
                    }
                    rows.push(row);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if let Some(status) = victim.child.try_wait()? {
                        return Err(format!("the victim ended under attack: {status}").into());
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        reading.join().map_err(|_| "the reader of the attacker's output panicked")?;
        Ok(rows)
    }

    fn must_end(&mut self) -> Result<(), Failure> {
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{} found something: {status}", self.name).into()) }
    }

    /// Ends it in good order; the last line that it says.
    fn end(mut self) -> Result<String, Failure> {
        drop(self.input.take());
        let last = self.output.by_ref().map_while(Result::ok).last().unwrap_or_default();
        self.must_end()?;
        Ok(last)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Output of nobody.
fn empty() -> Result<ChildStdout, Failure> {
    Ok(std::io::pipe().map(|(reader, _)| ChildStdout::from(OwnedFd::from(reader)))?)
}

/// An event without what differs from one to the next: numbers, values, and a peer's own words.
fn kind(event: &str) -> String {
    let (head, tail) = event.split_once('=').unwrap_or((event, ""));
    let is_own = head.ends_with(" what");
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_lowercase());
    let tail = if is_own { tail.trim_start_matches('"') } else { "" };
    let words = tail.split_whitespace().filter(is_word).take(4);
    std::iter::once(head).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_one_event_to_the_next_is_left_out_of_its_kind() {
        let one = kind("strait: corrupt input what=\"size word 0xfffffffe has bit 31 set\"");
        assert_eq!(one, kind("strait: corrupt input what=\"size word 0xed00 has bit 31 set\""));
        assert_eq!(one, "strait: corrupt input what size word has bit");
        assert_eq!(
            kind("strait: stays on the socket service=\"calls\" reason=\"any words\""),
            "strait: stays on the socket service"
        );
    }
}
