//! Waiting for descriptors: epoll.

use super::call::{Answer, Call, DONE, Reply, half_at, load, output, word_at};
use super::layout::{self, EPOLL_EVENT_BYTES};
use super::poll::{milliseconds, optional_timespec};
use crate::errno::Errno;
use crate::files::description::flag;
use crate::files::epoll::{Change, Interest};

/// `epoll_create(size)`.
pub(crate) fn epoll_create(call: &mut Call<'_>) -> Answer {
    if call.word(0) as i32 <= 0 {
        return Err(Errno::INVAL);
    }
    open(call, 0)
}

/// `epoll_create1(flags)`.
pub(crate) fn epoll_create1(call: &mut Call<'_>) -> Answer {
    let flags = call.word(0);
    if flags & !flag::CLOSE_ON_EXEC != 0 {
        return Err(Errno::INVAL);
    }
    open(call, flags)
}

fn open(call: &mut Call<'_>, flags: u32) -> Answer {
    let fd = call.files.open_epoll(flags)?;
    Ok(Reply::Value(u64::from(fd)))
}

/// `epoll_ctl(epoll, operation, fd, event)`.
pub(crate) fn epoll_ctl(call: &mut Call<'_>) -> Answer {
    const ADD: u64 = 1;
    const DELETE: u64 = 2;
    const MODIFY: u64 = 3;
    let [epoll, operation, fd, event, ..] = call.arguments;
    let interest = |call: &Call<'_>| {
        let event: [u8; EPOLL_EVENT_BYTES] = load(call.memory, event)?;
        Ok(Interest::new(half_at(&event, 0), word_at(&event, 4)))
    };
    let change = match operation {
        ADD => Change::Add(interest(call)?),
        DELETE => Change::Delete,
        MODIFY => Change::Modify(interest(call)?),
        _ => return Err(Errno::INVAL),
    };
    let epoll = call.files.epoll(epoll)?;
    call.files.change_interest(epoll, fd, change)?;
    DONE
}

/// `epoll_wait(epoll, events, max, timeout_ms)` and `epoll_pwait`, whose mask is not applied.
pub(crate) fn epoll_wait(call: &mut Call<'_>) -> Answer {
    let timeout = milliseconds(call.arguments[3]);
    wait(call, timeout)
}

/// `epoll_pwait2(epoll, events, max, timeout, mask, mask_bytes)`.
pub(crate) fn epoll_pwait2(call: &mut Call<'_>) -> Answer {
    let timeout = optional_timespec(call, call.arguments[3])?;
    wait(call, timeout)
}

fn wait(call: &mut Call<'_>, timeout_ns: Option<u64>) -> Answer {
    let [epoll, address, max, ..] = call.arguments;
    let epoll = call.files.epoll(epoll)?;
    let max = usize::try_from(max as u32 as i32).ok().filter(|max| *max > 0).ok_or(Errno::INVAL)?;
    // Never more than there are to report: programs pass a count that is larger than what they watch.
    let max = max.min(call.files.interests(epoll));
    let into = output(call.memory, address, (max * EPOLL_EVENT_BYTES) as u64)?;
    let mut slots = into.chunks_exact_mut(EPOLL_EVENT_BYTES);
    let (count, awaited) = call.files.scan(epoll, max, &*call.environment, |events, data| {
        if let Some(slot) = slots.next() {
            slot.copy_from_slice(&layout::epoll_event(events, data));
        }
    })?;
    if count > 0 {
        return Ok(Reply::Value(count as u64));
    }
    Ok(call.wait(timeout_ns, awaited).unwrap_or(Reply::Value(0)))
}
