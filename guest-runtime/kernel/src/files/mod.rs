//! Files: images, `/tmp`, devices, `/proc`, pipes, and the descriptors that name them.
//!
//! ```text
//! descriptor ──► description ──► object: bytes of an image │ file of /tmp │ device │ pipe │ counter │ epoll │ socket
//!    (number)      (offset, flags)     │
//!                                      └─ place: where in the tree it was found, if by a path
//! tree       images laid over each other, read-only          synthetic   /dev, /proc, …: a static list
//! tmp        the writable trees                              walk        from a path to a place
//! ```
//!
//! Rules. Nothing here waits: what cannot be done now says so (`None`), and the call is made again later. A program can
//! use up its descriptors, its `/tmp` and no other memory of the kernel ([`limits`]). Offsets and lengths from the program
//! are checked before they are added to anything.

mod arena;
mod bytes;
mod control;
pub(crate) mod counter;
pub(crate) mod description;
mod descriptors;
pub(crate) mod device;
pub(crate) mod edit;
pub mod environment;
pub(crate) mod epoll;
pub mod limits;
mod mapping;
mod open;
mod path;
mod pipe;
pub(crate) mod place;
mod proc;
pub(crate) mod readiness;
pub(crate) mod socket;
pub(crate) mod status;
mod synthetic;
pub(crate) mod timer;
pub(crate) mod timestamp;
pub(crate) mod tmp;
pub(crate) mod transfer;
mod tree;

use mayfly_abi::image::Image;

pub use bytes::Bytes;
pub use environment::{Clock, Environment, Events, Log, Mapping, Memory, MemoryFacts, Process, Random};
pub use mapping::Mappable;

use crate::errno::Errno;
use arena::Arena;
use counter::Counter;
use description::{Description, Object, flag};
use descriptors::Descriptors;
use device::Device;
use epoll::Epoll;
use pipe::Pipe;
use place::Place;
use socket::{Names, Socket};
use timer::Timer;
use tmp::Tmp;
use tree::Tree;

/// Everything that the program can reach by a path or a descriptor.
#[derive(Debug)]
pub struct Files {
    tree: Tree,
    tmp: Tmp,
    pipes: Arena<Pipe>,
    counters: Arena<Counter>,
    timers: Arena<Timer>,
    epolls: Arena<Epoll>,
    sockets: Arena<Socket>,
    names: Names,
    descriptions: Arena<Description>,
    descriptors: Descriptors,
    working_directory: Place,
    umask: u32,
    process: Process,
    boot_id: Option<[u8; 16]>,
    /// Descriptions in messages between sockets, and those of them that nobody will receive any more.
    rights_in_flight: usize,
    orphans: alloc::vec::Vec<u32>,
    changes: u64,
}

impl Files {
    /// No image yet, `/` as the working directory, descriptors 0, 1 and 2 open. `tmp_bytes` is the limit of all writable
    /// files together.
    #[must_use]
    pub fn new(tmp_bytes: u64, process: Process) -> Files {
        let tree = Tree::new();
        let working_directory = Place::Directory(tree.root());
        let mut files = Files {
            tree,
            tmp: Tmp::new(tmp_bytes),
            pipes: Arena::new(),
            counters: Arena::new(),
            timers: Arena::new(),
            epolls: Arena::new(),
            sockets: Arena::new(),
            names: Names::new(),
            descriptions: Arena::new(),
            descriptors: Descriptors::new(),
            working_directory,
            umask: 0o022,
            process,
            boot_id: None,
            rights_in_flight: 0,
            orphans: alloc::vec::Vec::new(),
            changes: 0,
        };
        files.open_standard();
        files
    }

