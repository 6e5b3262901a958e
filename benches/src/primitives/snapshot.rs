//! Snapshots and sequence locks, beside a plain copy and the locks of the standard library.

use std::{
    hint::black_box,
    sync::{Arc, Mutex, RwLock},
};

use strait_seqlock::{
    SeqLock, Writer,
    snapshot::{Geometry, HeapPinnedReader, HeapReader, HeapWriter, channel_with},
};
use zerocopy::IntoBytes;

use super::{
    Bench, Kind,
    latest::{self, Buffer, Latest, Read, Write},
};

/// How long the values of a snapshot are.
pub const SNAPSHOT_BYTES: [usize; 3] = [64, 4096, 256 << 10];

pub(super) fn own() -> Vec<Bench> {
    let mut benches = Vec::new();
    benches.extend(small::<8>());
    benches.extend(small::<512>());
    for bytes in SNAPSHOT_BYTES {
        benches.extend(latest::all::<Copied>(Kind::Ours, "snapshot", bytes, true));
        benches.extend(latest::all::<Pinned>(Kind::Ours, "snapshot", bytes, true));
        benches.extend(beside("snapshot", bytes));
    }
    benches
}

/// Values of so many words in a sequence lock.
fn small<const WORDS: usize>() -> Vec<Bench> {
    let mut benches = latest::all::<Small<WORDS>>(Kind::Ours, "seqlock", WORDS * 8, true);
    benches.extend(beside("seqlock", WORDS * 8));
    benches
}

fn beside(scenario: &'static str, bytes: usize) -> Vec<Bench> {
    let mut benches = latest::all::<Memcpy>(Kind::Floor, scenario, bytes, false);
    benches.extend(latest::all::<Mutex<Buffer>>(Kind::Peer, scenario, bytes, true));
    benches.extend(latest::all::<RwLock<Buffer>>(Kind::Peer, scenario, bytes, true));
    benches
}

/// A snapshot, copied out.
pub struct Copied;

/// Copies out of a snapshot.
pub struct CopyingReader {
    reader: HeapReader,
    buffer: Buffer,
}

impl Latest for Copied {
    const NAME: &'static str = "strait-seqlock-snapshot";
    type Writer = HeapWriter;
    type Reader = CopyingReader;

    fn open(first: &[u64], readers: usize) -> Result<(HeapWriter, Vec<CopyingReader>), String> {
        let geometry = Geometry::new(size_of_val(first)).map_err(|error| error.to_string())?;
        let (mut writer, reader) = channel_with(geometry).map_err(|error| error.to_string())?;
        Write::write(&mut writer, first);
        let reader = || CopyingReader { reader: reader.clone(), buffer: Buffer::of(first) };
        Ok((writer, std::iter::repeat_with(reader).take(readers).collect()))
    }
}

impl Write for HeapWriter {
    #[inline]
    fn write(&mut self, words: &[u64]) {
        HeapWriter::write(self, words.as_bytes()).expect("no longer than the first");
    }
}

impl Read for CopyingReader {
    #[inline]
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
        let read = self.reader.read_into(self.buffer.words_mut().as_mut_bytes()).is_ok();
        if read {
            see(self.buffer.words());
        }
        read
    }
}

/// A snapshot, read in place.
pub struct Pinned;

impl Latest for Pinned {
    const NAME: &'static str = "strait-seqlock-snapshot-pinned";
    type Writer = HeapWriter;
    type Reader = HeapPinnedReader;

    fn open(first: &[u64], readers: usize) -> Result<(HeapWriter, Vec<HeapPinnedReader>), String> {
        let geometry = Geometry::new(size_of_val(first)).and_then(|geometry| geometry.with_pins(readers));
        let (mut writer, _) = geometry.and_then(channel_with).map_err(|error| error.to_string())?;
        Write::write(&mut writer, first);
        let readers = (0..readers).map(|_| writer.pins().reader()).collect::<Result<_, _>>();
        let readers = readers.map_err(|error| error.to_string())?;
        Ok((writer, readers))
    }
}

impl Read for HeapPinnedReader {
    #[inline]
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
        let Ok(pinned) = self.pin() else { return false };
        see(pinned.as_value::<[u64]>().expect("whole words"));
        true
    }
}

