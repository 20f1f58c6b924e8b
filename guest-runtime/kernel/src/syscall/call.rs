//! What a call on files gets and returns.

use crate::errno::Errno;
use crate::files::edit::At;
use crate::files::limits::{PATH_BYTES_MAX, TRANSFER_BYTES_MAX};
use crate::files::readiness::Awaited;
use crate::files::{Environment, Files};
use crate::user::UserMemory;

/// A call under way.
///
/// The kernel has one stack and keeps nothing of a call that waits: it is made again from the start. So a handler
/// either changes something and returns a value, or changes nothing but [`Call::resume`] and returns [`Reply::Block`].
pub struct Call<'a> {
    /// The files.
    pub files: &'a mut Files,
    /// The program's memory.
    pub memory: &'a mut dyn UserMemory,
    /// The rest of the kernel.
    pub environment: &'a mut dyn Environment,
    /// The argument registers.
    pub arguments: [u64; 6],
    /// What the same call left here when it blocked; [`Resume::default`] at its first try.
    pub resume: &'a mut Resume,
}

/// What is kept of a blocked call until it is made again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resume {
    /// When its patience ends, on the monotonic clock: a timeout counts from the first try.
    pub deadline_ns: Option<u64>,
    /// Bytes that it has already written.
    pub done_bytes: u64,
}

/// What a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// This value.
    Value(u64),
    /// Nothing can be done now: make the same call again when something changed.
    Block(Wait),
}

/// Until when a call waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wait {
    /// Make it again at this time of the monotonic clock at the latest.
    pub until_ns: Option<u64>,
    /// The next event would end the wait.
    pub for_event: bool,
}

/// What every handler returns.
pub type Answer = Result<Reply, Errno>;

/// The answer of a call that returns nothing.
pub(crate) const DONE: Answer = Ok(Reply::Value(0));

impl Call<'_> {
    /// Argument `index` as a descriptor or another 32-bit number.
    pub(crate) fn word(&self, index: usize) -> u32 {
        self.arguments[index] as u32
    }

    /// The wait of a call that found nothing to do on descriptor `fd`, or `EAGAIN`.
    pub(crate) fn block(&self, fd: u64) -> Answer {
        let description = self.files.description(fd)?;
        if description.is_nonblocking() {
            return Err(Errno::AGAIN);
        }
        let readiness = self.files.readiness_of(description, &*self.environment);
        Ok(Reply::Block(Wait { until_ns: readiness.due_ns, for_event: readiness.waits_for_event }))
    }

    /// The wait of a call with a timeout: `Some(0)` does not wait. `None` once it is over.
    pub(crate) fn wait(&mut self, timeout_ns: Option<u64>, awaited: Awaited) -> Option<Reply> {
        let block = |until_ns| Reply::Block(Wait { until_ns, for_event: awaited.for_event });
        let Some(timeout_ns) = timeout_ns else { return Some(block(awaited.due_ns)) };
        if timeout_ns == 0 {
            return None;
        }
        let now = self.environment.monotonic_ns();
        let deadline = *self.resume.deadline_ns.get_or_insert(now.saturating_add(timeout_ns));
        let until_ns = awaited.due_ns.map_or(deadline, |due_ns| due_ns.min(deadline));
        (now < deadline).then(|| block(Some(until_ns)))
    }
}

/// `AT_FDCWD`: paths start from the working directory.
pub(crate) const WORKING_DIRECTORY: u64 = -100_i32 as u32 as u64;

/// The path at `address`, to be followed from the directory `directory`, which does not count if the path is absolute.
pub(crate) fn at<'m>(files: &Files, memory: &'m dyn UserMemory, directory: u64, address: u64) -> Result<At<'m>, Errno> {
    let path = memory.string(address, PATH_BYTES_MAX)?;
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let start = if path.first() == Some(&b'/') { files.root() } else { files.start_of(directory)? };
    Ok(At { start, path })
}

/// The bytes of a claim, for reading. One of no bytes is always good.
pub(crate) fn input(memory: &dyn UserMemory, address: u64, bytes: u64) -> Result<&[u8], Errno> {
    if bytes == 0 { Ok(&[]) } else { memory.read(address, bytes) }
}

/// The bytes of a claim, for writing.
pub(crate) fn output(memory: &mut dyn UserMemory, address: u64, bytes: u64) -> Result<&mut [u8], Errno> {
    if bytes == 0 { Ok(&mut []) } else { memory.write(address, bytes) }
}

/// A copy of `N` bytes at `address`.
pub(crate) fn load<const N: usize>(memory: &dyn UserMemory, address: u64) -> Result<[u8; N], Errno> {
    memory.read(address, N as u64)?.try_into().map_err(|_| Errno::FAULT)
}

/// Writes `bytes` to `address`.
pub(crate) fn store(memory: &mut dyn UserMemory, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    output(memory, address, bytes.len() as u64)?.copy_from_slice(bytes);
    Ok(())
}

/// The number of bytes that one call transfers at most.
pub(crate) fn transfer_bytes(bytes: u64) -> u64 {
    bytes.min(TRANSFER_BYTES_MAX)
}

/// A `struct timespec` as nanoseconds.
pub(crate) fn load_timespec(memory: &dyn UserMemory, address: u64) -> Result<u64, Errno> {
    load_time(memory, address, 1)
}

/// A `struct timeval` as nanoseconds.
pub(crate) fn load_timeval(memory: &dyn UserMemory, address: u64) -> Result<u64, Errno> {
    load_time(memory, address, 1000)
}

fn load_time(memory: &dyn UserMemory, address: u64, unit_ns: u64) -> Result<u64, Errno> {
    let bytes: [u8; 16] = load(memory, address)?;
    let (seconds, fraction) = (word_at(&bytes, 0), word_at(&bytes, 8));
    if seconds > i64::MAX as u64 || fraction >= 1_000_000_000 / unit_ns {
        return Err(Errno::INVAL);
    }
    Ok(seconds.saturating_mul(1_000_000_000).saturating_add(fraction * unit_ns))
}

/// The little-endian word at offset `at`; 0 beyond the end.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The little-endian half word at offset `at`; 0 beyond the end.
pub(crate) fn half_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
