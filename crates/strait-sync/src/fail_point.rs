//! Fail points: places in a protocol where a process may die, or be stopped.
//!
//! [`fail_point!`](crate::fail_point!) compiles to nothing everywhere except under `strait_fail`, where the environment of the process says
//! which one it ends at. `cargo xtask crash` finds them all in the sources, and ends a process at each.
//!
//! | variable | is |
//! |---|---|
//! | `STRAIT_FAIL` | `POINT:ACTION:PASS`: at the `PASS`th time (1 is the first) that this process comes to `POINT`, it sends itself SIGKILL (`kill`) or SIGSTOP (`stop`) |
//! | `STRAIT_FAIL_LOG` | a file that gets a line `POINT PASS` before that; without `STRAIT_FAIL`, for the passes 1, 2, 4, 8 and so on of every point |

/// `fail_point!("ring.claimed")`: a place where `cargo xtask crash` ends or stops the process. Nothing, unless `strait_fail` is set.
///
/// ```
/// strait_sync::fail_point!("example.here");
/// ```
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {{
        #[cfg(strait_fail)]
        $crate::fail_point::reach($name);
    }};
}

#[cfg(all(strait_fail, not(feature = "std")))]
compile_error!("fail points need the feature `std`: they read the environment and send signals");

#[cfg(all(strait_fail, feature = "std"))]
mod plan {
    use std::{
        collections::BTreeMap,
        env,
        fs::OpenOptions,
        io::Write,
        path::PathBuf,
        sync::{
            Mutex, OnceLock, PoisonError,
            atomic::{AtomicU64, Ordering},
        },
        thread,
        time::Duration,
    };

    use rustix::process::{Signal, getpid, kill_process};

    /// A stop reaches all threads a little after the call that asks for it: the caller goes no further meanwhile.
    const UNTIL_STOPPED: Duration = Duration::from_millis(2);

    /// What this process does at its points.
    enum Plan {
        Nothing,
        /// Counts the passes of each.
        Trace(Mutex<BTreeMap<&'static str, u64>>, PathBuf),
        End {
            point: String,
            signal: Signal,
            pass: u64,
            passed: AtomicU64,
            log: Option<PathBuf>,
        },
    }

    static PLAN: OnceLock<Plan> = OnceLock::new();

    /// The process has come to `point`.
    pub fn reach(point: &'static str) {
        match PLAN.get_or_init(Plan::from_environment) {
            Plan::Nothing => {}
            Plan::Trace(passes, log) => {
                let mut passes = passes.lock().unwrap_or_else(PoisonError::into_inner);
                let pass = passes.entry(point).or_default();
                *pass += 1;
                if pass.is_power_of_two() {
                    note(log, point, *pass);
                }
            }
            Plan::End { point: here, signal, pass, passed, log } if here == point => {
                // ORDERING: Relaxed; a count, by which one thread is told that it is the one.
                if passed.fetch_add(1, Ordering::Relaxed) + 1 == *pass {
                    if let Some(log) = log {
                        note(log, point, *pass);
                    }
                    // Neither of the two can be refused to the process itself.
                    let _ = kill_process(getpid(), *signal);
                    thread::sleep(UNTIL_STOPPED);
                }
            }
            Plan::End { .. } => {}
        }
    }

    fn note(log: &PathBuf, point: &str, pass: u64) {
        let line = format!("{point} {pass}\n");
        let written = OpenOptions::new().append(true).create(true).open(log);
        if let Err(error) = written.and_then(|mut file| file.write_all(line.as_bytes())) {
            eprintln!("STRAIT_FAIL_LOG={}: {error}", log.display());
        }
    }

    impl Plan {
        fn from_environment() -> Self {
            let log = env::var_os("STRAIT_FAIL_LOG").map(PathBuf::from);
            match (env::var("STRAIT_FAIL"), log) {
                (Ok(plan), log) => Self::end(&plan, log).unwrap_or_else(|| {
                    panic!("STRAIT_FAIL={plan}: expected POINT:ACTION:PASS, as in ring.claimed:kill:1")
                }),
                (Err(_), Some(log)) => Self::Trace(Mutex::default(), log),
                (Err(_), None) => Self::Nothing,
            }
        }

        fn end(plan: &str, log: Option<PathBuf>) -> Option<Self> {
            let parts: Vec<&str> = plan.split(':').collect();
            let [point, action, pass] = parts[..] else { return None };
            let signal = match action {
                "kill" => Signal::KILL,
                "stop" => Signal::STOP,
                _ => return None,
            };
            let pass = pass.parse().ok().filter(|pass| *pass > 0)?;
            Some(Self::End { point: point.to_string(), signal, pass, passed: AtomicU64::new(0), log })
        }
    }
}

#[cfg(all(strait_fail, feature = "std"))]
pub use plan::reach;
