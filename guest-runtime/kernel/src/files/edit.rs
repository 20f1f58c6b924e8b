//! Changes by path: making, removing, renaming, and what a file's attributes are.

use super::Files;
use super::path::Walk;
use super::place::{Name, Place};
use super::timestamp::Timestamp;
use super::tmp::{Kind, NodeId, Rename, Tmp};
use crate::errno::Errno;

/// A file as a call names it: a directory to start from, and a path.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) start: Place,
    pub(crate) path: &'a [u8],
}

/// Attributes to set; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes {
    pub(crate) permissions: Option<u32>,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) accessed: Option<Timestamp>,
    pub(crate) modified: Option<Timestamp>,
}

impl Files {
    pub(crate) fn make_directory(&mut self, at: At<'_>, mode: u32, now_ns: u64) -> Result<(), Errno> {
        // Slashes at the end are no demand here, not even where a file is in the way.
        let (walk, _) = self.walk_to_name(at)?;
        self.create(&walk, Kind::Directory(super::tmp::Entries::default()), mode & 0o1777, now_ns).map(drop)
    }

    /// Makes an empty file (`mknod`).
    pub(crate) fn make_file(&mut self, at: At<'_>, mode: u32, now_ns: u64) -> Result<(), Errno> {
        let walk = self.new_name(at)?;
        self.create(&walk, Kind::File(super::tmp::Content::default()), mode, now_ns).map(drop)
    }

