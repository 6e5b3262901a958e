//! Lies in memory that the victim is reading: the attacker's own segment, rewritten as fast as memory takes it.

use std::{
    io,
    os::fd::AsFd,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::fs::fcntl_add_seals;
use strait::region::Header;

use super::{
    Attacker, TURN,
    memory::{CLOSED, DATA_TICKET, FAREWELL, HAZARD, HEAD, SEALS, SPACE_TICKET, Shared, TAIL, TOTAL, Upgraded, memfd},
    messages::{request, service},
    wire::{ACCEPT, DECLINE, EXTRA, OFFER, PATIENCE, RING, SESSION, control, segment},
};
use crate::types::{BARE, CALLS, STATE};

/// CRC32 of the table of a pin's segment in docs/PROTOCOL.md.
const PIN_LAYOUT_HASH: u32 = 0xEA6B_3096;

/// How often a changing word is written before anybody looks whether the victim has hung up.
const BURST: u64 = 4096;

/// A connection in memory, and one good call over it.
fn upgraded(attacker: &Attacker, name: &str) -> io::Result<Upgraded> {
    let peer = attacker.welcomed(service(name))?;
    let mut live = Upgraded::of(peer)?.ok_or_else(|| io::Error::other("a good segment was declined"))?;
    call(&mut live, 0)?;
    Ok(live)
}

/// One good call; false where the victim has hung up.
fn call(live: &mut Upgraded, id: u64) -> io::Result<bool> {
    let request = request(id as u32 & 0xFFFF, id);
    live.publish(&request, strait::frame::checksum(&request))?;
    match live.answered() {
        Some(true) => Ok(true),
        None => Ok(false),
        Some(false) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Waits until the victim has seen what is there: it hangs up, or it does not mind.
fn verdict(live: &mut Upgraded, patience: Duration) -> io::Result<&'static str> {
    live.ring()?;
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if live.has_hung_up() {
            return Ok("hung up");
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok("not minded")
}

/// A first word that is no record's: each is found out, or is a record that only its checksum tells.
pub(super) fn records(attacker: &mut Attacker) -> io::Result<&'static str> {
    const COMMITTED: u64 = 1 << 31;
    const PADDING: u64 = 0xFFFF_FFFF;
    let mut live = upgraded(attacker, CALLS)?;
    for id in 0..attacker.rng.u64(..40) {
        if !call(&mut live, id)? {
            return Ok("hung up early");
        }
    }
    let at = Upgraded::at(live.position);
    let rest = RING - live.position % RING;
    let max = RING / 4 - 16;
    attacker.mutations = 1;
    let word = match attacker.rng.u8(..8) {
        0 => attacker.number() | 1,
        1 => COMMITTED | (max + 1 + attacker.rng.u64(..100)),
        2 => COMMITTED | 0x7FFF_FFFF,
        3 => COMMITTED | rest.saturating_sub(8).min(max),
        4 => PADDING,
        5 => {
            // Padding twice running: what is at the start again is padding, too.
            live.own.store(Upgraded::at(0), PADDING);
            PADDING
        }
        6 => COMMITTED | attacker.rng.u64(..64),
        _ => attacker.number() & 0x7FFF_FFFF | 1,
    };
    live.own.store(at, word);
    verdict(&mut live, Duration::from_millis(20))
}

/// Every word of the segment, in any order, with any value, while calls go on.
pub(super) fn words(attacker: &mut Attacker) -> io::Result<&'static str> {
    let name = if attacker.rng.bool() { CALLS } else { BARE };
    let mut live = upgraded(attacker, name)?;
    let end = Instant::now() + TURN / 4;
    let words = live.own.words();
    let control_too = attacker.rng.bool();
    while Instant::now() < end {
        for _ in 0..BURST {
            let first = if control_too { 0 } else { super::memory::DATA / 8 };
            let offset = 8 * attacker.rng.usize(first..words);
            let word = match attacker.rng.u8(..4) {
                0 => 1 << 31 | attacker.rng.u64(..128),
                1 => attacker.rng.u64(..),
                _ => attacker.number(),
            };
            live.own.store(offset, word);
        }
        attacker.mutations += BURST;
        let request = request(3, attacker.mutations);
        if live.publish(&request, strait::frame::checksum(&request)).is_err() || live.has_hung_up() {
            return Ok("hung up");
        }
    }
    Ok("alive when its turn was over")
}

/// Requests whose bytes change after they are published. One whose checksum is wrong is lost, which ends the connection.
pub(super) fn after_commit(attacker: &mut Attacker) -> io::Result<&'static str> {
    changing(attacker, CALLS)
}

