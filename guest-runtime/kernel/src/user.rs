//! Memory of the program, as system calls see it: a claim (address and length) to be checked before it is used.
//!
//! The kernel and the program share one address space, so nothing has to be copied; but a system call with a bad
//! pointer must fail with `EFAULT` and never make the kernel fault.

use crate::errno::Errno;

/// Checked access to the program's memory.
pub trait UserMemory {
    /// The `bytes` bytes at `address`, for reading. `EFAULT` if the program could not read all of them.
    ///
    /// # Errors
    /// [`Errno::FAULT`].
    fn read(&self, address: u64, bytes: u64) -> Result<&[u8], Errno>;

    /// The `bytes` bytes at `address`, for writing. `EFAULT` if the program could not write all of them.
    ///
    /// # Errors
    /// [`Errno::FAULT`].
    fn write(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], Errno>;

    /// The string at `address`, without its terminating zero; at most `max` bytes are looked at.
    ///
    /// # Errors
    /// [`Errno::FAULT`]; [`Errno::NAMETOOLONG`] if there is no zero within `max` bytes.
    fn string(&self, address: u64, max: u64) -> Result<&[u8], Errno>;
}
