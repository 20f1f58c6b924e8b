//! Waiting for descriptors: poll and select.

use super::call::{Answer, Call, Reply, half_at, input, load_timespec, load_timeval, output, word_at};
use super::layout::POLL_BYTES;
use crate::errno::Errno;
use crate::files::limits::DESCRIPTORS_MAX;
use crate::files::readiness::{Awaited, bit};

const NS_PER_MS: u64 = 1_000_000;

/// `poll(list, count, timeout_ms)`.
pub(crate) fn poll(call: &mut Call<'_>) -> Answer {
    let [list, count, timeout_ms, ..] = call.arguments;
    poll_list(call, list, count, milliseconds(timeout_ms))
}

/// `ppoll(list, count, timeout, mask, mask_bytes)`: the mask is not applied, and the time left not written back.
pub(crate) fn ppoll(call: &mut Call<'_>) -> Answer {
    let [list, count, timeout, ..] = call.arguments;
    let timeout = optional_timespec(call, timeout)?;
    poll_list(call, list, count, timeout)
}

/// `select(count, read, write, except, timeout)`: the time left is not written back.
pub(crate) fn select(call: &mut Call<'_>) -> Answer {
    let timeout = call.arguments[4];
    let timeout = if timeout == 0 { None } else { Some(load_timeval(call.memory, timeout)?) };
    select_sets(call, timeout)
}

/// `pselect6(count, read, write, except, timeout, mask)`.
pub(crate) fn pselect6(call: &mut Call<'_>) -> Answer {
    let timeout = optional_timespec(call, call.arguments[4])?;
    select_sets(call, timeout)
}

/// A timeout in milliseconds; a negative one is none.
pub(crate) fn milliseconds(timeout: u64) -> Option<u64> {
    u64::try_from(timeout as u32 as i32).ok().map(|timeout| timeout * NS_PER_MS)
}

fn poll_list(call: &mut Call<'_>, list: u64, count: u64, timeout_ns: Option<u64>) -> Answer {
    if count > DESCRIPTORS_MAX as u64 {
        return Err(Errno::INVAL);
    }
    let entries = output(call.memory, list, count * POLL_BYTES as u64)?;
    let (mut ready, mut awaited) = (0, Awaited::default());
    for entry in entries.chunks_exact_mut(POLL_BYTES) {
        let (fd, wanted) = (half_at(entry, 0), half_at(entry, 4) & 0xffff);
        let mut bits = 0;
        if (fd as i32) >= 0 {
            match call.files.readiness(u64::from(fd), &*call.environment) {
                Ok(readiness) => {
                    bits = readiness.bits() & (wanted | bit::ERROR | bit::HANGUP);
                    awaited.add(&readiness, wanted);
                }
                Err(_) => bits = bit::INVALID,
            }
        }
        // The answer is written even if the call is made again: it is overwritten then.
        entry[6..8].copy_from_slice(&(bits as u16).to_le_bytes());
        ready += u64::from(bits != 0);
    }
    if ready > 0 {
        return Ok(Reply::Value(ready));
    }
    Ok(call.wait(timeout_ns, awaited).unwrap_or(Reply::Value(0)))
}

/// A set of `select`: as many words as the largest table has bits.
type Set = [u64; DESCRIPTORS_MAX / 64];

fn select_sets(call: &mut Call<'_>, timeout_ns: Option<u64>) -> Answer {
    let count = call.arguments[0] as u32 as i32;
    let count = usize::try_from(count).map_err(|_| Errno::INVAL)?.min(DESCRIPTORS_MAX);
    let addresses = [call.arguments[1], call.arguments[2], call.arguments[3]];
    let bytes = count.div_ceil(64) * 8;
    let mut wanted: [Set; 3] = [[0; DESCRIPTORS_MAX / 64]; 3];
    for (set, address) in wanted.iter_mut().zip(addresses) {
        if address != 0 {
            let source = input(call.memory, address, bytes as u64)?;
            for (index, word) in set.iter_mut().take(bytes / 8).enumerate() {
                *word = word_at(source, index * 8);
            }
        }
    }
    let (ready, found, awaited) = scan_sets(call, count, &wanted)?;
    if found == 0
        && let Some(block) = call.wait(timeout_ns, awaited)
    {
        return Ok(block);
    }
    for (set, address) in ready.iter().zip(addresses) {
        if address != 0 {
            let into = output(call.memory, address, bytes as u64)?;
            for (slot, word) in into.chunks_exact_mut(8).zip(set) {
                slot.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    Ok(Reply::Value(found))
}

/// What of `wanted` is ready, how many bits that is, and what else would make it more.
fn scan_sets(call: &Call<'_>, count: usize, wanted: &[Set; 3]) -> Result<([Set; 3], u64, Awaited), Errno> {
    let mut ready: [Set; 3] = [[0; DESCRIPTORS_MAX / 64]; 3];
    let (mut found, mut awaited) = (0, Awaited::default());
    for fd in 0..count {
        let (word, mask) = (fd / 64, 1_u64 << (fd % 64));
        let is_wanted = |set: usize| wanted[set][word] & mask != 0;
        if !(is_wanted(0) || is_wanted(1) || is_wanted(2)) {
            continue;
        }
        let readiness = call.files.readiness(fd as u64, &*call.environment)?;
        awaited.add(&readiness, if is_wanted(0) { bit::IN } else { 0 });
        // What makes `poll` report an error or hang-up makes a descriptor readable and writable for `select`.
        let states = [
            readiness.read || readiness.hangup || readiness.error,
            readiness.write || readiness.error,
            readiness.urgent,
        ];
        for (set, state) in states.into_iter().enumerate() {
            if state && is_wanted(set) {
                ready[set][word] |= mask;
                found += 1;
            }
        }
    }
    Ok((ready, found, awaited))
}

/// A `struct timespec` at `address`, or no timeout.
pub(crate) fn optional_timespec(call: &Call<'_>, address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 { Ok(None) } else { load_timespec(call.memory, address).map(Some) }
}
