//! Pipes and counters.

use super::call::{Answer, Call, DONE, Reply, output};
use crate::errno::Errno;
use crate::files::counter::Counter;
use crate::files::description::flag;

/// `pipe(fds)`.
pub(crate) fn pipe(call: &mut Call<'_>) -> Answer {
    open_pipe(call, 0)
}

/// `pipe2(fds, flags)`.
pub(crate) fn pipe2(call: &mut Call<'_>) -> Answer {
    let flags = call.word(1);
    open_pipe(call, flags)
}

/// `eventfd(value)`.
pub(crate) fn eventfd(call: &mut Call<'_>) -> Answer {
    open_counter(call, 0)
}

/// `eventfd2(value, flags)`.
pub(crate) fn eventfd2(call: &mut Call<'_>) -> Answer {
    let flags = call.word(1);
    open_counter(call, flags)
}

fn open_pipe(call: &mut Call<'_>, flags: u32) -> Answer {
    // O_DIRECT would mean packets; nothing is known to ask for them.
    if flags & !(flag::NONBLOCKING | flag::CLOSE_ON_EXEC) != 0 {
        return Err(Errno::INVAL);
    }
    let into = output(call.memory, call.arguments[0], 8)?;
    let pair = call.files.open_pipe(flags)?;
    write_pair(into, pair);
    DONE
}

/// Two descriptors as C's `int[2]`.
pub(crate) fn write_pair(into: &mut [u8], pair: [u32; 2]) {
    for (slot, fd) in into.chunks_exact_mut(4).zip(pair) {
        slot.copy_from_slice(&fd.to_le_bytes());
    }
}

fn open_counter(call: &mut Call<'_>, flags: u32) -> Answer {
    const SEMAPHORE: u32 = 1;
    if flags & !(SEMAPHORE | flag::NONBLOCKING | flag::CLOSE_ON_EXEC) != 0 {
        return Err(Errno::INVAL);
    }
    let counter = Counter::new(u64::from(call.word(0)), flags & SEMAPHORE != 0);
    let fd = call.files.open_counter(counter, flags & !SEMAPHORE)?;
    Ok(Reply::Value(u64::from(fd)))
}
