//! Attributes: modes, owners, times, lengths, extended attributes; and making things durable, which nothing here is.

use super::call::{Answer, Call, DONE, Reply, WORKING_DIRECTORY, at, input, load, word_at};
use super::status::{EMPTY_PATH, NOFOLLOW};
use crate::errno::Errno;
use crate::files::description::Object;
use crate::files::edit::{At, Attributes};
use crate::files::place::Place;
use crate::files::timestamp::Timestamp;

/// `chmod(path, mode)`.
pub(crate) fn chmod(call: &mut Call<'_>) -> Answer {
    let [path, mode, ..] = call.arguments;
    set_at(call, (WORKING_DIRECTORY, path, 0), permissions(mode))
}

/// `fchmod(fd, mode)`.
pub(crate) fn fchmod(call: &mut Call<'_>) -> Answer {
    let [fd, mode, ..] = call.arguments;
    check_open(call, fd)?;
    set_open(call, fd, permissions(mode))
}

/// `fchmodat(directory, path, mode)`.
pub(crate) fn fchmodat(call: &mut Call<'_>) -> Answer {
    let [directory, path, mode, ..] = call.arguments;
    set_at(call, (directory, path, 0), permissions(mode))
}

/// `fchmodat2(directory, path, mode, flags)`.
pub(crate) fn fchmodat2(call: &mut Call<'_>) -> Answer {
    let [directory, path, mode, flags, ..] = call.arguments;
    set_at(call, (directory, path, flags), permissions(mode))
}

/// `chown(path, owner, group)`.
pub(crate) fn chown(call: &mut Call<'_>) -> Answer {
    let [path, owner, group, ..] = call.arguments;
    set_at(call, (WORKING_DIRECTORY, path, 0), ownership(owner, group))
}

/// `lchown(path, owner, group)`.
pub(crate) fn lchown(call: &mut Call<'_>) -> Answer {
    let [path, owner, group, ..] = call.arguments;
    set_at(call, (WORKING_DIRECTORY, path, NOFOLLOW), ownership(owner, group))
}

/// `fchown(fd, owner, group)`.
pub(crate) fn fchown(call: &mut Call<'_>) -> Answer {
    let [fd, owner, group, ..] = call.arguments;
    check_open(call, fd)?;
    set_open(call, fd, ownership(owner, group))
}

/// `fchownat(directory, path, owner, group, flags)`.
pub(crate) fn fchownat(call: &mut Call<'_>) -> Answer {
    let [directory, path, owner, group, flags, _] = call.arguments;
    set_at(call, (directory, path, flags), ownership(owner, group))
}

/// `umask(mask)`.
pub(crate) fn umask(call: &mut Call<'_>) -> Answer {
    Ok(Reply::Value(u64::from(call.files.replace_umask(call.word(0)))))
}

/// `utimensat(directory, path, times, flags)`: a null path means the descriptor.
pub(crate) fn utimensat(call: &mut Call<'_>) -> Answer {
    const NOW: u64 = 0x3fff_ffff;
    const OMIT: u64 = 0x3fff_fffe;
    let [directory, path, times, flags, ..] = call.arguments;
    let now = Timestamp::of_ns(call.environment.realtime_ns());
    let mut set = [Some(now); 2];
    if times != 0 {
        let bytes: [u8; 32] = load(call.memory, times)?;
        for (slot, time) in set.iter_mut().zip(bytes.chunks_exact(16)) {
            *slot = match (word_at(time, 0), word_at(time, 8)) {
                (_, NOW) => Some(now),
                (_, OMIT) => None,
                (_, 1_000_000_000..) => return Err(Errno::INVAL),
                (seconds, nanoseconds) => Some(timestamp(seconds, nanoseconds)),
            };
        }
    }
    let attributes = Attributes { accessed: set[0], modified: set[1], ..Attributes::default() };
    if path == 0 { set_open(call, directory, attributes) } else { set_at(call, (directory, path, flags), attributes) }
}

/// `utime(path, times)`, in seconds.
pub(crate) fn utime(call: &mut Call<'_>) -> Answer {
    set_times(call, (WORKING_DIRECTORY, call.arguments[0]), call.arguments[1], |bytes| {
        Some([timestamp(word_at(bytes, 0), 0), timestamp(word_at(bytes, 8), 0)])
    })
}

