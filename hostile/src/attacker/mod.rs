//! The attacker: gives up its rights, and then attacks in turn until its time is up.

mod handshake;
mod live;
mod memory;
mod messages;
mod offers;
mod wire;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::types::{BARE, CALLS, QUEUE, SERVICES, STATE, STREAM};
use wire::{Hello, PATIENCE, Peer, REFUSE, WELCOME, control};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Not root, and not whoever runs the victim.
const OTHER: u32 = 65_533;

/// How long one attack goes on before the next one has its turn.
const TURN: Duration = Duration::from_millis(250);

/// Values that sit at an edge of something.
const EDGES: [u64; 16] = [
    0,
    1,
    15,
    16,
    64,
    4080,
    4096,
    16 << 10,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 32,
    1 << 62,
    i64::MAX as u64,
    u64::MAX - 15,
    u64::MAX,
];

/// One kind of attack. Its end is what the victim made of it, in a few words; an error of the connection is one of these.
struct Attack {
    name: &'static str,
    run: fn(&mut Attacker) -> io::Result<&'static str>,
    /// An outcome that there must have been, or the attack never got to where it lies.
    reaches: &'static str,
}

const ATTACKS: &[Attack] = &[
    Attack { name: "hello: a field is a lie", run: handshake::field, reaches: "refused" },
    Attack { name: "hello: bytes are wrong", run: handshake::bytes, reaches: "hung up" },
    Attack { name: "hello: stalls half-way", run: handshake::stalls, reaches: "hung up in time" },
    Attack { name: "hello: more clients than fit", run: handshake::crowd, reaches: "some refused as busy" },
    Attack { name: "control frames out of turn", run: handshake::out_of_turn, reaches: "hung up" },
    Attack { name: "a flood before it is let in", run: handshake::flood, reaches: "hung up" },
    Attack { name: "0, 4, 5 or 200 descriptors", run: offers::descriptors, reaches: "declined, and served on" },
    Attack { name: "memory: seals, size, pages", run: offers::memory, reaches: "declined, and served on" },
    Attack { name: "memory: a header that lies", run: offers::header, reaches: "declined, and served on" },
    Attack { name: "memory: something else", run: offers::foreign, reaches: "declined, and served on" },
    Attack { name: "envelope lies on the socket", run: messages::envelopes, reaches: "hung up" },
    Attack { name: "rpc messages", run: messages::rpc, reaches: "hung up" },
    Attack { name: "archives, wrong in one place", run: messages::archives, reaches: "each answered" },
    Attack { name: "queue messages", run: messages::queue, reaches: "hung up" },
    Attack { name: "state messages", run: messages::state, reaches: "hung up" },
    Attack { name: "stream messages", run: messages::stream, reaches: "hung up" },
    Attack { name: "ring: first words of records", run: live::records, reaches: "hung up" },
    Attack { name: "ring: any word, any time", run: live::words, reaches: "hung up" },
    Attack { name: "ring: bytes after commit", run: live::after_commit, reaches: "hung up" },
    Attack { name: "ring: the same, no checksum", run: live::after_commit_bare, reaches: "served to the end" },
    Attack { name: "ring: tickets and tail", run: live::tickets, reaches: "served to the end" },
    Attack { name: "ring: the head", run: live::heads, reaches: "hung up" },
    Attack { name: "ring: closed, and still there", run: live::closed, reaches: "hung up" },
    Attack { name: "doorbells without end", run: live::doorbells, reaches: "hung up" },
    Attack { name: "pins on a state", run: live::pins, reaches: "granted, and of no use" },
];

/// What an attack has come to so far.
#[derive(Default)]
struct Tally {
    attempts: u64,
    mutations: u64,
    outcomes: BTreeMap<String, u64>,
}

struct Attacker {
    broker: UnixStream,
    rng: Rng,
    hellos: Vec<Hello>,
    /// Of the attack that has its turn: words, bytes, frames and descriptors that were wrong.
    mutations: u64,
}

/// Attacks for `seconds`; prints a line of JSON for each attack.
pub(crate) fn run(seconds: u64, seed: u64) -> Result<(), Failure> {
    #[allow(unsafe_code)]
    // SAFETY: standard input is open, is the socket that the supervisor passed, and nobody else takes it.
    let broker = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    let dropped = give_up_rights()?;
    let mut attacker = Attacker { broker, rng: Rng::with_seed(seed), hellos: Vec::new(), mutations: 0 };
    for service in 0..SERVICES.len() {
        let hello = attacker.learn(service)?;
        attacker.hellos.push(hello);
    }
    println!(
        "{}",
        serde_json::json!({"attacker": if dropped { "another user" } else { "the same user: only root can become another" }})
    );
    let mut tallies: Vec<Tally> = ATTACKS.iter().map(|_| Tally::default()).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    // Each one at least once, however short the time.
    for round in 0.. {
        for (attack, tally) in ATTACKS.iter().zip(&mut tallies) {
            if round > 0 && Instant::now() >= end {
                report(&tallies);
                return Ok(());
            }
            attacker.attack(attack, tally)?;
        }
        println!(
            "{}",
            serde_json::json!({"round": round, "mutations": tallies.iter().map(|tally| tally.mutations).sum::<u64>()})
        );
        io::stdout().flush()?;
    }
    Ok(())
}

