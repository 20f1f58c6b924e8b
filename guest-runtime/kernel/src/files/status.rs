//! What `stat` and `statfs` tell.

use mayfly_abi::image::{DIRECTORY, FILE, LINK, TYPE_MASK};

use super::Files;
use super::description::{Description, Object};
use super::limits::{NAME_BYTES_MAX, PAGE_BYTES};
use super::place::Place;
use super::synthetic::{Kind, Synthetic};
use super::timestamp::Timestamp;
use super::tmp;
use super::tree::Directory;
use crate::errno::Errno;

/// `mode` of a character device, a pipe and a socket, without permissions.
pub(crate) const CHARACTER_DEVICE: u32 = 0o020_000;
pub(crate) const FIFO: u32 = 0o010_000;
pub(crate) const SOCKET: u32 = 0o140_000;

/// Device numbers (`st_dev`): one per kind of tree, so that (`st_dev`, `st_ino`) is unique.
pub(crate) const IMAGES_DEVICE: u64 = 0x11;
const SYNTHETIC_DEVICE: u64 = 0x12;
const TMP_DEVICE: u64 = 0x13;
const OBJECTS_DEVICE: u64 = 0x14;

/// The facts of `stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    /// Number of the device that this file is.
    pub(crate) special: u64,
    pub(crate) bytes: u64,
    /// In units of 512 bytes.
    pub(crate) blocks: u64,
    pub(crate) accessed: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
}

impl Status {
    pub(crate) fn kind(&self) -> u32 {
        self.mode & TYPE_MASK
    }
}

/// The facts of `statfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// Linux's magic number for the kind.
    pub(crate) kind: u64,
    pub(crate) blocks: u64,
    pub(crate) free_blocks: u64,
    pub(crate) is_read_only: bool,
}

impl FileSystem {
    pub(crate) const BLOCK_BYTES: u64 = PAGE_BYTES as u64;
    pub(crate) const NAME_BYTES: u64 = NAME_BYTES_MAX as u64;
}

impl Files {
    pub(crate) fn status(&self, place: Place) -> Result<Status, Errno> {
        match place {
            Place::Directory(directory) => Ok(self.status_of_directory(&directory)),
            Place::File(at) | Place::Link(at) => {
                let node = self.tree.node(at).ok_or(Errno::NOENT)?;
                let is_link = node.mode & TYPE_MASK == LINK;
                let bytes = if is_link { self.tree.target(at).len() as u64 } else { node.data_bytes };
                let inode = u64::from(at.image + 1) << 32 | u64::from(at.node);
                Ok(fixed(IMAGES_DEVICE, inode, node.mode, bytes, node.modified_s))
            }
            Place::Synthetic(at) => Ok(status_of_synthetic(at)),
            Place::Descriptor(fd) => Ok(fixed(SYNTHETIC_DEVICE, 1 << 16 | u64::from(fd), LINK | 0o700, 0, 0)),
            Place::DescriptorInfo(fd) => Ok(fixed(SYNTHETIC_DEVICE, 3 << 16 | u64::from(fd), FILE | 0o400, 0, 0)),
            Place::Tmp(id) => self.status_of_tmp(id),
        }
    }

    /// The status of what a descriptor names.
    pub(crate) fn status_of_description(&self, description: &Description) -> Result<Status, Errno> {
        if let Some(place) = description.place {
            return self.status(place);
        }
        let (kind, inode) = match description.object {
            Object::Pipe { pipe, .. } => (FIFO, u64::from(pipe)),
            Object::Socket(socket) => (SOCKET, 1 << 32 | u64::from(socket)),
            // Standard input and output were never opened by a path.
            Object::Device(device) => {
                let status = fixed(SYNTHETIC_DEVICE, 1 << 17 | device.number(), CHARACTER_DEVICE | 0o600, 0, 0);
                return Ok(Status { special: device.number(), ..status });
            }
            // eventfd, timerfd and epoll: Linux shows no type at all.
            Object::Counter(counter) => (0, 2 << 32 | u64::from(counter)),
            Object::Timer(timer) => (0, 4 << 32 | u64::from(timer)),
            Object::Epoll(epoll) => (0, 3 << 32 | u64::from(epoll)),
            _ => return Err(Errno::BADF),
        };
        Ok(fixed(OBJECTS_DEVICE, inode, kind | 0o600, 0, 0))
    }

