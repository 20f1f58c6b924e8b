//! brk, mmap, munmap, mprotect, mremap, madvise and their relatives.

use alloc::vec::Vec;

use mayfly_abi::layout::PAGE_BYTES;

use crate::errno::Errno;
use crate::memory::{Place, Span};
use crate::system::{Action, Answer, Machine, System};

const MAP_FIXED: u64 = 0x10;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;
const MADV_DONTNEED: u64 = 4;
const MADV_FREE: u64 = 8;

/// `brk(address)`.
pub fn brk(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let mut dirty = Vec::new();
    let end = system.space.set_brk(arguments[0], &mut dirty);
    zero(machine, &dirty);
    Ok(Action::Value(end))
}

/// `mmap` of anonymous memory; also the first half of a file mapping, which the caller then fills.
///
/// Shared and private are the same in a program that cannot fork. `MAP_NORESERVE`, `MAP_POPULATE`, `MAP_STACK`, `MAP_GROWSDOWN` and
/// `MAP_HUGETLB` change nothing.
pub fn mmap(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [address, bytes, protection, flags, ..] = *arguments;
    let place = if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::Exactly { address, replace: false }
    } else if flags & MAP_FIXED != 0 {
        Place::Exactly { address, replace: true }
    } else if address != 0 {
        Place::Near(address)
    } else {
        Place::Anywhere
    };
    let mut dirty = Vec::new();
    let start = system.space.map(place, bytes, protection, &mut dirty)?;
    zero(machine, &dirty);
    Ok(Action::Value(start))
}

/// `munmap(address, bytes)`.
pub fn munmap(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    if arguments[1] == 0 {
        return Err(Errno::INVAL);
    }
    system.space.unmap(arguments[0], arguments[1])?;
    Ok(Action::Value(0))
}

/// `mprotect(address, bytes, protection)`: noted, not enforced.
pub fn mprotect(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    system.space.protect(arguments[0], arguments[1], arguments[2])?;
    Ok(Action::Value(0))
}

/// `mremap(old, old_bytes, new_bytes, flags, new)`.
pub fn mremap(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [old, old_bytes, new_bytes, flags, new, _] = *arguments;
    let up = |bytes: u64| bytes.checked_add(PAGE_BYTES - 1).map(|bytes| bytes & !(PAGE_BYTES - 1)).ok_or(Errno::INVAL);
    let (old_bytes, new_bytes) = (up(old_bytes)?, up(new_bytes)?);
    if old % PAGE_BYTES != 0
        || new_bytes == 0
        || old_bytes == 0
        || (flags & MREMAP_FIXED != 0 && flags & MREMAP_MAYMOVE == 0)
    {
        return Err(Errno::INVAL);
    }
    if !system.space.is_accessible(old, old_bytes) {
        return Err(Errno::FAULT);
    }
    let mut dirty = Vec::new();
    if flags & MREMAP_FIXED == 0 {
        if new_bytes <= old_bytes {
            if new_bytes < old_bytes {
                system.space.unmap(old + new_bytes, old_bytes - new_bytes)?;
            }
            return Ok(Action::Value(old));
        }
        if system.space.extend(old, old_bytes, new_bytes, &mut dirty) {
            zero(machine, &dirty);
            return Ok(Action::Value(old));
        }
        if flags & MREMAP_MAYMOVE == 0 {
            return Err(Errno::NOMEM);
        }
    }
    let place = if flags & MREMAP_FIXED != 0 {
        let apart = new.checked_add(new_bytes).is_some_and(|end| end <= old) || new >= old + old_bytes;
        if !apart {
            return Err(Errno::INVAL);
        }
        Place::Exactly { address: new, replace: true }
    } else {
        Place::Anywhere
    };
    let start = system.space.map(place, new_bytes, 3, &mut dirty)?;
    zero(machine, &dirty);
    machine.copy(old, start, old_bytes.min(new_bytes));
    system.space.unmap(old, old_bytes)?;
    Ok(Action::Value(start))
}

/// `madvise(address, bytes, advice)`: `MADV_DONTNEED` gives zeros, the rest is advice.
pub fn madvise(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [address, bytes, advice, ..] = *arguments;
    if address % PAGE_BYTES != 0 {
        return Err(Errno::INVAL);
    }
    let end = address.checked_add(bytes).and_then(|end| end.checked_add(PAGE_BYTES - 1)).ok_or(Errno::INVAL)?
        & !(PAGE_BYTES - 1);
    if !system.space.is_accessible(address, end - address) {
        return Err(Errno::NOMEM);
    }
    if advice == MADV_DONTNEED {
        machine.zero(Span { start: address, end });
    }
    // MADV_FREE may keep the contents, and does.
    let _ = MADV_FREE;
    Ok(Action::Value(0))
}

/// `mlock`, `munlock`, `msync` and their like: there is nothing to do.
pub fn nothing(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Value(0))
}

fn zero(machine: &mut impl Machine, dirty: &[Span]) {
    for &span in dirty {
        machine.zero(span);
    }
}
