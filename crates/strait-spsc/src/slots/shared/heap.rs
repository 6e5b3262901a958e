//! The same over two memories on the heap, for tests and for two ends inside one process.

use strait_sync::{Heap, primitive::Arc};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    consumer::Consumer,
    geometry::{Geometry, control},
    producer::Producer,
};
use crate::error::GeometryError;

/// The pushing end of a ring in two memories on the heap.
pub type HeapProducer<T> = Producer<T, Arc<Heap>, Arc<Heap>>;
/// The popping end of a ring in two memories on the heap.
pub type HeapConsumer<T> = Consumer<T, Arc<Heap>, Arc<Heap>>;

/// A ring of `capacity` slots in two memories on the heap.
///
/// # Errors
///
/// [`GeometryError`] where the capacity is not a power of two, or the slots would be longer than any memory.
///
/// # Panics
///
/// Where memory runs out, the process ends as with any allocation.
pub fn channel<T>(capacity: usize) -> Result<(HeapProducer<T>, HeapConsumer<T>), GeometryError>
where
    T: FromBytes + IntoBytes + Immutable,
{
    channel_at(capacity, 0)
}

/// A ring that begins at `position`. For tests of what happens where positions wrap.
///
/// # Errors
///
/// As [`channel`].
#[doc(hidden)]
pub fn channel_at<T>(capacity: usize, position: u64) -> Result<(HeapProducer<T>, HeapConsumer<T>), GeometryError>
where
    T: FromBytes + IntoBytes + Immutable,
{
    let ring = Geometry::new(0, control::BYTES, capacity)?;
    let (ours, theirs) = (Arc::new(Heap::zeroed(ring.end())), Arc::new(Heap::zeroed(control::BYTES)));
    let producer = Producer::starting_at(ours.clone(), ring, theirs.clone(), 0, position)?;
    Ok((producer, Consumer::starting_at(theirs, 0, ours, ring, position)?))
}
