//! Free addresses, in order, each range with the note whether it was ever written.

use alloc::collections::BTreeMap;

use super::Dirty;

/// Addresses from `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

impl Span {
    /// Number of bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.end - self.start
    }
}

/// Free ranges by start address; neighbours differ in `used` or do not touch.
#[derive(Debug, Default)]
pub struct FreeList {
    ranges: BTreeMap<u64, (u64, bool)>,
}

impl FreeList {
    /// Adds a range that must not overlap another.
    pub fn insert(&mut self, span: Span, used: bool) {
        let Span { mut start, mut end } = span;
        if start >= end {
            return;
        }
        if let Some((&before, &(before_end, before_used))) = self.ranges.range(..start).next_back()
            && before_end == start
            && before_used == used
        {
            self.ranges.remove(&before);
            start = before;
        }
        if let Some(&(after_end, after_used)) = self.ranges.get(&end)
            && after_used == used
        {
            self.ranges.remove(&end);
            end = after_end;
        }
        self.ranges.insert(start, (end, used));
    }

    /// Takes the highest `bytes` bytes that are free together.
    pub fn take_highest(&mut self, bytes: u64, dirty: &mut Dirty) -> Option<u64> {
        // Ranges that touch but differ in `used` count as one.
        let mut run_end = 0;
        let mut run_start = u64::MAX;
        let mut found = None;
        for (&start, &(end, _)) in self.ranges.iter().rev() {
            if end != run_start {
                run_end = end;
            }
            run_start = start;
            if run_end - run_start >= bytes {
                found = Some(run_end - bytes);
                break;
            }
        }
        let start = found?;
        self.take_exact(Span { start, end: start + bytes }, dirty).then_some(start)
    }

    /// Takes exactly these addresses, if all of them are free.
    pub fn take_exact(&mut self, span: Span, dirty: &mut Dirty) -> bool {
        if span.start >= span.end || !self.covers(span) {
            return false;
        }
        let mut at = span.start;
        while at < span.end {
            let Some((&start, &(end, used))) = self.ranges.range(..=at).next_back() else { return false };
            let cut = Span { start: at, end: end.min(span.end) };
            self.ranges.remove(&start);
            if start < cut.start {
                self.ranges.insert(start, (cut.start, used));
            }
            if cut.end < end {
                self.ranges.insert(cut.end, (end, used));
            }
            if used {
                dirty.push(cut);
            }
            at = cut.end;
        }
        true
    }

    /// How many bytes are free in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(start, (end, _))| end - start).sum()
    }

    fn covers(&self, span: Span) -> bool {
        let mut at = span.start;
        while at < span.end {
            match self.ranges.range(..=at).next_back() {
                Some((_, &(end, _))) if end > at => at = end,
                _ => return false,
            }
        }
        true
    }
}
