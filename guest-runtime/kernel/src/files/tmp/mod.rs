//! The writable trees: `/tmp` and `/dev/shm`. They live in guest memory, within a limit, and are gone at reset.
//!
//! ```text
//! node ── file:      pages, length          a node lives while it has a name or something holds it open
//!      ── directory: names → nodes
//!      ── link:      target
//! ```
//!
//! Modes and owners are kept and shown, never enforced: the program is the machine's only user, and its root.

mod content;
mod edit;
mod entries;
mod mapping;
mod window;

use alloc::boxed::Box;
use alloc::vec::Vec;

pub(crate) use content::{Budget, Content};
pub(crate) use edit::Rename;
pub(crate) use entries::Entries;

use super::arena::Arena;
use super::limits::{FILE_BYTES_MAX, NODE_BYTES, PATH_DEPTH_MAX};
use crate::errno::Errno;
use crate::memory::Span;
use mayfly_abi::image::{DIRECTORY, FILE, LINK};

use super::status::SOCKET;
use super::timestamp::Timestamp;

/// A node's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

/// A file, directory or link.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Permissions, without the type.
    pub(crate) permissions: u32,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    pub(crate) accessed: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
    /// Names of this node; a directory has one or, once removed, none.
    pub(crate) links: u32,
    /// Open descriptions and the working directory.
    pub(crate) opens: u32,
    /// Directory in which the node got its last name. Right for directories; for others a place to look first.
    pub(crate) parent: Option<NodeId>,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind {
    File(Content),
    Directory(Entries),
    Link(Box<[u8]>),
    /// The name of a socket of `AF_UNIX`.
    Socket,
}

impl Node {
    /// Type and permissions as in `st_mode`.
    pub(crate) fn mode(&self) -> u32 {
        let kind = match self.kind {
            Kind::File(_) => FILE,
            Kind::Directory(_) => DIRECTORY,
            Kind::Link(_) => LINK,
            Kind::Socket => SOCKET,
        };
        kind | self.permissions
    }

    /// Its content changed.
    fn touch(&mut self, now_ns: u64) {
        let now = Timestamp::of_ns(now_ns);
        (self.modified, self.changed) = (now, now);
    }

    /// What the node counts for besides its pages.
    fn cost(&self) -> u64 {
        NODE_BYTES + if let Kind::Link(target) = &self.kind { target.len() as u64 } else { 0 }
    }
}

/// The trees.
#[derive(Debug)]
pub(crate) struct Tmp {
    nodes: Arena<Node>,
    pub(crate) budget: Budget,
    /// Memory of the program that no file needs any more; the kernel takes it back.
    released: Vec<Span>,
}

impl Tmp {
    /// Root of `/tmp`.
    pub(crate) const ROOT: NodeId = NodeId(0);
    /// Root of `/dev/shm`.
    pub(crate) const SHARED_MEMORY: NodeId = NodeId(1);

    pub(crate) fn new(limit_bytes: u64) -> Tmp {
        let mut tmp = Tmp { nodes: Arena::new(), budget: Budget { used_bytes: 0, limit_bytes }, released: Vec::new() };
        for root in [Tmp::ROOT, Tmp::SHARED_MEMORY] {
            let mut node = tmp.node_of(Kind::Directory(Entries::default()), 0o1777, 0);
            node.links = 1;
            let index = tmp.nodes.insert(node);
            debug_assert_eq!(index, root.0);
        }
        tmp
    }

    pub(crate) fn is_root(id: NodeId) -> bool {
        id == Tmp::ROOT || id == Tmp::SHARED_MEMORY
    }

    pub(crate) fn node(&self, id: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(id.0).ok_or(Errno::NOENT)
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(id.0).ok_or(Errno::NOENT)
    }

    pub(crate) fn is_directory(&self, id: NodeId) -> bool {
        self.entries(id).is_ok()
    }

