//! The bytes of a file in `/tmp`: pages that exist only where something was written, and memory of the program where it is mapped.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::window::Window;
use crate::errno::Errno;
use crate::files::limits::{FILE_BYTES_MAX, PAGE_BYTES};
use crate::memory::Span;

type Page = [u8; PAGE_BYTES];

/// What the files of a tree may still take. Pages are paid for before they exist.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) used_bytes: u64,
    pub(crate) limit_bytes: u64,
}

impl Budget {
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = self.limit_bytes.saturating_sub(self.used_bytes) >= bytes;
        self.used_bytes += if fits { bytes } else { 0 };
        fits
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.used_bytes);
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
    }
}

/// The content of one file.
///
/// Pages are in an ordered map and not in a vector, so that a file with a byte at 8 TiB costs no more than one with a byte
/// at 0. Next to the page itself the map's overhead is nothing. A page is there, in a window or in neither, which reads as zero.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Box<Page>>,
    windows: Vec<Window>,
    /// Is it mapped now? Then no window goes away.
    pub(crate) is_mapped: bool,
    bytes: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// Memory that the pages take.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES as u64 + self.windows.iter().map(Window::bytes).sum::<u64>()
    }

    /// Where a range of pages is, if all of it is in one window.
    pub(crate) fn address_of(&self, first_page: u64, pages: u64) -> Option<u64> {
        let window = self.window(first_page)?;
        let end = first_page.checked_add(pages)?;
        (end <= window.first_page + window.pages)
            .then(|| window.address + (first_page - window.first_page) * PAGE_BYTES as u64)
    }

    /// The pages that would have to move with these to one window: the range, and every window that it touches. `None`: one of those
    /// is mapped and has to stay.
    pub(crate) fn movable(&self, first_page: u64, pages: u64, may_move_mapped: bool) -> Option<(u64, u64)> {
        let (mut start, mut end) = (first_page, first_page.checked_add(pages)?);
        for window in self.windows.iter().filter(|window| window.overlaps(first_page, pages)) {
            if self.is_mapped && !may_move_mapped {
                return None;
            }
            (start, end) = (start.min(window.first_page), end.max(window.first_page + window.pages));
        }
        Some((start, end - start))
    }

    /// Moves a range of pages that [`Content::movable`] named to zeroed memory of the program, which is the file's from now on. Returns
    /// memory that is not needed any more.
    ///
    /// # Errors
    /// [`Errno::NOMEM`] if the budget has no room for all of it.
    pub(crate) fn move_to(&mut self, new: Window, budget: &mut Budget) -> Result<Vec<Span>, Errno> {
        if !budget.take(new.bytes()) {
            return Err(Errno::NOMEM);
        }
        let (old, kept): (Vec<Window>, _) =
            self.windows.iter().partition(|window| window.overlaps(new.first_page, new.pages));
        self.windows = kept;
        let mut buffer = [0; PAGE_BYTES];
        for window in &old {
            for page in window.first_page..window.first_page + window.pages {
                window.read(page, 0, &mut buffer);
                new.write(page, 0, &buffer);
            }
            budget.give_back(window.bytes());
        }
        self.take_over(new, new.first_page, budget);
        self.windows.push(new);
        Ok(old.iter().map(Window::span).collect())
    }

    /// Moves single pages from `first` on into a window.
    fn take_over(&mut self, window: Window, first: u64, budget: &mut Budget) {
        let mut inside = self.pages.split_off(&first);
        self.pages.append(&mut inside.split_off(&(window.first_page + window.pages)));
        for (index, page) in inside {
            window.write(index, 0, &page[..]);
            budget.give_back(PAGE_BYTES as u64);
        }
    }

    /// Makes a window longer whose memory was extended.
    ///
    /// # Errors
    /// [`Errno::NOMEM`] if the budget has no room for it.
    pub(crate) fn extend_window(&mut self, address: u64, pages: u64, budget: &mut Budget) -> Result<(), Errno> {
        let window = self.windows.iter().copied().find(|window| window.address == address).ok_or(Errno::NOMEM)?;
        let (first, more) = (window.first_page + window.pages, pages.saturating_sub(window.pages));
        let in_the_way = self.windows.iter().any(|other| other.overlaps(first, more));
        if in_the_way || !budget.take(more * PAGE_BYTES as u64) {
            return Err(Errno::NOMEM);
        }
        let longer = Window { pages, ..window };
        self.take_over(longer, first, budget);
        self.windows.retain(|window| window.address != address);
        self.windows.push(longer);
        Ok(())
    }

    /// The page that is at an address of the program's memory, and the pages from there to the end of its window.
    pub(crate) fn page_at(&self, address: u64) -> Option<(u64, u64)> {
        let window = self.windows.iter().find(|window| (window.span().start..window.span().end).contains(&address))?;
        let before = (address - window.address) / PAGE_BYTES as u64;
        Some((window.first_page + before, window.pages - before))
    }

    /// All memory of the program that this file has, when the file ends.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> {
        self.windows.iter().map(Window::span)
    }

    fn window(&self, page: u64) -> Option<Window> {
        // Nearly always there are none.
        self.windows.iter().copied().find(|window| window.holds(page))
    }

    /// Copies bytes from offset `at`; fewer than asked for only at the end of the file.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        let count = self.bytes.saturating_sub(at).min(into.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let (index, offset) = split(at + done as u64);
            let length = (PAGE_BYTES - offset).min(count - done);
            let slot = &mut into[done..done + length];
            match self.pages.get(&index) {
                Some(page) => slot.copy_from_slice(&page[offset..offset + length]),
                None => match self.window(index) {
                    Some(window) => window.read(index, offset, slot),
                    None => slot.fill(0),
                },
            }
            done += length;
        }
        count
    }

    /// Writes as much of `from` at offset `at` as the budget allows and says how much that was. The caller has checked
    /// that `at` is not beyond [`FILE_BYTES_MAX`].
    pub(crate) fn write(&mut self, at: u64, from: &[u8], budget: &mut Budget) -> usize {
        let count = FILE_BYTES_MAX.saturating_sub(at).min(from.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let (index, offset) = split(at + done as u64);
            let length = (PAGE_BYTES - offset).min(count - done);
            let bytes = &from[done..done + length];
            if let Some(page) = self.pages.get_mut(&index) {
                page[offset..offset + length].copy_from_slice(bytes);
            } else if let Some(window) = self.window(index) {
                window.write(index, offset, bytes);
            } else if let Some(page) = new_page(offset, bytes, budget) {
                self.pages.insert(index, page);
            } else {
                break;
            }
            done += length;
        }
        if done > 0 {
            self.bytes = self.bytes.max(at + done as u64);
        }
        done
    }

    /// Makes the file `bytes` long. What is added reads as zero. Returns memory that is not needed any more.
    pub(crate) fn resize(&mut self, bytes: u64, budget: &mut Budget) -> Vec<Span> {
        let mut released = Vec::new();
        if bytes < self.bytes {
            let (last, used) = split(bytes);
            let kept = last + u64::from(used > 0);
            let dropped = self.pages.split_off(&kept);
            budget.give_back(dropped.len() as u64 * PAGE_BYTES as u64);
            if let Some(page) = self.pages.get_mut(&last) {
                page[used..].fill(0);
            }
            if !self.is_mapped {
                released = self.drop_windows(kept, budget);
            }
        }
        // Also when it grows: a mapping may have written behind the end in the last page.
        self.zero_windows(bytes.min(self.bytes), u64::MAX);
        self.bytes = bytes;
        released
    }

    /// Gives back the windows from page `kept` on.
    fn drop_windows(&mut self, kept: u64, budget: &mut Budget) -> Vec<Span> {
        let (gone, left) = core::mem::take(&mut self.windows).into_iter().partition(|window| window.first_page >= kept);
        self.windows = left;
        let gone: Vec<Window> = gone;
        budget.give_back(gone.iter().map(Window::bytes).sum());
        gone.iter().map(Window::span).collect()
    }

    /// Zeros what windows hold of the bytes from `start` to `end`.
    fn zero_windows(&self, start: u64, end: u64) {
        let (first, from) = split(start);
        let (last, to) = split(end);
        for window in &self.windows {
            for page in window.first_page.max(first)..(window.first_page + window.pages).min(last.saturating_add(1)) {
                let from = if page == first { from } else { 0 };
                window.zero(page, from, if page == last { to.max(from) } else { PAGE_BYTES });
            }
        }
    }

    /// Makes the bytes from `start` to `end` zero, without their memory where whole pages are meant.
    pub(crate) fn punch(&mut self, start: u64, end: u64, budget: &mut Budget) {
        // What is beyond the end of the file counts as zero already: a last page that is only partly used goes as a whole.
        let end = if end >= self.bytes { self.bytes.next_multiple_of(PAGE_BYTES as u64) } else { end };
        if start >= end {
            return;
        }
        self.zero_windows(start, end);
        let (first, from) = split(start);
        let (last, to) = split(end);
        let mut next = first + u64::from(from > 0);
        while next < last
            && let Some((&index, _)) = self.pages.range(next..last).next()
        {
            self.pages.remove(&index);
            budget.give_back(PAGE_BYTES as u64);
            next = index + 1;
        }
        if let Some(page) = self.pages.get_mut(&first) {
            page[from..if first == last { to } else { PAGE_BYTES }].fill(0);
        }
        if first != last
            && let Some(page) = self.pages.get_mut(&last)
        {
            page[..to].fill(0);
        }
    }

    /// First offset from `at` on that is in a page (`data`) or in a hole; `None` beyond the end.
    pub(crate) fn seek(&self, at: u64, data: bool) -> Option<u64> {
        if at >= self.bytes {
            return None;
        }
        let (first, _) = split(at);
        if data {
            let page = self.pages.range(first..).next().map(|(index, _)| *index);
            let behind = self.windows.iter().filter(|window| window.first_page + window.pages > first);
            let index = behind.map(|window| window.first_page.max(first)).chain(page).min()?;
            let found = at.max(index * PAGE_BYTES as u64);
            return (found < self.bytes).then_some(found);
        }
        let mut hole = first;
        loop {
            if let Some(window) = self.window(hole) {
                hole = window.first_page + window.pages;
            } else if self.pages.contains_key(&hole) {
                hole += 1;
            } else {
                break;
            }
        }
        Some(at.max(hole * PAGE_BYTES as u64).min(self.bytes))
    }
}

