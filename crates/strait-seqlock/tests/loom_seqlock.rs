//! The sequence lock under loom: no torn value, and for each ordering a mutant that tears one.
#![cfg(strait_loom)]

use loom::thread;
use strait_seqlock::SeqLock;
use strait_sync::{mutant, primitive::Arc};

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.check(test);
}

/// Two writes; a reader sees one value whole, and no older one afterwards.
fn two_writes_and_a_reader() {
    model(4, || {
        let lock = Arc::new(SeqLock::new([0u64, 0]));
        let writing = lock.clone();
        let writer = thread::spawn(move || {
            let mut writer = writing.writer().expect("the only one");
            writer.write([1, 1]);
            writer.write([2, 2]);
            assert_eq!(writer.read(), [2, 2]);
        });
        let mut least = lock.version();
        let mut value = lock.read();
        for over in [false, true] {
            if over {
                lock.read_into(&mut value);
            }
            let [first, second] = value;
            assert_eq!(first, second, "torn");
            assert!(first >= least, "older than what was seen");
            least = first;
        }
        writer.join().unwrap();
        assert_eq!(lock.read(), [2, 2]);
    });
}

#[test]
fn a_value_is_whole_and_never_older() {
    two_writes_and_a_reader();
}

#[test]
#[should_panic(expected = "torn")]
fn mutant_writer_without_release_fence() {
    mutant::with("seqlock_no_release_fence", two_writes_and_a_reader);
}

#[test]
#[should_panic(expected = "torn")]
fn mutant_reader_without_acquire_fence() {
    mutant::with("seqlock_no_acquire_fence", two_writes_and_a_reader);
}

#[test]
#[should_panic(expected = "torn")]
fn mutant_reader_without_second_look() {
    mutant::with("seqlock_no_recheck", two_writes_and_a_reader);
}

#[test]
#[should_panic(expected = "torn")]
fn mutant_writer_that_ends_relaxed() {
    mutant::with("seqlock_relaxed_end", two_writes_and_a_reader);
}

/// A writer follows another: it goes on from where that one stopped.
#[test]
fn writers_follow_each_other() {
    model(4, || {
        let lock = Arc::new(SeqLock::new([0u64, 0]));
        let write = |lock: &SeqLock<[u64; 2]>| match lock.writer() {
            Some(mut writer) => {
                let [value, _] = writer.read();
                writer.write([value + 1, value + 1]);
                1
            }
            None => 0,
        };
        let other = lock.clone();
        let thread = thread::spawn(move || write(&other));
        let written = write(&lock) + thread.join().unwrap();
        assert!(written >= 1);
        assert_eq!(lock.read(), [written; 2]);
        assert_eq!(lock.version(), written);
    });
}
