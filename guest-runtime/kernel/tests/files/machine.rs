//! A machine without hardware: memory at fixed addresses, clocks that stand still, a log, a queue of events.

use std::collections::VecDeque;

use mayfly_kernel::errno::Errno;
use mayfly_kernel::files::{Clock, Events, Files, Log, Mapping, Memory, MemoryFacts, Process, Random};
use mayfly_kernel::syscall::call::{Call, Reply, Resume, Wait};
use mayfly_kernel::syscall::dispatch::dispatch;
use mayfly_kernel::user::UserMemory;

/// Where the program's memory starts and how much there is.
pub(crate) const BASE: u64 = 0x40_0000;
pub(crate) const BYTES: u64 = 4 << 20;
/// An address that is not there.
pub(crate) const NOWHERE: u64 = 0x1000;
/// `AT_FDCWD`.
pub(crate) const CWD: u64 = -100_i64 as u64;
/// Room that tests use for buffers; strings are put elsewhere.
pub(crate) const BUFFER: u64 = BASE;
const STRINGS: u64 = BASE + (3 << 20);

pub(crate) const O_WRONLY: u64 = 0o1;
pub(crate) const O_RDWR: u64 = 0o2;
pub(crate) const O_CREAT: u64 = 0o100;
pub(crate) const O_EXCL: u64 = 0o200;
pub(crate) const O_TRUNC: u64 = 0o1000;
pub(crate) const O_APPEND: u64 = 0o2000;
pub(crate) const O_NONBLOCK: u64 = 0o4000;
pub(crate) const O_DIRECTORY: u64 = 0o200_000;
pub(crate) const O_NOFOLLOW: u64 = 0o400_000;
pub(crate) const O_CLOEXEC: u64 = 0o2_000_000;
pub(crate) const O_PATH: u64 = 0o10_000_000;
pub(crate) const O_TMPFILE: u64 = 0o20_200_000;

pub(crate) struct Ram(Vec<u8>);

impl Ram {
    fn range(&self, address: u64, bytes: u64) -> Result<std::ops::Range<usize>, Errno> {
        let start = address.checked_sub(BASE).ok_or(Errno::FAULT)?;
        let end = start.checked_add(bytes).filter(|end| *end <= BYTES).ok_or(Errno::FAULT)?;
        Ok(start as usize..end as usize)
    }
}

impl UserMemory for Ram {
    fn read(&self, address: u64, bytes: u64) -> Result<&[u8], Errno> {
        Ok(&self.0[self.range(address, bytes)?])
    }

    fn write(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], Errno> {
        let range = self.range(address, bytes)?;
        Ok(&mut self.0[range])
    }

    fn string(&self, address: u64, max: u64) -> Result<&[u8], Errno> {
        let start = self.range(address, 1)?.start;
        let room = &self.0[start..];
        let room = &room[..room.len().min(max as usize)];
        match room.iter().position(|byte| *byte == 0) {
            Some(end) => Ok(&room[..end]),
            None if room.len() as u64 == max => Err(Errno::NAMETOOLONG),
            None => Err(Errno::FAULT),
        }
    }
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) log: Vec<u8>,
    pub(crate) events: VecDeque<u8>,
    pub(crate) answer: Vec<u8>,
    pub(crate) now_ns: u64,
    /// What the kernel's heap can still take; `None`: enough.
    pub(crate) heap_bytes: Option<usize>,
    random: u8,
}

impl Log for World {
    fn append(&mut self, bytes: &[u8]) {
        self.log.extend_from_slice(bytes);
    }
}

impl Random for World {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.random = self.random.wrapping_mul(5).wrapping_add(113);
            *byte = self.random;
        }
    }
}

impl Events for World {
    fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Errno> {
        if self.events.is_empty() {
            return Ok(None);
        }
        let count = into.len().min(self.events.len());
        for (slot, byte) in into.iter_mut().zip(self.events.drain(..count)) {
            *slot = byte;
        }
        Ok(Some(count))
    }

