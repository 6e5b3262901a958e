//! Rings on the heap, for two ends inside one process.

#![allow(unsafe_code)]

use strait_sync::{Heap, primitive::Arc};

use super::{
    consumer::Consumer,
    guard::Guard,
    layout::{Geometry, control},
    producer::Producer,
};
use crate::error::GeometryError;

/// The writing end of a ring on the heap.
pub type HeapProducer = Producer<Arc<Heap>, Arc<Heap>>;
/// The reading end of a ring on the heap.
pub type HeapConsumer = Consumer<Arc<Heap>, Arc<Heap>>;

/// A record of a ring on the heap that is kept there.
pub type HeapGuard = Guard<Arc<Heap>, Arc<Heap>>;

/// One side of a [`duplex`]: writes one ring, reads the other.
///
/// Its two handles show their tickets, and whether the stream has ended, in one control block, as a process does.
#[derive(Debug)]
pub struct Side {
    /// Writes to the other side.
    pub producer: HeapProducer,
    /// Reads from the other side.
    pub consumer: HeapConsumer,
}

/// A ring of `capacity_bytes` on the heap, its records aligned to 16.
///
/// # Errors
///
/// [`GeometryError::Capacity`] where the capacity is not a power of two from 128 bytes to 4 GiB.
///
/// # Panics
///
/// Where memory runs out, the process ends as with any allocation.
pub fn channel(capacity_bytes: u64) -> Result<(HeapProducer, HeapConsumer), GeometryError> {
    channel_at(capacity_bytes, 16, 0)
}

/// A ring whose records are aligned to `align_bytes` and that begins at `position`. For tests of what happens where
/// positions wrap.
///
/// # Errors
///
/// As [`Geometry::new`], and [`GeometryError::Position`] where the position is not aligned.
#[doc(hidden)]
pub fn channel_at(
    capacity_bytes: u64,
    align_bytes: u64,
    position: u64,
) -> Result<(HeapProducer, HeapConsumer), GeometryError> {
    let ring = Geometry::new(0, control::BYTES, capacity_bytes, align_bytes)?;
    let (ours, theirs) = (memory(&ring), Arc::new(Heap::zeroed(control::BYTES)));
    // SAFETY: the memories are new and zeroed, the one producer is the next line's, and no one else ever gets hold of them.
    let consumer = unsafe { Consumer::starting_at(theirs.clone(), 0, ours.clone(), ring, position) }?;
    // SAFETY: as above; the consumer's head is at `position`, and the ring is zero everywhere.
    let producer = unsafe { Producer::starting_at(ours, ring, theirs, 0, position) }?;
    Ok((producer, consumer))
}

/// Two rings of `capacity_bytes` on the heap, one each way, as two processes would have them.
///
/// # Errors
///
/// As [`channel`].
///
/// ```
/// let (mut left, mut right) = strait_spsc::records::duplex(4096)?;
/// left.producer.try_claim(4)?.commit(4, Default::default());
/// assert_eq!(right.consumer.next()?.expect("just sent").len(), 4);
/// right.producer.close();
/// assert!(left.consumer.at_end()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplex(capacity_bytes: u64) -> Result<(Side, Side), GeometryError> {
    let ring = Geometry::new(0, control::BYTES, capacity_bytes, 16)?;
    let (left, right) = (memory(&ring), memory(&ring));
    Ok((side(&left, &right, ring)?, side(&right, &left, ring)?))
}

fn memory(ring: &Geometry) -> Arc<Heap> {
    Arc::new(Heap::zeroed(ring.data() + ring.capacity_bytes() as usize))
}

fn side(own: &Arc<Heap>, peer: &Arc<Heap>, ring: Geometry) -> Result<Side, GeometryError> {
    // SAFETY: the memories are new and zeroed, private to `duplex`, and it makes one side of each.
    let producer = unsafe { Producer::new(own.clone(), ring, peer.clone(), 0) }?;
    // SAFETY: as above.
    let consumer = unsafe { Consumer::new(own.clone(), 0, peer.clone(), ring) }?;
    Ok(Side { producer, consumer })
}
