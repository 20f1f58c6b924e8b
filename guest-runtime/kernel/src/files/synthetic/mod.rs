//! Files and directories that exist without an image: `/dev`, `/proc`, where `/tmp` hangs, and a minimal `/etc`.
//!
//! One static list, and an index of it by directory that the compiler makes.

mod entries;

use super::device::Device;
use super::proc::Generated;
use super::tmp::NodeId;
use entries::ENTRIES;

/// Number of an entry of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Synthetic(pub(crate) u8);

/// What an entry is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A directory that is merged with those of the images.
    Directory,
    /// A directory in which images have no say.
    Sealed,
    /// A file with this text.
    Text(&'static [u8]),
    /// A file whose text is made when it is opened.
    Generated(Generated),
    Link(&'static [u8]),
    /// A link to whatever this is at the moment.
    Dynamic(Dynamic),
    Device(Device),
    /// The root of a writable tree.
    Mount(NodeId),
}

/// Links of `/proc/self`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dynamic {
    Executable,
    WorkingDirectory,
}

/// An entry.
#[derive(Debug)]
pub(crate) struct Entry {
    parent: Synthetic,
    name: &'static [u8],
    pub(crate) kind: Kind,
}

impl Synthetic {
    pub(crate) const ROOT: Synthetic = entries::ROOT;
    pub(crate) const DEV: Synthetic = entries::DEV;
    pub(crate) const PROC: Synthetic = entries::PROC;
    pub(crate) const PROC_SELF: Synthetic = entries::PROC_SELF;
    /// Its entries are the open descriptors.
    pub(crate) const PROC_SELF_FD: Synthetic = entries::PROC_SELF_FD;
    pub(crate) const PROC_SELF_FD_INFO: Synthetic = entries::PROC_SELF_FD_INFO;
    /// Its only entry is the process itself.
    pub(crate) const PROC_SELF_TASK: Synthetic = entries::PROC_SELF_TASK;

    pub(crate) fn entry(self) -> &'static Entry {
        &ENTRIES[self.0 as usize % ENTRIES.len()]
    }

    pub(crate) fn name(self) -> &'static [u8] {
        self.entry().name
    }

    pub(crate) fn kind(self) -> Kind {
        self.entry().kind
    }

    /// Directory above; the root's is the root.
    pub(crate) fn parent(self) -> Synthetic {
        self.entry().parent
    }

    #[cfg(test)]
    fn is_directory(self) -> bool {
        matches!(self.kind(), Kind::Directory | Kind::Sealed)
    }

    /// Is this, or a directory above it, `/proc` or `/sys`?
    pub(crate) fn is_in_proc(self) -> bool {
        let (mut at, mut top) = (self, self);
        while at != Synthetic::ROOT {
            (at, top) = (at.parent(), at);
        }
        matches!(top.name(), b"proc" | b"sys")
    }

    /// The entry of this directory with that name.
    pub(crate) fn child(self, name: &[u8]) -> Option<Synthetic> {
        self.children(0).find(|child| child.name() == name)
    }

    /// The entries of this directory from number `from` on.
    pub(crate) fn children(self, from: u8) -> impl Iterator<Item = Synthetic> {
        let at = usize::from(self.0);
        let range = usize::from(INDEX.starts[at])..usize::from(INDEX.starts[at + 1]);
        INDEX.order[range].iter().copied().filter(move |number| *number >= from).map(Synthetic)
    }
}

/// The list by directory: the entries of directory `d` are `order[starts[d]..starts[d + 1]]`, by rising number.
struct Index {
    order: [u8; ENTRIES.len()],
    starts: [u8; ENTRIES.len() + 1],
}

static INDEX: Index = Index::new();

impl Index {
    const fn new() -> Index {
        let mut index = Index { order: [0; ENTRIES.len()], starts: [0; ENTRIES.len() + 1] };
        let (mut directory, mut filled) = (0, 0);
        while directory < ENTRIES.len() {
            index.starts[directory] = filled as u8;
            // The root is its own directory, and not in it.
            let mut number = 1;
            while number < ENTRIES.len() {
                if ENTRIES[number].parent.0 as usize == directory {
                    index.order[filled] = number as u8;
                    filled += 1;
                }
                number += 1;
            }
            directory += 1;
        }
        index.starts[directory] = filled as u8;
        index
    }
}

const _: () = assert!(ENTRIES.len() <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_a_directory_and_has_its_name_alone() {
        for (index, entry) in ENTRIES.iter().enumerate().skip(1) {
            assert!(entry.parent.is_directory());
            assert!(usize::from(entry.parent.0) < index);
            let same = ENTRIES.iter().filter(|other| other.parent == entry.parent && other.name == entry.name);
            assert_eq!(same.count(), 1, "{index}");
        }
    }

    #[test]
    fn numbers_of_directories_are_what_the_constants_say() {
        for (path, file) in [
            ("dev", "null"),
            ("proc", "meminfo"),
            ("proc/self", "status"),
            ("proc/sys/kernel", "osrelease"),
            ("proc/sys/kernel/random", "boot_id"),
            ("proc/sys/vm", "overcommit_memory"),
            ("proc/sys/fs", "pipe-max-size"),
            ("proc/sys/net/core", "somaxconn"),
            ("proc/sys/net/ipv4", "ip_local_port_range"),
            ("proc/sys/net/unix", "max_dgram_qlen"),
            ("sys/devices/system/cpu", "online"),
            ("sys/devices/system/cpu/cpu0/topology", "core_id"),
            ("sys/devices/system/node/node0", "cpulist"),
            ("sys/kernel/mm/transparent_hugepage", "enabled"),
            ("sys/fs", "cgroup"),
            ("etc", "hosts"),
            ("var", "task"),
        ] {
            let found = path.split('/').try_fold(Synthetic::ROOT, |at, name| at.child(name.as_bytes()));
            let directory = found.unwrap_or_else(|| panic!("{path}"));
            assert!(directory.is_directory() && directory.child(file.as_bytes()).is_some(), "{path} {file}");
            assert_eq!(directory.is_in_proc(), path.starts_with("proc") || path.starts_with("sys"), "{path}");
        }
        for (number, name) in [
            (Synthetic::DEV, "dev"),
            (Synthetic::PROC_SELF_FD, "fd"),
            (Synthetic::PROC_SELF_FD_INFO, "fdinfo"),
            (Synthetic::PROC_SELF_TASK, "task"),
        ] {
            assert_eq!(number.name(), name.as_bytes());
        }
    }

    #[test]
    fn the_index_has_every_entry_once_and_in_order() {
        let all: usize = (0..ENTRIES.len() as u8).map(|number| Synthetic(number).children(0).count()).sum();
        assert_eq!(all, ENTRIES.len() - 1);
        let root: alloc::vec::Vec<_> = Synthetic::ROOT.children(17).map(|entry| entry.0).collect();
        assert!(root.is_sorted() && root.iter().all(|number| *number >= 17));
    }
}