/// `utimes(path, times)`, in microseconds.
pub(crate) fn utimes(call: &mut Call<'_>) -> Answer {
    let [path, times, ..] = call.arguments;
    set_times(call, (WORKING_DIRECTORY, path), times, from_timevals)
}

/// `futimesat(directory, path, times)`, in microseconds.
pub(crate) fn futimesat(call: &mut Call<'_>) -> Answer {
    let [directory, path, times, ..] = call.arguments;
    set_times(call, (directory, path), times, from_timevals)
}

/// `truncate(path, bytes)`.
pub(crate) fn truncate(call: &mut Call<'_>) -> Answer {
    let [path, bytes, ..] = call.arguments;
    let bytes = length(bytes)?;
    let At { start, path } = at(call.files, call.memory, WORKING_DIRECTORY, path)?;
    let place = call.files.find(start, path, true)?;
    call.files.truncate(place, bytes, call.environment.realtime_ns())?;
    DONE
}

/// `ftruncate(fd, bytes)`.
pub(crate) fn ftruncate(call: &mut Call<'_>) -> Answer {
    let [fd, bytes, ..] = call.arguments;
    let bytes = length(bytes)?;
    let place = writable_file(call, fd, Errno::INVAL)?;
    call.files.truncate(place, bytes, call.environment.realtime_ns())?;
    DONE
}

/// `fallocate(fd, mode, offset, bytes)`: plain, `KEEP_SIZE`, and holes.
pub(crate) fn fallocate(call: &mut Call<'_>) -> Answer {
    const KEEP_SIZE: u64 = 1;
    const PUNCH_HOLE: u64 = 2;
    const ZERO_RANGE: u64 = 16;
    let [fd, mode, offset, bytes, ..] = call.arguments;
    call.files.description(fd)?;
    if length(bytes)? == 0 {
        return Err(Errno::INVAL);
    }
    let end = length(offset)?.checked_add(bytes).filter(|end| *end <= i64::MAX as u64).ok_or(Errno::FBIG)?;
    let place = writable_file(call, fd, Errno::BADF)?;
    let now = call.environment.realtime_ns();
    match mode {
        0 | KEEP_SIZE => call.files.allocate(place, (offset, end), mode == 0, now)?,
        _ if mode == PUNCH_HOLE | KEEP_SIZE || mode == ZERO_RANGE | KEEP_SIZE => {
            call.files.punch(place, (offset, end), now)?;
        }
        _ => return Err(Errno::OPNOTSUPP),
    }
    DONE
}

/// `fsync`, `fdatasync`, `sync_file_range`, `syncfs`, `fadvise64`, `readahead`: a descriptor, and nothing to do.
pub(crate) fn nothing_to_do(call: &mut Call<'_>) -> Answer {
    call.files.description(call.arguments[0])?;
    DONE
}

/// `flock(fd, operation)`: one process never waits for itself.
pub(crate) fn flock(call: &mut Call<'_>) -> Answer {
    const SHARED: u32 = 1;
    const EXCLUSIVE: u32 = 2;
    const UNLOCK: u32 = 8;
    const DONT_WAIT: u32 = 4;
    check_open(call, call.arguments[0])?;
    match call.word(1) & !DONT_WAIT {
        SHARED | EXCLUSIVE | UNLOCK => DONE,
        _ => Err(Errno::INVAL),
    }
}

/// `sync()`.
pub(crate) fn sync(_: &mut Call<'_>) -> Answer {
    DONE
}

/// `getxattr`, `setxattr`, `removexattr`: there are none, and there can be none.
pub(crate) fn no_attribute(call: &mut Call<'_>) -> Answer {
    check_path(call, true)?;
    Err(Errno::OPNOTSUPP)
}

/// `lgetxattr` and its like.
pub(crate) fn no_attribute_of_link(call: &mut Call<'_>) -> Answer {
    check_path(call, false)?;
    Err(Errno::OPNOTSUPP)
}

/// `fgetxattr` and its like.
pub(crate) fn no_attribute_of_open(call: &mut Call<'_>) -> Answer {
    check_open(call, call.arguments[0])?;
    Err(Errno::OPNOTSUPP)
}

/// `listxattr`: an empty list.
pub(crate) fn empty_list(call: &mut Call<'_>) -> Answer {
    check_path(call, true)?;
    DONE
}

/// `llistxattr`.
pub(crate) fn empty_list_of_link(call: &mut Call<'_>) -> Answer {
    check_path(call, false)?;
    DONE
}