fn report(tallies: &[Tally]) {
    for (attack, tally) in ATTACKS.iter().zip(tallies) {
        let Tally { attempts, mutations, outcomes } = tally;
        println!(
            "{}",
            serde_json::json!({"attack": attack.name, "attempts": attempts, "mutations": mutations, "outcomes": outcomes, "reaches": attack.reaches})
        );
    }
}

impl Attacker {
    /// One turn of an attack.
    fn attack(&mut self, attack: &Attack, tally: &mut Tally) -> Result<(), Failure> {
        let turn_ends = Instant::now() + TURN;
        loop {
            self.mutations = 0;
            let outcome = match (attack.run)(self) {
                Ok(outcome) => outcome.to_owned(),
                Err(error) if error.kind() == io::ErrorKind::TimedOut || error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(format!("`{}`: no answer and no end for {PATIENCE:?}", attack.name).into());
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => "hung up".to_owned(),
                    io::ErrorKind::ConnectionRefused => "busy".to_owned(),
                    _ => return Err(format!("`{}`: {error}", attack.name).into()),
                },
            };
            tally.attempts += 1;
            tally.mutations += self.mutations;
            *tally.outcomes.entry(outcome).or_default() += 1;
            if Instant::now() >= turn_ends {
                return Ok(());
            }
        }
    }

    /// A new connection to a service, by its place in [`SERVICES`].
    fn connect(&self, service: usize) -> io::Result<Peer> {
        Peer::new(crate::broker::connect(&self.broker, service)?)
    }

    fn any_service(&mut self) -> usize {
        self.rng.usize(..SERVICES.len())
    }

    fn hello(&self, service: usize) -> Hello {
        self.hellos[service]
    }

    /// A connection that is let in.
    fn welcomed(&self, service: usize) -> io::Result<Peer> {
        let peer = self.connect(service)?;
        peer.send(&control(&self.hello(service).payload()))?;
        match peer.control()? {
            Some(frame) if frame.payload.first() == Some(&WELCOME) => Ok(peer),
            // Too many at this moment.
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Finds out what a service wants to hear: a refusal names the value that differs.
    fn learn(&self, service: usize) -> Result<Hello, Failure> {
        let kind = match SERVICES[service] {
            CALLS | BARE => 1,
            STREAM => 2,
            STATE => 3,
            QUEUE => 4,
            _ => 0,
        };
        let mut hello = Hello { service: kind, codec: 0, schema: 0, checksum: SERVICES[service] != BARE };
        for _ in 0..4 {
            let peer = self.connect(service)?;
            peer.send(&control(&hello.payload()))?;
            let frame = peer.control()?.ok_or("hung up instead of an answer to Hello")?;
            let value = |at: usize| {
                frame
                    .payload
                    .get(at..at + 8)
                    .map_or(0, |bytes| bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
            };
            match (frame.payload.first(), frame.payload.get(2)) {
                (Some(&WELCOME), _) => return Ok(hello),
                (Some(&REFUSE), Some(3)) => hello.codec = value(8) as u8,
                (Some(&REFUSE), Some(4)) => hello.schema = value(8),
                _ => return Err(format!("an answer to Hello that makes no sense: {:?}", frame.payload).into()),
            }
        }
        Err(format!("{} does not say what it wants to hear", SERVICES[service]).into())
    }

    /// A number: at an edge, near one, or any.
    fn number(&mut self) -> u64 {
        match self.rng.u8(..4) {
            0 => EDGES[self.rng.usize(..EDGES.len())],
            1 => EDGES[self.rng.usize(..EDGES.len())].wrapping_add(self.rng.u64(..3)).wrapping_sub(1),
            2 => self.rng.u64(..) >> self.rng.u32(..64),
            _ => self.rng.u64(..),
        }
    }

    /// Changes one to four bytes.
    fn spoil(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.rng.usize(1..=4) {
            if let Some(at) = (!bytes.is_empty()).then(|| self.rng.usize(..bytes.len())) {
                bytes[at] = if self.rng.bool() { self.rng.u8(..) } else { bytes[at] ^ 1 << self.rng.u8(..8) };
                self.mutations += 1;
            }
        }
    }
}

/// Becomes another user for good, where that is possible.
fn give_up_rights() -> io::Result<bool> {
    if !rustix::process::geteuid().is_root() {
        return Ok(false);
    }
    #[allow(unsafe_code)]
    // SAFETY: a system call that changes this process alone, which has one thread.
    let groups = unsafe { libc::setgroups(0, std::ptr::null()) };
    #[allow(unsafe_code)]
    // SAFETY: as above.
    let group = unsafe { libc::setresgid(OTHER, OTHER, OTHER) };
    #[allow(unsafe_code)]
    // SAFETY: as above.
    let user = unsafe { libc::setresuid(OTHER, OTHER, OTHER) };
    if groups == 0 && group == 0 && user == 0 { Ok(true) } else { Err(io::Error::last_os_error()) }
}
