//! Files of the writable trees that are mapped shared.

use alloc::vec::Vec;

use super::window::Window;
use super::{Kind, NodeId, Tmp};
use crate::errno::Errno;
use crate::memory::Span;

impl Tmp {
    /// Where a range of a file's pages is, if it is in memory of the program already.
    pub(crate) fn address_of(&self, id: NodeId, first_page: u64, pages: u64) -> Option<u64> {
        self.content(id).ok()?.address_of(first_page, pages)
    }

    /// See [`super::Content::movable`].
    pub(crate) fn movable(&self, id: NodeId, range: (u64, u64), may_move_mapped: bool) -> Option<(u64, u64)> {
        self.content(id).ok()?.movable(range.0, range.1, may_move_mapped)
    }

    /// See [`super::Content::page_at`].
    pub(crate) fn page_at(&self, id: NodeId, address: u64) -> Option<(u64, u64)> {
        self.content(id).ok()?.page_at(address)
    }

    /// Moves a range of a file's pages to zeroed memory at `address`, which is the file's from now on.
    pub(crate) fn move_to(&mut self, id: NodeId, first_page: u64, pages: u64, address: u64) -> Result<(), Errno> {
        let window = Window { first_page, pages, address };
        let mut released = self.with_content(id, |content, budget| content.move_to(window, budget))??;
        self.released.append(&mut released);
        Ok(())
    }

    /// Makes the window at `address` longer.
    pub(crate) fn extend_window(&mut self, id: NodeId, address: u64, pages: u64) -> Result<(), Errno> {
        self.with_content(id, |content, budget| content.extend_window(address, pages, budget))?
    }

    /// A mapping shows the file: it lives on without names and descriptors.
    pub(crate) fn set_mapped(&mut self, id: NodeId, is_mapped: bool) {
        let before = self.with_content(id, |content, _| core::mem::replace(&mut content.is_mapped, is_mapped));
        match (before, is_mapped) {
            (Ok(false), true) => self.hold(id),
            (Ok(true), false) => self.release(id),
            _ => {}
        }
    }

    /// Memory of the program that no file needs any more.
    pub(crate) fn take_released(&mut self) -> Vec<Span> {
        core::mem::take(&mut self.released)
    }

    fn with_content<T>(
        &mut self,
        id: NodeId,
        change: impl FnOnce(&mut super::Content, &mut super::Budget) -> T,
    ) -> Result<T, Errno> {
        match &mut self.nodes.get_mut(id.0).ok_or(Errno::NODEV)?.kind {
            Kind::File(content) => Ok(change(content, &mut self.budget)),
            _ => Err(Errno::NODEV),
        }
    }
}
