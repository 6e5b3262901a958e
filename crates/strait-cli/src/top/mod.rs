//! `strait top`: what all channels do, live.
//!
//! Looks go one way: [`Watch`] → [`App`] → the screen. Keys go the other: the terminal → [`keys`] → [`App`].

mod app;
mod detail;
mod help;
mod keys;
mod once;
mod screen;
mod scroll;
mod terminal;
mod text;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use app::App;

use crate::{channels::Watch, failure::Failure};

/// The shortest and the longest time between two looks, in seconds.
const INTERVAL_S: std::ops::RangeInclusive<f64> = 0.1..=3600.0;

/// Show live what the channels of this machine do, and what slows them down.
///
/// Finds them from outside, by looking through the descriptors of running processes: nothing has to be registered, no
/// process has to take part, and none is disturbed. Sees the processes of your own user; all of them as root. Press ? for
/// the keys and the columns.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait top                            # live; q ends it\n  \
    strait top --interval 0.2 orders      # five looks per second, only channels with \"orders\"\n  \
    strait top --once                     # one table, as text\n  \
    strait top --once --json | jq '.channels[] | select(.symptoms != []) | .service'")]
pub(crate) struct Top {
    /// Print one table and end: two looks, an interval apart
    #[arg(long)]
    once: bool,
    /// Print JSON instead of a table: one object, on one line
    #[arg(long, requires = "once")]
    json: bool,
    /// Time between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// Show only channels in whose name, kind, session or commands this occurs
    filter: Option<String>,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| INTERVAL_S.contains(seconds));
    let expected = || format!("expected seconds from {} to {}, such as 0.5", INTERVAL_S.start(), INTERVAL_S.end());
    seconds.map(Duration::from_secs_f64).ok_or_else(expected)
}

pub(crate) fn run(args: Top) -> Result<(), Failure> {
    let filter = args.filter.unwrap_or_default();
    let mut watch = Watch::new();
    if args.once {
        return once::print(&mut watch, args.interval, &filter, args.json);
    }
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        let why = "`strait top` needs a terminal at its input and its output";
        return Err(Failure::Usage(format!("{why}: for a script, say `strait top --once`, or `--once --json`")));
    }
    terminal::run(&mut App::new(filter), &mut watch, args.interval)
}
