//! Reading and writing.

use super::call::{Answer, Call, Reply, input, output, transfer_bytes};
use super::segments::{Segment, Segments};
use super::socket::message;
use crate::errno::Errno;

/// `read(fd, buffer, bytes)`.
pub(crate) fn read(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    read_one(call, fd, Segment { address, bytes }, None)
}

/// `write(fd, buffer, bytes)`.
pub(crate) fn write(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    write_all(call, fd, &[Segment { address, bytes: transfer_bytes(bytes) }], None)
}

/// `pread64(fd, buffer, bytes, offset)`.
pub(crate) fn pread64(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, offset, ..] = call.arguments;
    read_one(call, fd, Segment { address, bytes }, Some(checked_offset(offset)?))
}

/// `pwrite64(fd, buffer, bytes, offset)`.
pub(crate) fn pwrite64(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, offset, ..] = call.arguments;
    let offset = checked_offset(offset)?;
    write_all(call, fd, &[Segment { address, bytes: transfer_bytes(bytes) }], Some(offset))
}

/// `readv(fd, segments, count)`.
pub(crate) fn readv(call: &mut Call<'_>) -> Answer {
    read_segments(call, None)
}

/// `writev(fd, segments, count)`.
pub(crate) fn writev(call: &mut Call<'_>) -> Answer {
    write_segments(call, None)
}

/// `preadv(fd, segments, count, offset)`.
pub(crate) fn preadv(call: &mut Call<'_>) -> Answer {
    let offset = checked_offset(call.arguments[3])?;
    read_segments(call, Some(offset))
}

/// `pwritev(fd, segments, count, offset)`.
pub(crate) fn pwritev(call: &mut Call<'_>) -> Answer {
    let offset = checked_offset(call.arguments[3])?;
    write_segments(call, Some(offset))
}

/// `preadv2(fd, segments, count, offset, _, flags)`: flags are hints or not supported; offset -1 is the file's own.
pub(crate) fn preadv2(call: &mut Call<'_>) -> Answer {
    let at = offset_or_own(call.arguments)?;
    read_segments(call, at)
}

/// `pwritev2(fd, segments, count, offset, _, flags)`.
pub(crate) fn pwritev2(call: &mut Call<'_>) -> Answer {
    let at = offset_or_own(call.arguments)?;
    write_segments(call, at)
}

/// One read into one buffer, at offset `at` or the file's own.
fn read_one(call: &mut Call<'_>, fd: u64, segment: Segment, at: Option<u64>) -> Answer {
    if at.is_none() && call.files.is_socket(fd) {
        return message::read(call, fd, &[Segment { bytes: transfer_bytes(segment.bytes), ..segment }]);
    }
    // Of a buffer only what can be filled has to exist: programs pass lengths far beyond a file's.
    let bytes = call.files.readable_bytes(fd, at, segment.bytes)?;
    let into = output(call.memory, segment.address, bytes)?;
    match call.files.read(fd, into, at, call.environment)? {
        Some(count) => Ok(Reply::Value(count as u64)),
        None => call.block(fd),
    }
}

fn read_segments(call: &mut Call<'_>, at: Option<u64>) -> Answer {
    let [fd, list, count, ..] = call.arguments;
    call.files.description(fd)?;
    let segments = Segments::load(call.memory, list, count)?;
    if at.is_none() && call.files.is_socket(fd) {
        return message::read(call, fd, segments.as_slice());
    }
    let mut done = 0;
    for &segment in segments.as_slice() {
        if segment.bytes == 0 {
            continue;
        }
        match read_one(call, fd, segment, at.map(|at| at.saturating_add(done))) {
            Ok(Reply::Value(count)) => {
                done += count;
                if count < segment.bytes {
                    return Ok(Reply::Value(done));
                }
            }
            // What was read before is reported; what is wrong now shows at the next call.
            _ if done > 0 => return Ok(Reply::Value(done)),
            other => return other,
        }
    }
    if done == 0 { read_one(call, fd, Segment { address: 0, bytes: 0 }, at) } else { Ok(Reply::Value(done)) }
}

fn write_segments(call: &mut Call<'_>, at: Option<u64>) -> Answer {
    let [fd, list, count, ..] = call.arguments;
    call.files.description(fd)?;
    let segments = Segments::load(call.memory, list, count)?;
    write_all(call, fd, segments.as_slice(), at)
}

/// Writes all segments. A blocking write into a pipe ends only once all of it is in; how far it is, is kept in
/// [`Call::resume`].
pub(crate) fn write_all(call: &mut Call<'_>, fd: u64, segments: &[Segment], at: Option<u64>) -> Answer {
    if at.is_none() && call.files.is_socket(fd) {
        return message::write(call, fd, segments);
    }
    let mut done = call.resume.done_bytes;
    let mut skipped = done;
    if segments.iter().all(|segment| segment.bytes == 0) {
        // Checks that the descriptor can be written to.
        let count = call.files.write(fd, &[], at, call.environment)?;
        return Ok(Reply::Value(count.unwrap_or(0) as u64));
    }
    let is_stream = call.files.description(fd)?.object.is_stream();
    for segment in segments {
        let start = skipped.min(segment.bytes);
        skipped -= start;
        let mut from = match input(call.memory, segment.address.wrapping_add(start), segment.bytes - start) {
            Err(_) if done > 0 => return Ok(Reply::Value(done)),
            claim => claim?,
        };
        while !from.is_empty() {
            match call.files.write(fd, from, at.map(|at| at.saturating_add(done)), call.environment) {
                Ok(Some(0)) => return Ok(Reply::Value(done)),
                Ok(Some(count)) => {
                    done += count as u64;
                    from = &from[count..];
                    if !is_stream && !from.is_empty() {
                        return Ok(Reply::Value(done));
                    }
                }
                Ok(None) => return block_write(call, fd, done),
                Err(_) if done > 0 => return Ok(Reply::Value(done)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Reply::Value(done))
}

fn block_write(call: &mut Call<'_>, fd: u64, done: u64) -> Answer {
    match call.block(fd) {
        Err(Errno::AGAIN) if done > 0 => Ok(Reply::Value(done)),
        answer => {
            call.resume.done_bytes = done;
            answer
        }
    }
}

fn checked_offset(offset: u64) -> Result<u64, Errno> {
    if offset > i64::MAX as u64 { Err(Errno::INVAL) } else { Ok(offset) }
}

fn offset_or_own([.., offset, _, flags]: [u64; 6]) -> Result<Option<u64>, Errno> {
    /// `RWF_HIPRI`, `RWF_DSYNC`, `RWF_SYNC`: nothing to do.
    const HINTS: u64 = 0x7;
    if flags & !HINTS != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    if offset == u64::MAX { Ok(None) } else { checked_offset(offset).map(Some) }
}
