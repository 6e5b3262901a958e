//! `cargo xtask crash`: a process ends, or is stopped, at every fail point, and the others must not notice more than that.

mod case;
mod points;
mod storm;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::IsTerminal,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{failure::Failure, run, screen::Screen};

use case::{Action, Case, Role};
use table::Tally;

/// End a process at every step of every protocol, and check what is left.
///
/// Builds strait with its fail points (`--cfg strait_fail`, in target/crash), finds all of them in the sources, and learns by a traced
/// run of each scenario which process comes to which. Then, for each point and each kind of process that comes to it: one run in which it
/// gets SIGKILL there, and one in which it gets SIGSTOP and, 160 ms later, SIGCONT. Then a storm: random victims at random points, or at
/// random moments, several at once, until the time is over.
///
/// After each: nothing is torn and nothing came twice; what was committed came, or is reported as lost; every call of a survivor ended by
/// its deadline plus 100 ms (2 s in the storm; what the machine itself kept everybody waiting for is not counted); no
/// descriptor, no mapping and no file is left; a peer that was stopped was not taken for dead; and a successor of the dead one did
/// the same work to its end. A point that no run reaches is a failure, too.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask crash                            every point, and a minute of the storm\n  \
    cargo xtask crash --seconds 600 --seed 7     the same with ten minutes, from that seed\n  \
    cargo xtask crash --only mpmc --seconds 0    the points of one scenario, without a storm\n  \
    cargo xtask crash --quick                    each point once with each signal: what `cargo xtask ci` runs\n  \
    cargo xtask crash --list                     the points, and where they are in the sources\n\n\
    A case that failed is printed with the command that runs it again.")]
pub(crate) struct Args {
    /// How long the storm goes on, in seconds; 0 for none
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
    /// What the storm's choices follow from, among what the traced runs came to; a new one where none is given, and printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Only points, scenarios or roles whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Each point in one kind of process, instead of in each that comes to it
    #[arg(long)]
    quick: bool,
    /// List the points and do nothing else
    #[arg(long)]
    list: bool,
    /// Print one JSON object per line: a row for each scenario and role
    #[arg(long)]
    json: bool,
}

impl Args {
    /// What `cargo xtask ci` runs.
    pub(crate) fn short() -> Self {
        Self { seconds: 5, seed: None, only: None, quick: true, list: false, json: false }
    }
}

/// A survivor's lateness that is let pass where one case runs at a time, and where several do.
const LATE: Duration = Duration::from_millis(100);
const LATE_IN_STORM: Duration = Duration::from_secs(2);

/// Runs everything that was asked for.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let points = points::find(&run::root().join("crates"))?;
    if args.list {
        points.iter().for_each(|(name, place)| println!("{name:<28}{place}"));
        return Ok(());
    }
    let program = build()?;
    let roles = Role::all(&program)?;
    let mut screen = Screen::new(!args.json, std::io::stdout().is_terminal() && !args.json);
    let known: BTreeSet<String> = points.keys().cloned().collect();
    let reached = trace(&program, &roles, &known, &mut screen)?;
    let mut tally = Tally::new(&roles, &program);
    let all = cases(&reached, args, false);
    let matrix_cases = if args.quick { cases(&reached, args, true) } else { all.clone() };
    if all.is_empty() {
        let only = args.only.as_deref().unwrap_or_default();
        return Err(Failure::Usage(format!("no point, scenario or role has {only:?} in its name: see --list")));
    }
    matrix(&program, &matrix_cases, &mut tally, &mut screen);
    let seed = args.seed.unwrap_or_else(storm::new_seed);
    if args.seconds > 0 {
        screen.line(&format!("storm of {} s, --seed {seed}", args.seconds));
        let until = Instant::now() + Duration::from_secs(args.seconds);
        storm::run(&program, &all, seed, until, &mut tally, &mut screen);
    }
    tally.print(args.json, &mut screen);
    match tally.failures().len() {
        0 => Ok(()),
        count => Err(Failure::DidNotHold(format!("{count} cases did not hold (storm: --seed {seed})"))),
    }
}

/// Builds the program that plays the scenarios; returns its path.
fn build() -> Result<PathBuf, Failure> {
    let target = run::target_dir().join("crash");
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut cargo = run::cargo(&["build", "--quiet", "--package", "strait-crash"]);
    cargo.env("RUSTFLAGS", format!("{flags} --cfg strait_fail").trim_start()).env("CARGO_TARGET_DIR", &target);
    run::must(&mut cargo)?;
    Ok(target.join("debug").join("strait-crash"))
}

/// How often the roles are traced until all points are reached.
const ROUNDS: usize = 3;

