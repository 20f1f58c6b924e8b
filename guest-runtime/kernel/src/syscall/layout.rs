//! Structures of the Linux ABI, written byte by byte: x86-64, little-endian.

use crate::files::status::{FileSystem, Status};

/// `struct stat`.
pub(crate) const STAT_BYTES: usize = 144;
/// `struct statx`.
pub(crate) const STATX_BYTES: usize = 256;
/// `struct statfs`.
pub(crate) const STATFS_BYTES: usize = 120;
/// `struct linux_dirent64` before the name.
pub(crate) const ENTRY_HEADER_BYTES: usize = 19;
/// `struct pollfd`.
pub(crate) const POLL_BYTES: usize = 8;
/// `struct epoll_event`, which is packed on x86-64.
pub(crate) const EPOLL_EVENT_BYTES: usize = 12;
/// `struct iovec`.
pub(crate) const SEGMENT_BYTES: usize = 16;
/// `struct flock`.
pub(crate) const LOCK_BYTES: usize = 32;
/// `struct msghdr`.
pub(crate) const MESSAGE_BYTES: usize = 56;

/// What `stx_mask` says is there: everything of the basic set.
const STATX_BASIC: u32 = 0x7ff;

/// Bytes of a structure, filled field by field.
struct Layout<const N: usize>([u8; N]);

