//! Descriptors themselves: duplicating, flags, `ioctl`.

use super::call::{Answer, Call, DONE, Reply, half_at, load, store, word_at};
use super::layout::LOCK_BYTES;
use crate::errno::Errno;
use crate::files::description::{Object, flag};
use crate::files::limits::DESCRIPTORS_MAX;

/// `dup(fd)`.
pub(crate) fn dup(call: &mut Call<'_>) -> Answer {
    duplicate(call, 0, false)
}

/// `dup2(fd, number)`.
pub(crate) fn dup2(call: &mut Call<'_>) -> Answer {
    let (fd, number) = (call.word(0), call.word(1));
    if fd == number {
        call.files.description(u64::from(fd))?;
        return Ok(Reply::Value(u64::from(fd)));
    }
    call.files.duplicate(u64::from(fd), number, false).map(|fd| Reply::Value(u64::from(fd)))
}

/// `dup3(fd, number, flags)`.
pub(crate) fn dup3(call: &mut Call<'_>) -> Answer {
    let (fd, number, flags) = (call.word(0), call.word(1), call.word(2));
    if fd == number || flags & !flag::CLOSE_ON_EXEC != 0 {
        return Err(Errno::INVAL);
    }
    let fd = call.files.duplicate(u64::from(fd), number, flags != 0)?;
    Ok(Reply::Value(u64::from(fd)))
}

// Commands on locks; what is between the two of each line sets one.
const GET_LOCK: u32 = 5;
const SET_LOCK_WAIT: u32 = 7;
const GET_OPEN_LOCK: u32 = 36;
const SET_OPEN_LOCK_WAIT: u32 = 38;

/// `fcntl(fd, command, argument)`.
pub(crate) fn fcntl(call: &mut Call<'_>) -> Answer {
    const DUPLICATE: u32 = 0;
    const GET_DESCRIPTOR_FLAGS: u32 = 1;
    const SET_DESCRIPTOR_FLAGS: u32 = 2;
    const GET_STATUS_FLAGS: u32 = 3;
    const SET_STATUS_FLAGS: u32 = 4;
    const SET_OWNER: u32 = 8;
    const GET_OWNER: u32 = 9;
    const DUPLICATE_CLOSE_ON_EXEC: u32 = 1030;
    const SET_PIPE_BYTES: u32 = 1031;
    const GET_PIPE_BYTES: u32 = 1032;
    const NOTIFY: u32 = 1026;
    const NOTIFY_AGAIN: u32 = 1 << 31;
    let (fd, command, argument) = (call.arguments[0], call.word(1), call.arguments[2]);
    match command {
        DUPLICATE | DUPLICATE_CLOSE_ON_EXEC => {
            if argument >= DESCRIPTORS_MAX as u64 {
                return Err(Errno::INVAL);
            }
            duplicate(call, argument as u32, command == DUPLICATE_CLOSE_ON_EXEC)
        }
        GET_DESCRIPTOR_FLAGS => Ok(Reply::Value(u64::from(call.files.closes_on_exec(fd)?))),
        SET_DESCRIPTOR_FLAGS => {
            call.files.set_closes_on_exec(fd, argument & 1 != 0)?;
            DONE
        }
        GET_STATUS_FLAGS => {
            let flags = call.files.description(fd)?.flags;
            let large = if flags & flag::PATH == 0 { flag::LARGE } else { 0 };
            Ok(Reply::Value(u64::from(flags | large)))
        }
        SET_STATUS_FLAGS => {
            let description = call.files.description_mut(fd)?;
            description.flags = description.flags & !flag::SETTABLE | argument as u32 & flag::SETTABLE;
            DONE
        }
        GET_LOCK..=SET_LOCK_WAIT | GET_OPEN_LOCK..=SET_OPEN_LOCK_WAIT => lock(call, command),
        // To be told of nothing is all that one can be told of.
        NOTIFY if argument as u32 & !NOTIFY_AGAIN == 0 => {
            call.files.description(fd)?;
            DONE
        }
        SET_OWNER | GET_OWNER => {
            call.files.description(fd)?;
            DONE
        }
        GET_PIPE_BYTES => Ok(Reply::Value(call.files.pipe_mut(fd)?.limit_bytes() as u64)),
        SET_PIPE_BYTES => {
            let bytes = call.files.pipe_mut(fd)?.resize(u64::from(argument as u32))?;
            call.files.note_change();
            Ok(Reply::Value(bytes as u64))
        }
        _ => {
            call.files.description(fd)?;
            Err(Errno::INVAL)
        }
    }
}

