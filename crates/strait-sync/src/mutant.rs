//! Mutants: a wrong line of code that a loom model must catch.
//!
//! [`mutant!`](crate::mutant!) compiles to its right-hand form everywhere except under `strait_loom`, where a test
//! that asked for the mutant by name gets the wrong form. The test must then fail for the reason that it names.

/// `mutant!(name, good, bad)`: `good`, or `bad` where the running loom test selected `name`.
///
/// ```
/// let reserve = strait_sync::mutant!(no_reserve, 16, 0);
/// assert_eq!(reserve, 16);
/// ```
#[macro_export]
macro_rules! mutant {
    ($name:ident, $good:expr, $bad:expr) => {{
        #[cfg(strait_loom)]
        {
            if $crate::mutant::selected(stringify!($name)) { $bad } else { $good }
        }
        #[cfg(not(strait_loom))]
        {
            $good
        }
    }};
}

#[cfg(strait_loom)]
mod selection {
    use std::cell::Cell;

    std::thread_local! {
        // loom runs all threads of a model on the thread of the test, so a thread local selects for just one test.
        static SELECTED: Cell<&'static str> = const { Cell::new("") };
    }

    /// Whether the running test selected the mutant `name`.
    pub fn selected(name: &str) -> bool {
        SELECTED.with(|selected| selected.get() == name)
    }

    /// Runs `test` with the mutant `name` selected.
    pub fn with<R>(name: &'static str, test: impl FnOnce() -> R) -> R {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                SELECTED.with(|selected| selected.set(""));
            }
        }
        let _reset = Reset;
        SELECTED.with(|selected| selected.set(name));
        test()
    }
}

#[cfg(strait_loom)]
pub use selection::{selected, with};
