//! Pipes: a bounded buffer between ends that may each be open several times. A connected socket has one for what comes in.

use alloc::collections::VecDeque;

use super::limits::{PIPE_ATOMIC_BYTES, PIPE_BYTES, PIPE_BYTES_MAX};
use crate::errno::Errno;

/// A pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    /// Bytes for which there is room.
    limit_bytes: usize,
    /// Open descriptions that read.
    pub(crate) readers: u32,
    /// Open descriptions that write.
    pub(crate) writers: u32,
    /// Goes up whenever something comes in or the last writer goes: edges for who waits to read.
    pub(crate) arrivals: u64,
    /// Goes up whenever a full pipe has room again or the last reader goes: edges for who waits to write.
    pub(crate) drains: u64,
}

impl Pipe {
    /// An empty pipe with one open end of each kind. It takes memory once something is written.
    pub(crate) const fn new(limit_bytes: usize) -> Pipe {
        Pipe { bytes: VecDeque::new(), limit_bytes, readers: 1, writers: 1, arrivals: 0, drains: 0 }
    }

    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes for which there is room, used or not.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Makes room for `bytes`, rounded up to a power of two of pages as on Linux, and says how many that are.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<usize, Errno> {
        let wanted = usize::try_from(bytes).ok().filter(|bytes| *bytes <= PIPE_BYTES_MAX).ok_or(Errno::PERM)?;
        let limit_bytes = wanted.max(PIPE_ATOMIC_BYTES).next_power_of_two();
        if limit_bytes < self.bytes.len() {
            return Err(Errno::BUSY);
        }
        self.drains += u64::from(limit_bytes > self.limit_bytes);
        self.limit_bytes = limit_bytes;
        Ok(limit_bytes)
    }

    /// Would a write be taken at once, as `poll` means it?
    pub(crate) fn has_room(&self) -> bool {
        self.limit_bytes - self.bytes.len() >= PIPE_ATOMIC_BYTES
    }

    /// Takes bytes out. `None`: empty, but there is still a writer.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        let count = self.peek(into)?;
        let was_full = !self.has_room();
        self.bytes.drain(..count);
        self.drains += u64::from(was_full && self.has_room());
        Some(count)
    }

    /// As [`Pipe::read`], leaving the bytes where they are.
    pub(crate) fn peek(&self, into: &mut [u8]) -> Option<usize> {
        if self.bytes.is_empty() && self.writers > 0 && !into.is_empty() {
            return None;
        }
        let (front, back) = self.bytes.as_slices();
        let first = front.len().min(into.len());
        into[..first].copy_from_slice(&front[..first]);
        let second = back.len().min(into.len() - first);
        into[first..first + second].copy_from_slice(&back[..second]);
        Some(first + second)
    }

    /// Puts bytes in, as many as there is room for; a short write goes in whole or not at all. `None`: no room.
    pub(crate) fn write(&mut self, from: &[u8]) -> Result<Option<usize>, Errno> {
        if self.readers == 0 {
            return Err(Errno::PIPE);
        }
        let room = self.limit_bytes - self.bytes.len();
        if !from.is_empty() && (room == 0 || (from.len() <= PIPE_ATOMIC_BYTES && room < from.len())) {
            return Ok(None);
        }
        let count = room.min(from.len());
        self.bytes.try_reserve(count).map_err(|_| Errno::NOMEM)?;
        self.bytes.extend(&from[..count]);
        self.arrivals += u64::from(count > 0);
        Ok(Some(count))
    }

    /// One writer less. What it wrote can still be read.
    pub(crate) fn close_writer(&mut self) {
        self.writers = self.writers.saturating_sub(1);
        self.arrivals += u64::from(self.writers == 0);
    }

    /// One reader less.
    pub(crate) fn close_reader(&mut self) {
        self.readers = self.readers.saturating_sub(1);
        self.drains += u64::from(self.readers == 0);
    }
}

impl Default for Pipe {
    fn default() -> Pipe {
        Pipe::new(PIPE_BYTES)
    }
}
