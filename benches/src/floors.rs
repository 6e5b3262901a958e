//! Floors: what this machine can do at best, without any library.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use memmap2::{MmapOptions, MmapRaw};

use crate::engine::{Engine, Measured, Peer, Role, Samples, Side};

/// The floors there are. Each round trip reads the clock once and spins with the processor's hint.
pub(crate) fn engines() -> Vec<Engine> {
    ["floor-one-line", "floor-two-lines"]
        .into_iter()
        .map(|name| Engine { scenario: "floor".into(), name: name.into(), payload_bytes: 8 })
        .collect()
}

/// Words that are 256 bytes apart never share a line, nor a pair of lines.
const APART: usize = 256;

struct Lines {
    memory: MmapRaw,
}

impl Lines {
    fn map(file: &File) -> std::io::Result<Self> {
        Ok(Self { memory: MmapOptions::new().len(4096).map_raw(file)? })
    }

    #[allow(unsafe_code)]
    fn word(&self, line: usize) -> &AtomicU64 {
        assert!(line * APART + 8 <= self.memory.len());
        // SAFETY: inside the mapping by the assertion.
        let word = unsafe { self.memory.as_mut_ptr().add(line * APART) };
        // SAFETY: aligned, mapped for as long as `self`, and only ever accessed as an atomic of this size, on both sides.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }
}

fn wait_for(word: &AtomicU64, value: u64) {
    // ORDERING: Acquire; pairs with the Release store of the other process.
    while word.load(Ordering::Acquire) != value {
        std::hint::spin_loop();
    }
}

/// Bounces a word over one line or two.
pub(crate) fn run(role: &Role) -> Result<Option<Measured>, Box<dyn Error>> {
    let answer_line = usize::from(role.engine.name == "floor-two-lines");
    if role.side == Side::Server {
        let file = OpenOptions::new().read(true).write(true).open(&role.meet)?;
        let lines = Lines::map(&file)?;
        let (ask, answer) = (lines.word(0), lines.word(answer_line));
        for turn in 0.. {
            wait_for(ask, 2 * turn + 1);
            // ORDERING: Release; pairs with the Acquire of `wait_for` in the client.
            answer.store(2 * turn + 2, Ordering::Release);
        }
        return Ok(None);
    }
    let memory = File::from(rustix::fs::memfd_create("strait-bench", rustix::fs::MemfdFlags::CLOEXEC)?);
    memory.set_len(4096)?;
    let lines = Lines::map(&memory)?;
    let meet = format!("/proc/{}/fd/{}", std::process::id(), memory.as_fd().as_raw_fd());
    let server = Peer::start(role, meet)?;
    let (ask, answer) = (lines.word(0), lines.word(answer_line));
    let mut turn = 0;
    let mut trip = || {
        // ORDERING: Release; pairs with the Acquire of `wait_for` in the server.
        ask.store(2 * turn + 1, Ordering::Release);
        wait_for(answer, 2 * turn + 2);
        turn += 1;
    };
    (0..10_000).for_each(|_| trip());
    let processes = server.both();
    let mut samples = Samples::collect(role.millis, &processes)?;
    let mut begin = Instant::now();
    loop {
        trip();
        if !samples.add(begin) {
            break;
        }
        begin = Instant::now();
    }
    Ok(Some(samples.summed_up("-".into())?))
}
