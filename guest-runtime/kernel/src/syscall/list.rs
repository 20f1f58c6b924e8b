//! Listing directories.

use super::call::{Answer, Call, Reply, output, transfer_bytes};
use super::layout;
use crate::errno::Errno;
use crate::files::description::Object;

/// `getdents64(fd, entries, bytes)`.
pub(crate) fn getdents64(call: &mut Call<'_>) -> Answer {
    let [fd, address, bytes, ..] = call.arguments;
    let bytes = transfer_bytes(u64::from(bytes as u32));
    let description = call.files.description(fd)?;
    let (Object::Directory, Some(place)) = (&description.object, description.place) else {
        return Err(if matches!(description.object, Object::Path) { Errno::BADF } else { Errno::NOTDIR });
    };
    let mut position = description.position;
    let mut done = 0;
    while let Some((next, name, child)) = call.files.entry_at(place, position)? {
        let name = name.as_bytes();
        let length = layout::entry_bytes(name.len());
        if done + length as u64 > bytes {
            if done == 0 {
                return Err(Errno::INVAL);
            }
            break;
        }
        // Entry by entry, so that only what is written has to be there.
        let address = address.checked_add(done).ok_or(Errno::FAULT)?;
        let into = match output(call.memory, address, length as u64) {
            Err(_) if done > 0 => break,
            claim => claim?,
        };
        let status = call.files.status(child)?;
        layout::entry(into, status.inode, next, status.mode, name);
        done += length as u64;
        position = next;
    }
    call.files.description_mut(fd)?.position = position;
    Ok(Reply::Value(done))
}