/// `flistxattr`.
pub(crate) fn empty_list_of_open(call: &mut Call<'_>) -> Answer {
    check_open(call, call.arguments[0])?;
    DONE
}

/// Is there something at the path that is the first argument?
fn check_path(call: &Call<'_>, follows: bool) -> Result<(), Errno> {
    let At { start, path } = at(call.files, call.memory, WORKING_DIRECTORY, call.arguments[0])?;
    call.files.find(start, path, follows).map(drop)
}

fn permissions(mode: u64) -> Attributes {
    Attributes { permissions: Some(mode as u32), ..Attributes::default() }
}

/// An owner or group of -1 stays.
fn ownership(owner: u64, group: u64) -> Attributes {
    let given = |id: u64| Some(id as u32).filter(|id| *id != u32::MAX);
    Attributes { owner: given(owner), group: given(group), ..Attributes::default() }
}

fn set_at(call: &mut Call<'_>, (directory, path, flags): (u64, u64, u64), attributes: Attributes) -> Answer {
    if flags & !(NOFOLLOW | EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    if flags & EMPTY_PATH != 0 && call.memory.string(path, 1).is_ok() {
        return set_open(call, directory, attributes);
    }
    let At { start, path } = at(call.files, call.memory, directory, path)?;
    let place = call.files.find(start, path, flags & NOFOLLOW == 0)?;
    call.files.set_attributes(place, &attributes, call.environment.realtime_ns())?;
    DONE
}

/// `EBADF` for what was opened only as a place.
fn check_open(call: &Call<'_>, fd: u64) -> Result<(), Errno> {
    if matches!(call.files.description(fd)?.object, Object::Path) { Err(Errno::BADF) } else { Ok(()) }
}

fn set_open(call: &mut Call<'_>, fd: u64, attributes: Attributes) -> Answer {
    // Of a pipe or socket nobody looks at them.
    if let Some(place) = call.files.description(fd)?.place {
        call.files.set_attributes(place, &attributes, call.environment.realtime_ns())?;
    }
    DONE
}

fn set_times(
    call: &mut Call<'_>,
    (directory, path): (u64, u64),
    times: u64,
    decode: impl Fn(&[u8]) -> Option<[Timestamp; 2]>,
) -> Answer {
    /// Of `struct utimbuf`; two `struct timeval` are twice that.
    const SECONDS_BYTES: u64 = 16;
    let now = Timestamp::of_ns(call.environment.realtime_ns());
    let set = if times == 0 {
        [now; 2]
    } else {
        // The longer of the two forms need not be readable for the shorter one.
        let bytes =
            input(call.memory, times, 2 * SECONDS_BYTES).or_else(|_| input(call.memory, times, SECONDS_BYTES))?;
        decode(bytes).ok_or(Errno::INVAL)?
    };
    let attributes = Attributes { accessed: Some(set[0]), modified: Some(set[1]), ..Attributes::default() };
    set_at(call, (directory, path, 0), attributes)
}

fn from_timevals(bytes: &[u8]) -> Option<[Timestamp; 2]> {
    let time = |at| (word_at(bytes, at), word_at(bytes, at + 8));
    let ((first, first_us), (second, second_us)) = (time(0), time(16));
    let valid = bytes.len() >= 32 && first_us < 1_000_000 && second_us < 1_000_000;
    valid.then(|| [timestamp(first, first_us * 1000), timestamp(second, second_us * 1000)])
}

/// A time of the program's; less than a second of nanoseconds.
fn timestamp(seconds: u64, nanoseconds: u64) -> Timestamp {
    Timestamp { seconds: seconds as i64, nanoseconds: nanoseconds as u32 }
}

fn length(bytes: u64) -> Result<u64, Errno> {
    if bytes > i64::MAX as u64 { Err(Errno::INVAL) } else { Ok(bytes) }
}

/// The place of a file that is open for writing; `otherwise` if it is open for reading only.
fn writable_file(call: &Call<'_>, fd: u64, otherwise: Errno) -> Result<Place, Errno> {
    let description = call.files.description(fd)?;
    match description.object {
        Object::Path => Err(Errno::BADF),
        _ if !description.is_writable() => Err(otherwise),
        Object::Tmp(id) => Ok(Place::Tmp(id)),
        Object::Pipe { .. } | Object::Socket(_) => Err(if otherwise == Errno::BADF { Errno::SPIPE } else { otherwise }),
        _ => Err(if otherwise == Errno::BADF { Errno::NODEV } else { otherwise }),
    }
}
