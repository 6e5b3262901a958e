//! Who may enter, and who may look: the runtime directory and /proc.

use rustix::fs::Access;
use strait::transport::inspect_runtime_dir;

use super::{finding::Finding, host::Host};
use crate::find::hidepid;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    vec![runtime_directory(), own_descriptors(), other_processes(host), tracing(host)]
}

fn runtime_directory() -> Finding {
    const CHECK: &str = "runtime directory";
    const WHY: &str =
        "sockets lie there, the only names that there are: whoever can enter it can connect or take a name";
    let (path, usable) = inspect_runtime_dir(None);
    let shown = path.display();
    let elsewhere = "set XDG_RUNTIME_DIR to a directory of yours with mode 700";
    match usable {
        Ok(true) => Finding::ok(CHECK, format!("{shown}: yours alone"), WHY),
        Ok(false) => match path.parent().map(|parent| rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK)) {
            Some(Ok(())) => Finding::ok(CHECK, format!("{shown}: made when it is first needed"), WHY),
            Some(Err(error)) => Finding::fails(CHECK, format!("{shown} cannot be made: {error}"), WHY, elsewhere),
            None => Finding::fails(CHECK, format!("{shown} is no directory"), WHY, elsewhere),
        },
        Err(error) => Finding::fails(CHECK, error.to_string(), WHY, format!("as it says; or {elsewhere}")),
    }
}

fn own_descriptors() -> Finding {
    const CHECK: &str = "/proc/self/fd";
    const WHY: &str = "sockets are bound and found through the runtime directory's descriptor, so that the length of \
        its path does not matter";
    match rustix::fs::access("/proc/self/fd", Access::READ_OK | Access::EXEC_OK) {
        Ok(()) => Finding::ok(CHECK, "there", WHY),
        Err(error) => Finding::fails(CHECK, error.to_string(), WHY, "mount -t proc proc /proc"),
    }
}

fn other_processes(host: &Host) -> Finding {
    const CHECK: &str = "processes of others (/proc, hidepid)";
    const WHY: &str =
        "`strait top` and `strait ls` find connections by looking at processes; your own are never hidden";
    match host.text("/proc/self/mountinfo").and_then(|mountinfo| hidepid(&mountinfo)) {
        None => Finding::ok(CHECK, "visible", WHY),
        Some(option) => {
            Finding::better(CHECK, format!("hidden ({option})"), WHY, "look as root, or mount /proc with hidepid=0")
        }
    }
}

fn tracing(host: &Host) -> Finding {
    const CHECK: &str = "rules for tracing (yama ptrace_scope)";
    const WHY: &str = "bounds debuggers; who only looks at descriptors, as `strait top` does, may as long as the \
        process is the same user's";
    let found = match host.value::<u8>("/proc/sys/kernel/yama/ptrace_scope") {
        None => "no such rules".to_owned(),
        Some(scope @ 0) => format!("{scope}: any process of yours"),
        Some(scope @ 1) => format!("{scope}: children alone"),
        Some(scope) => format!("{scope}: root, or nobody"),
    };
    Finding::ok(CHECK, found, WHY)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{finding::State, host::tests::host_with},
        *,
    };

    #[test]
    fn a_hidden_proc_is_told_from_the_uppermost_mount() {
        let plain = "22 27 0:21 / /proc rw,relatime - proc proc rw\n";
        let hidden = "40 22 0:21 / /proc rw,relatime - proc proc rw,hidepid=invisible\n";
        let (_root, host) = host_with(&[("/proc/self/mountinfo", &[plain, hidden].concat())]);
        let finding = other_processes(&host);
        assert_eq!((finding.state, finding.found.as_str()), (State::CouldBeBetter, "hidden (hidepid=invisible)"));
        let (_root, host) = host_with(&[("/proc/self/mountinfo", plain)]);
        assert_eq!(other_processes(&host).state, State::Ok);
    }

    #[test]
    fn a_scope_is_explained() {
        let (_root, host) = host_with(&[("/proc/sys/kernel/yama/ptrace_scope", "1\n")]);
        assert_eq!(tracing(&host).found, "1: children alone");
    }
}
