//! Path resolution.

use super::Files;
use super::limits::{LINKS_FOLLOWED_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX};
use super::place::{Name, Place, Target};
use crate::errno::Errno;

/// Where a path led.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// The directory of the last name.
    pub(crate) parent: Place,
    /// The last name; `None` if the path ended in `/`'s own root, `.`, `..` or a link straight to a place.
    pub(crate) name: Option<Name>,
    /// What is there, if anything.
    pub(crate) place: Option<Place>,
    /// The path ended in a slash: only a directory will do.
    pub(crate) wants_directory: bool,
}

/// What a path still has to go through: its own rest, and on top of it the rests of the links that it led to.
struct Rest<'a> {
    parts: [&'a [u8]; LINKS_FOLLOWED_MAX + 1],
    depth: usize,
    links: usize,
}

impl<'a> Rest<'a> {
    fn new(path: &'a [u8]) -> Rest<'a> {
        let mut parts: [&[u8]; LINKS_FOLLOWED_MAX + 1] = [&[]; LINKS_FOLLOWED_MAX + 1];
        parts[0] = path;
        Rest { parts, depth: 1, links: 0 }
    }

    /// Counts a link; `ELOOP` once there were too many.
    fn count_link(&mut self) -> Result<(), Errno> {
        self.links += 1;
        if self.links > LINKS_FOLLOWED_MAX { Err(Errno::LOOP) } else { Ok(()) }
    }

    /// Goes through `path` first. There is room: each call was counted, and parts that are used up are dropped besides.
    fn push(&mut self, path: &'a [u8]) {
        self.drop_finished();
        self.parts[self.depth] = path;
        self.depth += 1;
    }

    /// The next name, and whether a slash follows it.
    fn next(&mut self) -> Option<(&'a [u8], bool)> {
        self.drop_finished();
        let part = &mut self.parts[self.depth.checked_sub(1)?];
        let start = part.iter().position(|byte| *byte != b'/')?;
        let rest = &part[start..];
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        *part = &rest[end..];
        Some((&rest[..end], end < rest.len()))
    }

    /// Is there no name left? Slashes alone are none.
    fn is_finished(&mut self) -> bool {
        self.drop_finished();
        self.depth == 0
    }

    fn drop_finished(&mut self) {
        while self.depth > 0 && self.parts[self.depth - 1].iter().all(|byte| *byte == b'/') {
            self.depth -= 1;
        }
    }
}

impl Files {
    /// Follows `path` from the directory `start`; the last name only if `follows_last` or if a slash comes after it.
    pub(crate) fn walk(&self, start: Place, path: &[u8], follows_last: bool) -> Result<Walk, Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.len() as u64 >= PATH_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let mut at = if path[0] == b'/' { self.root() } else { start };
        let mut rest = Rest::new(path);
        let mut slash_at_end = path.ends_with(b"/");
        let mut last: Option<(Place, &[u8])> = None;
        while let Some((name, slash)) = rest.next() {
            if !self.is_directory(at) {
                return Err(Errno::NOTDIR);
            }
            last = None;
            match name {
                b"." => continue,
                b".." => {
                    at = self.parent(at)?;
                    continue;
                }
                _ if name.len() > NAME_BYTES_MAX => return Err(Errno::NAMETOOLONG),
                _ => {}
            }
            let is_last = rest.is_finished();
            slash_at_end |= is_last && slash;
            let child = self.child(at, name)?;
            let Some(child) = child else {
                let missing =
                    Walk { parent: at, name: Some(Name::new(name)?), place: None, wants_directory: slash_at_end };
                return if is_last { Ok(missing) } else { Err(Errno::NOENT) };
            };
            let followed = !is_last || follows_last || slash_at_end;
            match if followed { self.target(child) } else { None } {
                Some(Target::Place(place)) => {
                    rest.count_link()?;
                    at = place;
                }
                Some(Target::Path(target)) => {
                    rest.count_link()?;
                    if target.is_empty() {
                        return Err(Errno::NOENT);
                    }
                    if target[0] == b'/' {
                        at = self.root();
                    }
                    slash_at_end |= is_last && target.ends_with(b"/");
                    rest.push(target);
                }
                None => {
                    last = Some((at, name));
                    at = child;
                }
            }
        }
        if slash_at_end && !self.is_directory(at) {
            return Err(Errno::NOTDIR);
        }
        let (parent, name) = match last {
            Some((parent, name)) => (parent, Some(Name::new(name)?)),
            None => (at, None),
        };
        Ok(Walk { parent, name, place: Some(at), wants_directory: slash_at_end })
    }

    /// What is at `path`.
    pub(crate) fn find(&self, start: Place, path: &[u8], follows_last: bool) -> Result<Place, Errno> {
        self.walk(start, path, follows_last)?.place.ok_or(Errno::NOENT)
    }

    pub(crate) fn root(&self) -> Place {
        Place::Directory(self.tree.root())
    }
}