impl<const N: usize> Layout<N> {
    /// Puts the lowest `bytes` bytes of `value` at offset `at`.
    fn put(&mut self, at: usize, bytes: usize, value: u64) -> &mut Self {
        self.0[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        self
    }
}

pub(crate) fn stat(status: &Status) -> [u8; STAT_BYTES] {
    let mut layout = Layout([0; STAT_BYTES]);
    layout.put(0, 8, status.device).put(8, 8, status.inode).put(16, 8, status.links);
    layout.put(24, 4, u64::from(status.mode)).put(28, 4, u64::from(status.owner)).put(32, 4, u64::from(status.group));
    layout.put(40, 8, status.special).put(48, 8, status.bytes).put(56, 8, FileSystem::BLOCK_BYTES).put(
        64,
        8,
        status.blocks,
    );
    for (at, time) in [(72, status.accessed), (88, status.modified), (104, status.changed)] {
        layout.put(at, 8, time.seconds as u64).put(at + 8, 8, u64::from(time.nanoseconds));
    }
    layout.0
}

pub(crate) fn statx(status: &Status) -> [u8; STATX_BYTES] {
    let mut layout = Layout([0; STATX_BYTES]);
    layout.put(0, 4, u64::from(STATX_BASIC)).put(4, 4, FileSystem::BLOCK_BYTES).put(16, 4, status.links);
    layout.put(20, 4, u64::from(status.owner)).put(24, 4, u64::from(status.group)).put(28, 2, u64::from(status.mode));
    layout.put(32, 8, status.inode).put(40, 8, status.bytes).put(48, 8, status.blocks);
    for (at, time) in [(64, status.accessed), (96, status.changed), (112, status.modified)] {
        layout.put(at, 8, time.seconds as u64).put(at + 8, 4, u64::from(time.nanoseconds));
    }
    layout.put(128, 4, status.special >> 8).put(132, 4, status.special & 0xff);
    layout.put(136, 4, status.device >> 8).put(140, 4, status.device & 0xff);
    layout.0
}

pub(crate) fn statfs(system: &FileSystem) -> [u8; STATFS_BYTES] {
    const READ_ONLY: u64 = 1;
    const NO_SUID: u64 = 2;
    /// Linux sets this bit to say that the others mean something.
    const VALID: u64 = 0x20;
    let mut layout = Layout([0; STATFS_BYTES]);
    layout.put(0, 8, system.kind).put(8, 8, FileSystem::BLOCK_BYTES);
    layout.put(16, 8, system.blocks).put(24, 8, system.free_blocks).put(32, 8, system.free_blocks);
    layout.put(40, 8, system.blocks).put(48, 8, system.free_blocks);
    layout.put(64, 8, FileSystem::NAME_BYTES).put(72, 8, FileSystem::BLOCK_BYTES);
    layout.put(80, 8, VALID | NO_SUID | if system.is_read_only { READ_ONLY } else { 0 });
    layout.0
}

/// Length of a directory entry with a name of `name_bytes`.
pub(crate) fn entry_bytes(name_bytes: usize) -> usize {
    (ENTRY_HEADER_BYTES + name_bytes + 1).next_multiple_of(8)
}

/// Writes a directory entry; `into` is [`entry_bytes`] long.
pub(crate) fn entry(into: &mut [u8], inode: u64, next: u64, mode: u32, name: &[u8]) {
    let length = into.len();
    let mut header = Layout([0; ENTRY_HEADER_BYTES]);
    // The type of an entry is the upper four bits of the mode's type.
    header.put(0, 8, inode).put(8, 8, next).put(16, 2, length as u64).put(18, 1, u64::from(mode >> 12));
    into.fill(0);
    into[..ENTRY_HEADER_BYTES].copy_from_slice(&header.0);
    into[ENTRY_HEADER_BYTES..ENTRY_HEADER_BYTES + name.len()].copy_from_slice(name);
}

pub(crate) fn epoll_event(events: u32, data: u64) -> [u8; EPOLL_EVENT_BYTES] {
    let mut layout = Layout([0; EPOLL_EVENT_BYTES]);
    layout.put(0, 4, u64::from(events)).put(4, 8, data);
    layout.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::timestamp::Timestamp;

    const STATUS: Status = Status {
        device: 0x13,
        inode: 7,
        links: 2,
        mode: 0o100_644,
        owner: 3,
        group: 4,
        special: 0x10a,
        bytes: 5000,
        blocks: 16,
        accessed: Timestamp { seconds: 1, nanoseconds: 2 },
        modified: Timestamp { seconds: 3, nanoseconds: 4 },
        changed: Timestamp { seconds: 5, nanoseconds: 6 },
    };

    fn word(bytes: &[u8], at: usize, length: usize) -> u64 {
        (0..length).map(|index| u64::from(bytes[at + index]) << (8 * index)).sum()
    }

    // Offsets by the C library's own headers (bits/struct_stat.h, bits/statfs.h) and the kernel's linux/stat.h.
    #[test]
    fn stat_has_each_field_where_c_has_it() {
        let bytes = stat(&STATUS);
        for (at, length, value) in [
            (0, 8, 0x13),
            (8, 8, 7),
            (16, 8, 2),
            (24, 4, 0o100_644),
            (28, 4, 3),
            (32, 4, 4),
            (40, 8, 0x10a),
            (48, 8, 5000),
            (56, 8, 4096),
            (64, 8, 16),
            (72, 8, 1),
            (80, 8, 2),
            (88, 8, 3),
            (96, 8, 4),
            (104, 8, 5),
            (112, 8, 6),
        ] {
            assert_eq!(word(&bytes, at, length), value, "offset {at}");
        }
    }

    #[test]
    fn statx_has_each_field_where_c_has_it() {
        let bytes = statx(&STATUS);
        for (at, length, value) in [
            (0, 4, 0x7ff),
            (4, 4, 4096),
            (16, 4, 2),
            (20, 4, 3),
            (24, 4, 4),
            (28, 2, 0o100_644),
            (32, 8, 7),
            (40, 8, 5000),
            (48, 8, 16),
            (64, 8, 1),
            (72, 4, 2),
            (96, 8, 5),
            (112, 8, 3),
            (128, 4, 1),
            (132, 4, 10),
            (136, 4, 0),
            (140, 4, 0x13),
        ] {
            assert_eq!(word(&bytes, at, length), value, "offset {at}");
        }
    }

    #[test]
    fn entries_are_aligned_and_terminated() {
        for length in 1..=255 {
            let mut bytes = [0xff; 280];
            let total = entry_bytes(length);
            assert!(total.is_multiple_of(8) && total > ENTRY_HEADER_BYTES + length);
            entry(&mut bytes[..total], 1, 2, 0o040_755, &[b'x'; 255][..length]);
            assert_eq!(word(&bytes, 16, 2) as usize, total);
            assert_eq!(bytes[18], 4);
            assert_eq!(bytes[ENTRY_HEADER_BYTES + length], 0);
        }
    }

    #[test]
    fn epoll_events_are_packed() {
        assert_eq!(epoll_event(1, 0x0807_0605_0403_0201), [1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
