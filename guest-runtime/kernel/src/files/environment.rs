//! What the files need from the rest of the kernel.

use alloc::string::String;
use alloc::vec::Vec;

use crate::errno::Errno;

/// Where standard output, standard error and `/dev/stdout` go.
pub trait Log {
    /// Adds `bytes` to the log. Never fails: what there is no room for is the log's own business.
    fn append(&mut self, bytes: &[u8]);
}

/// The generator behind `/dev/urandom`.
pub trait Random {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// The event device, `/dev/mayfly`.
pub trait Events {
    /// Takes bytes of the current event. `None`: there is no event yet.
    ///
    /// # Errors
    /// Whatever the program is to see.
    fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Errno>;

    /// Adds bytes to the answer and says how many were taken.
    ///
    /// # Errors
    /// Whatever the program is to see.
    fn write(&mut self, from: &[u8]) -> Result<usize, Errno>;

    /// Would [`Events::read`] return something now?
    fn is_readable(&self) -> bool;
}

/// The two clocks.
pub trait Clock {
    /// Nanoseconds since 1970.
    fn realtime_ns(&self) -> u64;
    /// Nanoseconds since some fixed moment; never goes back.
    fn monotonic_ns(&mut self) -> u64;
}

/// The machine's memory.
pub trait Memory {
    /// The facts of this moment, for `/proc`. Asked for only when such a file is opened.
    fn facts(&self) -> MemoryFacts;

    /// Makes sure that the kernel's own heap can take `bytes` more. Asked before each piece of a write to `/tmp`, which is the
    /// only thing that takes much; `false` becomes `ENOSPC`.
    fn reserve(&mut self, bytes: usize) -> bool {
        let _ = bytes;
        true
    }
}

/// All of it in one. Implemented by itself for whatever has the parts.
pub trait Environment: Log + Random + Events + Clock + Memory {}

impl<T: Log + Random + Events + Clock + Memory> Environment for T {}

/// Memory as `/proc/meminfo`, `/proc/self/status` and `/proc/self/maps` show it.
#[derive(Debug, Clone, Default)]
pub struct MemoryFacts {
    /// Memory of the machine.
    pub total_bytes: u64,
    /// What of it is free.
    pub free_bytes: u64,
    /// Largest amount that was in use.
    pub peak_bytes: u64,
    /// Threads of the program.
    pub threads: usize,
    /// What is mapped, by rising address.
    pub mappings: Vec<Mapping>,
}

/// A line of `/proc/self/maps`.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// As in `/proc/self/maps`: `r-xp`.
    pub permissions: &'static str,
    /// Path of the file, `[heap]`, `[stack]` or nothing.
    pub name: String,
}

/// What `/proc/self` tells about the program.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Absolute path of its executable.
    pub executable: Vec<u8>,
    /// Its arguments, each ended by a zero byte.
    pub arguments: Vec<u8>,
    /// Its environment, each string ended by a zero byte.
    pub environment: Vec<u8>,
}
