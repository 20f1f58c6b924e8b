//! The names in a directory of `/tmp`.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Names, found by name and listed in the order in which they came.
///
/// A listing that is under way while names come and go (`rmtree` does that) must see each name that stays exactly once: so
/// its position is a number that a name keeps for its life, and not an index.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    by_name: BTreeMap<Arc<[u8]>, Entry>,
    by_order: BTreeMap<u64, Arc<[u8]>>,
    next_order: u64,
    /// How many of the names are directories.
    directories: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    node: u32,
    order: u64,
    is_directory: bool,
}

impl Entries {
    pub(crate) fn get(&self, name: &[u8]) -> Option<u32> {
        Some(self.by_name.get(name)?.node)
    }

    pub(crate) fn directories(&self) -> u64 {
        self.directories
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn insert(&mut self, name: &[u8], node: u32, is_directory: bool) {
        self.remove(name);
        let shared: Arc<[u8]> = name.into();
        self.by_order.insert(self.next_order, shared.clone());
        self.by_name.insert(shared, Entry { node, order: self.next_order, is_directory });
        self.next_order += 1;
        self.directories += u64::from(is_directory);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<u32> {
        let entry = self.by_name.remove(name)?;
        self.by_order.remove(&entry.order);
        self.directories -= u64::from(entry.is_directory);
        Some(entry.node)
    }

    /// The first name at position `order` or later: where it is, the name, the node.
    pub(crate) fn at(&self, order: u64) -> Option<(u64, &[u8], u32)> {
        let (order, name) = self.by_order.range(order..).next()?;
        Some((*order, name, self.by_name.get(name)?.node))
    }

    /// A name of `node`.
    pub(crate) fn name_of(&self, node: u32) -> Option<&[u8]> {
        self.by_name.iter().find(|(_, entry)| entry.node == node).map(|(name, _)| &**name)
    }
}
