//! The state in a file: written anew beside the old one, made durable, and put in its place by a rename.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use strait_sync::fail_point;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout,
    little_endian::{U32, U64},
};

use super::Error;

const MAGIC: [u8; 8] = *b"STRAITCK";
const VERSION: u32 = 1;

/// The first bytes of the file; the value follows.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    format: U32,
    /// CRC32 of the value and of the fields below, in that order.
    checksum: U32,
    schema: U64,
    state_version: U64,
    value_bytes: U64,
}

const HEADER_BYTES: usize = size_of::<Header>();

/// A state that was read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) version: u64,
    pub(super) value: Vec<u8>,
}

fn checksum(value: &[u8], schema: u64, version: u64) -> u32 {
    let mut all = value.to_vec();
    all.extend_from_slice(&schema.to_le_bytes());
    all.extend_from_slice(&version.to_le_bytes());
    all.extend_from_slice(&(value.len() as u64).to_le_bytes());
    strait_frame::checksum(&all)
}

fn refused(path: &Path, why: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_owned(), why: why.into() }
}

/// Writes `value` to `path`, durably. Whoever dies at any point leaves the old file or the new one.
pub(super) fn write(path: &Path, schema: u64, version: u64, value: &[u8]) -> Result<(), Error> {
    let header = Header {
        magic: MAGIC,
        format: VERSION.into(),
        checksum: checksum(value, schema, version).into(),
        schema: schema.into(),
        state_version: version.into(),
        value_bytes: (value.len() as u64).into(),
    };
    let new = beside(path);
    let written = put(&new, path, header.as_bytes(), value);
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.map_err(|error| refused(path, format!("writing it failed: {error}")))
}

/// One name for all attempts: a file that a killed daemon left half written is replaced by the next.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn put(new: &Path, path: &Path, header: &[u8], value: &[u8]) -> io::Result<()> {
    let mut file = File::create(new)?;
    fail_point!("checkpoint.created");
    file.write_all(header)?;
    fail_point!("checkpoint.begun");
    file.write_all(value)?;
    fail_point!("checkpoint.written");
    file.sync_all()?;
    fail_point!("checkpoint.synced");
    fs::rename(new, path)?;
    fail_point!("checkpoint.renamed");
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Reads the state back; `None` where there is no file.
pub(super) fn read(path: &Path, schema: u64, max_value_bytes: usize) -> Result<Option<Checkpoint>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(path, format!("opening it failed: {error}"))),
    };
    let mut bytes = Vec::new();
    let most = (HEADER_BYTES + max_value_bytes) as u64;
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refused(path, format!("reading it failed: {error}")))?;
    if bytes.len() as u64 > most {
        return Err(refused(path, format!("it is longer than {most} bytes, the most with this `max_value_bytes`")));
    }
    let Ok((header, value)) = Header::read_from_prefix(&bytes) else {
        return Err(refused(path, format!("it has {} bytes, expected at least {HEADER_BYTES}", bytes.len())));
    };
    if header.magic != MAGIC || header.format.get() != VERSION {
        return Err(refused(path, "it does not begin as a checkpoint of this version does"));
    }
    if header.schema.get() != schema {
        let found = header.schema.get();
        return Err(refused(path, format!("it holds a value of schema {found:#018x}, expected {schema:#018x}")));
    }
    if header.value_bytes.get() != value.len() as u64 {
        let (found, expected) = (value.len(), header.value_bytes.get());
        return Err(refused(path, format!("its value has {found} bytes, expected {expected}")));
    }
    let version = header.state_version.get();
    let (found, expected) = (checksum(value, schema, version), header.checksum.get());
    if found != expected || version >= 1 << 62 {
        return Err(refused(path, format!("its checksum is {found:#010x}, expected {expected:#010x}")));
    }
    Ok(Some(Checkpoint { version, value: value.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert_eq!(read(&path, 7, 100).unwrap(), None);
        write(&path, 7, 41, b"sunny").unwrap();
        write(&path, 7, 42, b"rain").unwrap();
        assert_eq!(read(&path, 7, 100).unwrap(), Some(Checkpoint { version: 42, value: b"rain".to_vec() }));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_changed_byte_and_every_other_length_is_a_typed_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write(&path, 7, 42, b"sunny").unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(matches!(read(&path, 7, 100), Err(Error::Checkpoint { .. })), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(matches!(read(&path, 7, 100), Err(Error::Checkpoint { .. })), "{at} bytes");
        }
        fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(read(&path, 7, 100).is_err());
        fs::write(&path, &good).unwrap();
        assert!(read(&path, 8, 100).is_err(), "another type");
        assert!(read(&path, 7, 4).is_err(), "a smaller state");
        assert!(read(&path, 7, 5).unwrap().is_some());
    }
}
