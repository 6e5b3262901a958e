//! What a shell and `man` want to know of this command.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Cli, failure::Failure, output};

/// Print what a shell needs to complete this command's words.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    strait completions bash > ~/.local/share/bash-completion/completions/strait\n  \
    strait completions zsh > \"${fpath[1]}/_strait\"\n  \
    strait completions fish > ~/.config/fish/completions/strait.fish")]
pub(crate) struct Completions {
    /// The shell that will read it.
    shell: Shell,
}

pub(crate) fn completions(args: &Completions) -> Result<(), Failure> {
    // Made in memory: the generator panics where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "strait", &mut script);
    output::print(String::from_utf8_lossy(&script)).map(drop)
}

/// Print the manual as a man page: of the whole, or of one command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  strait man > strait.1\n  strait man pipe send | man -l -")]
pub(crate) struct Man {
    /// The command that the page is for, such as `pipe send`.
    command: Vec<String>,
}

pub(crate) fn man(args: &Man) -> Result<(), Failure> {
    let mut command = Cli::command();
    command.build();
    let mut shown = &command;
    for name in &args.command {
        shown = shown.find_subcommand(name).ok_or_else(|| {
            let names: Vec<_> =
                shown.get_subcommands().filter(|name| !name.is_hide_set()).map(clap::Command::get_name).collect();
            Failure::Usage(format!(
                "`{}` has no command `{name}`, expected one of: {}",
                shown.get_name(),
                names.join(", ")
            ))
        })?;
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(shown.clone()).render(&mut page);
    rendered.map_err(|error| Failure::because("cannot make the manual", error))?;
    output::print(String::from_utf8_lossy(&page)).map(drop)
}
