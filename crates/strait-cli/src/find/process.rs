//! A process as /proc shows it, and why some of them show no more than that they are there.

use std::{fs::File, io::Read, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, statat},
    io::Errno,
};

use super::clean::clean;

/// What is read of a file of /proc at most; the longest of them has some 1,500 bytes, but for command lines.
const MAX_FILE_BYTES: u64 = 8192;
/// What is kept of a command line.
const MAX_COMMAND_CHARS: usize = 512;
/// In the flags of /proc/PID/stat: a thread of the kernel, from include/linux/sched.h.
const PF_KTHREAD: u64 = 0x0020_0000;
/// Fields of /proc/PID/stat, counted from the closing parenthesis: the state, the flags, and the time of the start.
const STATE: usize = 0;
const FLAGS: usize = 6;
const START: usize = 19;

/// A process that holds memory of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// As seen from here.
    pub(crate) pid: u32,
    /// Of the user whom the process acts for.
    pub(crate) user_id: u32,
    /// When it was started, in clock ticks since the machine was.
    pub(crate) start_ticks: u64,
    /// Its command line, fit to be shown.
    pub(crate) command: String,
}

/// Why this process may not look at another one's descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Unseen {
    /// It belongs to another user.
    OtherUser,
    /// It has capabilities that this one lacks.
    MoreCapabilities,
    /// It has made itself unreadable (`PR_SET_DUMPABLE`), or the kernel did when it was started.
    NotDumpable,
    /// A security module or a namespace stands between.
    Guarded,
}

impl Unseen {
    /// What such processes are.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::OtherUser => "of another user",
            Self::MoreCapabilities => "with more capabilities",
            Self::NotDumpable => "not dumpable",
            Self::Guarded => "guarded",
        }
    }

    /// Why that is so, and how they can be seen.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::OtherUser => "run this command as that user, or as root",
            Self::MoreCapabilities => "they have some that this command has not: run it as root, with CAP_SYS_PTRACE",
            Self::NotDumpable => "setuid, file capabilities or PR_SET_DUMPABLE made them so: run this command as root",
            Self::Guarded => "by a security module or a user namespace: run this command where they run",
        }
    }

    /// What JSON says.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::OtherUser => "other_user",
            Self::MoreCapabilities => "more_capabilities",
            Self::NotDumpable => "not_dumpable",
            Self::Guarded => "guarded",
        }
    }
}

/// A process's directory. What is read through it is of this very process, even where another has its number by now.
pub(crate) struct ProcessDir {
    dir: OwnedFd,
    pid: u32,
}

impl ProcessDir {
    /// Opens the directory of process `pid` below `proc`.
    pub(crate) fn open(proc: &Path, pid: u32) -> Result<Self, Errno> {
        let dir =
            openat(CWD, proc.join(pid.to_string()), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { dir, pid })
    }

    /// Opens the directory of its descriptors.
    pub(crate) fn descriptors(&self) -> Result<OwnedFd, Errno> {
        openat(&self.dir, "fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// Whom it is; `None` where it has ended.
    pub(crate) fn process(&self) -> Option<Process> {
        let stat = self.file("stat")?;
        let status = self.file("status")?;
        let command = command(&self.file("cmdline")?, &self.file("comm")?);
        let start_ticks = Stat::read(&stat)?.start_ticks;
        Some(Process { pid: self.pid, user_id: user_id(&status)?, start_ticks, command })
    }

    /// Why its descriptors are not shown; `None` where it has none to show.
    pub(crate) fn why_unseen(&self, own: &Own) -> Option<Unseen> {
        let stat = Stat::read(&self.file("stat")?)?;
        if stat.is_kernel_thread || stat.is_zombie {
            return None;
        }
        let status = self.file("status")?;
        let (user_id, capabilities) = (user_id(&status)?, capabilities(&status, "CapPrm")?);
        // Root owns what is not dumpable, whoever runs it; but for what everybody may read, its own directory too.
        let owner = statat(&self.dir, "fd", AtFlags::empty()).ok()?.st_uid;
        Some(why(own, user_id, owner, capabilities))
    }

    fn file(&self, name: &str) -> Option<Vec<u8>> {
        let file = openat(&self.dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        read_some(file)
    }
}

/// What decides about what this process may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    user_id: u32,
    capabilities: u64,
}

impl Own {
    /// Asks for this process, below `proc`.
    pub(crate) fn read(proc: &Path) -> Option<Self> {
        let file = openat(CWD, proc.join("self/status"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let status = read_some(file)?;
        Some(Self { user_id: user_id(&status)?, capabilities: capabilities(&status, "CapEff")? })
    }
}

fn why(own: &Own, user_id: u32, owner: u32, capabilities: u64) -> Unseen {
    if user_id != own.user_id {
        Unseen::OtherUser
    } else if capabilities & !own.capabilities != 0 {
        Unseen::MoreCapabilities
    } else if owner != user_id {
        Unseen::NotDumpable
    } else {
        Unseen::Guarded
    }
}

fn read_some(file: OwnedFd) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

struct Stat {
    is_kernel_thread: bool,
    is_zombie: bool,
    start_ticks: u64,
}

impl Stat {
    /// Reads /proc/PID/stat. The command in it may hold anything: what counts begins behind the last parenthesis.
    fn read(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|&byte| byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&text[end + 1..]).ok()?.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            is_kernel_thread: number(FLAGS)? & PF_KTHREAD != 0,
            is_zombie: matches!(*fields.get(STATE)?, "Z" | "X"),
            start_ticks: number(START)?,
        })
    }
}

/// The values of a line of /proc/PID/status.
fn values<'a>(status: &'a [u8], name: &str) -> Option<impl Iterator<Item = &'a str>> {
    let of = |line: &'a [u8]| line.strip_prefix(name.as_bytes())?.strip_prefix(b":");
    let value = status.split(|&byte| byte == b'\n').find_map(of)?;
    Some(std::str::from_utf8(value).ok()?.split_whitespace())
}

