//! `strait doctor`: what on this machine helps or hinders. Looks, tries, changes nothing.

mod access;
mod connection;
mod finding;
mod host;
mod kernel;
mod limits;
mod pages;
mod processor;

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use self::{
    finding::{Finding, State},
    host::Host,
};
use crate::{failure::Failure, output};

/// Check what on this machine helps or hinders, and say what to change.
///
/// Features of the kernel are tried, not guessed from its version; a connection to a process of its own tries them
/// together. Nothing is changed. Ends with 1 where something will not work.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait doctor                                       what is there, and what to change\n  \
    strait doctor --explain                             and why each of it matters\n  \
    strait doctor --json | jq -r 'select(.state != \"ok\") | .change'\n  \
    strait doctor > /dev/null || echo 'shared memory will not work here'")]
pub(crate) struct Doctor {
    /// Say of every check why it matters, not only where something is to be changed.
    #[arg(long)]
    explain: bool,
    /// One JSON object per check.
    #[arg(long)]
    json: bool,
}

/// A finding with its place, as JSON.
#[derive(Serialize)]
struct Placed<'a> {
    area: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

pub(crate) fn run(args: &Doctor) -> Result<(), Failure> {
    let host = Host::real();
    let areas = [
        ("kernel", kernel::check(&host)),
        ("limits", limits::check(&host)),
        ("pages", pages::check(&host)),
        ("processors", processor::check(&host)),
        ("access", access::check(&host)),
        ("connection", connection::check()),
    ];
    if args.json {
        for (area, findings) in &areas {
            for finding in findings {
                output::json(&Placed { area, finding })?;
            }
        }
    } else {
        output::print(report(&areas, args.explain))?;
    }
    let hopeless: Vec<_> =
        areas.iter().flat_map(|(_, findings)| findings).filter(|finding| finding.state == State::WillNotWork).collect();
    match hopeless.as_slice() {
        [] => Ok(()),
        some => {
            let names: Vec<_> = some.iter().map(|finding| finding.check).collect();
            Err(Failure::DidNotHold(format!("will not work here: {}", names.join("; "))))
        }
    }
}

fn report(areas: &[(&str, Vec<Finding>)], explain: bool) -> String {
    let all = || areas.iter().flat_map(|(_, findings)| findings);
    let width = all().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (area, findings) in areas {
        let _ = writeln!(text, "{}", styled(Style::new().bold(), area));
        for finding in findings {
            let check = format!("{:width$}", finding.check);
            let _ = writeln!(text, "  {}  {check}  {}", mark(finding.state), finding.found);
            if explain || finding.change.is_some() {
                let _ = writeln!(text, "          {}", styled(Style::new().dimmed(), finding.why));
            }
            if let Some(change) = &finding.change {
                let _ = writeln!(text, "          -> {change}");
            }
        }
    }
    let count = |state| all().filter(|finding| finding.state == state).count();
    let (ok, better, hopeless) = (count(State::Ok), count(State::CouldBeBetter), count(State::WillNotWork));
    let _ = writeln!(text, "{ok} ok, {better} could be better, {hopeless} will not work");
    text
}

fn mark(state: State) -> String {
    let (colour, word) = match state {
        State::Ok => (AnsiColor::Green, "ok    "),
        State::CouldBeBetter => (AnsiColor::Yellow, "better"),
        State::WillNotWork => (AnsiColor::Red, "fails "),
    };
    styled(colour.on_default(), word)
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