fn split(at: u64) -> (u64, usize) {
    (at / PAGE_BYTES as u64, (at % PAGE_BYTES as u64) as usize)
}

/// A page with `bytes` at `offset`, zero elsewhere. Running out of memory is an answer here, not the end of the kernel.
fn new_page(offset: usize, bytes: &[u8], budget: &mut Budget) -> Option<Box<Page>> {
    let mut page: Vec<u8> = Vec::new();
    page.try_reserve_exact(PAGE_BYTES).ok()?;
    if !budget.take(PAGE_BYTES as u64) {
        return None;
    }
    page.resize(offset, 0);
    page.extend_from_slice(bytes);
    page.resize(PAGE_BYTES, 0);
    page.into_boxed_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_BYTES as u64;

    /// Zeroed memory of `pages` pages, which lives as long as the tests.
    fn memory(pages: u64) -> u64 {
        let memory = alloc::vec![0_u8; (pages * PAGE) as usize].leak();
        memory.as_mut_ptr().expose_provenance() as u64
    }

    fn byte(content: &Content, at: u64) -> u8 {
        let mut byte = [0xaa];
        assert_eq!(content.read(at, &mut byte), 1);
        byte[0]
    }

    #[test]
    fn a_file_that_moves_keeps_its_bytes_and_its_bill() {
        let mut budget = Budget { used_bytes: 0, limit_bytes: 64 * PAGE };
        let mut content = Content::default();
        for page in [0, 1, 3, 9] {
            assert_eq!(content.write(page * PAGE + 5, &[page as u8 + 1], &mut budget), 1);
        }
        assert_eq!((budget.used_bytes, content.movable(1, 3, false)), (4 * PAGE, Some((1, 3))));
        let window = Window { first_page: 1, pages: 3, address: memory(3) };
        assert_eq!(content.move_to(window, &mut budget), Ok(Vec::new()));
        assert_eq!(budget.used_bytes, content.stored_bytes());
        assert_eq!(budget.used_bytes, 5 * PAGE, "pages 0 and 9, and three in the window");
        for (page, value) in [(0, 1), (1, 2), (2, 0), (3, 4), (9, 10)] {
            assert_eq!(byte(&content, page * PAGE + 5), value, "page {page}");
        }
        assert_eq!(content.address_of(2, 2), Some(window.address + PAGE));
        assert_eq!(content.address_of(2, 3), None);
        // Where it is mapped it stays; then a larger range takes it along.
        content.is_mapped = true;
        assert_eq!(content.movable(0, 2, false), None);
        content.is_mapped = false;
        assert_eq!(content.movable(0, 2, false), Some((0, 4)));
        let larger = Window { first_page: 0, pages: 4, address: memory(4) };
        assert_eq!(content.move_to(larger, &mut budget), Ok(alloc::vec![window.span()]));
        assert_eq!((byte(&content, 5), byte(&content, 3 * PAGE + 5)), (1, 4));
        assert_eq!(budget.used_bytes, content.stored_bytes());
    }

    #[test]
    fn cutting_a_file_zeroes_what_is_mapped_and_gives_back_what_is_not() {
        let mut budget = Budget { used_bytes: 0, limit_bytes: 64 * PAGE };
        let mut content = Content::default();
        let window = Window { first_page: 0, pages: 2, address: memory(2) };
        content.move_to(window, &mut budget).unwrap();
        content.write(0, &[7; 2 * PAGE_BYTES], &mut budget);
        content.is_mapped = true;
        assert_eq!(content.resize(10, &mut budget), []);
        assert_eq!(content.resize(2 * PAGE, &mut budget), []);
        assert_eq!((byte(&content, 9), byte(&content, 10), byte(&content, PAGE + 1)), (7, 0, 0));
        assert_eq!(content.seek(0, false), Some(2 * PAGE));
        content.is_mapped = false;
        assert_eq!(content.resize(0, &mut budget), [window.span()]);
        assert_eq!((budget.used_bytes, content.stored_bytes()), (0, 0));
    }

    #[test]
    fn a_window_without_room_changes_nothing() {
        let mut budget = Budget { used_bytes: 0, limit_bytes: 2 * PAGE };
        let mut content = Content::default();
        content.write(0, &[1], &mut budget);
        let window = Window { first_page: 0, pages: 3, address: memory(3) };
        assert_eq!(content.move_to(window, &mut budget), Err(Errno::NOMEM));
        assert_eq!((budget.used_bytes, byte(&content, 0)), (PAGE, 1));
    }
}