    fn write(&mut self, from: &[u8]) -> Result<usize, Errno> {
        self.answer.extend_from_slice(from);
        Ok(from.len())
    }

    fn is_readable(&self) -> bool {
        !self.events.is_empty()
    }
}

impl Clock for World {
    fn realtime_ns(&self) -> u64 {
        1_700_000_000_000_000_000 + self.now_ns
    }

    fn monotonic_ns(&mut self) -> u64 {
        self.now_ns
    }
}

impl Memory for World {
    fn reserve(&mut self, bytes: usize) -> bool {
        let Some(left) = &mut self.heap_bytes else { return true };
        let fits = *left >= bytes;
        *left -= if fits { bytes } else { 0 };
        fits
    }

    fn facts(&self) -> MemoryFacts {
        let mapping = |start, end, permissions, name: &str| Mapping { start, end, permissions, name: name.into() };
        MemoryFacts {
            total_bytes: 128 << 20,
            free_bytes: 100 << 20,
            peak_bytes: 64 << 20,
            threads: 3,
            mappings: vec![
                mapping(0x40_0000, 0x50_0000, "r-xp", "/opt/python"),
                mapping(0x780_0000, 0x800_0000, "rw-p", "[stack]"),
            ],
        }
    }
}

pub(crate) struct Machine {
    pub(crate) files: Files,
    pub(crate) memory: Ram,
    pub(crate) world: World,
    next_string: u64,
}

/// One call that may have to be made again.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) resume: Resume,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine::with_tmp(1 << 20)
    }

    pub(crate) fn with_tmp(tmp_bytes: u64) -> Machine {
        let process = Process {
            id: 1,
            executable: b"/opt/python".to_vec(),
            arguments: b"python\0-S\0".to_vec(),
            environment: b"LANG=C\0".to_vec(),
        };
        Machine {
            files: Files::new(tmp_bytes, process),
            memory: Ram(vec![0; BYTES as usize]),
            world: World::default(),
            next_string: STRINGS,
        }
    }

    /// Puts a string into memory and says where.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> u64 {
        let text = text.as_ref();
        if self.next_string + text.len() as u64 + 1 > BASE + BYTES {
            self.next_string = STRINGS;
        }
        let at = self.next_string;
        self.put(at, text);
        self.put(at + text.len() as u64, &[0]);
        self.next_string += text.len() as u64 + 1;
        at
    }

    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.memory.write(at, bytes.len() as u64).expect("tests write to memory that is there").copy_from_slice(bytes);
    }

    pub(crate) fn get(&self, at: u64, bytes: u64) -> Vec<u8> {
        self.memory.read(at, bytes).expect("tests read memory that is there").to_vec()
    }

    pub(crate) fn word(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.get(at, 8).try_into().expect("eight bytes"))
    }

    pub(crate) fn half(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.get(at, 4).try_into().expect("four bytes"))
    }

    /// Makes a call once.
    pub(crate) fn attempt(&mut self, number: u64, arguments: &[u64], pending: &mut Pending) -> Result<Reply, Errno> {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let mut call = Call {
            files: &mut self.files,
            memory: &mut self.memory,
            environment: &mut self.world,
            arguments: all,
            resume: &mut pending.resume,
        };
        dispatch(number, &mut call).expect("a call on files")
    }

    /// Makes a call that must not block.
    pub(crate) fn call(&mut self, number: u64, arguments: &[u64]) -> Result<u64, Errno> {
        match self.attempt(number, arguments, &mut Pending::default())? {
            Reply::Value(value) => Ok(value),
            Reply::Block(wait) => panic!("call {number} blocked: {wait:?}"),
        }
    }

    /// Makes a call that must block.
    pub(crate) fn blocked(&mut self, number: u64, arguments: &[u64], pending: &mut Pending) -> Wait {
        match self.attempt(number, arguments, pending) {
            Ok(Reply::Block(wait)) => wait,
            other => panic!("call {number} did not block: {other:?}"),
        }
    }
}