    pub(crate) fn make_link(&mut self, target: &[u8], at: At<'_>, now_ns: u64) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::NOENT);
        }
        let walk = self.new_name(at)?;
        self.create(&walk, Kind::Link(target.into()), 0o777, now_ns).map(drop)
    }

    pub(crate) fn remove_directory(&mut self, at: At<'_>, now_ns: u64) -> Result<(), Errno> {
        let (walk, _) = self.walk_to_name(at)?;
        let place = walk.place.ok_or(Errno::NOENT)?;
        if !self.is_directory(place) {
            return Err(Errno::NOTDIR);
        }
        match without_slashes(at.path) {
            b"." => return Err(Errno::INVAL),
            b".." => return Err(Errno::NOTEMPTY),
            path if path.ends_with(b"/.") => return Err(Errno::INVAL),
            path if path.ends_with(b"/..") => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        let (directory, name) = removable(&walk, place)?;
        self.tmp.remove_directory(directory, name.as_bytes(), now_ns)
    }

    pub(crate) fn unlink(&mut self, at: At<'_>, now_ns: u64) -> Result<(), Errno> {
        let (walk, wants_directory) = self.walk_to_name(at)?;
        let place = walk.place.ok_or(Errno::NOENT)?;
        if self.is_directory(place) {
            return Err(Errno::ISDIR);
        }
        if wants_directory {
            return Err(Errno::NOTDIR);
        }
        let (directory, name) = removable(&walk, place)?;
        self.tmp.unlink(directory, name.as_bytes(), now_ns)
    }

    /// Gives `old` another name. With `follows`, a link at its end is followed first.
    pub(crate) fn link(&mut self, old: At<'_>, follows: bool, new: At<'_>, now_ns: u64) -> Result<(), Errno> {
        let place = self.find(old.start, old.path, follows)?;
        self.link_place(place, new, now_ns)
    }

    /// The same for what is already found (an open file).
    pub(crate) fn link_place(&mut self, place: Place, new: At<'_>, now_ns: u64) -> Result<(), Errno> {
        let walk = self.new_name(new)?;
        if walk.place.is_some() {
            return Err(Errno::EXIST);
        }
        match (place, walk.parent, &walk.name) {
            _ if self.is_directory(place) => Err(Errno::PERM),
            (Place::Tmp(id), Place::Tmp(directory), Some(name)) => {
                self.tmp.link(id, directory, name.as_bytes(), now_ns)
            }
            (Place::Tmp(_), ..) | (_, Place::Tmp(_), _) => Err(Errno::XDEV),
            _ => Err(Errno::ROFS),
        }
    }

    pub(crate) fn rename(&mut self, old: At<'_>, new: At<'_>, how: Rename, now_ns: u64) -> Result<(), Errno> {
        let (from, from_directory) = self.walk_to_name(old)?;
        let (to, to_directory) = self.walk_to_name(new)?;
        let (Some(old_name), Some(new_name)) = (&from.name, &to.name) else { return Err(Errno::BUSY) };
        let moved = from.place.ok_or(Errno::NOENT)?;
        if (from_directory || to_directory) && !self.is_directory(moved) {
            return Err(Errno::NOTDIR);
        }
        let is_root = |place| matches!(place, Some(Place::Tmp(id)) if Tmp::is_root(id));
        if is_root(from.place) || is_root(to.place) {
            return Err(Errno::BUSY);
        }
        match (from.parent, to.parent) {
            (Place::Tmp(source), Place::Tmp(target)) => {
                let (old, new) = ((source, old_name.as_bytes()), (target, new_name.as_bytes()));
                self.tmp.rename(old, new, how, now_ns)
            }
            (Place::Tmp(_), _) | (_, Place::Tmp(_)) => Err(Errno::XDEV),
            _ => Err(Errno::ROFS),
        }
    }

    /// Sets attributes of what is at `place`.
    pub(crate) fn set_attributes(&mut self, place: Place, attributes: &Attributes, now_ns: u64) -> Result<(), Errno> {
        let node = match place {
            Place::Tmp(id) => self.tmp.node_mut(id)?,
            _ => return Err(Errno::ROFS),
        };
        let set = |slot: &mut u32, value: Option<u32>| *slot = value.unwrap_or(*slot);
        set(&mut node.permissions, attributes.permissions.map(|permissions| permissions & 0o7777));
        set(&mut node.owner, attributes.owner);
        set(&mut node.group, attributes.group);
        node.accessed = attributes.accessed.unwrap_or(node.accessed);
        node.modified = attributes.modified.unwrap_or(node.modified);
        node.changed = Timestamp::of_ns(now_ns);
        Ok(())
    }

    pub(crate) fn truncate(&mut self, place: Place, bytes: u64, now_ns: u64) -> Result<(), Errno> {
        match place {
            Place::Tmp(id) => self.tmp.resize(id, bytes, now_ns),
            _ if self.is_directory(place) => Err(Errno::ISDIR),
            Place::File(_) => Err(Errno::ROFS),
            _ => Err(Errno::INVAL),
        }
    }

    pub(crate) fn change_directory(&mut self, place: Place) -> Result<(), Errno> {
        if !self.is_directory(place) {
            return Err(Errno::NOTDIR);
        }
        self.hold(Some(place));
        let before = core::mem::replace(&mut self.working_directory, place);
        self.release(Some(before));
        Ok(())
    }

    /// A walk to a name itself: a link is not followed, not even if a slash comes after it. Also says whether one does.
    fn walk_to_name(&self, at: At<'_>) -> Result<(Walk, bool), Errno> {
        let path = without_slashes(at.path);
        Ok((self.walk(at.start, path, false)?, path.len() < at.path.len()))
    }

    /// A walk to something that is to be made and is no directory.
    fn new_name(&self, at: At<'_>) -> Result<Walk, Errno> {
        let walk = self.walk(at.start, at.path, false)?;
        if walk.place.is_none() && walk.wants_directory { Err(Errno::NOENT) } else { Ok(walk) }
    }
}

/// The path without slashes at its end; `/` itself stays.
fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(1, |last| last + 1);
    path.get(..end).unwrap_or(path)
}

/// The directory and the name of what can be removed.
fn removable(walk: &Walk, place: Place) -> Result<(NodeId, Name), Errno> {
    match (walk.parent, walk.name, place) {
        (_, _, Place::Tmp(id)) if Tmp::is_root(id) => Err(Errno::BUSY),
        (_, None, _) => Err(Errno::BUSY),
        (Place::Tmp(directory), Some(name), _) => Ok((directory, name)),
        _ => Err(Errno::ROFS),
    }
}
