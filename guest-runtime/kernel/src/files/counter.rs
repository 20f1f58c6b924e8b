//! The object behind `eventfd`: a counter that one waits for.

use crate::errno::Errno;

/// Bytes of every read and write of a counter.
pub(crate) const COUNTER_BYTES: usize = 8;

/// A counter.
#[derive(Debug)]
pub(crate) struct Counter {
    value: u64,
    /// `EFD_SEMAPHORE`: a read takes one, not all.
    takes_one: bool,
    /// Goes up with every write, and with every read: edges for epoll.
    pub(crate) arrivals: u64,
    pub(crate) drains: u64,
}

impl Counter {
    /// Largest value: one less than what cannot be written.
    const MAX: u64 = u64::MAX - 1;

    pub(crate) fn new(value: u64, takes_one: bool) -> Counter {
        Counter { value, takes_one, arrivals: 0, drains: 0 }
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.value > 0
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.value < Counter::MAX
    }

    /// `None`: zero.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Errno> {
        let Some(into) = into.get_mut(..COUNTER_BYTES) else { return Err(Errno::INVAL) };
        if self.value == 0 {
            return Ok(None);
        }
        let taken = if self.takes_one { 1 } else { self.value };
        self.value -= taken;
        self.drains += 1;
        into.copy_from_slice(&taken.to_le_bytes());
        Ok(Some(COUNTER_BYTES))
    }

    /// `None`: the counter would overflow.
    pub(crate) fn write(&mut self, from: &[u8]) -> Result<Option<usize>, Errno> {
        let Some(from) = from.first_chunk::<COUNTER_BYTES>() else { return Err(Errno::INVAL) };
        let added = u64::from_le_bytes(*from);
        if added == u64::MAX {
            return Err(Errno::INVAL);
        }
        if added > Counter::MAX - self.value {
            return Ok(None);
        }
        self.value += added;
        self.arrivals += 1;
        Ok(Some(COUNTER_BYTES))
    }
}
