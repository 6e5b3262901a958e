//! Pinning to cores.

/// Parses `CLIENT,SERVER`.
pub(crate) fn parse_cores(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("{text:?} is not two core numbers, expected something like 1,0");
    let (client, server) = text.split_once(',').ok_or_else(wrong)?;
    Ok((client.trim().parse().map_err(|_| wrong())?, server.trim().parse().map_err(|_| wrong())?))
}

/// Pins the calling thread, and the threads that it starts, to one core.
pub(crate) fn to(core: usize) -> std::io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}
