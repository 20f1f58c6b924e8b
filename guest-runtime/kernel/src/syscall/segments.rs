//! Lists of buffers (`struct iovec`).

use alloc::vec::Vec;

use super::call::{input, word_at};
use super::layout::SEGMENT_BYTES;
use crate::errno::Errno;
use crate::files::limits::{SEGMENTS_MAX, TRANSFER_BYTES_MAX};
use crate::user::UserMemory;

/// A buffer of the program: a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
}

/// Segments that need no allocation.
const FEW: usize = 16;

/// A list, copied once: a read into a buffer that lies over the list must not change it under way.
#[derive(Debug)]
pub(crate) struct Segments {
    few: [Segment; FEW],
    count: usize,
    many: Vec<Segment>,
}

impl Segments {
    pub(crate) fn load(memory: &dyn UserMemory, address: u64, count: u64) -> Result<Segments, Errno> {
        if count > SEGMENTS_MAX {
            return Err(Errno::INVAL);
        }
        let bytes = input(memory, address, count * SEGMENT_BYTES as u64)?;
        let mut segments = Segments { few: [Segment::default(); FEW], count: count as usize, many: Vec::new() };
        if segments.count > FEW {
            segments.many.try_reserve_exact(segments.count).map_err(|_| Errno::NOMEM)?;
            segments.many.resize(segments.count, Segment::default());
        }
        let list = if segments.count > FEW { &mut segments.many[..] } else { &mut segments.few[..] };
        let mut room = TRANSFER_BYTES_MAX;
        for (slot, chunk) in list.iter_mut().zip(bytes.chunks_exact(SEGMENT_BYTES)) {
            let length = word_at(chunk, 8);
            if length > i64::MAX as u64 {
                return Err(Errno::INVAL);
            }
            let length = length.min(room);
            room -= length;
            *slot = Segment { address: word_at(chunk, 0), bytes: length };
        }
        Ok(segments)
    }

    pub(crate) fn as_slice(&self) -> &[Segment] {
        if self.count > FEW { &self.many } else { &self.few[..self.count] }
    }
}