/// The effective user id.
fn user_id(status: &[u8]) -> Option<u32> {
    values(status, "Uid")?.nth(1)?.parse().ok()
}

fn capabilities(status: &[u8], name: &str) -> Option<u64> {
    u64::from_str_radix(values(status, name)?.next()?, 16).ok()
}

/// A command as it is shown: the program without its directory, then its arguments.
fn command(cmdline: &[u8], comm: &[u8]) -> String {
    let mut words = cmdline.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    let Some(program) = words.next() else { return clean(comm.trim_ascii_end(), MAX_COMMAND_CHARS) };
    let program = program.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty()).unwrap_or(program);
    let mut line = program.to_vec();
    for word in words {
        line.push(b' ');
        line.extend_from_slice(word);
    }
    clean(&line, MAX_COMMAND_CHARS)
}

/// What mountinfo says of hidden processes, as `/proc` is mounted where this process runs.
pub(crate) fn hidepid(mountinfo: &str) -> Option<String> {
    let line = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/proc"))?;
    let (_, rest) = line.split_once(" - proc ")?;
    let mut options = rest.split(' ').nth(1)?.split(',');
    let option =
        options.find(|option| option.starts_with("hidepid=") && !matches!(*option, "hidepid=0" | "hidepid=off"))?;
    Some(clean(option.as_bytes(), MAX_COMMAND_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] =
        b"Name:\tUid:\t7\nUid:\t1000\t1001\t1000\t1000\nCapPrm:\t00000000000000ff\nCapEff:\t000000000000000f\n";

    #[test]
    fn this_process_is_described_as_it_is() {
        let pid = std::process::id();
        let process = ProcessDir::open(Path::new("/proc"), pid).unwrap().process().unwrap();
        let program = std::env::args().next().unwrap();
        assert_eq!((process.pid, process.user_id), (pid, rustix::process::geteuid().as_raw()));
        assert!(process.command.starts_with(program.rsplit('/').next().unwrap()), "{process:?}");
        assert!(process.start_ticks > 0);
    }

    #[test]
    fn a_command_that_looks_like_the_rest_of_its_line_changes_nothing() {
        let fields = "S 1 2 3 4 5 2097152 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for command in ["sh", "a) Z 0 0", ") ) )", "x\n"] {
            let stat = Stat::read(format!("12 ({command}) {fields}").as_bytes()).unwrap();
            assert_eq!((stat.is_kernel_thread, stat.is_zombie, stat.start_ticks), (true, false, 4711));
        }
        assert!(Stat::read(b"12 (sh) S 1").is_none() && Stat::read(b"").is_none());
    }

    #[test]
    fn the_status_is_read_by_whole_names() {
        assert_eq!((user_id(STATUS), capabilities(STATUS, "CapPrm")), (Some(1001), Some(0xff)));
        assert_eq!((user_id(b"Uid:\t1\n"), user_id(b"Uid"), capabilities(STATUS, "Cap")), (None, None, None));
    }

    #[test]
    fn each_reason_not_to_see_a_process_has_its_name() {
        let own = Own { user_id: 1000, capabilities: 0x0f };
        assert_eq!(why(&own, 1001, 1001, 0), Unseen::OtherUser);
        assert_eq!(why(&own, 1000, 1000, 0x10), Unseen::MoreCapabilities);
        assert_eq!(why(&own, 1000, 0, 0), Unseen::NotDumpable);
        assert_eq!(why(&own, 1000, 1000, 0x0f), Unseen::Guarded);
    }

    #[test]
    fn commands_are_shown_without_directory_and_without_harm() {
        assert_eq!(command(b"/usr/bin/trader\x0016\0orders\0", b"trader\n"), "trader 16 orders");
        assert_eq!(command(b"", b"comm\x1b[31m\n"), "comm·[31m");
        assert_eq!(command(b"\0\0", b"sh\n"), "sh");
        assert_eq!(command(b"/\0\x1b]0;gotcha\x07\0", b""), "/ ·]0;gotcha·");
        assert_eq!(command(&[b'a'; 9000], b"").chars().count(), MAX_COMMAND_CHARS);
    }

    #[test]
    fn hidden_processes_are_known_from_the_mount() {
        let mounts = |options: &str| {
            format!("1 0 8:1 / / rw - ext4 /dev/sda rw\n22 1 0:21 / /proc rw,nosuid - proc proc {options}\n")
        };
        assert_eq!(hidepid(&mounts("rw,hidepid=2")).as_deref(), Some("hidepid=2"));
        assert_eq!(hidepid(&mounts("rw,gid=4,hidepid=invisible")).as_deref(), Some("hidepid=invisible"));
        for none in [mounts("rw"), mounts("rw,hidepid=off"), mounts("rw,hidepid=0"), String::new(), "x".to_owned()] {
            assert_eq!(hidepid(&none), None);
        }
    }
}