    /// Puts an image into the tree, over those with a lower index, or takes one away. Open directories and the working
    /// directory show the new tree at once; files that are open stay what they were, so their image must stay mapped.
    /// `false`: there is no such index.
    pub fn set_image(&mut self, index: usize, image: Option<Image<'static>>) -> bool {
        let places: alloc::vec::Vec<_> =
            self.descriptions.iter().map(|(at, description)| (at, description.place)).collect();
        // Names must be taken from the tree as it was.
        let names = |tree: &Tree, place: Option<Place>| match place {
            Some(Place::Directory(directory)) => Some(tree.names(&directory)),
            _ => None,
        };
        let working = names(&self.tree, Some(self.working_directory));
        let open: alloc::vec::Vec<_> = places.iter().map(|(at, place)| (*at, names(&self.tree, *place))).collect();
        if !self.tree.set(index, image) {
            return false;
        }
        let renewed = |tree: &Tree, names: &[&[u8]]| tree.descend(names).map(Place::Directory);
        if let Some(place) = working.and_then(|names| renewed(&self.tree, &names)) {
            self.working_directory = place;
        }
        for (at, names) in open {
            let place = names.and_then(|names| renewed(&self.tree, &names));
            if let (Some(place), Some(description)) = (place, self.descriptions.get_mut(at)) {
                description.place = Some(place);
            }
        }
        true
    }

    /// Changes the limit of the writable files. What is there stays, even if it is more.
    pub fn set_tmp_bytes(&mut self, tmp_bytes: u64) {
        self.tmp.budget.limit_bytes = tmp_bytes;
    }

    /// Changes what `/proc/self` tells.
    pub fn set_process(&mut self, process: Process) {
        self.process = process;
    }

    /// Goes up whenever a blocked call might be able to go on: a pipe, counter or socket changed. The event device and
    /// time are the kernel's own to watch.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id
    }

    /// Something changed that a blocked call may wait for.
    pub(crate) fn note_change(&mut self) {
        self.changes += 1;
    }

    /// Bytes of the image file at the absolute `path`, where they are in memory: their address is the guest's.
    #[must_use]
    pub fn file_data(&self, path: &[u8]) -> Option<Bytes> {
        match self.find(self.root(), path, true).ok()? {
            Place::File(at) => Some(self.tree.bytes(at)),
            _ => None,
        }
    }

    /// Is `fd` the event device?
    #[must_use]
    pub fn is_event_device(&self, fd: u64) -> bool {
        self.description(fd).is_ok_and(|description| matches!(description.object, Object::Device(Device::Events)))
    }

    /// The path of the open file `fd`, for `/proc/self/maps`.
    #[must_use]
    pub fn path_of_descriptor(&self, fd: u64) -> Option<alloc::vec::Vec<u8>> {
        let place = self.description(fd).ok()?.place?;
        Some(self.path_of(place))
    }

    /// The working directory's path; `None` once it was removed.
    pub(crate) fn working_path(&self) -> Option<alloc::vec::Vec<u8>> {
        match self.working_directory {
            Place::Tmp(id) => self.tmp.names(id).map(|_| self.path_of(self.working_directory)),
            place => Some(self.path_of(place)),
        }
    }

    /// The directory that a path starts from: that of descriptor `fd`, or the working directory for `AT_FDCWD`.
    pub(crate) fn start_of(&self, fd: u64) -> Result<Place, Errno> {
        const AT_WORKING_DIRECTORY: i32 = -100;
        if fd as u32 as i32 == AT_WORKING_DIRECTORY {
            return Ok(self.working_directory);
        }
        let place = self.description(fd)?.place.ok_or(Errno::NOTDIR)?;
        Ok(place)
    }

    /// The umask, and sets another.
    pub(crate) fn replace_umask(&mut self, umask: u32) -> u32 {
        core::mem::replace(&mut self.umask, umask & 0o777)
    }

    /// Opens a new counter.
    pub(crate) fn open_counter(&mut self, counter: Counter, flags: u32) -> Result<u32, Errno> {
        let index = self.counters.insert(counter);
        self.install(Object::Counter(index), None, flag::READ_WRITE | flags)
    }

    /// Opens a new, empty epoll set.
    pub(crate) fn open_epoll(&mut self, flags: u32) -> Result<u32, Errno> {
        let index = self.epolls.insert(Epoll::default());
        self.install(Object::Epoll(index), None, flag::READ_WRITE | flags)
    }

    /// How many descriptors an epoll set watches.
    pub(crate) fn interests(&self, epoll: u32) -> usize {
        self.epolls.get(epoll).map_or(0, Epoll::len)
    }
}