/// `ioctl(fd, request, argument)`. Nothing is a terminal.
pub(crate) fn ioctl(call: &mut Call<'_>) -> Answer {
    const SET_NONBLOCKING: u32 = 0x5421;
    const CLEAR_CLOSE_ON_EXEC: u32 = 0x5450;
    const SET_CLOSE_ON_EXEC: u32 = 0x5451;
    const BYTES_READABLE: u32 = 0x541b;
    let (fd, request, argument) = (call.arguments[0], call.word(1), call.arguments[2]);
    call.files.description(fd)?;
    match request {
        SET_NONBLOCKING => {
            let on = u32::from_le_bytes(load(call.memory, argument)?) != 0;
            let flags = &mut call.files.description_mut(fd)?.flags;
            *flags = *flags & !flag::NONBLOCKING | if on { flag::NONBLOCKING } else { 0 };
        }
        SET_CLOSE_ON_EXEC | CLEAR_CLOSE_ON_EXEC => {
            call.files.set_closes_on_exec(fd, request == SET_CLOSE_ON_EXEC)?;
        }
        BYTES_READABLE => {
            let bytes = call.files.waiting_bytes(fd)?.ok_or(Errno::NOTTY)?;
            let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
            store(call.memory, argument, &bytes.to_le_bytes())?;
        }
        _ => return Err(Errno::NOTTY),
    }
    DONE
}

fn duplicate(call: &mut Call<'_>, from: u32, closes_on_exec: bool) -> Answer {
    let fd = call.arguments[0];
    call.files.description(fd)?;
    let number = call.files.lowest_free(from)?;
    let fd = call.files.duplicate(fd, number, closes_on_exec)?;
    Ok(Reply::Value(u64::from(fd)))
}

/// `fcntl` on locks: of the process, and of an open file.
fn lock(call: &mut Call<'_>, command: u32) -> Answer {
    let address = call.arguments[2];
    let sets = ![GET_LOCK, GET_OPEN_LOCK].contains(&command);
    check_lock(call, address, command >= GET_OPEN_LOCK, sets)?;
    // One process: whoever holds a lock is the one who asks, so nobody else does.
    if !sets {
        store(call.memory, address, &UNLOCKED.to_le_bytes())?;
    }
    DONE
}

const READ_LOCK: u16 = 0;
const WRITE_LOCK: u16 = 1;
const UNLOCKED: u16 = 2;

/// Is the `struct flock` at `address` one that could be granted?
fn check_lock(call: &mut Call<'_>, address: u64, is_of_description: bool, sets: bool) -> Result<(), Errno> {
    let description = call.files.description(call.arguments[0])?;
    if matches!(description.object, Object::Path) {
        return Err(Errno::BADF);
    }
    let lock: [u8; LOCK_BYTES] = load(call.memory, address)?;
    let (kind, whence) = (half_at(&lock, 0) as u16, half_at(&lock, 0) >> 16);
    let (start, length, owner) = (word_at(&lock, 8) as i64, word_at(&lock, 16) as i64, half_at(&lock, 24));
    let allowed = match kind {
        READ_LOCK => !sets || description.is_readable(),
        WRITE_LOCK => !sets || description.is_writable(),
        UNLOCKED if sets => true,
        _ => return Err(Errno::INVAL),
    };
    // Counted from the start of the file, or from an offset that is not looked at: it is not negative.
    let is_negative = whence == 0 && (start < 0 || start.saturating_add(length) < 0);
    if whence > 2 || is_negative || (is_of_description && owner != 0) {
        return Err(Errno::INVAL);
    }
    if allowed { Ok(()) } else { Err(Errno::BADF) }
}
