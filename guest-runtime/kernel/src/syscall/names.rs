//! Names in the tree: making, removing, renaming, linking, and the working directory.

use super::call::{Answer, Call, DONE, Reply, WORKING_DIRECTORY, at, store};
use super::status::EMPTY_PATH;
use crate::errno::Errno;
use crate::files::edit::At;
use crate::files::limits::PATH_BYTES_MAX;
use crate::files::tmp::Rename;
use mayfly_abi::image::{FILE, TYPE_MASK};

/// `AT_REMOVEDIR`.
const REMOVE_DIRECTORY: u64 = 0x200;
/// `AT_SYMLINK_FOLLOW`.
const FOLLOW: u64 = 0x400;

/// `getcwd(buffer, bytes)`: returns the length with the zero.
pub(crate) fn getcwd(call: &mut Call<'_>) -> Answer {
    let [address, bytes, ..] = call.arguments;
    let mut path = call.files.working_path().ok_or(Errno::NOENT)?;
    path.push(0);
    if path.len() as u64 > PATH_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    if path.len() as u64 > bytes {
        return Err(Errno::RANGE);
    }
    store(call.memory, address, &path)?;
    Ok(Reply::Value(path.len() as u64))
}

/// `chdir(path)`.
pub(crate) fn chdir(call: &mut Call<'_>) -> Answer {
    let At { start, path } = at(call.files, call.memory, WORKING_DIRECTORY, call.arguments[0])?;
    let place = call.files.find(start, path, true)?;
    call.files.change_directory(place)?;
    DONE
}

/// `fchdir(fd)`.
pub(crate) fn fchdir(call: &mut Call<'_>) -> Answer {
    let place = call.files.description(call.arguments[0])?.place.ok_or(Errno::NOTDIR)?;
    call.files.change_directory(place)?;
    DONE
}

/// `mkdir(path, mode)`.
pub(crate) fn mkdir(call: &mut Call<'_>) -> Answer {
    let [path, mode, ..] = call.arguments;
    mkdir_at(call, WORKING_DIRECTORY, path, mode)
}

/// `mkdirat(directory, path, mode)`.
pub(crate) fn mkdirat(call: &mut Call<'_>) -> Answer {
    let [directory, path, mode, ..] = call.arguments;
    mkdir_at(call, directory, path, mode)
}

fn mkdir_at(call: &mut Call<'_>, directory: u64, path: u64, mode: u64) -> Answer {
    let at = at(call.files, call.memory, directory, path)?;
    call.files.make_directory(at, mode as u32, call.environment.realtime_ns())?;
    DONE
}

/// `mknod(path, mode, device)`: files only.
pub(crate) fn mknod(call: &mut Call<'_>) -> Answer {
    let [path, mode, ..] = call.arguments;
    mknod_at(call, WORKING_DIRECTORY, path, mode as u32)
}

/// `mknodat(directory, path, mode, device)`.
pub(crate) fn mknodat(call: &mut Call<'_>) -> Answer {
    let [directory, path, mode, ..] = call.arguments;
    mknod_at(call, directory, path, mode as u32)
}

fn mknod_at(call: &mut Call<'_>, directory: u64, path: u64, mode: u32) -> Answer {
    if ![0, FILE].contains(&(mode & TYPE_MASK)) {
        return Err(Errno::PERM);
    }
    let at = at(call.files, call.memory, directory, path)?;
    call.files.make_file(at, mode, call.environment.realtime_ns())?;
    DONE
}

/// `rmdir(path)`.
pub(crate) fn rmdir(call: &mut Call<'_>) -> Answer {
    unlink_at(call, WORKING_DIRECTORY, call.arguments[0], REMOVE_DIRECTORY)
}

/// `unlink(path)`.
pub(crate) fn unlink(call: &mut Call<'_>) -> Answer {
    unlink_at(call, WORKING_DIRECTORY, call.arguments[0], 0)
}

/// `unlinkat(directory, path, flags)`.
pub(crate) fn unlinkat(call: &mut Call<'_>) -> Answer {
    let [directory, path, flags, ..] = call.arguments;
    unlink_at(call, directory, path, flags)
}

fn unlink_at(call: &mut Call<'_>, directory: u64, path: u64, flags: u64) -> Answer {
    let at = at(call.files, call.memory, directory, path)?;
    let now = call.environment.realtime_ns();
    match flags {
        0 => call.files.unlink(at, now)?,
        REMOVE_DIRECTORY => call.files.remove_directory(at, now)?,
        _ => return Err(Errno::INVAL),
    }
    DONE
}

/// `rename(old, new)`.
pub(crate) fn rename(call: &mut Call<'_>) -> Answer {
    let [old, new, ..] = call.arguments;
    rename_at(call, (WORKING_DIRECTORY, old), (WORKING_DIRECTORY, new), 0)
}

