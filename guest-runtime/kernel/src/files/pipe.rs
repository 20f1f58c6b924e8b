//! Pipes: a bounded buffer between ends that may each be open several times. A connected socket has one for what comes in.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::limits::{PAGE_BYTES, PIPE_ATOMIC_BYTES, PIPE_BYTES, PIPE_BYTES_MAX};
use crate::errno::Errno;

/// A pipe.
///
/// What is in it is in blocks of a page, which come and go with it: large pieces of the kernel's memory are hard to find, and a
/// pipe that is empty takes none.
#[derive(Debug)]
pub(crate) struct Pipe {
    blocks: VecDeque<Vec<u8>>,
    /// Bytes of the first block that were read already.
    read_bytes: usize,
    /// Bytes waiting.
    bytes: usize,
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
        Pipe {
            blocks: VecDeque::new(),
            read_bytes: 0,
            bytes: 0,
            limit_bytes,
            readers: 1,
            writers: 1,
            arrivals: 0,
            drains: 0,
        }
    }

    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Bytes for which there is room, used or not.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Makes room for `bytes`, rounded up to a power of two of pages as on Linux, and says how many that are.
    pub(crate) fn resize(&mut self, bytes: u64) -> Result<usize, Errno> {
        let wanted = usize::try_from(bytes).ok().filter(|bytes| *bytes <= PIPE_BYTES_MAX).ok_or(Errno::PERM)?;
        let limit_bytes = wanted.max(PIPE_ATOMIC_BYTES).next_power_of_two();
        if limit_bytes < self.bytes {
            return Err(Errno::BUSY);
        }
        self.drains += u64::from(limit_bytes > self.limit_bytes);
        self.limit_bytes = limit_bytes;
        Ok(limit_bytes)
    }

    /// Would a write be taken at once, as `poll` means it?
    pub(crate) fn has_room(&self) -> bool {
        self.limit_bytes - self.bytes >= PIPE_ATOMIC_BYTES
    }

    /// Takes bytes out. `None`: empty, but there is still a writer.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        let count = self.peek(into)?;
        let was_full = !self.has_room();
        self.drop_front(count);
        self.drains += u64::from(was_full && self.has_room());
        Some(count)
    }

    /// As [`Pipe::read`], leaving the bytes where they are.
    pub(crate) fn peek(&self, into: &mut [u8]) -> Option<usize> {
        if self.bytes == 0 && self.writers > 0 && !into.is_empty() {
            return None;
        }
        let (mut done, mut start) = (0, self.read_bytes);
        for block in &self.blocks {
            let part = block.len().saturating_sub(start).min(into.len() - done);
            into[done..done + part].copy_from_slice(&block[start..start + part]);
            (done, start) = (done + part, 0);
            if done == into.len() {
                break;
            }
        }
        Some(done)
    }

    /// Forgets the first `count` bytes, which are there.
    fn drop_front(&mut self, count: usize) {
        self.bytes -= count;
        self.read_bytes += count;
        while let Some(first) = self.blocks.front()
            && (self.read_bytes >= PAGE_BYTES || self.bytes == 0)
        {
            self.read_bytes = self.read_bytes.saturating_sub(first.len());
            self.blocks.pop_front();
        }
    }

    /// Puts bytes in, as many as there is room for; a short write goes in whole or not at all. `None`: no room.
    pub(crate) fn write(&mut self, from: &[u8]) -> Result<Option<usize>, Errno> {
        if self.readers == 0 {
            return Err(Errno::PIPE);
        }
        let room = self.limit_bytes - self.bytes;
        if !from.is_empty() && (room == 0 || (from.len() <= PIPE_ATOMIC_BYTES && room < from.len())) {
            return Ok(None);
        }
        let count = self.append(&from[..room.min(from.len())]);
        if count == 0 && !from.is_empty() {
            return Err(Errno::NOMEM);
        }
        self.arrivals += u64::from(count > 0);
        Ok(Some(count))
    }

    /// Puts bytes into blocks, as far as there is memory for them.
    fn append(&mut self, mut from: &[u8]) -> usize {
        let before = self.bytes;
        while !from.is_empty() {
            match self.blocks.back_mut() {
                Some(last) if last.len() < PAGE_BYTES => {
                    let (part, rest) = from.split_at(from.len().min(PAGE_BYTES - last.len()));
                    last.extend_from_slice(part);
                    (self.bytes, from) = (self.bytes + part.len(), rest);
                }
                _ => {
                    let mut block = Vec::new();
                    if block.try_reserve_exact(PAGE_BYTES).is_err() {
                        break;
                    }
                    self.blocks.push_back(block);
                }
            }
        }
        self.bytes - before
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a queue of bytes, with lengths that meet the blocks' edges from both sides.
    #[test]
    fn what_goes_in_comes_out_in_order_and_takes_no_memory_then() {
        let mut pipe = Pipe::default();
        let mut model: VecDeque<u8> = VecDeque::new();
        let lengths = [1, 4095, 4096, 4097, 100, 8192, 3, 12_288, 5000, 4090];
        let mut next = 0_u8;
        for step in 0..5000 {
            let length = lengths[step * 7 % lengths.len()];
            if step % 3 != 2 {
                let bytes: Vec<u8> = (0..length).map(|at| next.wrapping_add((at % 241) as u8)).collect();
                next = next.wrapping_add(1);
                let count = pipe.write(&bytes).unwrap().unwrap_or(0);
                model.extend(&bytes[..count]);
            } else {
                let mut bytes = alloc::vec![0; length * 2 + 1];
                let seen = pipe.peek(&mut bytes).unwrap_or(0);
                let looked = bytes[..seen].to_vec();
                let count = pipe.read(&mut bytes).unwrap_or(0);
                assert_eq!(looked, bytes[..count]);
                assert!(model.drain(..count).eq(bytes[..count].iter().copied()), "step {step}");
            }
            assert_eq!(pipe.len(), model.len());
            assert!(pipe.blocks.len() <= pipe.len() / PAGE_BYTES + 2);
        }
        let mut rest = alloc::vec![0; 1 << 17];
        assert_eq!(pipe.read(&mut rest), Some(model.len()));
        assert!(pipe.blocks.is_empty() && pipe.read_bytes == 0);
    }
}
