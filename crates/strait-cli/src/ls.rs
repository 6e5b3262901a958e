//! `strait ls`: which channels there are.

use crate::{
    channels::{self, Column, Watch},
    failure::Failure,
};

/// List the channels of this machine, with the processes at both ends.
///
/// Finds them as `strait top` does: from outside, without their help. Sees the processes of your own user; all of them as
/// root.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait ls\n  \
    strait ls orders\n  \
    strait ls --json | jq -r '.channels[] | [.service, .server.processes[0].pid] | @tsv'")]
pub(crate) struct Ls {
    /// Print JSON instead of a table: one object, on one line
    #[arg(long)]
    json: bool,
    /// List only channels in whose name, kind, session or commands this occurs
    filter: Option<String>,
}

/// What there is to say of a channel without comparing two looks.
const COLUMNS: [Column; 8] = [
    Column::Service,
    Column::Kind,
    Column::Transport,
    Column::Memory,
    Column::HighWater,
    Column::Idle,
    Column::Client,
    Column::Server,
];

pub(crate) fn run(args: Ls) -> Result<(), Failure> {
    channels::print(&Watch::new().look()?, &args.filter.unwrap_or_default(), &COLUMNS, args.json)
}
