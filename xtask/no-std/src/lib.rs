//! The primitives in a program without the standard library, which has its own panic handler: where any crate of the tree brings
//! the standard library along, there are two, and the compiler refuses.
#![no_std]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
mod on_the_heap;

use core::{panic::PanicInfo, ptr::NonNull};

use strait_mpmc::shared::{Geometry, Identity, SharedQueue};
use strait_seqlock::{SeqLock, snapshot};
use strait_spsc::{
    records,
    slots::{Inline, shared},
};
use strait_sync::{RawWords, Words, WordsMut};

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

static RING: Inline<u64, 16> = Inline::new();
static LATEST: SeqLock<[u64; 2]> = SeqLock::new([0; 2]);

/// Memory that the caller has, for two ends that both write it.
#[derive(Clone, Copy)]
struct Memory<'a>(&'a RawWords);

// SAFETY: the words are borrowed for as long as `self` lives.
unsafe impl Words for Memory<'_> {
    fn raw(&self) -> &RawWords {
        self.0
    }
}

// SAFETY: `primitives` is given writable memory.
unsafe impl WordsMut for Memory<'_> {}

const BYTES: usize = 4096;

/// Moves a value through each primitive; returns whether all of them came.
///
/// # Safety
///
/// At `memory` there are 4 times 4096 bytes, zeroed, aligned to 128, that nobody else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn primitives(memory: NonNull<u8>) -> bool {
    let through = |number: usize, primitive: fn(Memory<'_>) -> Option<u64>| {
        // SAFETY: by this function's contract there are so many.
        let memory = unsafe { memory.add(number * BYTES) };
        // SAFETY: by this function's contract; each of them is used once.
        let words = unsafe { RawWords::new(memory, BYTES) };
        primitive(Memory(&words)).is_some()
    };
    let in_memory = through(0, slots) && through(1, queue) && through(2, records) && through(3, snapshot);
    in_memory && inline().is_some() && latest().is_some()
}

fn inline() -> Option<u64> {
    let (mut producer, mut consumer) = RING.try_split()?;
    producer.try_push(7).ok()?;
    consumer.try_pop().ok()
}

fn latest() -> Option<u64> {
    LATEST.writer()?.write([1, 2]);
    Some(LATEST.read()[1])
}

fn slots(memory: Memory<'_>) -> Option<u64> {
    let ring = shared::Geometry::<u64>::new(0, 512, 4).ok()?;
    let mut producer = shared::Producer::new(memory, ring, memory, 1024).ok()?;
    let mut consumer = shared::Consumer::new(memory, 1024, memory, ring).ok()?;
    producer.try_push(&7).ok()?;
    consumer.try_pop().ok()
}

fn queue(memory: Memory<'_>) -> Option<u64> {
    let queue = SharedQueue::create(memory, Geometry::new(2, 8, 2).ok()?).ok()?;
    let mut participant = queue.attach(Identity { pid: 1, start_time: 0 }).ok()?;
    participant.try_push_value(&7u64).ok()?;
    participant.try_pop_value().ok()
}

fn records(memory: Memory<'_>) -> Option<u64> {
    let ring = records::Geometry::new(0, 512, 1024, 64).ok()?;
    // SAFETY: the memory is this function's alone, and this is its one producer.
    let mut producer = unsafe { records::Producer::new(memory, ring, memory, 2048) }.ok()?;
    // SAFETY: as above, its one consumer.
    let mut consumer = unsafe { records::Consumer::new(memory, 2048, memory, ring) }.ok()?;
    producer.try_claim(8).ok()?.commit(8, records::Meta::default());
    let record = consumer.next().ok()??;
    let mut words = [0];
    record.copy_to(&mut words);
    Some(words[0])
}

fn snapshot(memory: Memory<'_>) -> Option<u64> {
    let geometry = snapshot::Geometry::new(64).ok()?;
    // SAFETY: the memory is this function's alone, and this is its one writer.
    let mut writer = unsafe { snapshot::Writer::new(memory, geometry) }.ok()?;
    writer.write_value(&7u64).ok()?;
    snapshot::Reader::new(memory, geometry).ok()?.read_value::<u64>().ok().map(|(value, _)| value)
}
