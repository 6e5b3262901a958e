//! A file copied between two processes: a child reads it and streams it, the parent writes it, and the digests are compared.
//!
//! `cargo run --release --example stream_copy [FILE]`; without a file, this program copies itself.

use std::{
    env,
    error::Error,
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::{Read, Write},
    process::Command,
    time::{Duration, Instant},
};

use strait::stream::{Config, Consumer, Endpoint, Producer};

/// In the child's arguments.
const CHILD: &str = "--send";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, path] = &arguments[..]
        && flag == CHILD
    {
        return send(path);
    }
    let itself = env::current_exe()?;
    let source = arguments.first().map_or(itself.clone(), Into::into);
    let copy = env::temp_dir().join(format!("strait-copy-{}", std::process::id()));

    let mut command = Command::new(itself);
    command.arg(CHILD).arg(&source);
    let begin = Instant::now();
    let (mut child, mut chunks) = <Consumer>::spawn(command, &Config::default())?;
    let mut file = File::create(&copy)?;
    while let Some(chunk) = chunks.recv()? {
        file.write_all(&chunk)?; // an end is told from a death: a child that dies ends this with an error
    }
    drop(file);
    let elapsed = begin.elapsed();
    assert!(child.wait()?.success());

    let (original, copied) = (digest(File::open(&source)?)?, digest(File::open(&copy)?)?);
    let stats = chunks.stats();
    std::fs::remove_file(&copy)?;
    let bytes = source.metadata()?.len();
    println!("{bytes} bytes in {} messages, {elapsed:.2?}, over {}", stats.received, chunks.transport());
    println!("digests {original:016x} {copied:016x}: {}", if original == copied { "equal" } else { "DIFFERENT" });
    if original == copied { Ok(()) } else { Err("the copy differs".into()) }
}

/// The child: no name, no path, only what it inherited.
fn send(path: &str) -> Result<(), Box<dyn Error>> {
    let mut chunks = <Producer>::inherit(&Config::default())?;
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 32 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => chunks.send(&buffer[..read])?,
        };
    }
    Ok(chunks.finish(Duration::from_secs(5))?)
}

fn digest(mut file: File) -> Result<u64, Box<dyn Error>> {
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => buffer[..read].iter().for_each(|byte| hasher.write_u8(*byte)),
        }
    }
}
