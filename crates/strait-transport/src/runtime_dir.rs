//! Where sockets lie: a directory that only this user can enter.
//!
//! `$XDG_RUNTIME_DIR/strait`, else `/run/user/<uid>/strait`, else `/tmp/strait-<uid>`. Whichever it is, it must be a real
//! directory of this user with mode 0700; it is made if it is missing. All work goes through its descriptor, so that
//! neither a symlink that appears later nor the 108 bytes of a socket path matter.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};

use crate::error::Error;

/// Longest service name in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// How long a bind waits for another to be done.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks that `name` can be a service's.
///
/// # Errors
///
/// [`Error::Name`] unless it has 1 to 64 characters out of `A-Z a-z 0-9 . _ -` and does not begin with a dot.
pub fn check_name(name: &str) -> Result<(), Error> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('.') || !name.bytes().all(good) {
        let expected = "1 to 64 characters out of A-Z a-z 0-9 . _ -, the first of them no dot";
        return Err(Error::Name { name: name.chars().take(80).collect(), expected });
    }
    Ok(())
}

/// The open runtime directory.
#[derive(Debug)]
pub(crate) struct RuntimeDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl RuntimeDir {
    /// Opens `chosen`, or the directory that the environment gives; makes it if it is missing.
    pub(crate) fn open(chosen: Option<&Path>) -> Result<Self, Error> {
        let path = path_of(chosen);
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => {
                let why = format!("cannot be made: {error}; set XDG_RUNTIME_DIR to a directory of yours");
                return Err(Error::RuntimeDir { path, why });
            }
        }
        Self::open_existing(path)
    }

    /// Opens a directory that is there, after every check.
    fn open_existing(path: PathBuf) -> Result<Self, Error> {
        let bad = |why: String| Error::RuntimeDir { path: path.clone(), why };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => bad("is a symlink or no directory; remove it".into()),
            error => bad(format!("cannot be opened: {error}")),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| Error::io("fstat", error))?;
        let (owner, expected) = (stat.st_uid, rustix::process::geteuid().as_raw());
        if owner != expected {
            return Err(bad(format!("belongs to user {owner}, expected {expected}")));
        }
        let mode = stat.st_mode & 0o777;
        if mode & 0o077 != 0 {
            return Err(bad(format!("has mode {mode:03o}, expected 700: others must not enter it (chmod 700)")));
        }
        Ok(Self { fd, path })
    }

    /// The path of a service's socket, for messages.
    pub(crate) fn socket_path(&self, name: &str) -> PathBuf {
        self.path.join(socket_name(name))
    }

    /// The same through the directory's descriptor: short enough for a socket address, whatever the directory's path.
    pub(crate) fn socket_address(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{}", self.fd.as_raw_fd(), socket_name(name)).into()
    }

    /// Removes a service's socket.
    pub(crate) fn unlink(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.fd, socket_name(name), rustix::fs::AtFlags::empty())
    }

    /// Device and inode of a service's socket.
    pub(crate) fn identity(&self, name: &str) -> Option<(u64, u64)> {
        let stat = rustix::fs::statat(&self.fd, socket_name(name), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    /// Keeps other processes from binding or unlinking until the result is dropped. The lock is on the directory itself, on
    /// an open file description of its own, so that the kernel gives it back when this process dies.
    pub(crate) fn lock(&self) -> Result<DirLock, Error> {
        let own =
            rustix::fs::openat(&self.fd, c".", OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| Error::io("opening the runtime directory", error))?;
        // Whoever holds it does so for a few system calls, unless it is stopped; that must not stop us.
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            match rustix::fs::flock(&own, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(DirLock { own }),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                Err(Errno::AGAIN) => return Err(Error::TimedOut { what: "locking the runtime directory" }),
                Err(error) => return Err(Error::io("flock", error)),
            }
        }
    }
}

/// Held while a socket is bound or unlinked.
pub(crate) struct DirLock {
    own: OwnedFd,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing would not do where another thread has forked meanwhile: the child's copy would hold the lock.
        let _ = rustix::fs::flock(&self.own, FlockOperation::Unlock);
    }
}

fn socket_name(name: &str) -> String {
    format!("{name}.sock")
}

/// Where sockets lie, by `chosen` or the environment, and whether the directory is there and fit; unlike a bind or a connect this
/// makes nothing.
///
/// ```
/// let (path, usable) = strait_transport::inspect_runtime_dir(None);
/// match usable {
///     Ok(true) => println!("{} is fit", path.display()),
///     Ok(false) => println!("{} will be made when it is needed", path.display()),
///     Err(error) => println!("{error}"),
/// }
/// ```
pub fn inspect_runtime_dir(chosen: Option<&Path>) -> (PathBuf, Result<bool, Error>) {
    let path = path_of(chosen);
    let usable = match rustix::fs::lstat(&path) {
        Err(Errno::NOENT) => Ok(false),
        _ => RuntimeDir::open_existing(path.clone()).map(|_| true),
    };
    (path, usable)
}

fn path_of(chosen: Option<&Path>) -> PathBuf {
    chosen.map_or_else(default_path, Path::to_owned)
}

fn default_path() -> PathBuf {
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        return Path::new(&dir).join("strait");
    }
    let uid = rustix::process::geteuid().as_raw();
    let run = PathBuf::from(format!("/run/user/{uid}"));
    if run.is_dir() { run.join("strait") } else { PathBuf::from(format!("/tmp/strait-{uid}")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(tag: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("strait-dir-{}-{tag}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn names_that_are_no_file_names_are_refused() {
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "a\0b", "ü", &"x".repeat(65)] {
            assert!(matches!(check_name(name), Err(Error::Name { .. })), "{name:?}");
        }
        for name in ["a", "quotes", "a.b-c_D9", &"x".repeat(64)] {
            check_name(name).unwrap();
        }
    }

    #[test]
    fn a_missing_directory_is_made_for_this_user_alone() {
        let path = scratch("made");
        RuntimeDir::open(Some(&path)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(inspect_runtime_dir(Some(&path)).1.unwrap());
        std::fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn an_inspection_makes_nothing_and_refuses_what_a_bind_would() {
        let path = scratch("seen");
        assert!(!inspect_runtime_dir(Some(&path)).1.unwrap());
        assert!(!path.exists());
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(inspect_runtime_dir(Some(&path)).1, Err(Error::RuntimeDir { .. })));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let path = scratch("open");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = RuntimeDir::open(Some(&path)).unwrap_err();
        assert!(error.to_string().contains("mode 755, expected 700"), "{error}");
        std::fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_symlink_is_refused() {
        let (target, link) = (scratch("target"), scratch("link"));
        std::fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let error = RuntimeDir::open(Some(&link)).unwrap_err();
        assert!(error.to_string().contains("symlink"), "{error}");
        std::fs::remove_file(&link).unwrap();
        std::fs::remove_dir(&target).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_refused() {
        let path = scratch("file");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(RuntimeDir::open(Some(&path)), Err(Error::RuntimeDir { .. })));
        std::fs::remove_file(&path).unwrap();
    }
}
