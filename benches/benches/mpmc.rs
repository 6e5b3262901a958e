//! What one operation of a queue costs while nobody else is there, with and without its counters.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use strait_mpmc::{
    Queue,
    shared::{Geometry, Identity, SharedQueue},
};
use strait_sync::Heap;

fn push_and_pop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mpmc push and pop");
    let queue = Queue::new(1024).expect("a power of two");
    group.bench_function("queue", |bencher| {
        bencher.iter(|| {
            queue.try_push(black_box(7u64)).expect("room");
            queue.try_pop().expect("just pushed")
        });
    });
    let queue = Queue::counting(1024).expect("a power of two");
    group.bench_function("queue that counts", |bencher| {
        bencher.iter(|| {
            queue.try_push(black_box(7u64)).expect("room");
            queue.try_pop().expect("just pushed")
        });
    });
    let geometry = Geometry::new(1024, 8, 1).expect("a power of two");
    let memory = Arc::new(Heap::zeroed(geometry.total_bytes() as usize));
    let queue = SharedQueue::create(memory, geometry).expect("as long as its geometry says");
    let mut participant = queue.attach(Identity::current()).expect("a line for it");
    group.bench_function("shared queue", |bencher| {
        bencher.iter(|| {
            participant.try_push_value(&black_box(7u64)).expect("room");
            participant.try_pop_value::<u64>().expect("just pushed")
        });
    });
    group.finish();
}

/// What a refusal costs, with and without counters.
fn refusals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mpmc refused pop");
    let queue = Queue::<u64>::new(1024).expect("a power of two");
    group.bench_function("queue", |bencher| bencher.iter(|| queue.try_pop().is_err()));
    let queue = Queue::<u64, true>::counting(1024).expect("a power of two");
    group.bench_function("queue that counts", |bencher| bencher.iter(|| queue.try_pop().is_err()));
    group.finish();
}

criterion_group!(benches, push_and_pop, refusals);
criterion_main!(benches);
