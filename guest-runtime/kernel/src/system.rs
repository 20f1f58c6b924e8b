//! The state of the program that is not files, and the calls on it.

use alloc::vec::Vec;

use crate::clock::Clock;
use crate::errno::Errno;
use crate::memory::{AddressSpace, Span};
use crate::random::Generator;
use crate::signals::Signals;
use crate::threads::{Threads, Waiting};
use crate::timers::Timers;
use crate::user::UserMemory;
use crate::vectors::VectorState;

/// What the kernel needs from the hardware.
pub trait Machine: UserMemory {
    /// The time stamp counter.
    fn tsc(&self) -> u64;
    /// Fills memory that the address space handed out.
    fn zero(&mut self, span: Span);
    /// Copies memory of the program; the ranges may overlap.
    fn copy(&mut self, from: u64, to: u64, bytes: u64);
    /// The thread pointer.
    fn fs_base(&self) -> u64;
    /// Sets the thread pointer.
    fn set_fs_base(&mut self, base: u64);
    /// The spare segment base.
    fn gs_base(&self) -> u64;
    /// Sets the spare segment base.
    fn set_gs_base(&mut self, base: u64);
    /// Saves all vector registers as they are now.
    fn save_vectors(&self, into: &mut VectorState);
    /// Loads all vector registers.
    fn set_vectors(&mut self, state: &VectorState);
    /// The vector registers of a program that starts.
    fn clean_vectors(&self) -> VectorState;
}

/// Memory, threads, time, randomness, signals.
#[derive(Debug)]
pub struct System {
    /// The program's memory.
    pub space: AddressSpace,
    /// Its threads.
    pub threads: Threads,
    /// The clocks.
    pub clock: Clock,
    /// The randomness.
    pub random: Generator,
    /// What the program asked for each signal.
    pub signals: Signals,
    /// Its timers.
    pub timers: Timers,
    /// Name of the first thread (`prctl(PR_SET_NAME)`).
    pub name: [u8; 16],
    /// Time of start, on the monotonic clock.
    pub started_ns: u64,
    /// Time since then in which no thread could run.
    pub idle_ns: u64,
    /// When the running thread got its turn.
    pub turn_ns: u64,
    /// Supplementary groups (`setgroups`): kept, and without effect.
    pub groups: Vec<u32>,
}

/// What becomes of the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on with this value.
    Value(u64),
    /// It waits; when the wait ends its return value has been set.
    Wait(Waiting, Option<u64>),
    /// Another thread's turn.
    Yield,
    /// It ends.
    EndThread,
    /// The program ends with this status (`EXIT_KILLED` and the signal if by one).
    End(u64),
    /// It goes on with the registers that are in its frame now.
    Resume,
}

/// What a call returns.
pub type Answer = Result<Action, Errno>;

impl System {
    /// Nanoseconds on the monotonic clock.
    pub fn now_ns(&mut self, machine: &impl Machine) -> u64 {
        self.clock.monotonic_ns(machine.tsc())
    }
}

/// Reads a little-endian word of the program.
///
/// # Errors
/// [`Errno::FAULT`].
pub fn load<const N: usize>(memory: &impl UserMemory, address: u64) -> Result<[u8; N], Errno> {
    let bytes = memory.read(address, N as u64)?;
    <[u8; N]>::try_from(bytes).map_err(|_| Errno::FAULT)
}

/// Writes bytes to the program's memory.
///
/// # Errors
/// [`Errno::FAULT`].
pub fn store(memory: &mut impl UserMemory, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    memory.write(address, bytes.len() as u64)?.copy_from_slice(bytes);
    Ok(())
}

/// Reads a `struct timespec` as nanoseconds.
///
/// # Errors
/// [`Errno::FAULT`]; [`Errno::INVAL`] for negative times and nanoseconds out of range.
pub fn load_timespec(memory: &impl UserMemory, address: u64) -> Result<u64, Errno> {
    let seconds = i64::from_le_bytes(load(memory, address)?);
    let nanoseconds = i64::from_le_bytes(load(memory, address.wrapping_add(8))?);
    if seconds < 0 || !(0..1_000_000_000).contains(&nanoseconds) {
        return Err(Errno::INVAL);
    }
    Ok((seconds as u64).saturating_mul(1_000_000_000).saturating_add(nanoseconds as u64))
}

/// Writes nanoseconds as a `struct timespec`.
///
/// # Errors
/// [`Errno::FAULT`].
pub fn store_timespec(memory: &mut impl UserMemory, address: u64, ns: u64) -> Result<(), Errno> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(ns / 1_000_000_000).to_le_bytes());
    bytes[8..].copy_from_slice(&(ns % 1_000_000_000).to_le_bytes());
    store(memory, address, &bytes)
}
