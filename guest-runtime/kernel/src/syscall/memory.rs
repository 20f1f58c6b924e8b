//! Memory that is mapped: its end, its protection, advice.

use alloc::vec::Vec;

use mayfly_abi::layout::{PAGE_BYTES, is_in_images};

use crate::errno::Errno;
use crate::memory::{Backing, Span, protection};
use crate::system::{Action, Answer, Machine, System};

const MADV_DONTNEED: u64 = 4;

/// `brk(address)`.
pub fn brk(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let mut dirty = Vec::new();
    let end = system.space.set_brk(arguments[0], &mut dirty);
    dirty.into_iter().for_each(|span| machine.zero(span));
    Ok(Action::Value(end))
}

/// `mprotect(address, bytes, protection)`: noted, not enforced. In an image only the data of a library can be written.
pub fn mprotect(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [start, bytes, wanted, ..] = *arguments;
    if is_in_images(start) {
        if wanted & protection::WRITE != 0 && machine.write(start, bytes).is_err() {
            return Err(Errno::ACCES);
        }
        if !system.space.is_mapped(start, bytes) {
            return Ok(Action::Value(0));
        }
    }
    system.space.protect(start, bytes, wanted)?;
    Ok(Action::Value(0))
}

/// `madvise(address, bytes, advice)`: `MADV_DONTNEED` gives what was there first, the rest is advice (`MADV_FREE` may keep the contents).
pub fn madvise(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [start, bytes, advice, ..] = *arguments;
    let Some(end) = checked_end(system, start, bytes)? else { return Ok(Action::Value(0)) };
    if advice != MADV_DONTNEED {
        return Ok(Action::Value(0));
    }
    let mut at = start;
    while at < end {
        let part = system.space.parts(at, end).next();
        let gap_end = part.map_or(end, |part| part.start);
        // Heap and stack are no mappings.
        machine.zero(Span { start: at, end: gap_end });
        let Some(part) = part else { break };
        match part.backing {
            Backing::Anonymous => machine.zero(Span { start: part.start, end: part.end }),
            Backing::Copy { source, source_end } => {
                let copied = source_end.saturating_sub(source).min(part.end - part.start);
                machine.copy(source, part.start, copied);
                machine.zero(Span { start: part.start + copied, end: part.end });
            }
            // What the loader has not changed is what was there first.
            Backing::Library { .. } => {}
            Backing::Taken | Backing::Shared { .. } | Backing::Kernel => {}
        }
        at = part.end;
    }
    Ok(Action::Value(0))
}

/// `msync(address, bytes, flags)`: file and mapping are the same memory.
pub fn msync(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    checked_end(system, arguments[0], arguments[1])?;
    Ok(Action::Value(0))
}

/// `mincore(address, bytes, vector)`: all of it is in memory.
pub fn mincore(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [start, bytes, vector, ..] = *arguments;
    checked_end(system, start, bytes)?;
    machine.write(vector, bytes.div_ceil(PAGE_BYTES))?.fill(1);
    Ok(Action::Value(0))
}

/// `mlock`, `munlock` and their like: there is nothing to do.
pub fn nothing(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Value(0))
}

/// The page-aligned end of a range that is mapped; `None` if it is a file's of an image, mapped in place.
fn checked_end(system: &System, start: u64, bytes: u64) -> Result<Option<u64>, Errno> {
    if !start.is_multiple_of(PAGE_BYTES) {
        return Err(Errno::INVAL);
    }
    let end = start.checked_add(bytes).and_then(|end| end.checked_add(PAGE_BYTES - 1)).ok_or(Errno::INVAL)?
        & !(PAGE_BYTES - 1);
    match system.space.is_mapped(start, end - start) {
        true => Ok(Some(end)),
        false if is_in_images(start) => Ok(None),
        false => Err(Errno::NOMEM),
    }
}