/// A sequence lock over so many words.
pub struct Small<const WORDS: usize>;

/// Reads a sequence lock: what is longer than some lines over the last value, as its docs advise.
pub struct SmallReader<const WORDS: usize> {
    lock: &'static SeqLock<[u64; WORDS]>,
    last: Box<[u64; WORDS]>,
}

impl<const WORDS: usize> Latest for Small<WORDS> {
    const NAME: &'static str = "strait-seqlock";
    type Writer = Writer<'static, [u64; WORDS]>;
    type Reader = SmallReader<WORDS>;

    fn open(first: &[u64], readers: usize) -> Result<(Self::Writer, Vec<SmallReader<WORDS>>), String> {
        let first = first.try_into().map_err(|_| format!("it is made for {WORDS} words"))?;
        // Some kilobytes for each run, of a process that soon ends.
        let lock: &'static _ = Box::leak(Box::new(SeqLock::new(first)));
        let writer = lock.writer().ok_or("it has a writer")?;
        Ok((writer, (0..readers).map(|_| SmallReader { lock, last: Box::new([0; WORDS]) }).collect()))
    }
}

impl<const WORDS: usize> Write for Writer<'static, [u64; WORDS]> {
    #[inline]
    fn write(&mut self, words: &[u64]) {
        Writer::write(self, words.try_into().expect("as long as the first"));
    }
}

impl<const WORDS: usize> Read for SmallReader<WORDS> {
    #[inline]
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
        if WORDS < 64 {
            see(&self.lock.read());
        } else {
            self.lock.read_into(&mut self.last);
            see(&self.last[..]);
        }
        true
    }
}

/// A plain copy of something that nobody writes to.
pub struct Memcpy;

/// Copies it.
pub struct MemcpyReader {
    source: Arc<Buffer>,
    buffer: Buffer,
}

impl Latest for Memcpy {
    const NAME: &'static str = "floor-memcpy";
    type Writer = NoWriter;
    type Reader = MemcpyReader;

    fn open(first: &[u64], readers: usize) -> Result<(NoWriter, Vec<MemcpyReader>), String> {
        let source = Arc::new(Buffer::of(first));
        let reader = || MemcpyReader { source: source.clone(), buffer: Buffer::of(first) };
        Ok((NoWriter, std::iter::repeat_with(reader).take(readers).collect()))
    }
}

/// Nobody: a plain copy of something that is written to meanwhile is undefined behaviour.
pub struct NoWriter;

impl Write for NoWriter {
    fn write(&mut self, _: &[u64]) {
        unreachable!("measured only with an idle writer");
    }
}

impl Read for MemcpyReader {
    #[inline]
    fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
        self.buffer.words_mut().copy_from_slice(black_box(self.source.words()));
        see(self.buffer.words());
        true
    }
}

/// Implements [`Latest`] for a lock of the standard library, under which readers copy.
macro_rules! lock {
    ($lock:ident, $name:literal, $read:ident, $write:ident) => {
        impl Latest for $lock<Buffer> {
            const NAME: &'static str = $name;
            type Writer = Arc<$lock<Buffer>>;
            type Reader = (Arc<$lock<Buffer>>, Buffer);

            fn open(first: &[u64], readers: usize) -> Result<(Self::Writer, Vec<Self::Reader>), String> {
                let lock = Arc::new($lock::new(Buffer::of(first)));
                let readers = (0..readers).map(|_| (lock.clone(), Buffer::of(first))).collect();
                Ok((lock, readers))
            }
        }

        impl Write for Arc<$lock<Buffer>> {
            #[inline]
            fn write(&mut self, words: &[u64]) {
                (**self).$write().expect("nobody panics").words_mut().copy_from_slice(words);
            }
        }

        impl Read for (Arc<$lock<Buffer>>, Buffer) {
            #[inline]
            fn read(&mut self, see: &mut impl FnMut(&[u64])) -> bool {
                self.1.words_mut().copy_from_slice(self.0.$read().expect("nobody panics").words());
                see(self.1.words());
                true
            }
        }
    };
}

lock!(Mutex, "std-mutex", lock, lock);
lock!(RwLock, "std-rwlock", read, write);
