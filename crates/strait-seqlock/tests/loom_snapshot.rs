//! The snapshot under loom: the code itself, and for each of its rules a mutant that breaks it.
#![cfg(strait_loom)]
#![allow(unsafe_code)]

use loom::thread;
use strait_seqlock::{
    ReadError,
    snapshot::{Geometry, HeapReader, Reader, Writer},
};
use strait_sync::{Heap, mutant, primitive::Arc};

fn model(bound: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(bound);
    model.max_branches = 20_000;
    model.check(test);
}

type Memory = Arc<Heap>;

/// Values of two words, in `slots` slots.
fn snapshot(slots: usize) -> (Memory, Geometry) {
    let geometry = Geometry::new(16).unwrap().with_slots(slots).unwrap();
    (Arc::new(Heap::zeroed(geometry.end())), geometry)
}

fn writer(memory: &Memory, geometry: Geometry) -> Writer<Memory> {
    // SAFETY: each model has one writer.
    unsafe { Writer::new(memory.clone(), geometry) }.unwrap()
}

fn reader(memory: &Memory, geometry: Geometry) -> HeapReader {
    Reader::new(memory.clone(), geometry).unwrap().with_attempts(1)
}

/// Version n is n times one word (odd) or two (even), all of them n.
fn write(writer: &mut Writer<Memory>) {
    let next = writer.version() + 1;
    let words = [next; 2];
    let version = match next % 2 {
        0 => writer.write_value(&words),
        _ => writer.write_value(&words[..1]),
    };
    assert_eq!(version, Ok(next));
}

/// The version that one attempt reads; 0 where there is none, or it was overtaken.
fn read(reader: &mut HeapReader) -> u64 {
    let mut bytes = [0; 16];
    let snapshot = match reader.read_into(&mut bytes) {
        Ok(snapshot) => snapshot,
        Err(ReadError::Empty | ReadError::Contended { .. }) => return 0,
        Err(error) => panic!("{error}"),
    };
    let mut words = bytes[..snapshot.len_bytes].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    assert!(words.all(|word| word == snapshot.version), "torn: {bytes:?} at {}", snapshot.version);
    assert_eq!(snapshot.len_bytes as u64, 16 - snapshot.version % 2 * 8, "torn: the length");
    snapshot.version
}

/// The fourth version goes where the second was, while somebody may still read that.
fn overtaken() {
    model(6, || {
        let (memory, geometry) = snapshot(2);
        let mut writer = writer(&memory, geometry);
        write(&mut writer);
        write(&mut writer);
        let mut reader = reader(&memory, geometry);
        let writing = thread::spawn(move || {
            write(&mut writer);
            write(&mut writer);
        });
        read(&mut reader);
        writing.join().unwrap();
        assert_eq!(read(&mut reader), 4);
    });
}

#[test]
fn a_value_is_whole_when_the_writer_overtakes_its_reader() {
    overtaken();
}

#[test]
#[should_panic(expected = "torn")]
fn mutant_writer_without_release_fence() {
    mutant::with("snapshot_no_release_fence", overtaken);
}

#[test]
#[should_panic(expected = "torn")]
fn mutant_reader_without_acquire_fence() {
    mutant::with("snapshot_no_acquire_fence", overtaken);
}

#[test]
#[should_panic(expected = "torn")]
fn mutant_reader_without_second_look() {
    mutant::with("snapshot_no_recheck", overtaken);
}

#[test]
#[should_panic(expected = "the slot of the latest value does not hold it yet")]
fn mutant_latest_published_relaxed() {
    mutant::with("latest_relaxed", overtaken);
}

#[test]
#[should_panic(expected = "the slot of the latest value does not hold it yet")]
fn mutant_latest_read_without_acquire() {
    mutant::with("latest_no_acquire", overtaken);
}

/// From nothing, three slots: what a reader sees never goes back, and it is never overtaken by one write.
#[test]
fn versions_never_go_back() {
    model(6, || {
        let (memory, geometry) = snapshot(3);
        let (mut writer, mut reader) = (writer(&memory, geometry), reader(&memory, geometry));
        let writing = thread::spawn(move || {
            write(&mut writer);
            write(&mut writer);
        });
        let first = read(&mut reader);
        let second = read(&mut reader);
        assert!(second >= first);
        writing.join().unwrap();
        assert_eq!(read(&mut reader), 2);
    });
}

/// A writer dies in the middle of its second value; another one takes over.
fn dies_and_is_followed() {
    model(6, || {
        let (memory, geometry) = snapshot(2);
        let mut first = writer(&memory, geometry);
        let mut reader = reader(&memory, geometry);
        let dying = thread::spawn(move || {
            write(&mut first);
            let mut claim = first.claim();
            claim.append(&u64::MAX.to_le_bytes()).unwrap();
        });
        assert!(read(&mut reader) <= 1);
        dying.join().unwrap();
        assert_eq!(read(&mut reader), 1, "the last value is lost");
        // SAFETY: the first writer writes no more.
        let mut second = unsafe { Writer::take_over(memory, geometry) }.unwrap();
        let writing = thread::spawn(move || {
            write(&mut second);
            write(&mut second);
        });
        read(&mut reader);
        writing.join().unwrap();
        assert_eq!(read(&mut reader), 3);
    });
}

#[test]
fn a_dead_writer_leaves_its_last_value_and_another_takes_over() {
    dies_and_is_followed();
}

#[test]
#[should_panic(expected = "the last value is lost")]
fn mutant_writer_that_overwrites_the_latest() {
    mutant::with("write_over_latest", dies_and_is_followed);
}

/// A claim that is dropped leaves no trace, while somebody reads.
#[test]
fn an_aborted_claim_leaves_no_trace() {
    model(6, || {
        let (memory, geometry) = snapshot(2);
        let mut writer = writer(&memory, geometry);
        write(&mut writer);
        let mut reader = reader(&memory, geometry);
        let writing = thread::spawn(move || {
            writer.claim().append(&[7; 16]).unwrap();
            write(&mut writer);
        });
        assert!(read(&mut reader) >= 1, "one write overtakes nobody");
        writing.join().unwrap();
        assert_eq!(read(&mut reader), 2);
    });
}

/// A reader sleeps until there is a value, and then until there is a second one.
fn sleeper() {
    model(6, || {
        let (memory, geometry) = snapshot(2);
        let (mut writer, mut reader) = (writer(&memory, geometry), reader(&memory, geometry));
        let writing = thread::spawn(move || {
            for _ in 0..2 {
                write(&mut writer);
                writer.notify();
            }
        });
        let first = reader.wait_changed(0, None).unwrap();
        assert!(first >= 1);
        assert_eq!(reader.wait_changed(1, None), Ok(2));
        assert_eq!(read(&mut reader), 2);
        writing.join().unwrap();
    });
}

#[test]
fn nobody_sleeps_through_a_notified_change() {
    sleeper();
}

#[test]
#[should_panic(expected = "deadlock")]
fn mutant_sleeper_that_compares_with_another_word() {
    in_a_process_of_its_own("mutant_sleeper_that_compares_with_another_word", || {
        mutant::with("wait_for_another_word", sleeper);
    });
}

/// Runs a mutant that aborts after its deadlock (destructors find loom gone) in a process of its own, and panics with
/// what that said.
fn in_a_process_of_its_own(test: &str, mutant: impl FnOnce()) {
    if std::env::var_os("STRAIT_MUTANT").is_some() {
        mutant();
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "--nocapture", test]).env("STRAIT_MUTANT", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    panic!("{}", said.lines().find(|line| line.starts_with("deadlock")).unwrap_or(&said));
}
