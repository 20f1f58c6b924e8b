//! Opening and closing.

use super::call::{Answer, Call, DONE, Reply, WORKING_DIRECTORY, at};
use crate::errno::Errno;
use crate::files::description::flag;
use crate::files::limits::DESCRIPTORS_MAX;

/// `open(path, flags, mode)`.
pub(crate) fn open(call: &mut Call<'_>) -> Answer {
    let [path, flags, mode, ..] = call.arguments;
    open_at(call, WORKING_DIRECTORY, path, flags as u32, mode as u32)
}

/// `creat(path, mode)`.
pub(crate) fn creat(call: &mut Call<'_>) -> Answer {
    let [path, mode, ..] = call.arguments;
    open_at(call, WORKING_DIRECTORY, path, flag::CREATE | flag::TRUNCATE | flag::WRITE_ONLY, mode as u32)
}

/// `openat(directory, path, flags, mode)`.
pub(crate) fn openat(call: &mut Call<'_>) -> Answer {
    let [directory, path, flags, mode, ..] = call.arguments;
    open_at(call, directory, path, flags as u32, mode as u32)
}

fn open_at(call: &mut Call<'_>, directory: u64, path: u64, flags: u32, mode: u32) -> Answer {
    let creates_directory = flag::CREATE | flag::DIRECTORY;
    let is_path = flags & flag::PATH != 0;
    if !is_path && (flags & flag::ACCESS_MASK == flag::ACCESS_MASK || flags & creates_directory == creates_directory) {
        return Err(Errno::INVAL);
    }
    let at = at(call.files, call.memory, directory, path)?;
    let fd = call.files.open(at.start, at.path, flags, mode, call.environment)?;
    Ok(Reply::Value(u64::from(fd)))
}

/// `memfd_create(name, flags)`: a file without a name in the writable tree. It cannot be sealed.
pub(crate) fn memfd_create(call: &mut Call<'_>) -> Answer {
    const CLOSE_ON_EXEC: u64 = 1;
    const ALLOW_SEALING: u64 = 2;
    const NAME_BYTES_MAX: u64 = 250;
    let [name, flags, ..] = call.arguments;
    if flags & !(CLOSE_ON_EXEC | ALLOW_SEALING) != 0 {
        return Err(Errno::INVAL);
    }
    call.memory
        .string(name, NAME_BYTES_MAX)
        .map_err(|error| if error == Errno::FAULT { error } else { Errno::INVAL })?;
    let closes = if flags & CLOSE_ON_EXEC != 0 { flag::CLOSE_ON_EXEC } else { 0 };
    let fd = call.files.open_nameless(flag::READ_WRITE | closes, 0o777, call.environment.realtime_ns())?;
    Ok(Reply::Value(u64::from(fd)))
}

/// `close(fd)`.
pub(crate) fn close(call: &mut Call<'_>) -> Answer {
    call.files.close(call.arguments[0])?;
    DONE
}

/// `close_range(first, last, flags)`.
pub(crate) fn close_range(call: &mut Call<'_>) -> Answer {
    const UNSHARE: u32 = 2;
    const CLOSE_ON_EXEC: u32 = 4;
    let (first, last, flags) = (call.word(0), call.word(1), call.word(2));
    if first > last || flags & !(UNSHARE | CLOSE_ON_EXEC) != 0 {
        return Err(Errno::INVAL);
    }
    for fd in first..last.saturating_add(1).min(DESCRIPTORS_MAX as u32) {
        // Numbers that are not open are passed over.
        let _ = if flags & CLOSE_ON_EXEC != 0 {
            call.files.set_closes_on_exec(u64::from(fd), true)
        } else {
            call.files.close(u64::from(fd))
        };
    }
    DONE
}
