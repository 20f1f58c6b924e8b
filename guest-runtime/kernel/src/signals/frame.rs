//! The frame that a handler finds on its stack, as x86-64 Linux lays it out (`struct rt_sigframe`): debuggers, unwinders and language
//! runtimes read it.
//!
//! ```text
//! address     0  return address: the restorer
//!             8  ucontext: flags, link, stack (24), registers (256), mask
//!           312  siginfo
//!           440  end; the vector registers are above, at a multiple of 64, as XSAVE writes them
//! ```

use mayfly_abi::layout::selector;

use super::{Info, Set, Stack};
use crate::errno::Errno;
use crate::frame::{Frame, register};
use crate::system::store;
use crate::threads::VectorState;
use crate::user::UserMemory;

const FRAME_BYTES: usize = 440;
const FLAGS: usize = 8;
const STACK: usize = 24;
const REGISTERS: usize = 48;
const SEGMENTS: usize = REGISTERS + 144;
const ERROR: usize = REGISTERS + 152;
const TRAP: usize = REGISTERS + 160;
const MASK_COPY: usize = REGISTERS + 168;
const FAULT_ADDRESS: usize = REGISTERS + 176;
const VECTORS: usize = REGISTERS + 184;
const MASK: usize = 304;
const INFO: usize = 312;

/// `UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`.
const CONTEXT_FLAGS: u64 = 7;
/// Where in the first 512 bytes of the vector registers Linux tells how long they are, and the word behind them.
const SOFTWARE_BYTES: usize = 464;
const SOFTWARE_MAGIC: u32 = 0x4650_5853;
const END_MAGIC: u32 = 0x4650_5845;
/// Flags that a program may set by returning from a handler: arithmetic, TF, DF, NT off, AC.
const RFLAGS_MASK: u64 = 0x4_0dd5;
/// First address that is not canonical.
const CANONICAL_END: u64 = 1 << 47;

/// Order of the registers in `struct sigcontext`, as indices of [`Frame::registers`]: r8 … r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp.
const ORDER: [usize; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 1, 3, 0, 2, 7];

/// What a fault adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Context {
    /// Error code of the exception.
    pub error_code: u64,
    /// Its vector.
    pub vector: u64,
    /// The address of a page fault.
    pub address: u64,
}

/// A frame, without the vector registers.
#[derive(Debug, Clone)]
pub struct SignalFrame {
    bytes: [u8; FRAME_BYTES],
}

impl SignalFrame {
    /// The frame of a thread that stopped with these registers.
    #[must_use]
    pub fn new(frame: &Frame, info: &Info, restorer: u64, context: Context) -> SignalFrame {
        let mut new = SignalFrame { bytes: [0; FRAME_BYTES] };
        new.put(0, restorer);
        new.put(FLAGS, CONTEXT_FLAGS);
        for (slot, index) in ORDER.into_iter().enumerate() {
            new.put(REGISTERS + slot * 8, frame.registers[index]);
        }
        new.put(REGISTERS + 128, frame.rip);
        new.put(REGISTERS + 136, frame.rflags);
        new.put(SEGMENTS, u64::from(selector::USER_CODE) | u64::from(selector::USER_DATA) << 48);
        new.put(ERROR, context.error_code);
        new.put(TRAP, context.vector);
        new.put(FAULT_ADDRESS, context.address);
        new.bytes[INFO..].copy_from_slice(&info.to_bytes());
        new
    }

    /// The frame at `address`.
    ///
    /// # Errors
    /// [`Errno::FAULT`].
    pub fn load(memory: &impl UserMemory, address: u64) -> Result<SignalFrame, Errno> {
        let bytes = memory.read(address, FRAME_BYTES as u64)?.try_into().map_err(|_| Errno::FAULT)?;
        Ok(SignalFrame { bytes })
    }

    /// Writes it and the vector registers below `top`; returns its address.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if there is no memory.
    pub fn store(&mut self, memory: &mut impl UserMemory, top: u64, vectors: &VectorState) -> Result<u64, Errno> {
        let bytes = vectors.bytes();
        let vectors_at = top.wrapping_sub(bytes.len() as u64 + 4) & !63;
        let address = (vectors_at.wrapping_sub(FRAME_BYTES as u64) & !15).wrapping_sub(8);
        self.put(VECTORS, vectors_at);
        store(memory, vectors_at, bytes)?;
        let mut software = [0; 24];
        software[..4].copy_from_slice(&SOFTWARE_MAGIC.to_le_bytes());
        software[4..8].copy_from_slice(&(bytes.len() as u32 + 4).to_le_bytes());
        software[8..16].copy_from_slice(&vectors.sets.to_le_bytes());
        software[16..20].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        store(memory, vectors_at + SOFTWARE_BYTES as u64, &software)?;
        store(memory, vectors_at + bytes.len() as u64, &END_MAGIC.to_le_bytes())?;
        store(memory, address, &self.bytes)?;
        Ok(address)
    }

    /// Registers of the handler: `handler(signal, info, context)`.
    pub fn enter(&self, frame: &mut Frame, address: u64, handler: u64) {
        let signal = u64::from(self.bytes[INFO]);
        frame.registers[register::RDI] = signal;
        frame.registers[register::RSI] = address + INFO as u64;
        frame.registers[register::RDX] = address + FLAGS as u64;
        frame.registers[register::RAX] = 0;
        frame.registers[register::RSP] = address;
        frame.rip = handler;
        frame.rflags = mayfly_abi::layout::RFLAGS;
        frame.full = 1;
    }

    /// Registers of the thread that goes on where it was.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if it could not.
    pub fn restore(&self, frame: &mut Frame) -> Result<(), Errno> {
        let rip = self.word(REGISTERS + 128);
        if rip >= CANONICAL_END {
            return Err(Errno::FAULT);
        }
        for (slot, index) in ORDER.into_iter().enumerate() {
            frame.registers[index] = self.word(REGISTERS + slot * 8);
        }
        frame.rip = rip;
        frame.rflags = self.word(REGISTERS + 136) & RFLAGS_MASK | mayfly_abi::layout::RFLAGS;
        frame.full = 1;
        Ok(())
    }

    /// The vector registers that the frame points to, over `vectors`, which is what they are if it points to none.
    ///
    /// # Errors
    /// [`Errno::FAULT`].
    pub fn load_vectors(&self, memory: &impl UserMemory, vectors: &mut VectorState) -> Result<(), Errno> {
        let address = self.word(VECTORS);
        if address != 0 {
            let bytes = vectors.bytes().len() as u64;
            vectors.load(memory.read(address, bytes)?);
        }
        Ok(())
    }

    /// Signals that are blocked when the thread goes on.
    #[must_use]
    pub fn mask(&self) -> Set {
        self.word(MASK)
    }

    /// Sets them.
    pub fn set_mask(&mut self, mask: Set) {
        self.put(MASK, mask);
        self.put(MASK_COPY, mask);
    }

    /// The signal stack that the thread has then.
    #[must_use]
    pub fn stack(&self) -> Option<Stack> {
        Stack::from_words([self.word(STACK), self.word(STACK + 8), self.word(STACK + 16)])
    }

    /// Sets it.
    pub fn set_stack(&mut self, words: [u64; 3]) {
        for (index, word) in words.into_iter().enumerate() {
            self.put(STACK + index * 8, word);
        }
    }

    fn put(&mut self, at: usize, word: u64) {
        self.bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    fn word(&self, at: usize) -> u64 {
        crate::syscall::call::word_at(&self.bytes, at)
    }
}