    pub(crate) fn is_socket(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(id.0), Some(Node { kind: Kind::Socket, .. }))
    }

    pub(crate) fn entries(&self, id: NodeId) -> Result<&Entries, Errno> {
        match &self.node(id)?.kind {
            Kind::Directory(entries) => Ok(entries),
            _ => Err(Errno::NOTDIR),
        }
    }

    pub(crate) fn child(&self, directory: NodeId, name: &[u8]) -> Result<Option<NodeId>, Errno> {
        Ok(self.entries(directory)?.get(name).map(NodeId))
    }

    pub(crate) fn content(&self, id: NodeId) -> Result<&Content, Errno> {
        match &self.node(id)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Directory(_) => Err(Errno::ISDIR),
            Kind::Link(_) | Kind::Socket => Err(Errno::INVAL),
        }
    }

    pub(crate) fn target(&self, id: NodeId) -> Option<&[u8]> {
        match &self.nodes.get(id.0)?.kind {
            Kind::Link(target) => Some(target),
            _ => None,
        }
    }

    pub(crate) fn len(&self, id: NodeId) -> u64 {
        self.content(id).map_or(0, Content::len)
    }

    pub(crate) fn read(&self, id: NodeId, at: u64, into: &mut [u8]) -> Result<usize, Errno> {
        Ok(self.content(id)?.read(at, into))
    }

    /// Would a read now change the time of the last one? As with `relatime` on Linux, the first after a change does.
    pub(crate) fn notes_access(&self, id: NodeId) -> bool {
        self.nodes.get(id.0).is_some_and(|node| node.accessed <= node.modified || node.accessed <= node.changed)
    }

    pub(crate) fn note_access(&mut self, id: NodeId, now_ns: u64) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.accessed = Timestamp::of_ns(now_ns);
        }
    }

    /// Writes at offset `at`. Fewer bytes than asked for: the limit was reached.
    pub(crate) fn write(&mut self, id: NodeId, at: u64, from: &[u8], now_ns: u64) -> Result<usize, Errno> {
        let node = self.nodes.get_mut(id.0).ok_or(Errno::NOENT)?;
        let Kind::File(content) = &mut node.kind else { return Err(Errno::ISDIR) };
        if from.is_empty() {
            return Ok(0);
        }
        if at >= FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        let count = content.write(at, from, &mut self.budget);
        if count == 0 {
            return Err(Errno::NOSPC);
        }
        node.touch(now_ns);
        Ok(count)
    }

    /// Changes the content with `change`, which also gets the budget.
    pub(crate) fn change<T>(
        &mut self,
        id: NodeId,
        now_ns: u64,
        change: impl FnOnce(&mut Content, &mut Budget) -> T,
    ) -> Result<T, Errno> {
        let node = self.nodes.get_mut(id.0).ok_or(Errno::NOENT)?;
        let content = match &mut node.kind {
            Kind::File(content) => content,
            Kind::Directory(_) => return Err(Errno::ISDIR),
            Kind::Link(_) | Kind::Socket => return Err(Errno::INVAL),
        };
        let outcome = change(content, &mut self.budget);
        node.touch(now_ns);
        Ok(outcome)
    }

    pub(crate) fn resize(&mut self, id: NodeId, bytes: u64, now_ns: u64) -> Result<(), Errno> {
        if bytes > FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        let mut released = self.change(id, now_ns, |content, budget| content.resize(bytes, budget))?;
        self.released.append(&mut released);
        Ok(())
    }

    /// Keeps the node alive without a name.
    pub(crate) fn hold(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.opens += 1;
        }
    }

    /// The opposite of [`Tmp::hold`].
    pub(crate) fn release(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            debug_assert!(node.opens > 0);
            node.opens = node.opens.saturating_sub(1);
            self.free_if_unused(id);
        }
    }

    /// Directory above the directory `id`; `None` for a root. A removed directory has none either: `ENOENT`.
    pub(crate) fn parent(&self, id: NodeId) -> Result<Option<NodeId>, Errno> {
        if Tmp::is_root(id) {
            return Ok(None);
        }
        let node = self.node(id)?;
        if node.links == 0 { Err(Errno::NOENT) } else { node.parent.map(Some).ok_or(Errno::NOENT) }
    }

    /// The names from a root down to `id`, the last first; `None` if it has no name any more.
    pub(crate) fn names(&self, id: NodeId) -> Option<(NodeId, Vec<&[u8]>)> {
        let (mut at, mut names) = (id, Vec::new());
        while !Tmp::is_root(at) {
            let node = self.nodes.get(at.0)?;
            let parent = node.parent.filter(|_| node.links > 0)?;
            names.push(self.entries(parent).ok()?.name_of(at.0)?);
            at = parent;
            if names.len() > PATH_DEPTH_MAX {
                return None;
            }
        }
        Some((at, names))
    }

    fn node_of(&self, kind: Kind, permissions: u32, now_ns: u64) -> Node {
        let now = Timestamp::of_ns(now_ns);
        Node {
            kind,
            permissions,
            owner: 0,
            group: 0,
            accessed: now,
            modified: now,
            changed: now,
            links: 0,
            opens: 0,
            parent: None,
        }
    }

    fn free_if_unused(&mut self, id: NodeId) {
        let unused = self.nodes.get(id.0).is_some_and(|node| node.links == 0 && node.opens == 0);
        if unused && let Some(node) = self.nodes.remove(id.0) {
            self.budget.give_back(node.cost());
            if let Kind::File(content) = &node.kind {
                self.budget.give_back(content.stored_bytes());
                self.released.extend(content.spans());
            }
        }
    }
}
