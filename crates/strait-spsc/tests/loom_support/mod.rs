//! What the models of the slots share.
#![allow(dead_code, unreachable_pub)]

/// Every interleaving of `test` with at most `bound` preemptions.
pub fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.max_branches = 20_000;
    model.check(test);
}

/// Runs a mutant in a process of its own, because some abort after they have failed (destructors find loom gone), and panics
/// with the line of what it said that has `expected` in it.
pub fn in_own_process(test: &str, expected: &str, mutant: impl FnOnce()) {
    const CHILD: &str = "STRAIT_LOOM_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(mutant)).is_err();
        std::process::exit(if failed { 101 } else { 0 });
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(!output.status.success(), "the mutant lives");
    let said = String::from_utf8_lossy(&output.stderr);
    panic!("{}", said.lines().find(|line| line.contains(expected)).unwrap_or("the mutant failed otherwise"));
}

/// Models that hold: a test for each.
#[macro_export]
macro_rules! holds {
    ($($name:ident: $model:ident;)*) => {$(
        #[test]
        fn $name() {
            $model();
        }
    )*};
}

/// Mutants: a test for each, that fails as it must.
#[macro_export]
macro_rules! mutants {
    ($($name:ident: $mutant:ident in $model:ident fails with $expected:literal;)*) => {$(
        #[test]
        #[should_panic(expected = $expected)]
        fn $name() {
            loom_support::in_own_process(stringify!($name), $expected, || {
                strait_sync::mutant::with(stringify!($mutant), $model);
            });
        }
    )*};
}
