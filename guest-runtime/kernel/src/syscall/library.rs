//! Libraries that are used where they are.
//!
//! A loader maps a library's whole extent and lets the kernel choose where; then, each at its place in that, the segments, and memory of zeros for
//! what the file leaves out; then it changes protections. In a load area all of that is there already: it only has to be noted.

use mayfly_abi::layout::PAGE_BYTES;

use super::mapping::Memory;
use crate::elf::Program;
use crate::errno::Errno;
use crate::files::{Bytes, Mappable};
use crate::memory::{Backing, Span, protection};
use crate::system::{Action, Answer, Machine};

const MAP_SHARED: u64 = 0x01;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

impl<M: Machine> Memory<'_, M> {
    /// The load area of a library whose whole extent is to be mapped; `None` if it has none, or none any more.
    pub(super) fn map_library(&mut self, file: &Bytes, bytes: u64, protection: u64) -> Option<u64> {
        let area = file.area()?;
        let program = parse(file)?;
        let (start, end) = program.extent();
        if area.bytes() != end - start || bytes.checked_next_multiple_of(PAGE_BYTES) != Some(area.bytes()) {
            return None;
        }
        let zeros = zeros(&program).map_or(area.end, |zeros| area.start + (zeros - start));
        self.system.space.take_area(area, protection, zeros).then_some(area.start)
    }

    /// A mapping at an address in an image.
    pub(super) fn map_into_library(&mut self, arguments: &[u64; 6]) -> Answer {
        let [start, bytes, protection, flags, fd, offset] = *arguments;
        let end = bytes.checked_next_multiple_of(PAGE_BYTES).and_then(|bytes| start.checked_add(bytes));
        let span = Span { start, end: end.ok_or(Errno::NOMEM)? };
        if !start.is_multiple_of(PAGE_BYTES) || !offset.is_multiple_of(PAGE_BYTES) || span.end == start {
            return Err(Errno::INVAL);
        }
        if !self.system.space.is_mapped(start, span.bytes()) {
            return Err(Errno::NOMEM);
        }
        if flags & MAP_FIXED_NOREPLACE != 0 {
            return Err(Errno::EXIST);
        }
        let file = match flags & MAP_ANONYMOUS {
            0 => Some(self.files.mappable(fd)?),
            _ => None,
        };
        let file = match file {
            None | Some(Mappable::Zeros) => None,
            Some(Mappable::InPlace(file)) if flags & MAP_SHARED == 0 => Some(file),
            Some(_) => return Err(Errno::NOMEM),
        };
        let is_there = self.system.space.untouched(span).is_some_and(|zeros| match &file {
            None => span.start >= zeros,
            Some(file) => shows(file, span, offset),
        });
        let is_writable = self.machine.write(start, span.bytes()).is_ok();
        if !is_writable && (!is_there || protection & protection::WRITE != 0) {
            return Err(Errno::NOMEM);
        }
        if !is_there {
            self.machine.zero(span);
            if let Some(file) = &file {
                self.copy_file(file, offset, span);
            }
        }
        let backing = file.map_or(Backing::Anonymous, |file| backing(&file, offset, span.bytes()));
        self.system.space.settle_area(span, protection, backing);
        Ok(Action::Value(start))
    }
}

/// What a private mapping of a file is.
#[must_use]
pub fn backing(file: &Bytes, offset: u64, bytes: u64) -> Backing {
    let piece = file.piece(offset);
    let is_whole = piece.len() as u64 >= file.len().saturating_sub(offset).min(bytes);
    let source = piece.as_ptr() as u64;
    if is_whole { Backing::Copy { source, source_end: source + piece.len() as u64 } } else { Backing::Taken }
}

/// Bytes, from its start, of the pages that a library's first segment has.
pub(super) fn first_part_bytes(file: &Bytes) -> Option<u64> {
    let part = parse(file)?.parts.first().copied()?;
    part.file_offset.checked_add(part.file_bytes)?.checked_next_multiple_of(PAGE_BYTES)
}

/// Is `span` of the file's load area, as the image has it, the file from `offset` on?
fn shows(file: &Bytes, span: Span, offset: u64) -> bool {
    let (Some(area), Some(program)) = (file.area(), parse(file)) else { return false };
    let (first, _) = program.extent();
    program.parts.iter().any(|part| {
        let (address, part_offset, bytes) = part.mapped();
        let start = area.start + (address - first);
        span.start == start && offset == part_offset && span.end <= start + bytes && span.end <= area.end
    })
}

/// From which page on, relative to the load bias, nothing comes from the file.
fn zeros(program: &Program) -> Option<u64> {
    program.parts.iter().map(|part| part.mapped()).map(|(address, _, bytes)| address + bytes).max()
}

fn parse(file: &Bytes) -> Option<Program> {
    Program::parse(file.piece(0), file.len()).ok()
}
