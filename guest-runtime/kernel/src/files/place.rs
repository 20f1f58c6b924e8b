//! Places: what a path can lead to, whichever tree it is in.

use alloc::vec::Vec;

use super::Files;
use super::limits::NAME_BYTES_MAX;
use super::synthetic::{Dynamic, Kind, Synthetic};
use super::tmp::{NodeId, Tmp};
use super::tree::{Child, Directory, ImageNode, synthetic_names};
use crate::errno::Errno;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory of the read-only tree.
    Directory(Directory),
    /// A file of an image.
    File(ImageNode),
    /// A symbolic link of an image.
    Link(ImageNode),
    /// A file, device or link of the synthetic list.
    Synthetic(Synthetic),
    /// Anything in a writable tree.
    Tmp(NodeId),
    /// The entry of `/proc/self/fd` for this descriptor.
    Descriptor(u32),
    /// That of `/proc/self/fdinfo`.
    DescriptorInfo(u32),
}

/// A file name, by value: it outlives the tree or the program's memory that it was read from.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    length: u8,
}

impl Name {
    pub(crate) fn new(name: &[u8]) -> Result<Name, Errno> {
        let length = u8::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Name { bytes, length })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Where a symbolic link leads.
pub(crate) enum Target<'a> {
    /// On with this path.
    Path(&'a [u8]),
    /// Straight to a place, whatever its path.
    Place(Place),
}

impl Files {
    pub(crate) fn is_directory(&self, place: Place) -> bool {
        match place {
            Place::Directory(_) => true,
            Place::Tmp(id) => self.tmp.is_directory(id),
            _ => false,
        }
    }

    /// What `name` is in the directory `place`.
    pub(crate) fn child(&self, place: Place, name: &[u8]) -> Result<Option<Place>, Errno> {
        let directory = match place {
            Place::Tmp(id) => return Ok(self.tmp.child(id, name)?.map(Place::Tmp)),
            Place::Directory(directory) => directory,
            _ => return Err(Errno::NOTDIR),
        };
        match directory.synthetic {
            Some(at @ (Synthetic::PROC_SELF_FD | Synthetic::PROC_SELF_FD_INFO)) => {
                let open = number(name).filter(|number| self.descriptors.get(*number).is_ok());
                return Ok(open.map(|fd| descriptor_entry(at, fd)));
            }
            // The process, its only one, is also its first thread.
            Some(Synthetic::PROC_SELF_TASK) => {
                let itself = number(name).filter(|number| *number == self.process.id);
                return Ok(itself.and_then(|_| self.tree.descend(&PROC_SELF)).map(Place::Directory));
            }
            Some(Synthetic::PROC) if number(name) == Some(self.process.id) => {
                let itself = self.tree.child(&directory, Synthetic::PROC_SELF.name());
                return Ok(itself.map(place_of));
            }
            _ => {}
        }
        Ok(self.tree.child(&directory, name).map(place_of))
    }

    /// The directory above the directory `place`.
    pub(crate) fn parent(&self, place: Place) -> Result<Place, Errno> {
        match place {
            Place::Directory(directory) => Ok(Place::Directory(self.tree.parent(&directory))),
            Place::Tmp(id) => match self.tmp.parent(id)? {
                Some(parent) => Ok(Place::Tmp(parent)),
                None if id == Tmp::SHARED_MEMORY => {
                    let dev = self.tree.descend(&[Synthetic::DEV.name()]);
                    Ok(Place::Directory(dev.unwrap_or_else(|| self.tree.root())))
                }
                None => Ok(Place::Directory(self.tree.root())),
            },
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Where the link `place` leads; `None` if it is none.
    pub(crate) fn target(&self, place: Place) -> Option<Target<'_>> {
        match place {
            Place::Link(at) => Some(Target::Path(self.tree.target(at))),
            Place::Tmp(id) => self.tmp.target(id).map(Target::Path),
            Place::Synthetic(at) => match at.kind() {
                Kind::Link(target) => Some(Target::Path(target)),
                Kind::Dynamic(Dynamic::Executable) => Some(Target::Path(&self.process.executable)),
                Kind::Dynamic(Dynamic::WorkingDirectory) => Some(Target::Place(self.working_directory)),
                _ => None,
            },
            // What has no place (a pipe) is reached through the descriptor itself.
            Place::Descriptor(fd) => self.description(u64::from(fd)).ok()?.place.map(Target::Place),
            _ => None,
        }
    }

    /// The path of `place`; of a removed file the one that Linux shows: any, with ` (deleted)` after it.
    pub(crate) fn path_of(&self, place: Place) -> Vec<u8> {
        match place {
            Place::Directory(directory) => path_from(&self.tree.names(&directory)),
            Place::File(at) | Place::Link(at) => path_from(&self.tree.image_names(at)),
            Place::Synthetic(at) => path_from(&synthetic_names(at)),
            Place::Descriptor(fd) | Place::DescriptorInfo(fd) => {
                let is_link = matches!(place, Place::Descriptor(_));
                let directory = if is_link { Synthetic::PROC_SELF_FD } else { Synthetic::PROC_SELF_FD_INFO };
                let mut path = path_from(&synthetic_names(directory));
                path.extend_from_slice(alloc::format!("/{fd}").as_bytes());
                path
            }
            Place::Tmp(id) => {
                let Some((root, mut names)) = self.tmp.names(id) else { return b"/tmp/ (deleted)".to_vec() };
                names.push(if root == Tmp::SHARED_MEMORY { b"dev/shm" } else { b"tmp" });
                path_from(&names)
            }
        }
    }

    /// What `readlink` shows for a link.
    pub(crate) fn link_text(&self, place: Place) -> Option<Vec<u8>> {
        if let Place::Descriptor(fd) = place {
            let description = self.description(u64::from(fd)).ok()?;
            return Some(match description.place {
                Some(place) => self.path_of(place),
                None => description.object.text(),
            });
        }
        match self.target(place)? {
            Target::Path(path) => Some(path.to_vec()),
            Target::Place(place) => Some(self.path_of(place)),
        }
    }

    /// Keeps what is at `place` alive, for an open description or the working directory.
    pub(crate) fn hold(&mut self, place: Option<Place>) {
        if let Some(Place::Tmp(id)) = place {
            self.tmp.hold(id);
        }
    }

    /// The opposite of [`Files::hold`].
    pub(crate) fn release(&mut self, place: Option<Place>) {
        if let Some(Place::Tmp(id)) = place {
            self.tmp.release(id);
        }
    }
}

/// The names of `/proc/self`, the last first.
const PROC_SELF: [&[u8]; 2] = [b"self", b"proc"];

/// The entry for descriptor `fd` in one of the two directories that have one for each.
pub(crate) fn descriptor_entry(directory: Synthetic, fd: u32) -> Place {
    if directory == Synthetic::PROC_SELF_FD { Place::Descriptor(fd) } else { Place::DescriptorInfo(fd) }
}

pub(crate) fn place_of(child: Child) -> Place {
    match child {
        Child::Directory(directory) => Place::Directory(directory),
        Child::File(at) => Place::File(at),
        Child::Link(at) => Place::Link(at),
        // The mount is looked through here, so that nothing else has to know about it.
        Child::Synthetic(at) => match at.kind() {
            Kind::Mount(root) => Place::Tmp(root),
            _ => Place::Synthetic(at),
        },
    }
}

fn path_from(names: &[&[u8]]) -> Vec<u8> {
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// A decimal number without sign or leading zeros.
fn number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
