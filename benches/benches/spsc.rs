//! What one operation of a ring costs while nobody else is there: push and pop on one thread.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use strait_spsc::{
    records::{self, Meta},
    slots,
};

fn push_and_pop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spsc push and pop");
    let (mut producer, mut consumer) = slots::channel(1024).expect("a power of two");
    group.bench_function("slots, 8 B", |bencher| {
        bencher.iter(|| {
            producer.try_push(black_box(7u64)).expect("room");
            consumer.try_pop().expect("just pushed")
        });
    });
    let (mut producer, mut consumer) = slots::channel(1024).expect("a power of two");
    group.bench_function("slots, 64 B", |bencher| {
        bencher.iter(|| {
            producer.try_push(black_box([7u64; 8])).expect("room");
            consumer.try_pop().expect("just pushed")
        });
    });
    let (mut producer, mut consumer) = slots::shared::channel(1024).expect("a power of two");
    group.bench_function("shared slots, 8 B", |bencher| {
        bencher.iter(|| {
            producer.try_push(&black_box(7u64)).expect("room");
            consumer.try_pop().expect("just pushed")
        });
    });
    let (mut producer, mut consumer) = records::channel(64 << 10).expect("a power of two");
    group.bench_function("records, 64 B", |bencher| {
        let mut value = [0u64; 8];
        bencher.iter(|| {
            let mut grant = producer.try_claim(64).expect("room");
            grant.as_mut_slice().fill(black_box(7));
            grant.commit(64, Meta::default());
            consumer.next().expect("an honest producer").expect("just sent").copy_to(&mut value);
            black_box(&value);
        });
    });
    group.finish();
}

/// What is counted is counted where an end is refused; asking for it is what is measured.
fn stats(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spsc stats");
    let (mut producer, mut consumer) = slots::channel(1024).expect("a power of two");
    group.bench_function("push, pop and both stats", |bencher| {
        bencher.iter(|| {
            producer.try_push(black_box(7u64)).expect("room");
            let value = consumer.try_pop().expect("just pushed");
            (value, producer.stats(), consumer.stats())
        });
    });
    group.finish();
}

criterion_group!(benches, push_and_pop, stats);
criterion_main!(benches);