/// By point, who comes to it and how often: 1, 2, 4, 8 and so on.
type Reached = BTreeMap<String, BTreeMap<Role, u64>>;

/// Runs each role without ending anybody, and notes which points it comes to.
fn trace(program: &Path, roles: &[Role], known: &BTreeSet<String>, screen: &mut Screen) -> Result<Reached, Failure> {
    let mut reached = Reached::new();
    // Which side sleeps, and is woken, is the machine's choice: what one round does not come to, another one does.
    for (number, role) in std::iter::repeat_n(roles, ROUNDS).flatten().enumerate() {
        if number >= roles.len() && number.is_multiple_of(roles.len()) && reached.len() == known.len() {
            break;
        }
        screen.live(|| vec![format!("tracing {role} ({}/{})", number % roles.len() + 1, roles.len())]);
        let case = Case { role: role.clone(), action: Action::Trace };
        let held =
            case.run(program, LATE).map_err(|why| Failure::because(format!("{role}, nobody being ended"), why))?;
        for (point, pass) in held.trace {
            // What the source does not have is a mistake of the scan.
            if !known.contains(&point) {
                return Err(Failure::DidNotHold(format!(
                    "{role} came to the point {point}, which is not in the sources"
                )));
            }
            let most = reached.entry(point).or_default().entry(role.clone()).or_default();
            *most = pass.max(*most);
        }
    }
    let missed: Vec<&str> = known.iter().filter(|point| !reached.contains_key(*point)).map(String::as_str).collect();
    if !missed.is_empty() {
        let missed = missed.join(", ");
        return Err(Failure::DidNotHold(format!("not reached by any scenario of crash/src/scenario: {missed}")));
    }
    screen.line(&format!("{} points in the sources, {} roles, all points are reached", known.len(), roles.len()));
    Ok(reached)
}

/// What is run for each point, in each role that comes to it, or where it has to be `quick` in that which came to it most often: with
/// either signal, at the first pass, and at one in the middle where there are many.
fn cases(reached: &Reached, args: &Args, quick: bool) -> Vec<Case> {
    let wanted = |point: &str, role: &Role| {
        args.only.as_deref().is_none_or(|only| point.contains(only) || role.to_string().contains(only))
    };
    let mut cases = Vec::new();
    for (point, roles) in reached {
        let mut roles: Vec<_> = roles.iter().filter(|(role, _)| wanted(point, role)).collect();
        if quick {
            roles.sort_by_key(|(_, passes)| std::cmp::Reverse(**passes));
            roles.truncate(1);
        }
        for (role, passes) in roles {
            // Half of them: by then the connection is in shared memory, and both sides are at work.
            let pass = if *passes >= 8 { passes / 2 } else { 1 };
            for kill in [true, false] {
                let action = Action::AtPoint { point: point.clone(), kill, pass };
                cases.push(Case { role: role.clone(), action });
            }
            if pass > 1 && !quick {
                let action = Action::AtPoint { point: point.clone(), kill: true, pass: 1 };
                cases.push(Case { role: role.clone(), action });
            }
        }
    }
    cases
}

/// How often a case is run until its process comes to the point: which side sleeps, and is woken, is the machine's choice.
const ATTEMPTS: usize = 12;

/// Runs a case. Where its process did not come to the point so often this time, once more with an earlier pass, and then again.
fn run_to_its_point(program: &Path, case: &Case) -> (Case, Result<case::Held, String>) {
    let mut case = case.clone();
    let mut outcome = case.run(program, LATE);
    for _ in 1..ATTEMPTS {
        if !matches!(&outcome, Ok(held) if !held.struck) {
            break;
        }
        if let Action::AtPoint { pass, .. } = &mut case.action {
            *pass = pass.div_ceil(4);
        }
        outcome = case.run(program, LATE);
    }
    (case, outcome)
}

/// Runs the cases one by one.
fn matrix(program: &Path, cases: &[Case], tally: &mut Tally, screen: &mut Screen) {
    let begun = Instant::now();
    let mut told = Instant::now();
    for (number, case) in cases.iter().enumerate() {
        let line = || {
            let bar = table::bar(number, cases.len());
            format!("{bar} {number}/{} cases  {:.0} s  {case}", cases.len(), begun.elapsed().as_secs_f64())
        };
        screen.live(|| vec![line()]);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            screen.unless_live(&line());
        }
        let (case, outcome) = run_to_its_point(program, case);
        tally.note(&case, outcome, true, screen);
    }
    tally.demand(cases, screen);
    let seconds = begun.elapsed().as_secs_f64();
    screen.line(&format!("{} cases at points in {seconds:.0} s, {} did not hold", cases.len(), tally.failures().len()));
}
