//! How late this machine is by itself.
//!
//! A call must end by its deadline and 100 ms. On a machine that does much else the process may not be run for longer than that; a thread that
//! only sleeps notices, and what it missed is not the call's fault.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

const BEAT: Duration = Duration::from_millis(2);
/// What a sleep is late by on a machine that has nothing else to do.
const USUAL: Duration = Duration::from_millis(3);

/// Beats until it is dropped.
pub(crate) struct Metronome {
    beats: Arc<Beats>,
    thread: Option<JoinHandle<()>>,
}

struct Beats {
    begun: Instant,
    last_ns: AtomicU64,
    missed_ns: AtomicU64,
    ends: AtomicBool,
}

impl Metronome {
    pub(crate) fn start() -> Self {
        let beats = Arc::new(Beats {
            begun: Instant::now(),
            last_ns: AtomicU64::new(0),
            missed_ns: AtomicU64::new(0),
            ends: AtomicBool::new(false),
        });
        let beating = beats.clone();
        let thread = std::thread::spawn(move || {
            // ORDERING: Relaxed, all of this file: counts and a flag that no other memory goes with. Pairs with the store in `drop`.
            while !beating.ends.load(Ordering::Relaxed) {
                std::thread::sleep(BEAT);
                let now = beating.begun.elapsed().as_nanos() as u64;
                // ORDERING: Relaxed: only this thread writes both; pairs with the loads in `missed`, which may be a beat behind.
                let before = beating.last_ns.swap(now, Ordering::Relaxed);
                beating.missed_ns.fetch_add(missed(now - before), Ordering::Relaxed);
            }
        });
        Self { beats, thread: Some(thread) }
    }

    /// For how long in all the machine has kept this process waiting.
    pub(crate) fn missed(&self) -> Duration {
        // ORDERING: Relaxed: pairs with the swap of the beating thread.
        let since =
            (self.beats.begun.elapsed().as_nanos() as u64).saturating_sub(self.beats.last_ns.load(Ordering::Relaxed));
        // ORDERING: Relaxed: pairs with the add of the beating thread.
        Duration::from_nanos(self.beats.missed_ns.load(Ordering::Relaxed) + missed(since))
    }
}

fn missed(since_last_ns: u64) -> u64 {
    since_last_ns.saturating_sub((BEAT + USUAL).as_nanos() as u64)
}

impl Drop for Metronome {
    fn drop(&mut self) {
        // ORDERING: Relaxed: pairs with the load of the beating thread, which is joined.
        self.beats.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