/// The same where no checksum tells: the codec alone stands between.
pub(super) fn after_commit_bare(attacker: &mut Attacker) -> io::Result<&'static str> {
    changing(attacker, BARE)
}

fn changing(attacker: &mut Attacker, name: &str) -> io::Result<&'static str> {
    let mut live = upgraded(attacker, name)?;
    let seed = attacker.rng.u64(..);
    let (stop, position, written) = (AtomicBool::new(false), AtomicU64::new(live.position), AtomicU64::new(0));
    let request = request(0, 0);
    // The call that went before is the first.
    // ORDERING: Relaxed: the thread that reads it starts after this.
    position.fetch_sub(record_bytes(&request), Ordering::Relaxed);
    // Behind the envelope and the header of rpc.
    let words = (request.len() - 16) / 8;
    let flips = Flips { stop: &stop, position: &position, written: &written, seed, words };
    let own = live.own.clone();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || flips.run(&own));
        let outcome = publish_for(&mut live, &position, TURN / 2);
        // ORDERING: Relaxed: the thread that reads it is joined.
        stop.store(true, Ordering::Relaxed);
        outcome
    });
    // ORDERING: Relaxed: the thread that wrote it is joined.
    attacker.mutations += written.load(Ordering::Relaxed);
    outcome
}

/// What a record takes in the ring.
fn record_bytes(payload: &[u8]) -> u64 {
    (16 + payload.len() as u64).next_multiple_of(16)
}

/// Publishes requests, each some time after the one before, whatever becomes of them.
fn publish_for(live: &mut Upgraded, position: &AtomicU64, time: Duration) -> io::Result<&'static str> {
    let end = Instant::now() + time;
    let mut id = 0;
    while Instant::now() < end {
        id += 1;
        let request = request(id as u32 & 0x1F, id);
        let published = live.publish(&request, strait::frame::checksum(&request));
        // ORDERING: Relaxed: a hint where to change bytes.
        position.store(live.position - record_bytes(&request), Ordering::Relaxed);
        if published.is_err() || live.has_hung_up() {
            return Ok("hung up");
        }
        let next = Instant::now() + Duration::from_micros(200);
        while Instant::now() < next {
            // A reply, if there is one, is taken for read.
            live.take_replies();
            std::hint::spin_loop();
        }
    }
    Ok("served to the end")
}

/// Changes the bytes of the record at a position, never its first words.
struct Flips<'a> {
    stop: &'a AtomicBool,
    position: &'a AtomicU64,
    written: &'a AtomicU64,
    seed: u64,
    words: usize,
}

impl Flips<'_> {
    fn run(self, own: &Shared) {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut written = 0;
        // ORDERING: Relaxed, all of them: nothing follows from when they are seen.
        while !self.stop.load(Ordering::Relaxed) {
            let start = self.position.load(Ordering::Relaxed);
            for _ in 0..64 {
                let offset = Upgraded::at(start) + 32 + 8 * rng.usize(..self.words);
                own.store(offset, if rng.bool() { rng.u64(..) } else { rng.u64(..256) });
                written += 1;
            }
        }
        self.written.store(written, Ordering::Relaxed);
    }
}

/// Tickets and tail of any value, as fast as memory takes them, while calls go on: the victim rings, and serves.
pub(super) fn tickets(attacker: &mut Attacker) -> io::Result<&'static str> {
    let mut live = upgraded(attacker, CALLS)?;
    let end = Instant::now() + TURN / 2;
    let mut id = 0;
    while Instant::now() < end {
        for _ in 0..BURST {
            let offset = [DATA_TICKET, SPACE_TICKET, TAIL][attacker.rng.usize(..3)];
            live.own.store(offset, attacker.rng.u64(..));
        }
        attacker.mutations += BURST;
        id += 1;
        if !call(&mut live, id)? {
            return Err(io::Error::other("tickets and tail are the sleeper's own: nobody hangs up on them"));
        }
    }
    Ok("served to the end")
}