    pub(crate) fn file_system(&self, place: Option<Place>) -> FileSystem {
        const SQUASHFS: u64 = 0x7371_7368;
        const TMPFS: u64 = 0x0102_1994;
        const PROC: u64 = 0x9fa0;
        const ANONYMOUS: u64 = 0x0904_1934;
        let empty = |kind| FileSystem { kind, blocks: 0, free_blocks: 0, is_read_only: true };
        match place {
            Some(Place::Tmp(_)) => {
                let budget = &self.tmp.budget;
                let free = budget.limit_bytes.saturating_sub(budget.used_bytes);
                FileSystem {
                    kind: TMPFS,
                    blocks: budget.limit_bytes / FileSystem::BLOCK_BYTES,
                    free_blocks: free / FileSystem::BLOCK_BYTES,
                    is_read_only: false,
                }
            }
            Some(Place::Descriptor(_) | Place::DescriptorInfo(_)) => empty(PROC),
            Some(Place::Synthetic(at)) if at.is_in_proc() => empty(PROC),
            Some(Place::Directory(Directory { synthetic: Some(at), .. })) if at.is_in_proc() => empty(PROC),
            Some(_) => {
                let bytes = self.tree.image_bytes().div_ceil(FileSystem::BLOCK_BYTES);
                FileSystem { blocks: bytes, ..empty(SQUASHFS) }
            }
            None => empty(ANONYMOUS),
        }
    }

    fn status_of_directory(&self, directory: &Directory) -> Status {
        // Of a merged directory the lowest image's node would change least, but an image that is added later must not make
        // two directories out of one: the synthetic number counts where there is one.
        let node = directory.highest().and_then(|at| Some((at, self.tree.node(at)?)));
        let (mode, modified_s) = node.map_or((DIRECTORY | 0o555, 0), |(_, node)| (node.mode, node.modified_s));
        match (directory.synthetic, node) {
            (Some(at), _) => fixed(SYNTHETIC_DEVICE, u64::from(at.0) + 1, mode, 0, modified_s),
            (None, Some((at, _))) => {
                let inode = u64::from(at.image + 1) << 32 | u64::from(at.node);
                fixed(IMAGES_DEVICE, inode, mode, 0, modified_s)
            }
            (None, None) => fixed(IMAGES_DEVICE, 0, mode, 0, modified_s),
        }
    }

    fn status_of_tmp(&self, id: tmp::NodeId) -> Result<Status, Errno> {
        let node = self.tmp.node(id)?;
        let mut links = u64::from(node.links);
        let (bytes, stored) = match &node.kind {
            tmp::Kind::File(content) => (content.len(), content.stored_bytes()),
            tmp::Kind::Directory(entries) => {
                // Its own name and `.`, and the `..` of each directory in it.
                links += if node.links > 0 { 1 + entries.directories() } else { 0 };
                (FileSystem::BLOCK_BYTES, 0)
            }
            tmp::Kind::Link(target) => (target.len() as u64, 0),
            tmp::Kind::Socket => (0, 0),
        };
        Ok(Status {
            device: TMP_DEVICE,
            inode: u64::from(id.0) + 1,
            links,
            mode: node.mode(),
            owner: node.owner,
            group: node.group,
            special: 0,
            bytes,
            blocks: stored / 512,
            accessed: node.accessed,
            modified: node.modified,
            changed: node.changed,
        })
    }
}

fn status_of_synthetic(at: Synthetic) -> Status {
    let (mode, bytes, special) = match at.kind() {
        Kind::Directory | Kind::Sealed | Kind::Mount(_) => (DIRECTORY | 0o555, 0, 0),
        Kind::Text(text) => (FILE | 0o444, text.len() as u64, 0),
        Kind::Generated(_) => (FILE | 0o444, 0, 0),
        Kind::Link(target) => (LINK | 0o777, target.len() as u64, 0),
        Kind::Dynamic(_) => (LINK | 0o777, 0, 0),
        Kind::Device(device) => (CHARACTER_DEVICE | 0o666, 0, device.number()),
    };
    Status { special, ..fixed(SYNTHETIC_DEVICE, u64::from(at.0) + 1, mode, bytes, 0) }
}

fn fixed(device: u64, inode: u64, mode: u32, bytes: u64, modified_s: u64) -> Status {
    let modified = Timestamp::of_seconds(i64::try_from(modified_s).unwrap_or(i64::MAX));
    Status {
        device,
        inode,
        links: 1,
        mode,
        bytes,
        blocks: bytes.div_ceil(512),
        accessed: modified,
        modified,
        changed: modified,
        ..Status::default()
    }
}
