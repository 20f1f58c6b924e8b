//! Files and directories that exist without an image: `/dev`, `/proc`, where `/tmp` hangs, and a minimal `/etc`.
//!
//! One static list. Directories come first, so that their numbers can be written down; everything else names its
//! directory by that number.

use super::device::Device;
use super::proc::Generated;
use super::tmp::{NodeId, Tmp};

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
    pub(crate) const ROOT: Synthetic = Synthetic(0);
    pub(crate) const DEV: Synthetic = Synthetic(1);
    pub(crate) const PROC: Synthetic = Synthetic(2);
    pub(crate) const PROC_SELF: Synthetic = Synthetic(3);
    /// Its entries are the open descriptors.
    pub(crate) const PROC_SELF_FD: Synthetic = Synthetic(4);

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
        let all = (from.max(1)..ENTRIES.len() as u8).map(Synthetic);
        all.filter(move |entry| entry.parent() == self)
    }
}

const fn entry(parent: u8, name: &'static str, kind: Kind) -> Entry {
    Entry { parent: Synthetic(parent), name: name.as_bytes(), kind }
}

const fn text(parent: u8, name: &'static str, text: &'static str) -> Entry {
    entry(parent, name, Kind::Text(text.as_bytes()))
}

const fn link(parent: u8, name: &'static str, target: &'static str) -> Entry {
    entry(parent, name, Kind::Link(target.as_bytes()))
}

const fn generated(parent: u8, name: &'static str, what: Generated) -> Entry {
    entry(parent, name, Kind::Generated(what))
}

static ENTRIES: &[Entry] = &[
    // Directories, by number.
    entry(0, "", Kind::Directory),
    entry(0, "dev", Kind::Sealed),
    entry(0, "proc", Kind::Sealed),
    entry(2, "self", Kind::Sealed),
    entry(3, "fd", Kind::Sealed),
    entry(2, "sys", Kind::Sealed),
    entry(5, "kernel", Kind::Sealed),
    entry(6, "random", Kind::Sealed),
    entry(5, "vm", Kind::Sealed),
    entry(0, "sys", Kind::Sealed),
    entry(9, "devices", Kind::Sealed),
    entry(10, "system", Kind::Sealed),
    entry(11, "cpu", Kind::Sealed),
    entry(9, "fs", Kind::Sealed),
    entry(13, "cgroup", Kind::Sealed),
    entry(0, "etc", Kind::Directory),
    entry(0, "var", Kind::Directory),
    entry(16, "task", Kind::Directory),
    entry(0, "opt", Kind::Directory),
    // /
    entry(0, "tmp", Kind::Mount(Tmp::ROOT)),
    // /dev
    entry(1, "null", Kind::Device(Device::Null)),
    entry(1, "zero", Kind::Device(Device::Zero)),
    entry(1, "random", Kind::Device(Device::Random)),
    entry(1, "urandom", Kind::Device(Device::Random)),
    entry(1, "stdin", Kind::Device(Device::Null)),
    entry(1, "stdout", Kind::Device(Device::Log)),
    entry(1, "stderr", Kind::Device(Device::Log)),
    entry(1, "mayfly", Kind::Device(Device::Events)),
    entry(1, "shm", Kind::Mount(Tmp::SHARED_MEMORY)),
    link(1, "fd", "/proc/self/fd"),
    // /proc
    generated(2, "cpuinfo", Generated::CpuInfo),
    generated(2, "loadavg", Generated::LoadAverage),
    generated(2, "meminfo", Generated::MemInfo),
    link(2, "mounts", "self/mounts"),
    generated(2, "stat", Generated::MachineStat),
    link(2, "thread-self", "self"),
    generated(2, "uptime", Generated::Uptime),
    generated(2, "version", Generated::Version),
    // /proc/self
    generated(3, "cgroup", Generated::Cgroup),
    generated(3, "cmdline", Generated::CommandLine),
    generated(3, "comm", Generated::Command),
    entry(3, "cwd", Kind::Dynamic(Dynamic::WorkingDirectory)),
    generated(3, "environ", Generated::Environment),
    entry(3, "exe", Kind::Dynamic(Dynamic::Executable)),
    generated(3, "limits", Generated::Limits),
    generated(3, "maps", Generated::Maps),
    generated(3, "mounts", Generated::Mounts),
    link(3, "root", "/"),
    generated(3, "stat", Generated::Stat),
    generated(3, "statm", Generated::StatM),
    generated(3, "status", Generated::Status),
    // /proc/sys
    text(6, "hostname", "mayfly\n"),
    text(6, "osrelease", "5.15.0\n"),
    text(6, "ostype", "Linux\n"),
    text(6, "pid_max", "32768\n"),
    generated(7, "boot_id", Generated::BootId),
    generated(7, "uuid", Generated::Uuid),
    text(8, "overcommit_memory", "0\n"),
    // /sys: one processor
    text(12, "online", "0\n"),
    text(12, "possible", "0\n"),
    text(12, "present", "0\n"),
    // /etc, where no image has the file
    text(15, "group", "root:x:0:\nnogroup:x:65534:\n"),
    text(15, "hostname", "mayfly\n"),
    text(15, "hosts", "127.0.0.1 localhost mayfly\n::1 localhost\n"),
    text(15, "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    text(15, "passwd", "root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"),
    text(15, "resolv.conf", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_a_directory_and_has_its_name_alone() {
        assert!(ENTRIES.len() <= usize::from(u8::MAX));
        for (index, entry) in ENTRIES.iter().enumerate().skip(1) {
            assert!(entry.parent.is_directory());
            assert!(usize::from(entry.parent.0) < index);
            let same = ENTRIES.iter().filter(|other| other.parent == entry.parent && other.name == entry.name);
            assert_eq!(same.count(), 1, "{index}");
        }
    }

    #[test]
    fn numbers_of_directories_are_what_the_constants_say() {
        for (number, name) in [
            (Synthetic::DEV, "dev"),
            (Synthetic::PROC, "proc"),
            (Synthetic::PROC_SELF, "self"),
            (Synthetic::PROC_SELF_FD, "fd"),
        ] {
            assert_eq!(number.name(), name.as_bytes());
        }
        for (directory, file) in
            [(6, "osrelease"), (7, "boot_id"), (8, "overcommit_memory"), (12, "online"), (15, "hosts")]
        {
            assert!(Synthetic(directory).child(file.as_bytes()).is_some(), "{file}");
        }
        assert!(Synthetic(17).name() == b"task" && Synthetic(17).parent().name() == b"var");
        assert!(Synthetic(12).is_in_proc() && Synthetic(7).is_in_proc() && !Synthetic(15).is_in_proc());
    }
}
