//! Completions, the manual, and what a wrong use gets.

mod support;

use std::{io::Read, process::Stdio};

use support::{run, stderr_of, stdout_of, strait};

#[test]
fn wrong_use_says_what_was_expected_and_ends_with_2() {
    assert!(stderr_of(&run(&[]), 2).contains("Usage: strait <COMMAND>"));
    assert!(stderr_of(&run(&["completion"]), 2).contains("'completions'"), "the nearest command is named");
    assert!(stderr_of(&run(&["completions", "csh"]), 2).contains("bash"), "the shells are named");
    assert!(stderr_of(&run(&["man", "nothing"]), 2).contains("expected one of: doctor, size"));
}

#[test]
fn help_teaches_every_command() {
    let help = stdout_of(&run(&["--help"]), 0);
    assert!(help.contains("Exit codes: 0"), "{help}");
    let commands = help.split("Commands:").nth(1).unwrap().lines().skip(1).take_while(|line| !line.is_empty());
    // A line that goes on is indented further.
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    for command in names.filter(|name| *name != "help") {
        let help = stdout_of(&run(&[command, "--help"]), 0);
        assert!(help.contains("Examples:"), "`strait {command} --help` shows no example:\n{help}");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout_of(&run(&["completions", shell]), 0);
        assert!(script.contains("completions") && script.contains("strait"), "{shell}");
    }
}

#[test]
fn the_manual_is_a_man_page_of_the_whole_and_of_each_command() {
    assert!(stdout_of(&run(&["man"]), 0).contains(".TH strait 1"));
    assert!(stdout_of(&run(&["man", "completions"]), 0).contains("The shell that will read it"));
}

#[test]
fn a_reader_that_goes_away_early_is_no_failure() {
    let mut child = strait(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(0), ""));
}

#[test]
fn output_that_is_no_terminal_has_no_colours() {
    for args in [&["--help"][..], &["man"], &["completions", "zsh"]] {
        assert!(!stdout_of(&run(args), 0).contains('\x1b'), "{args:?}");
    }
}
