//! What one read and one write of the latest value cost while nobody else is there.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use strait_seqlock::{
    SeqLock,
    snapshot::{Geometry, channel_with},
};

fn seqlock(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seqlock, 64 B");
    let lock = SeqLock::new([7u64; 8]);
    let mut writer = lock.writer().expect("the only one");
    group.bench_function("read", |bencher| bencher.iter(|| lock.read()));
    group.bench_function("write", |bencher| bencher.iter(|| writer.write(black_box([7; 8]))));
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    for bytes in [64, 4096, 256 << 10] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let value = vec![7; bytes];
        let geometry = Geometry::new(bytes).and_then(|geometry| geometry.with_pins(1)).expect("small enough");
        let (mut writer, mut reader) = channel_with(geometry).expect("small enough");
        let mut pinned = writer.pins().reader().expect("the only one");
        let mut buffer = vec![0; bytes];
        group.bench_function(BenchmarkId::new("write", bytes), |bencher| {
            bencher.iter(|| writer.write(black_box(&value)).expect("not too long"));
        });
        group.bench_function(BenchmarkId::new("read", bytes), |bencher| {
            bencher.iter(|| {
                let snapshot = reader.read_into(&mut buffer).expect("written above");
                black_box(&buffer);
                snapshot
            });
        });
        group.bench_function(BenchmarkId::new("pin", bytes), |bencher| {
            bencher.iter(|| pinned.pin().expect("written above").version());
        });
    }
    group.finish();
}

/// Readers count what they read, always; asking for it is what is measured.
fn stats(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot stats");
    let (mut writer, mut reader) = strait_seqlock::snapshot::channel(64).expect("small enough");
    writer.write(&[7; 64]).expect("not too long");
    let mut buffer = [0; 64];
    group.bench_function("read and stats", |bencher| {
        bencher.iter(|| (reader.read_into(&mut buffer).expect("written above"), reader.stats()));
    });
    group.finish();
}

criterion_group!(benches, seqlock, snapshot, stats);
criterion_main!(benches);
