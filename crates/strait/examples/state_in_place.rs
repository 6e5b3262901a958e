//! A large state of which each reader wants a little: read where the daemon wrote it, without a copy of all of it.

use std::time::{Duration, Instant};

use strait::{
    HonestPeer, Options,
    state::{Config, Daemon, Error, blocking::Shell},
};

/// Cells of a map of heights, one MiB in all.
const CELLS: usize = 512 * 512;

fn heights(turn: u32) -> Vec<u8> {
    (0..CELLS as u32).flat_map(|cell| (cell * turn).to_le_bytes()).collect()
}

fn main() -> Result<(), Error> {
    let config = Config { max_pins: 2, ..Config::default() };
    let mut daemon: Daemon<[u8]> = Daemon::create("heights-example", &config)?;
    daemon.publish_bytes(&heights(1))?;

    // SAFETY: the daemon is this very program, by whose protocol a value that is pinned is left alone.
    let trust = unsafe { HonestPeer::assume() };
    let options = Options { state_pin: Some(trust), ..config.options.clone() };
    let mut shell: Shell<[u8]> = Shell::connect_with("heights-example", &options)?;
    let pinned = shell.pin()?;
    let map: &[u32] = pinned.as_value().expect("aligned, and whole cells");
    println!("version {}: cell 1000 is {} high", pinned.version(), map[1000]);

    // The daemon goes on, and waits for nobody.
    for turn in 2..=10 {
        daemon.publish_bytes(&heights(turn))?;
    }
    assert!(map.iter().zip(0..).all(|(&height, cell)| height == cell), "still the first version");
    drop(pinned);

    if let Ok(pinned) = shell.pin() {
        println!("version {}: {} bytes in place", pinned.version(), pinned.len());
    } else {
        // Where there is no pin, a copy can be had.
        let value = shell.read(Instant::now() + Duration::from_secs(1))?;
        println!("version {}: {} bytes copied, for {:?}", value.version(), value.len(), shell.no_pin());
    }
    Ok(())
}
