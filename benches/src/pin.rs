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

/// The cores that threads are pinned to, in the order in which threads get them.
#[derive(Clone, Debug)]
pub(crate) struct Cores(Vec<usize>);

impl Cores {
    /// The two that were asked for, and then whatever else this process may run on.
    pub(crate) fn starting_with(two: (usize, usize)) -> Result<Self, String> {
        let Self(allowed) = Self::allowed()?;
        let mut cores = Vec::new();
        for core in [two.0, two.1].into_iter().chain(allowed.iter().copied()) {
            if !allowed.contains(&core) {
                return Err(format!("core {core} is not one that this process may use: {}", Self(allowed)));
            }
            if !cores.contains(&core) {
                cores.push(core);
            }
        }
        Ok(Self(cores))
    }

    /// Whatever this process may run on.
    pub(crate) fn allowed() -> Result<Self, String> {
        let allowed = rustix::thread::sched_getaffinity(None).map_err(|error| format!("cannot list them: {error}"))?;
        Ok(Self((0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect()))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Pins the calling thread as thread number `thread`; where there are more threads than cores, they share.
    pub(crate) fn pin(&self, thread: usize) -> std::io::Result<()> {
        to(self.0[thread % self.0.len()])
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cores: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&cores.join(", "))
    }
}
