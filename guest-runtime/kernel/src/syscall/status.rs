//! What files are: stat, statx, statfs, access.

use super::call::{Answer, Call, DONE, WORKING_DIRECTORY, at, store};
use super::layout;
use crate::errno::Errno;
use crate::files::edit::At;
use crate::files::place::Place;
use crate::files::status::Status;
use mayfly_abi::image::{DIRECTORY, FILE, TYPE_MASK};

/// `AT_SYMLINK_NOFOLLOW`.
pub(crate) const NOFOLLOW: u64 = 0x100;
/// `AT_EMPTY_PATH`: an empty path means the descriptor itself.
pub(crate) const EMPTY_PATH: u64 = 0x1000;
/// `AT_NO_AUTOMOUNT` and the two bits of `AT_STATX_*`: nothing to do.
const HARMLESS: u64 = 0x800 | 0x6000;
/// `AT_EACCESS`: there is only one user.
const EFFECTIVE: u64 = 0x200;

/// `stat(path, status)`.
pub(crate) fn stat(call: &mut Call<'_>) -> Answer {
    let [path, into, ..] = call.arguments;
    let status = status_at(call, WORKING_DIRECTORY, path, 0)?;
    finish(call, into, &layout::stat(&status))
}

/// `lstat(path, status)`.
pub(crate) fn lstat(call: &mut Call<'_>) -> Answer {
    let [path, into, ..] = call.arguments;
    let status = status_at(call, WORKING_DIRECTORY, path, NOFOLLOW)?;
    finish(call, into, &layout::stat(&status))
}

/// `fstat(fd, status)`.
pub(crate) fn fstat(call: &mut Call<'_>) -> Answer {
    let [fd, into, ..] = call.arguments;
    let status = call.files.status_of_description(call.files.description(fd)?)?;
    finish(call, into, &layout::stat(&status))
}

/// `newfstatat(directory, path, status, flags)`.
pub(crate) fn newfstatat(call: &mut Call<'_>) -> Answer {
    let [directory, path, into, flags, ..] = call.arguments;
    let status = status_at(call, directory, path, flags)?;
    finish(call, into, &layout::stat(&status))
}

/// `statx(directory, path, flags, mask, status)`. The mask asks for at least what there is.
pub(crate) fn statx(call: &mut Call<'_>) -> Answer {
    let [directory, path, flags, _, into, _] = call.arguments;
    let status = status_at(call, directory, path, flags)?;
    finish(call, into, &layout::statx(&status))
}

/// `statfs(path, status)`.
pub(crate) fn statfs(call: &mut Call<'_>) -> Answer {
    let [path, into, ..] = call.arguments;
    let At { start, path } = at(call.files, call.memory, WORKING_DIRECTORY, path)?;
    let place = call.files.find(start, path, true)?;
    let system = call.files.file_system(Some(place));
    finish(call, into, &layout::statfs(&system))
}

/// `fstatfs(fd, status)`.
pub(crate) fn fstatfs(call: &mut Call<'_>) -> Answer {
    let [fd, into, ..] = call.arguments;
    let system = call.files.file_system(call.files.description(fd)?.place);
    finish(call, into, &layout::statfs(&system))
}

/// `access(path, mode)`.
pub(crate) fn access(call: &mut Call<'_>) -> Answer {
    let [path, mode, ..] = call.arguments;
    access_at(call, WORKING_DIRECTORY, path, mode, 0)
}

/// `faccessat(directory, path, mode)`.
pub(crate) fn faccessat(call: &mut Call<'_>) -> Answer {
    let [directory, path, mode, ..] = call.arguments;
    access_at(call, directory, path, mode, 0)
}

/// `faccessat2(directory, path, mode, flags)`.
pub(crate) fn faccessat2(call: &mut Call<'_>) -> Answer {
    let [directory, path, mode, flags, ..] = call.arguments;
    access_at(call, directory, path, mode, flags)
}

/// As root: everything can be read, everything writable can be written, and executed what anybody can execute.
fn access_at(call: &mut Call<'_>, directory: u64, path: u64, mode: u64, flags: u64) -> Answer {
    const EXECUTE: u32 = 1;
    const WRITE: u32 = 2;
    let mode = mode as u32;
    if mode > 7 {
        return Err(Errno::INVAL);
    }
    let (place, status) = placed_status(call, directory, path, flags & !EFFECTIVE)?;
    let is_fixed = !matches!(place, Some(Place::Tmp(_)));
    if mode & WRITE != 0 && is_fixed && [FILE, DIRECTORY].contains(&(status.mode & TYPE_MASK)) {
        return Err(Errno::ROFS);
    }
    if mode & EXECUTE != 0 && status.kind() != DIRECTORY && status.mode & 0o111 == 0 {
        return Err(Errno::ACCES);
    }
    DONE
}

fn status_at(call: &Call<'_>, directory: u64, path: u64, flags: u64) -> Result<Status, Errno> {
    Ok(placed_status(call, directory, path, flags)?.1)
}

/// The status of what a path (or, if that is empty and may be, a descriptor) leads to, and where it is.
fn placed_status(call: &Call<'_>, directory: u64, path: u64, flags: u64) -> Result<(Option<Place>, Status), Errno> {
    if flags & !(NOFOLLOW | EMPTY_PATH | HARMLESS) != 0 {
        return Err(Errno::INVAL);
    }
    // Linux takes a null pointer for an empty path here since 6.11, and libraries have begun to use that.
    let is_empty = flags & EMPTY_PATH != 0 && (path == 0 || call.memory.string(path, 1).is_ok());
    if is_empty {
        if directory as u32 as u64 == WORKING_DIRECTORY {
            let place = call.files.start_of(directory)?;
            return Ok((Some(place), call.files.status(place)?));
        }
        let description = call.files.description(directory)?;
        return Ok((description.place, call.files.status_of_description(description)?));
    }
    let At { start, path } = at(call.files, call.memory, directory, path)?;
    let place = call.files.find(start, path, flags & NOFOLLOW == 0)?;
    if let (Place::Descriptor(fd), 0) = (place, flags & NOFOLLOW) {
        // A followed link to what has no path.
        let description = call.files.description(u64::from(fd))?;
        return Ok((None, call.files.status_of_description(description)?));
    }
    Ok((Some(place), call.files.status(place)?))
}

fn finish(call: &mut Call<'_>, into: u64, bytes: &[u8]) -> Answer {
    store(call.memory, into, bytes)?;
    DONE
}
