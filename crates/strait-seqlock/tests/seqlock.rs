//! The sequence lock: values of any size, one writer, and real threads.
#![cfg(not(strait_loom))]

use std::thread;

use strait_seqlock::SeqLock;
use zerocopy::{FromBytes, Immutable, IntoBytes};

static SHARED: SeqLock<[u64; 7]> = SeqLock::new([0; 7]);

const WRITES: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[test]
fn readers_of_a_static_see_whole_values_that_never_go_back() {
    let readers = [(); 2].map(|()| {
        thread::spawn(|| {
            let (mut least, mut value) = (0, [0; 7]);
            while least < WRITES {
                value = match least % 3 {
                    0 => SHARED.read(),
                    1 => {
                        SHARED.read_into(&mut value);
                        value
                    }
                    _ => SHARED.try_read().unwrap_or([least; 7]),
                };
                assert!(value.iter().all(|&word| word == value[0]), "torn: {value:?}");
                assert!(value[0] >= least, "{} after {least}", value[0]);
                least = value[0];
            }
        })
    });
    let mut writer = SHARED.writer().expect("the only one");
    for value in 1..=WRITES {
        writer.write([value; 7]);
        if value % 1024 == 0 {
            thread::yield_now();
        }
    }
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(SHARED.version(), WRITES);
}

#[test]
fn values_of_any_size_come_back() {
    fn check<const N: usize>() {
        let lock = SeqLock::new([0xAAu8; N]);
        assert_eq!(lock.read(), [0xAA; N]);
        let value = std::array::from_fn(|index| (index as u8).wrapping_add(1));
        lock.writer().unwrap().write(value);
        assert_eq!(lock.try_read(), Ok(value));
        let mut again = [0; N];
        lock.read_into(&mut again);
        assert_eq!(again, value);
    }
    check::<0>();
    check::<1>();
    check::<2>();
    check::<3>();
    check::<7>();
    check::<8>();
    check::<13>();
    check::<15>();
    check::<16>();
    check::<200>();
    check::<512>();
    check::<4103>();
}

#[test]
fn a_type_of_ones_own_is_held_at_its_alignment() {
    #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
    #[repr(C, align(16))]
    struct Pose {
        at: [f32; 3],
        version: u32,
    }
    let lock = SeqLock::new(Pose { at: [0.0; 3], version: 0 });
    let pose = Pose { at: [1.0, 2.0, 3.0], version: 7 };
    lock.writer().unwrap().write(pose);
    assert_eq!(lock.read(), pose);
}

#[test]
fn there_is_one_writer_at_a_time() {
    let lock = SeqLock::new(1u16);
    let writer = lock.writer().expect("none yet");
    assert!(lock.writer().is_none());
    drop(writer);
    let mut writer = lock.writer().expect("the other one is gone");
    writer.write(2);
    assert_eq!((lock.version(), writer.read()), (1, 2));
}
