//! What the primitives offer where there is an allocator.

extern crate alloc;

use alloc::{boxed::Box, vec::Vec};
use core::alloc::{GlobalAlloc, Layout};

use strait_mpmc::Queue;
use strait_seqlock::snapshot;
use strait_spsc::slots;

/// An allocator that has nothing: this program is built, and not run.
struct Nothing;

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

// SAFETY: a null pointer is a refusal, and there is nothing to give back.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// Moves a value through each; returns whether all of them came.
#[unsafe(no_mangle)]
pub extern "C" fn primitives_on_the_heap() -> bool {
    ring().is_some() && queue().is_some() && latest().is_some()
}

fn ring() -> Option<Box<u64>> {
    let (mut producer, mut consumer) = slots::channel(4).ok()?;
    producer.try_push(Box::new(7)).ok()?;
    consumer.try_pop().ok()
}

fn queue() -> Option<Box<u64>> {
    let queue = Queue::new(4).ok()?;
    queue.try_push(Box::new(7)).ok()?;
    queue.try_pop().ok()
}

fn latest() -> Option<Vec<u8>> {
    let (mut writer, mut reader) = snapshot::channel(64).ok()?;
    writer.write(b"sunny").ok()?;
    let mut bytes = Vec::new();
    reader.read_to_vec(&mut bytes).ok()?;
    Some(bytes)
}
