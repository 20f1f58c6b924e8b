//! Pipes: a bounded buffer between ends that may each be open several times.

use alloc::collections::VecDeque;

use super::limits::{PIPE_ATOMIC_BYTES, PIPE_BYTES};
use crate::errno::Errno;

/// A pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    /// Open descriptions that read.
    pub(crate) readers: u32,
    /// Open descriptions that write.
    pub(crate) writers: u32,
    /// Goes up whenever something comes in, goes out, or an end is closed: edges for epoll.
    pub(crate) activity: u64,
}

impl Pipe {
    /// An empty pipe with one open end of each kind. It takes memory once something is written.
    pub(crate) const fn new() -> Pipe {
        Pipe { bytes: VecDeque::new(), readers: 1, writers: 1, activity: 0 }
    }

    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Would a write be taken at once, as `poll` means it?
    pub(crate) fn has_room(&self) -> bool {
        PIPE_BYTES - self.bytes.len() >= PIPE_ATOMIC_BYTES
    }

    /// Takes bytes out. `None`: empty, but there is still a writer.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        let count = self.peek(into)?;
        self.bytes.drain(..count);
        self.activity += u64::from(count > 0);
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
        let room = PIPE_BYTES - self.bytes.len();
        if !from.is_empty() && (room == 0 || (from.len() <= PIPE_ATOMIC_BYTES && room < from.len())) {
            return Ok(None);
        }
        let count = room.min(from.len());
        self.bytes.try_reserve(count).map_err(|_| Errno::NOMEM)?;
        self.bytes.extend(&from[..count]);
        self.activity += u64::from(count > 0);
        Ok(Some(count))
    }
}
