//! What the kernel can do, tried by doing it.

use std::{fs::File, io::Write, sync::atomic::AtomicU32, time::Duration};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    process::{PidfdFlags, getpid, pidfd_open},
};
use strait::{
    sync::{FutexWait, wait, wake},
    transport::passes_pidfds,
};

use super::{finding::Finding, host::Host};

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let mut findings = sealed_memory(host);
    findings.extend([futex(), pidfd(), pidfd_of_sender()]);
    findings
}

const MEMFD: &str = "anonymous memory (memfd)";
const MEMFD_WHY: &str = "every segment is a memfd: without it all connections stay on their sockets";
const NEW_KERNEL: &str = "use Linux 5.1 or later; in a container or sandbox, let its seccomp filter allow the call";

/// Makes memory as the libraries do, and tries to write what is sealed.
fn sealed_memory(host: &Host) -> Vec<Finding> {
    const NOEXEC: &str = "memory that is never run (NOEXEC_SEAL)";
    const NOEXEC_WHY: &str = "segments hold data alone; vm.memfd_noexec=2 even refuses others";
    let plain = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let rule =
        host.text("/proc/sys/vm/memfd_noexec").map_or_else(String::new, |rule| format!("; vm.memfd_noexec = {rule}"));
    let (fd, noexec) = match memfd_create("strait:doctor", plain | MemfdFlags::NOEXEC_SEAL) {
        Ok(fd) => (Ok(fd), Finding::ok(NOEXEC, format!("yes{rule}"), NOEXEC_WHY)),
        Err(Errno::INVAL) => {
            let found = format!("unknown to this kernel{rule}");
            (memfd_create("strait:doctor", plain), Finding::better(NOEXEC, found, NOEXEC_WHY, "use Linux 6.3 or later"))
        }
        Err(error) => (Err(error), Finding::better(NOEXEC, format!("refused: {error}{rule}"), NOEXEC_WHY, NEW_KERNEL)),
    };
    match fd {
        Ok(fd) => vec![Finding::ok(MEMFD, "yes", MEMFD_WHY), noexec, seals(File::from(fd))],
        Err(error) => vec![Finding::fails(MEMFD, format!("refused: {error}"), MEMFD_WHY, NEW_KERNEL), noexec],
    }
}

fn seals(mut memory: File) -> Finding {
    const CHECK: &str = "memory that its maker alone writes (seals)";
    const WHY: &str =
        "F_SEAL_FUTURE_WRITE is why no peer can change what one has written, and no size changes under a reader";
    let seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    let sealed = memory.set_len(4096).map_err(|error| error.to_string());
    let sealed = sealed.and_then(|()| fcntl_add_seals(&memory, seals).map_err(|error| error.to_string()));
    match sealed {
        Err(error) => Finding::fails(CHECK, format!("refused: {error}"), WHY, NEW_KERNEL),
        Ok(()) if memory.write(b"x").is_ok() || memory.set_len(0).is_ok() => {
            Finding::fails(CHECK, "sealed memory was written all the same", WHY, NEW_KERNEL)
        }
        Ok(()) => Finding::ok(CHECK, "yes: a write was refused", WHY),
    }
}

fn futex() -> Finding {
    const CHECK: &str = "sleep on a word of memory (futex)";
    const WHY: &str = "queues and cells between processes sleep on it";
    let word = AtomicU32::new(0);
    let unchanged = wait(&word, 0, Some(Duration::from_millis(1)));
    let changed = wait(&word, 1, Some(Duration::from_millis(1)));
    let woken = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| wait(&word, 0, Some(Duration::from_secs(2))));
        while wake(&word, 1) == 0 && !sleeper.is_finished() {
            std::thread::yield_now();
        }
        sleeper.join().unwrap_or(FutexWait::TimedOut)
    });
    match (unchanged, changed, woken) {
        (FutexWait::TimedOut, FutexWait::Changed, FutexWait::Woken) => Finding::ok(CHECK, "yes: slept and woken", WHY),
        other => Finding::fails(CHECK, format!("does not sleep and wake as it should: {other:?}"), WHY, NEW_KERNEL),
    }
}

fn pidfd() -> Finding {
    const CHECK: &str = "descriptors of processes (pidfd)";
    const WHY: &str =
        "queues between processes take back what a dead one held only where they can be sure that it is dead";
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Finding::ok(CHECK, "yes", WHY),
        Err(error) => Finding::better(
            CHECK,
            format!("refused: {error}"),
            WHY,
            "use Linux 5.3 or later, and let the sandbox allow pidfd_open",
        ),
    }
}

fn pidfd_of_sender() -> Finding {
    const CHECK: &str = "the sender's pidfd on a socket";
    const WHY: &str =
        "with it a peer's death is learned at once; without it when its socket hangs up, which a child of it can delay";
    match passes_pidfds() {
        Ok(()) => Finding::ok(CHECK, "yes", WHY),
        Err(error) => Finding::better(CHECK, error.to_string(), WHY, "use Linux 6.5 or later"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{finding::State, host::tests::host_with},
        *,
    };

    #[test]
    fn memory_that_is_not_sealed_or_not_to_be_sealed_will_not_do() {
        let not_sealable = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        let finding = seals(File::from(not_sealable));
        assert_eq!(finding.state, State::WillNotWork, "{finding:?}");
        let sealable = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert_eq!(seals(File::from(sealable)).state, State::Ok);
    }

    #[test]
    fn this_kernel_runs_the_tests_of_the_libraries_so_it_does() {
        let (_root, host) = host_with(&[("/proc/sys/vm/memfd_noexec", "1\n")]);
        let findings = check(&host);
        assert!(findings.iter().all(|finding| finding.state != State::WillNotWork), "{findings:?}");
        assert!(findings.iter().any(|finding| finding.found.contains("vm.memfd_noexec = 1")));
    }
}