/// `renameat(old_directory, old, new_directory, new)`.
pub(crate) fn renameat(call: &mut Call<'_>) -> Answer {
    let [old_directory, old, new_directory, new, ..] = call.arguments;
    rename_at(call, (old_directory, old), (new_directory, new), 0)
}

/// `renameat2(old_directory, old, new_directory, new, flags)`: no `RENAME_WHITEOUT`.
pub(crate) fn renameat2(call: &mut Call<'_>) -> Answer {
    let [old_directory, old, new_directory, new, flags, _] = call.arguments;
    rename_at(call, (old_directory, old), (new_directory, new), flags as u32)
}

fn rename_at(call: &mut Call<'_>, old: (u64, u64), new: (u64, u64), flags: u32) -> Answer {
    let how = match flags {
        0 => Rename::Replace,
        1 => Rename::MustBeNew,
        2 => Rename::Exchange,
        _ => return Err(Errno::INVAL),
    };
    let old = at(call.files, call.memory, old.0, old.1)?;
    let new = at(call.files, call.memory, new.0, new.1)?;
    call.files.rename(old, new, how, call.environment.realtime_ns())?;
    DONE
}

/// `link(old, new)`.
pub(crate) fn link(call: &mut Call<'_>) -> Answer {
    let [old, new, ..] = call.arguments;
    link_at(call, (WORKING_DIRECTORY, old), (WORKING_DIRECTORY, new), 0)
}

/// `linkat(old_directory, old, new_directory, new, flags)`.
pub(crate) fn linkat(call: &mut Call<'_>) -> Answer {
    let [old_directory, old, new_directory, new, flags, _] = call.arguments;
    link_at(call, (old_directory, old), (new_directory, new), flags)
}

fn link_at(call: &mut Call<'_>, old: (u64, u64), new: (u64, u64), flags: u64) -> Answer {
    if flags & !(FOLLOW | EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let now = call.environment.realtime_ns();
    let new = at(call.files, call.memory, new.0, new.1)?;
    if flags & EMPTY_PATH != 0 && call.memory.string(old.1, 1).is_ok() {
        let place = call.files.description(old.0)?.place.ok_or(Errno::XDEV)?;
        call.files.link_place(place, new, now)?;
    } else {
        let old = at(call.files, call.memory, old.0, old.1)?;
        call.files.link(old, flags & FOLLOW != 0, new, now)?;
    }
    DONE
}

/// `symlink(target, path)`.
pub(crate) fn symlink(call: &mut Call<'_>) -> Answer {
    let [target, path, ..] = call.arguments;
    symlink_at(call, target, WORKING_DIRECTORY, path)
}

/// `symlinkat(target, directory, path)`.
pub(crate) fn symlinkat(call: &mut Call<'_>) -> Answer {
    let [target, directory, path, ..] = call.arguments;
    symlink_at(call, target, directory, path)
}

fn symlink_at(call: &mut Call<'_>, target: u64, directory: u64, path: u64) -> Answer {
    let target = call.memory.string(target, PATH_BYTES_MAX)?;
    let at = at(call.files, call.memory, directory, path)?;
    call.files.make_link(target, at, call.environment.realtime_ns())?;
    DONE
}

/// `readlink(path, buffer, bytes)`.
pub(crate) fn readlink(call: &mut Call<'_>) -> Answer {
    let [path, into, bytes, ..] = call.arguments;
    readlink_at(call, WORKING_DIRECTORY, path, into, bytes)
}

/// `readlinkat(directory, path, buffer, bytes)`.
pub(crate) fn readlinkat(call: &mut Call<'_>) -> Answer {
    let [directory, path, into, bytes, ..] = call.arguments;
    readlink_at(call, directory, path, into, bytes)
}

fn readlink_at(call: &mut Call<'_>, directory: u64, path: u64, into: u64, bytes: u64) -> Answer {
    let bytes = usize::try_from(bytes as u32 as i32).ok().filter(|bytes| *bytes > 0).ok_or(Errno::INVAL)?;
    // An empty path means the link that `directory` was opened as (`O_PATH | O_NOFOLLOW`).
    let place = if directory as u32 as u64 != WORKING_DIRECTORY && call.memory.string(path, 1).is_ok() {
        call.files.description(directory)?.place.ok_or(Errno::NOENT)?
    } else {
        let At { start, path } = at(call.files, call.memory, directory, path)?;
        call.files.find(start, path, false)?
    };
    let text = call.files.link_text(place).ok_or(Errno::INVAL)?;
    let text = &text[..text.len().min(bytes)];
    store(call.memory, into, text)?;
    Ok(Reply::Value(text.len() as u64))
}
