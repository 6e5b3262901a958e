//! What the cases came to, by role.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{
    LATE, LATE_IN_STORM,
    case::{Action, Case, Held, Role},
};
use crate::screen::Screen;

/// What became of one role.
#[derive(Default)]
struct Row {
    killed: u64,
    stopped: u64,
    /// The point, or the pass, was not come to.
    spared: u64,
    failed: u64,
    late: Duration,
    late_in_storm: Duration,
}

/// All that was run.
pub(super) struct Tally {
    rows: BTreeMap<Role, Row>,
    /// At which points a process was killed, and stopped.
    struck: BTreeSet<(String, bool)>,
    failures: Vec<String>,
    program: PathBuf,
}

impl Tally {
    pub(super) fn new(roles: &[Role], program: &Path) -> Self {
        let rows = roles.iter().map(|role| (role.clone(), Row::default())).collect();
        Self { rows, struck: BTreeSet::new(), failures: Vec::new(), program: program.to_owned() }
    }

    /// Notes a case, of the matrix or of the storm, and shows it at once where it did not hold.
    pub(super) fn note(&mut self, case: &Case, outcome: Result<Held, String>, of_matrix: bool, screen: &mut Screen) {
        let row = self.rows.entry(case.role.clone()).or_default();
        let late_limit = if of_matrix { LATE } else { LATE_IN_STORM };
        let why = match outcome {
            Ok(held) => {
                let latest = if of_matrix { &mut row.late } else { &mut row.late_in_storm };
                *latest = held.late.max(*latest);
                match (&case.action, held.struck) {
                    (_, false) => row.spared += 1,
                    (Action::AtPoint { kill: true, .. } | Action::After { kill: true, .. }, true) => row.killed += 1,
                    (_, true) => row.stopped += 1,
                }
                if let (Action::AtPoint { point, kill, .. }, true) = (&case.action, held.struck) {
                    self.struck.insert((point.clone(), *kill));
                }
                return;
            }
            Err(why) => why,
        };
        row.failed += 1;
        let failure = format!("FAILED {case}\n    {why}\n    again: {}", case.shown(&self.program, late_limit));
        screen.note(&failure);
        self.failures.push(failure);
    }

    /// A point at which nobody was ended, or nobody was stopped, in all the cases that were to do so, is a failure.
    pub(super) fn demand(&mut self, cases: &[Case], screen: &mut Screen) {
        let points = cases.iter().filter_map(|case| match &case.action {
            Action::AtPoint { point, .. } => Some(point),
            _ => None,
        });
        for point in points.collect::<BTreeSet<_>>() {
            for (kill, signal) in [(true, "SIGKILL"), (false, "SIGSTOP")] {
                if !self.struck.contains(&(point.clone(), kill)) {
                    let failure = format!("FAILED {point}\n    not reached: no process got {signal} there");
                    screen.note(&failure);
                    self.failures.push(failure);
                }
            }
        }
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The table, or its rows as JSON; the failures once more, where they are not lost above it.
    pub(super) fn print(&self, json: bool, screen: &mut Screen) {
        for (role, row) in self.rows.iter().filter(|_| json) {
            let Row { killed, stopped, spared, failed, late, late_in_storm } = row;
            println!(
                "{}",
                json!({
                    "scenario": role.scenario, "role": role.name, "killed": killed, "stopped": stopped, "spared": spared,
                    "failed": failed, "late_us": late.as_micros() as u64, "late_in_storm_us": late_in_storm.as_micros() as u64,
                })
            );
        }
        screen.line(&format!(
            "\n  {:<20}{:>8}{:>9}{:>8}{:>8}{:>13}{:>18}",
            "victim", "killed", "stopped", "spared", "failed", "latest call", "latest in storm"
        ));
        let mut sum = Row::default();
        for (role, row) in self.rows.iter().filter(|(_, row)| row.killed + row.stopped + row.spared + row.failed > 0) {
            screen.line(&line(&role.to_string(), row));
            (sum.killed, sum.stopped, sum.spared) =
                (sum.killed + row.killed, sum.stopped + row.stopped, sum.spared + row.spared);
            sum.failed += row.failed;
            (sum.late, sum.late_in_storm) = (sum.late.max(row.late), sum.late_in_storm.max(row.late_in_storm));
        }
        screen.line(&line("all", &sum));
        for failure in &self.failures {
            screen.line(failure);
        }
    }
}

fn line(name: &str, row: &Row) -> String {
    let Row { killed, stopped, spared, failed, late, late_in_storm } = row;
    let ms = |late: &Duration| format!("{:.1} ms", late.as_secs_f64() * 1e3);
    format!("  {name:<20}{killed:>8}{stopped:>9}{spared:>8}{failed:>8}{:>13}{:>18}", ms(late), ms(late_in_storm))
}

/// How far it is, as a bar of 20 characters.
pub(super) fn bar(done: usize, all: usize) -> String {
    let full = 20 * done / all.max(1);
    format!("[{}{}]", "#".repeat(full), "-".repeat(20 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_no_process_was_struck_at_is_a_failure() {
        let role = Role { scenario: "rpc".into(), name: "server".into() };
        let action = Action::AtPoint { point: "ring.claimed".into(), kill: true, pass: 1 };
        let case = Case { role: role.clone(), action };
        let mut tally = Tally::new(&[role], Path::new("p"));
        let mut screen = Screen::new(false, false);
        tally.note(&case, Ok(Held { struck: true, ..Held::default() }), true, &mut screen);
        tally.note(&case, Ok(Held::default()), true, &mut screen);
        assert_eq!(tally.failures(), [""; 0]);
        tally.note(&case, Err("torn".into()), false, &mut screen);
        assert!(tally.failures()[0].ends_with("case rpc server ring.claimed:kill:1 2000"));
        tally.demand(&[case], &mut screen);
        assert_eq!(tally.failures().len(), 2);
        assert!(tally.failures()[1].contains("ring.claimed") && tally.failures()[1].contains("SIGSTOP"));
    }

    #[test]
    fn a_bar_is_empty_first_and_full_at_the_end() {
        assert_eq!((bar(0, 7), bar(7, 7)), (format!("[{}]", "-".repeat(20)), format!("[{}]", "#".repeat(20))));
        assert_eq!(bar(1, 2).matches('#').count(), 10);
    }
}