/// Calls in the form in which tests need them most.
impl Machine {
    pub(crate) fn open(&mut self, path: &str, flags: u64) -> Result<u64, Errno> {
        let path = self.text(path);
        self.call(mayfly_kernel::syscall::number::OPENAT, &[CWD, path, flags, 0o644])
    }

    /// A call whose first argument is a path.
    pub(crate) fn on(&mut self, number: u64, path: &str, rest: &[u64]) -> Result<u64, Errno> {
        let path = self.text(path);
        self.call(number, &[&[path], rest].concat())
    }

    /// A call on two paths.
    pub(crate) fn on_two(&mut self, number: u64, one: &str, two: &str) -> Result<u64, Errno> {
        let (one, two) = (self.text(one), self.text(two));
        self.call(number, &[one, two])
    }

    pub(crate) fn write(&mut self, fd: u64, bytes: &[u8]) -> Result<u64, Errno> {
        self.put(BUFFER, bytes);
        self.call(mayfly_kernel::syscall::number::WRITE, &[fd, BUFFER, bytes.len() as u64])
    }

    pub(crate) fn read(&mut self, fd: u64, bytes: u64) -> Result<Vec<u8>, Errno> {
        let count = self.call(mayfly_kernel::syscall::number::READ, &[fd, BUFFER, bytes])?;
        Ok(self.get(BUFFER, count))
    }

    pub(crate) fn close(&mut self, fd: u64) {
        self.call(mayfly_kernel::syscall::number::CLOSE, &[fd]).expect("an open descriptor");
    }

    /// Makes a file with that content.
    pub(crate) fn create(&mut self, path: &str, content: &[u8]) {
        let fd = self.open(path, O_CREAT | O_TRUNC | O_WRONLY).expect("a path that can be created");
        assert_eq!(self.write(fd, content), Ok(content.len() as u64));
        self.close(fd);
    }

    /// The content of a file, which may be one of `/proc`.
    pub(crate) fn content(&mut self, path: &str) -> Result<Vec<u8>, Errno> {
        let fd = self.open(path, 0)?;
        let mut content = Vec::new();
        loop {
            let part = self.read(fd, 1 << 16)?;
            if part.is_empty() {
                break;
            }
            content.extend_from_slice(&part);
        }
        self.close(fd);
        Ok(content)
    }

    /// Mode, size, link count and inode of a path; links are not followed.
    pub(crate) fn status(&mut self, path: &str) -> Result<(u32, u64, u64, u64), Errno> {
        self.on(mayfly_kernel::syscall::number::LSTAT, path, &[BUFFER])?;
        Ok((self.half(BUFFER + 24), self.word(BUFFER + 48), self.word(BUFFER + 16), self.word(BUFFER + 8)))
    }

    /// The names in a directory, `.` and `..` left out, with the type of each, as listed through a buffer of `room` bytes.
    pub(crate) fn list(&mut self, path: &str, room: u64) -> Result<Vec<(String, u8)>, Errno> {
        let fd = self.open(path, O_DIRECTORY)?;
        let mut names = Vec::new();
        loop {
            let count = self.call(mayfly_kernel::syscall::number::GETDENTS64, &[fd, BUFFER, room])?;
            if count == 0 {
                break;
            }
            let bytes = self.get(BUFFER, count);
            let mut at = 0;
            while at < bytes.len() {
                let length = usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
                let name: Vec<u8> = bytes[at + 19..at + length].iter().copied().take_while(|byte| *byte != 0).collect();
                names.push((String::from_utf8(name).expect("names of tests are text"), bytes[at + 18]));
                at += length;
            }
        }
        self.close(fd);
        names.retain(|(name, _)| name != "." && name != "..");
        Ok(names)
    }
}
