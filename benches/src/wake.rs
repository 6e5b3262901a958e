//! wake: a round trip after a rest, when both sides sleep; beside what a wake-up costs without any library.
//!
//! Before each call the client rests for [`REST`], longer than anybody spins. The floors sleep in the kernel at once: over a
//! futex, two eventfds, and `poll` with one byte over a socket, each between two cores and on one (`-one-core`).

use std::{
    error::Error,
    fs::File,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use memmap2::{MmapOptions, MmapRaw};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::{fcntl_setfd, read, write},
    thread::futex,
};

use crate::engine::{Engine, Measured, Peer, Role, Samples, Side};

/// How long a client does nothing before each call.
pub(crate) const REST: Duration = Duration::from_millis(1);

/// What both processes do on one core has this in its name.
pub(crate) const ONE_CORE: &str = "-one-core";
const FUTEX: &str = "floor-futex";
const EVENTFD: &str = "floor-eventfd";
const POLL: &str = "floor-poll-byte";

pub(crate) fn engines(others: impl Iterator<Item = &'static str>) -> Vec<Engine> {
    let engine = |name: String, payload_bytes| Engine { scenario: "wake".into(), name, payload_bytes };
    let floors = [FUTEX, EVENTFD, POLL].into_iter().flat_map(|name| [name.to_owned(), format!("{name}{ONE_CORE}")]);
    let ours = ["strait-shm-blocking", "strait-shm-blocking-nosum", "strait-shm-async", "strait-socket-blocking"];
    let calls = ours.into_iter().chain(others).map(str::to_owned);
    floors.map(|name| engine(name, 1)).chain(calls.map(|name| engine(name, 64))).collect()
}

/// Rests, where a rest is what is measured after.
pub(crate) fn rest(role: &Role) {
    if role.engine.scenario == "wake" {
        std::thread::sleep(REST);
    }
}

/// Whether an engine is one of the floors here.
pub(crate) fn is_floor(name: &str) -> bool {
    [FUTEX, EVENTFD, POLL].iter().any(|floor| name.starts_with(floor))
}

/// Runs one side of a floor.
pub(crate) fn run(role: &Role) -> Result<Option<Measured>, Box<dyn Error>> {
    let name = role.engine.name.trim_end_matches(ONE_CORE);
    match (name, role.side) {
        (FUTEX, Side::Server) => {
            let word = Word::map(&File::options().read(true).write(true).open(&role.meet)?)?;
            loop {
                word.wait_until(1);
                word.set(0);
            }
        }
        (FUTEX, Side::Client) => {
            let memory = File::from(rustix::fs::memfd_create("strait-bench", rustix::fs::MemfdFlags::CLOEXEC)?);
            memory.set_len(4096)?;
            let word = Word::map(&memory)?;
            let meet = format!("/proc/{}/fd/{}", std::process::id(), memory.as_fd().as_raw_fd());
            measure(role, meet, || {
                word.set(1);
                word.wait_until(0);
                Ok(())
            })
        }
        (EVENTFD, Side::Server) => {
            let (ask, answer) = inherited(&role.meet)?;
            loop {
                take(ask)?;
                give(answer)?;
            }
        }
        (EVENTFD, Side::Client) => {
            let (ask, answer) = (eventfd(0, EventfdFlags::empty())?, eventfd(0, EventfdFlags::empty())?);
            measure(role, format!("{},{}", ask.as_raw_fd(), answer.as_raw_fd()), || {
                give(ask.as_fd())?;
                take(answer.as_fd())
            })
        }
        (_, Side::Server) => {
            let (socket, _) = inherited(&role.meet)?;
            loop {
                poll_byte(socket)?;
                write(socket, &[1])?;
            }
        }
        (_, Side::Client) => {
            let (ours, theirs) = UnixStream::pair()?;
            fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
            measure(role, format!("{0},{0}", theirs.as_raw_fd()), || {
                write(&ours, &[1])?;
                poll_byte(ours.as_fd())
            })
        }
    }
}

/// One trip after another, each after a rest.
fn measure(
    role: &Role,
    meet: String,
    mut trip: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Option<Measured>, Box<dyn Error>> {
    let server = Peer::start(role, meet)?;
    for _ in 0..100 {
        trip()?;
    }
    let processes = server.both();
    let mut samples = Samples::collect(role.millis, &processes)?;
    loop {
        rest(role);
        let begin = Instant::now();
        trip()?;
        if !samples.add(begin) {
            break;
        }
    }
    Ok(Some(samples.summed_up("-".into())?))
}

/// A word that both processes map.
struct Word(MmapRaw);

impl Word {
    fn map(file: &File) -> std::io::Result<Self> {
        Ok(Self(MmapOptions::new().len(4096).map_raw(file)?))
    }

    #[allow(unsafe_code)]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the start of a page that stays mapped with `self`, only ever accessed as an atomic of this size.
        unsafe { AtomicU32::from_ptr(self.0.as_mut_ptr().cast()) }
    }

    fn set(&self, value: u32) {
        // ORDERING: Release; pairs with the Acquire in `wait_until` of the other process.
        self.word().store(value, Ordering::Release);
        let _ = futex::wake(self.word(), futex::Flags::empty(), 1);
    }

    fn wait_until(&self, value: u32) {
        // ORDERING: Acquire; pairs with the Release in `set`.
        while self.word().load(Ordering::Acquire) != value {
            let _ = futex::wait(self.word(), futex::Flags::empty(), 1 - value, None);
        }
    }
}

/// The two descriptors that this process was started with.
#[allow(unsafe_code)]
fn inherited(numbers: &str) -> Result<(BorrowedFd<'static>, BorrowedFd<'static>), Box<dyn Error>> {
    let (first, second) = numbers.split_once(',').ok_or("two descriptors were expected")?;
    // SAFETY: the process that started this one left them open for it, and nobody closes them here.
    let first = unsafe { BorrowedFd::borrow_raw(first.parse()?) };
    // SAFETY: as above.
    let second = unsafe { BorrowedFd::borrow_raw(second.parse()?) };
    Ok((first, second))
}

fn give(event: BorrowedFd<'_>) -> Result<(), Box<dyn Error>> {
    write(event, &1u64.to_ne_bytes())?;
    Ok(())
}

fn take(event: BorrowedFd<'_>) -> Result<(), Box<dyn Error>> {
    read(event, &mut [0u8; 8])?;
    Ok(())
}

fn poll_byte(socket: BorrowedFd<'_>) -> Result<(), Box<dyn Error>> {
    poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], None)?;
    if read(socket, &mut [0u8; 1])? == 1 { Ok(()) } else { Err("the other process is gone".into()) }
}
