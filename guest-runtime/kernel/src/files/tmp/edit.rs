//! Changes of the tree: making, linking, removing and renaming.

use super::{Kind, NodeId, Tmp};
use crate::errno::Errno;
use crate::files::limits::{HARD_LINKS_MAX, NAME_BYTES, PATH_DEPTH_MAX};
use crate::files::timestamp::Timestamp;

/// What a rename does with the name that it is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rename {
    Replace,
    /// It must be free (`RENAME_NOREPLACE`).
    MustBeNew,
    /// It must be there, and becomes the name of the other (`RENAME_EXCHANGE`).
    Exchange,
}

impl Tmp {
    /// Makes a node without a name. The caller holds it or gives it one at once.
    pub(crate) fn make(&mut self, kind: Kind, permissions: u32, now_ns: u64) -> Result<NodeId, Errno> {
        let node = self.node_of(kind, permissions & 0o7777, now_ns);
        if !self.budget.take(node.cost()) {
            return Err(Errno::NOSPC);
        }
        Ok(NodeId(self.nodes.insert(node)))
    }

    /// Makes a node with a name that is not there yet.
    pub(crate) fn create(
        &mut self,
        directory: NodeId,
        name: &[u8],
        kind: Kind,
        permissions: u32,
        now_ns: u64,
    ) -> Result<NodeId, Errno> {
        self.writable(directory)?;
        if self.child(directory, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        let id = self.make(kind, permissions, now_ns)?;
        let added = self.add_name(directory, name, id, now_ns);
        if added.is_err() {
            self.free_if_unused(id);
        }
        added.map(|()| id)
    }

    /// Gives a file or link another name.
    pub(crate) fn link(&mut self, id: NodeId, directory: NodeId, name: &[u8], now_ns: u64) -> Result<(), Errno> {
        self.writable(directory)?;
        if self.is_directory(id) {
            return Err(Errno::PERM);
        }
        if self.child(directory, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        if self.node(id)?.links >= HARD_LINKS_MAX {
            return Err(Errno::MLINK);
        }
        self.add_name(directory, name, id, now_ns)
    }

    /// Takes the name of a file or link away.
    pub(crate) fn unlink(&mut self, directory: NodeId, name: &[u8], now_ns: u64) -> Result<(), Errno> {
        let id = self.child(directory, name)?.ok_or(Errno::NOENT)?;
        if self.is_directory(id) {
            return Err(Errno::ISDIR);
        }
        self.remove_name(directory, name, now_ns)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&mut self, directory: NodeId, name: &[u8], now_ns: u64) -> Result<(), Errno> {
        let id = self.child(directory, name)?.ok_or(Errno::NOENT)?;
        if !self.entries(id)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.remove_name(directory, name, now_ns)
    }

    /// Moves a name.
    pub(crate) fn rename(
        &mut self,
        (from, old): (NodeId, &[u8]),
        (to, new): (NodeId, &[u8]),
        how: Rename,
        now_ns: u64,
    ) -> Result<(), Errno> {
        let moved = self.child(from, old)?.ok_or(Errno::NOENT)?;
        self.writable(to)?;
        let is_directory = self.is_directory(moved);
        if is_directory && self.is_within(to, moved)? {
            return Err(Errno::INVAL);
        }
        let replaced = self.child(to, new)?;
        if how == Rename::Exchange {
            return self.exchange((from, old, moved), (to, new, replaced.ok_or(Errno::NOENT)?), now_ns);
        }
        if let Some(replaced) = replaced {
            if how == Rename::MustBeNew {
                return Err(Errno::EXIST);
            }
            if replaced == moved {
                return Ok(());
            }
            self.replaceable(replaced, is_directory)?;
            self.remove_name(to, new, now_ns)?;
        }
        self.entries_mut(from)?.remove(old);
        self.budget.give_back(name_cost(old));
        // Not asked whether it fits: a rename must not fail for the few bytes by which a name is longer.
        self.budget.used_bytes += name_cost(new);
        self.entries_mut(to)?.insert(new, moved.0, is_directory);
        for directory in [from, to] {
            self.touch(directory, now_ns);
        }
        let node = self.node_mut(moved)?;
        (node.parent, node.changed) = (Some(to), Timestamp::of_ns(now_ns));
        Ok(())
    }

    fn exchange(
        &mut self,
        (from, old, one): (NodeId, &[u8], NodeId),
        (to, new, two): (NodeId, &[u8], NodeId),
        now_ns: u64,
    ) -> Result<(), Errno> {
        if self.is_directory(two) && self.is_within(from, two)? {
            return Err(Errno::INVAL);
        }
        for (directory, name, node) in [(from, old, two), (to, new, one)] {
            let is_directory = self.is_directory(node);
            self.entries_mut(directory)?.insert(name, node.0, is_directory);
            self.touch(directory, now_ns);
            let node = self.node_mut(node)?;
            (node.parent, node.changed) = (Some(directory), Timestamp::of_ns(now_ns));
        }
        Ok(())
    }

    /// May a rename replace this node with a directory, or with something else?
    fn replaceable(&self, id: NodeId, by_directory: bool) -> Result<(), Errno> {
        match (by_directory, &self.node(id)?.kind) {
            (true, Kind::Directory(entries)) if entries.is_empty() => Ok(()),
            (true, Kind::Directory(_)) => Err(Errno::NOTEMPTY),
            (true, _) => Err(Errno::NOTDIR),
            (false, Kind::Directory(_)) => Err(Errno::ISDIR),
            (false, _) => Ok(()),
        }
    }

    /// Is `id` the directory `top` or somewhere below it?
    fn is_within(&self, id: NodeId, top: NodeId) -> Result<bool, Errno> {
        let mut at = id;
        for _ in 0..PATH_DEPTH_MAX {
            if at == top {
                return Ok(true);
            }
            match self.parent(at)? {
                Some(parent) => at = parent,
                None => return Ok(false),
            }
        }
        // Deeper than any path. Saying yes forbids the rename, which can never make a cycle.
        Ok(true)
    }

    /// A removed directory that is still open takes no new names.
    fn writable(&self, directory: NodeId) -> Result<(), Errno> {
        self.entries(directory)?;
        if self.node(directory)?.links == 0 { Err(Errno::NOENT) } else { Ok(()) }
    }

    fn add_name(&mut self, directory: NodeId, name: &[u8], id: NodeId, now_ns: u64) -> Result<(), Errno> {
        if !self.budget.take(name_cost(name)) {
            return Err(Errno::NOSPC);
        }
        let is_directory = self.is_directory(id);
        self.entries_mut(directory)?.insert(name, id.0, is_directory);
        self.touch(directory, now_ns);
        let node = self.node_mut(id)?;
        node.links += 1;
        (node.parent, node.changed) = (Some(directory), Timestamp::of_ns(now_ns));
        Ok(())
    }

    fn remove_name(&mut self, directory: NodeId, name: &[u8], now_ns: u64) -> Result<(), Errno> {
        let id = NodeId(self.entries_mut(directory)?.remove(name).ok_or(Errno::NOENT)?);
        self.budget.give_back(name_cost(name));
        self.touch(directory, now_ns);
        let node = self.node_mut(id)?;
        node.links -= 1;
        node.changed = Timestamp::of_ns(now_ns);
        self.free_if_unused(id);
        Ok(())
    }

    fn entries_mut(&mut self, id: NodeId) -> Result<&mut super::Entries, Errno> {
        match &mut self.node_mut(id)?.kind {
            Kind::Directory(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn touch(&mut self, directory: NodeId, now_ns: u64) {
        if let Some(node) = self.nodes.get_mut(directory.0) {
            node.touch(now_ns);
        }
    }
}

/// What a name counts for.
fn name_cost(name: &[u8]) -> u64 {
    NAME_BYTES + name.len() as u64
}
