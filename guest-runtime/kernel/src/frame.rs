//! Registers of a thread of the program while it is not running.

/// What the entry stubs save and restore. The stubs know the offsets; the assertions below hold them together.
#[repr(C, align(64))]
#[derive(Debug, Clone)]
pub struct Frame {
    /// XMM0–15 on entry by `syscall`: the kernel is compiled with SSE and would clobber them.
    pub xmm: [u128; 16],
    /// rax rbx rcx rdx rsi rdi rbp rsp r8 … r15.
    pub registers: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Thread pointer.
    pub fs_base: u64,
    /// Spare segment base.
    pub gs_base: u64,
    /// 1 if every register has to be restored (the thread did not stop at a `syscall` instruction).
    pub full: u64,
}

/// Index of a register in [`Frame::registers`].
pub mod register {
    /// Return value and number of a system call.
    pub const RAX: usize = 0;
    /// Third argument.
    pub const RDX: usize = 3;
    /// Second argument.
    pub const RSI: usize = 4;
    /// First argument.
    pub const RDI: usize = 5;
    /// Stack pointer.
    pub const RSP: usize = 7;
    /// Fifth argument.
    pub const R8: usize = 8;
    /// Sixth argument.
    pub const R9: usize = 9;
    /// Fourth argument.
    pub const R10: usize = 10;
}

const _: () = assert!(core::mem::offset_of!(Frame, registers) == 256);
const _: () = assert!(core::mem::offset_of!(Frame, rip) == 384);
const _: () = assert!(core::mem::offset_of!(Frame, rflags) == 392);
const _: () = assert!(core::mem::offset_of!(Frame, full) == 416);

impl Frame {
    /// A thread that starts at `rip` with that stack.
    #[must_use]
    pub fn starting_at(rip: u64, rsp: u64) -> Frame {
        let mut registers = [0; 16];
        registers[register::RSP] = rsp;
        Frame { xmm: [0; 16], registers, rip, rflags: mayfly_abi::layout::RFLAGS, fs_base: 0, gs_base: 0, full: 0 }
    }

    /// Number and arguments of the system call that the thread makes.
    #[must_use]
    pub fn system_call(&self) -> (u64, [u64; 6]) {
        use register::{R8, R9, R10, RAX, RDI, RDX, RSI};
        let of = |index: usize| self.registers[index];
        (of(RAX), [of(RDI), of(RSI), of(RDX), of(R10), of(R8), of(R9)])
    }
}
