//! Opening by path.

use super::Files;
use super::bytes::Bytes;
use super::description::{Object, flag};
use super::device::Device;
use super::environment::Environment;
use super::path::Walk;
use super::place::{Place, Target};
use super::synthetic::Kind;
use super::tmp::{self, Content, NodeId};
use crate::errno::Errno;

impl Files {
    /// `open`: returns the new descriptor.
    pub(crate) fn open(
        &mut self,
        start: Place,
        path: &[u8],
        flags: u32,
        mode: u32,
        environment: &mut dyn Environment,
    ) -> Result<u32, Errno> {
        if flags & flag::PATH != 0 {
            // With O_PATH, Linux ignores every other flag but these.
            let flags = flags & (flag::PATH | flag::DIRECTORY | flag::NOFOLLOW | flag::CLOSE_ON_EXEC);
            return self.open_path(start, path, flags);
        }
        if flags & flag::TEMPORARY != 0 {
            return self.open_temporary(start, path, flags, mode, environment);
        }
        let creates = flags & flag::CREATE != 0;
        let exclusive = creates && flags & flag::EXCLUSIVE != 0;
        let follows_last = flags & flag::NOFOLLOW == 0 && !exclusive;
        let walk = self.walk(start, path, follows_last)?;
        // Checked before anything is created: a full table must not leave an empty file behind.
        self.descriptors.lowest_free(0)?;
        match walk.place {
            _ if creates && walk.wants_directory => Err(Errno::ISDIR),
            Some(_) if exclusive => Err(Errno::EXIST),
            Some(place) => self.open_place(place, flags, environment),
            None if !creates => Err(Errno::NOENT),
            None => {
                let now = environment.realtime_ns();
                let id = self.create(&walk, tmp::Kind::File(Content::default()), mode, now)?;
                self.install(Object::Tmp(id), Some(Place::Tmp(id)), flags)
            }
        }
    }

    /// Makes a node where `walk` ended. Only the writable trees can have new ones.
    pub(crate) fn create(&mut self, walk: &Walk, kind: tmp::Kind, mode: u32, now_ns: u64) -> Result<NodeId, Errno> {
        let (Some(name), None) = (&walk.name, walk.place) else { return Err(Errno::EXIST) };
        let Place::Tmp(directory) = walk.parent else { return Err(Errno::ROFS) };
        let permissions = if matches!(kind, tmp::Kind::Link(_)) { 0o777 } else { mode & !self.umask };
        self.tmp.create(directory, name.as_bytes(), kind, permissions, now_ns)
    }

    fn open_path(&mut self, start: Place, path: &[u8], flags: u32) -> Result<u32, Errno> {
        let place = self.find(start, path, flags & flag::NOFOLLOW == 0)?;
        if flags & flag::DIRECTORY != 0 && !self.is_directory(place) {
            return Err(Errno::NOTDIR);
        }
        self.install(Object::Path, Some(place), flags)
    }

    fn open_temporary(
        &mut self,
        start: Place,
        path: &[u8],
        flags: u32,
        mode: u32,
        environment: &mut dyn Environment,
    ) -> Result<u32, Errno> {
        if flags & flag::ACCESS_MASK == 0 || flags & flag::DIRECTORY == 0 {
            return Err(Errno::INVAL);
        }
        let place = self.find(start, path, true)?;
        if !self.is_directory(place) {
            return Err(Errno::NOTDIR);
        }
        let Place::Tmp(_) = place else { return Err(Errno::ROFS) };
        self.open_nameless(flags, mode & !self.umask, environment.realtime_ns())
    }

    /// A file that has no name: `O_TMPFILE` and `memfd_create`.
    pub(crate) fn open_nameless(&mut self, flags: u32, permissions: u32, now_ns: u64) -> Result<u32, Errno> {
        self.descriptors.lowest_free(0)?;
        let id = self.tmp.make(tmp::Kind::File(Content::default()), permissions, now_ns)?;
        self.install(Object::Tmp(id), Some(Place::Tmp(id)), flags)
    }

    fn open_place(&mut self, place: Place, flags: u32, environment: &mut dyn Environment) -> Result<u32, Errno> {
        let writes = flags & flag::ACCESS_MASK != 0 || flags & flag::TRUNCATE != 0;
        if self.is_directory(place) {
            if writes || flags & flag::CREATE != 0 {
                return Err(Errno::ISDIR);
            }
            return self.install(Object::Directory, Some(place), flags);
        }
        if flags & flag::DIRECTORY != 0 {
            return Err(Errno::NOTDIR);
        }
        let object = match place {
            // Only what O_NOFOLLOW left unfollowed is still a link here.
            _ if self.is_link(place) => return Err(Errno::LOOP),
            Place::File(_) if writes => return Err(Errno::ROFS),
            Place::File(at) => Object::Bytes(self.tree.bytes(at)),
            Place::Synthetic(at) => match at.kind() {
                Kind::Device(Device::Terminal) => return Err(Errno::NXIO),
                Kind::Device(device) => Object::Device(device),
                _ if writes && at.is_in_proc() => return Err(Errno::ACCES),
                _ if writes => return Err(Errno::ROFS),
                Kind::Text(text) => Object::Bytes(Bytes::Text(text)),
                Kind::Generated(what) => Object::Generated(self.generate(what, environment)),
                _ => return Err(Errno::LOOP),
            },
            Place::Tmp(id) if self.tmp.is_socket(id) => return Err(Errno::NXIO),
            Place::Tmp(id) => {
                if flags & flag::TRUNCATE != 0 {
                    self.tmp.resize(id, 0, environment.realtime_ns())?;
                }
                Object::Tmp(id)
            }
            Place::DescriptorInfo(_) if writes => return Err(Errno::ACCES),
            Place::DescriptorInfo(fd) => Object::Generated(self.descriptor_info(fd)?),
            // What a descriptor names without a path is shared, as if it had been duplicated.
            Place::Descriptor(fd) => {
                let number = self.descriptors.lowest_free(0)?;
                return self.duplicate(u64::from(fd), number, flags & flag::CLOSE_ON_EXEC != 0);
            }
            Place::Directory(_) | Place::Link(_) => return Err(Errno::LOOP),
        };
        self.install(object, Some(place), flags)
    }

    /// Is this a link that can be followed?
    pub(crate) fn is_link(&self, place: Place) -> bool {
        matches!(self.target(place), Some(Target::Path(_) | Target::Place(_)))
    }

    /// Opens descriptors 0, 1 and 2.
    pub(crate) fn open_standard(&mut self) {
        for (device, flags) in [(Device::Null, 0), (Device::Log, flag::WRITE_ONLY), (Device::Log, flag::WRITE_ONLY)] {
            let opened = self.install(Object::Device(device), None, flags);
            debug_assert!(opened.is_ok());
        }
    }
}
