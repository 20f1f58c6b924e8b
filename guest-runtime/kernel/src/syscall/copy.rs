//! Copying from file to file, and moving the offset.

use super::call::{Answer, Call, Reply, load, store};
use crate::errno::Errno;
use crate::files::description::{Object, flag};
use crate::files::limits::TRANSFER_BYTES_MAX;
use crate::files::transfer::Whence;

/// Bytes copied at a time, through the kernel's stack.
const CHUNK_BYTES: usize = 4096;

/// `lseek(fd, offset, whence)`.
pub(crate) fn lseek(call: &mut Call<'_>) -> Answer {
    let [fd, offset, whence, ..] = call.arguments;
    if matches!(call.files.description(fd)?.object, Object::Path) {
        return Err(Errno::BADF);
    }
    let whence = match whence as u32 {
        0 => Whence::Start,
        1 => Whence::Current,
        2 => Whence::End,
        3 => Whence::Data,
        4 => Whence::Hole,
        _ => return Err(Errno::INVAL),
    };
    call.files.seek(fd, offset as i64, whence).map(Reply::Value)
}

/// `sendfile(out, in, offset, bytes)`.
pub(crate) fn sendfile(call: &mut Call<'_>) -> Answer {
    let [out, from, offset, bytes, ..] = call.arguments;
    let start = load_offset(call, offset)?;
    let (count, block) = copy(call, (from, start), (out, None), bytes)?;
    if let (0, Some(block)) = (count, block) {
        return Ok(block);
    }
    finish(call, &[(offset, start)], count)
}

/// `copy_file_range(in, in_offset, out, out_offset, bytes, flags)`.
pub(crate) fn copy_file_range(call: &mut Call<'_>) -> Answer {
    let [from, in_offset, out, out_offset, bytes, flags] = call.arguments;
    let (read_from, write_to) = (load_offset(call, in_offset)?, load_offset(call, out_offset)?);
    let (source, target) = (call.files.description(from)?, call.files.description(out)?);
    if [source, target].iter().any(|file| matches!(file.object, Object::Directory)) {
        return Err(Errno::ISDIR);
    }
    // Into a file that only grows at its end there is no copying to an offset.
    if !source.is_readable() || !target.is_writable() || target.flags & flag::APPEND != 0 {
        return Err(Errno::BADF);
    }
    if flags != 0 || !source.object.is_file() || !target.object.is_file() {
        return Err(Errno::INVAL);
    }
    let bytes = call.files.readable_bytes(from, read_from, bytes)?;
    if source.place == target.place {
        let (start, end) = (read_from.unwrap_or(source.position), write_to.unwrap_or(target.position));
        if start.abs_diff(end) < bytes {
            return Err(Errno::INVAL);
        }
    }
    let (count, _) = copy(call, (from, read_from), (out, write_to), bytes)?;
    finish(call, &[(in_offset, read_from), (out_offset, write_to)], count)
}

/// Copies and says how much; with a reply to give instead if nothing could be written yet.
fn copy(
    call: &mut Call<'_>,
    (from, read_at): (u64, Option<u64>),
    (out, write_at): (u64, Option<u64>),
    bytes: u64,
) -> Result<(u64, Option<Reply>), Errno> {
    let source = call.files.description(from)?;
    if !source.is_readable() || !call.files.description(out)?.is_writable() {
        return Err(Errno::BADF);
    }
    // Only what ends: a device would keep the kernel busy for as long as it likes.
    if !source.object.is_file() || call.files.description(out)?.flags & flag::APPEND != 0 {
        return Err(Errno::INVAL);
    }
    let start = read_at.unwrap_or(source.position);
    let (mut done, mut block) = (0, None);
    let mut chunk = [0; CHUNK_BYTES];
    while done < bytes.min(TRANSFER_BYTES_MAX) {
        let wanted = (bytes - done).min(CHUNK_BYTES as u64) as usize;
        let read = call.files.read(from, &mut chunk[..wanted], Some(start.saturating_add(done)), call.environment);
        let read = read?.unwrap_or(0);
        if read == 0 {
            break;
        }
        let at = write_at.map(|at| at.saturating_add(done));
        match call.files.write(out, &chunk[..read], at, call.environment) {
            Ok(Some(count)) => {
                done += count as u64;
                if count < read {
                    break;
                }
            }
            Ok(None) if done == 0 => {
                block = Some(call.block(out)?);
                break;
            }
            Err(error) if done == 0 => return Err(error),
            _ => break,
        }
    }
    if read_at.is_none() {
        call.files.description_mut(from)?.position = start.saturating_add(done);
    }
    Ok((done, block))
}

fn load_offset(call: &Call<'_>, address: u64) -> Result<Option<u64>, Errno> {
    if address == 0 {
        return Ok(None);
    }
    let offset = u64::from_le_bytes(load(call.memory, address)?);
    if offset > i64::MAX as u64 { Err(Errno::INVAL) } else { Ok(Some(offset)) }
}

/// Writes the offsets back where the program keeps them.
fn finish(call: &mut Call<'_>, offsets: &[(u64, Option<u64>)], count: u64) -> Answer {
    for (address, start) in offsets {
        if let Some(start) = start {
            store(call.memory, *address, &start.saturating_add(count).to_le_bytes())?;
        }
    }
    Ok(Reply::Value(count))
}
