//! The files in which the kernel tells of itself, below a root that tests replace.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use procfs_core::{FromBufRead, ProcessCGroups, process::MountInfos};

pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// This machine.
    pub(super) fn real() -> Self {
        Self::below("/")
    }

    pub(super) fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where `path`, an absolute one, lies.
    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What a file says, without the white space around it.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.at(path)).ok().map(|text| text.trim().to_owned())
    }

    /// What a file says, as a value.
    pub(super) fn value<T: FromStr>(&self, path: impl AsRef<Path>) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The word of a choice that is chosen: `madvise` of `always [madvise] never`.
    pub(super) fn chosen(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = self.text(path)?;
        Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
    }

    /// The names in a directory, in order.
    pub(super) fn names(&self, directory: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.at(directory)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What is mounted where.
    pub(super) fn mounts(&self) -> Option<MountInfos> {
        MountInfos::from_buf_read(self.text("/proc/self/mountinfo")?.as_bytes()).ok()
    }

    /// The directories of this process's control group that has `controller`, from its own to the uppermost that can be
    /// seen, and whether they are of the second version.
    pub(super) fn cgroup(&self, controller: &str) -> Option<Cgroup> {
        let groups = ProcessCGroups::from_buf_read(self.text("/proc/self/cgroup")?.as_bytes()).ok()?;
        let mounts = self.mounts()?;
        let first = groups.0.iter().find(|group| group.controllers.iter().any(|name| name == controller));
        let group = first.or_else(|| groups.0.iter().find(|group| group.hierarchy == 0))?;
        let unified = first.is_none();
        let mount = mounts.iter().find(|mount| match unified {
            true => mount.fs_type == "cgroup2",
            false => mount.fs_type == "cgroup" && mount.super_options.contains_key(controller),
        })?;
        // In a container the mount shows a part of the hierarchy, which the path may begin with.
        let below = group.pathname.strip_prefix(&mount.root).unwrap_or(&group.pathname).trim_start_matches('/');
        let lowest = mount.mount_point.join(below);
        let inside = lowest.ancestors().take_while(|path| path.starts_with(&mount.mount_point));
        Some(Cgroup { unified, directories: inside.map(Path::to_owned).collect() })
    }
}

/// A control group and those above it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cgroup {
    pub(super) unified: bool,
    pub(super) directories: Vec<PathBuf>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine that has these files.
    pub(in super::super) fn host_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host::below(root.path());
        (root, host)
    }

    pub(in super::super) const UNIFIED: [(&str, &str); 2] = [
        ("/proc/self/cgroup", "0::/user.slice/app\n"),
        ("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n"),
    ];

    #[test]
    fn the_chosen_word_is_the_one_in_brackets() {
        let (_root, host) = host_with(&[("/a", "always [madvise] never\n"), ("/b", "none")]);
        assert_eq!(host.chosen("/a").as_deref(), Some("madvise"));
        assert_eq!((host.chosen("/b"), host.chosen("/c")), (None, None));
    }

    #[test]
    fn a_group_of_the_second_version_is_found_with_those_above() {
        let (_root, host) = host_with(&UNIFIED);
        let directories = ["/sys/fs/cgroup/user.slice/app", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"];
        let expected = Cgroup { unified: true, directories: directories.map(PathBuf::from).to_vec() };
        assert_eq!(host.cgroup("memory"), Some(expected));
    }

    #[test]
    fn a_group_of_the_first_version_is_found_through_a_containers_mount() {
        let (_root, host) = host_with(&[
            ("/proc/self/cgroup", "4:memory:/docker/abc\n0::/\n"),
            ("/proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
        ]);
        let expected = Cgroup { unified: false, directories: vec!["/sys/fs/cgroup/memory".into()] };
        assert_eq!(host.cgroup("memory"), Some(expected));
    }
}
