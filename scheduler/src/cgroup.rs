//! Where among the host's cgroups this process is: `/proc/self/cgroup` says in which, `/proc/self/mountinfo` where that is shown.

use std::path::{Path, PathBuf};

/// Generation of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy. Processes are in its leaves alone.
    V2,
}

/// What a group rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Memory => "memory",
        }
    }
}

impl Version {
    /// The directory of this process's own group that has to do with `controller`.
    pub(crate) fn own(self, controller: Controller) -> Option<PathBuf> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        self.find(controller, &read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    fn find(self, controller: Controller, mounts: &str, groups: &str) -> Option<PathBuf> {
        let group = groups.lines().find_map(|line| self.group(controller, line))?;
        mounts.lines().filter_map(|line| self.mount(controller, line)).find_map(|(root, shown_at)| {
            // A container may be shown a part of the hierarchy, as if that were all.
            let below = Path::new(group).strip_prefix(root).ok()?;
            let is_outside = below.components().any(|part| part == std::path::Component::ParentDir);
            (!is_outside).then(|| Path::new(shown_at).join(below))
        })
    }

    /// Of `hierarchy:controllers:group`, the group.
    fn group(self, controller: Controller, line: &str) -> Option<&str> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let is_it = match self {
            Version::V1 => controllers.split(',').any(|one| one == controller.name()),
            Version::V2 => controllers.is_empty(),
        };
        is_it.then_some(group)
    }

    /// Of `id parent device root mount-point options… - type source options`, the root and the mount point.
    fn mount(self, controller: Controller, line: &str) -> Option<(&str, &str)> {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let is_it = match (self, after.next()?) {
            (Version::V1, "cgroup") => after.nth(1)?.split(',').any(|option| option == controller.name()),
            (Version::V2, "cgroup2") => true,
            _ => false,
        };
        let mut before = before.split(' ').skip(3);
        is_it.then_some((before.next()?, before.next()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "22 1 0:20 / /proc rw - proc proc rw\n\
        31 25 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
        32 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
    const IN_HYBRID: &str =
        "3:cpuset:/\n2:cpu,cpuacct:/system.slice/mayfly.service\n1:name=systemd:/x\n0::/system.slice\n";

    #[test]
    fn groups_are_found() {
        let found = |version: Version, mounts, groups| {
            version.find(Controller::Cpu, mounts, groups).map(|path| path.display().to_string())
        };
        let v1 = found(Version::V1, HYBRID, IN_HYBRID);
        assert_eq!(v1.as_deref(), Some("/sys/fs/cgroup/cpu,cpuacct/system.slice/mayfly.service"));
        assert_eq!(found(Version::V2, HYBRID, IN_HYBRID).as_deref(), Some("/sys/fs/cgroup/unified/system.slice"));
        let unified = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(found(Version::V2, unified, "0::/docker/abc/in\n").as_deref(), Some("/sys/fs/cgroup/in"));
        assert_eq!(found(Version::V2, unified, "0::/docker/abcd\n"), None, "another's");
        assert_eq!(found(Version::V2, unified, "0::/docker/abc/../x\n"), None, "out of sight");
        assert_eq!(found(Version::V1, unified, "0::/docker/abc\n"), None);
        assert_eq!(found(Version::V1, "", ""), None);
    }
}