/// How far the attacker has read what the victim sends: any number. The victim looks there when it needs room.
pub(super) fn heads(attacker: &mut Attacker) -> io::Result<&'static str> {
    const BETWEEN_CALLS: u64 = 64;
    let mut live = upgraded(attacker, CALLS)?;
    let end = Instant::now() + 4 * TURN;
    let mut id = 0;
    while Instant::now() < end {
        for _ in 0..BETWEEN_CALLS {
            let head = attacker.number();
            live.own.store(HEAD, head);
        }
        attacker.mutations += BETWEEN_CALLS;
        id += 1;
        let request = request(id as u32, id);
        if live.publish(&request, strait::frame::checksum(&request)).is_err() {
            return Ok("hung up");
        }
        match live.next_reply() {
            None => return Ok("hung up"),
            // By this head there is no room. It waits without holding anybody up.
            Some(false) => return Ok("waits for room"),
            Some(true) => {}
        }
    }
    Ok("alive when its turn was over")
}

/// Says that it publishes no more, or has gone, and goes on.
pub(super) fn closed(attacker: &mut Attacker) -> io::Result<&'static str> {
    let mut live = upgraded(attacker, CALLS)?;
    for offset in [FAREWELL, CLOSED] {
        if attacker.rng.bool() {
            live.own.store(offset, attacker.number() | 1);
            attacker.mutations += 1;
        }
    }
    let request = request(1, 1);
    let _ = live.publish(&request, strait::frame::checksum(&request));
    let _ = live.peer.send(b"!");
    verdict(&mut live, Duration::from_millis(20))
}

/// Bytes on the socket that no ticket asked for: a bound, and then an end.
pub(super) fn doorbells(attacker: &mut Attacker) -> io::Result<&'static str> {
    let live = upgraded(attacker, CALLS)?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        attacker.mutations += 64;
        if live.peer.send(&[b'!'; 64]).is_err() || live.has_hung_up() {
            return Ok("hung up");
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "doorbells without end are taken without end"))
}

/// A pin's word of any value, as fast as memory takes it, while the state is published: it costs a slot and nobody a write.
pub(super) fn pins(attacker: &mut Attacker) -> io::Result<&'static str> {
    let peer = attacker.welcomed(service(STATE))?;
    let pin = Header {
        kind: 3,
        layout_hash: PIN_LAYOUT_HASH,
        total_bytes: 8192,
        ring_capacity_bytes: 0,
        max_message_bytes: 0,
        record_align_bytes: 16,
        session: SESSION,
    };
    let fd = memfd(&pin.encode(), 8192, false)?;
    let own = Shared::own(&fd)?;
    fcntl_add_seals(&fd, SEALS)?;
    peer.send_with(&control(&segment(EXTRA, 3, 8192, SESSION)), &[fd.as_fd()])?;
    let ring = memfd(&super::memory::header().encode(), TOTAL, false)?;
    fcntl_add_seals(&ring, SEALS)?;
    peer.send_with(&control(&segment(OFFER, 0, TOTAL, SESSION)), &[ring.as_fd()])?;
    let mut granted = false;
    while let Some(frame) = peer.control()? {
        match frame.payload.first() {
            Some(&ACCEPT) => {}
            Some(&DECLINE) => return Err(io::Error::other("a good segment was declined")),
            // The state, and whether the pin is granted.
            Some(&EXTRA) => {
                granted = frame.payload.get(2) == Some(&1);
                break;
            }
            _ => return Err(io::Error::other("a frame out of turn")),
        }
    }
    let end = Instant::now() + TURN / 2;
    while Instant::now() < end {
        for _ in 0..BURST {
            let slot = if attacker.rng.bool() { attacker.rng.u64(..9) } else { attacker.number() };
            own.store(HAZARD, slot);
        }
        attacker.mutations += BURST;
    }
    Ok(if granted { "granted, and of no use" } else { "not granted" })
}
