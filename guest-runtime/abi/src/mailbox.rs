//! The mailbox: pages of a memory file that the host maps shared with the guest at [`layout::MAILBOX`](crate::layout::MAILBOX).
//!
//! ```text
//! 0          control page: words of the host, words of the guest
//! 4 KiB      log area                                            252 KiB
//! 256 KiB    event record                                          8 MiB
//! 8448 KiB   answer record                                         8 MiB
//! ```
//!
//! It is not part of a snapshot. The host clears whatever the guest could have written before another caller's
//! event goes in. Both sides copy: the host since the guest may change a word while the host looks at it, the guest since the
//! program wants its own buffer.

/// Size of the mailbox: whole large pages.
pub const BYTES: u64 = (ANSWER + RECORD_MAX_BYTES as u64).next_multiple_of(crate::layout::LARGE_PAGE_BYTES);
/// Offset of the log area.
pub const LOG: u64 = 0x1000;
/// Size of the log area.
pub const LOG_BYTES: u64 = EVENT - LOG;
/// Offset of the event record.
pub const EVENT: u64 = 0x4_0000;
/// Offset of the answer record.
pub const ANSWER: u64 = EVENT + RECORD_MAX_BYTES as u64;
/// Largest record, header included: 6 MiB of payload and what describes it.
pub const RECORD_MAX_BYTES: usize = 8 << 20;

/// The control page.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// What the host writes before each entry.
    pub host: HostWords,
    /// What the guest writes.
    pub guest: GuestWords,
}

/// Written by the host before each entry, read by the guest.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct HostWords {
    /// [`crate::VERSION`].
    pub abi_version: u32,
    /// Number of images.
    pub images: u32,
    /// Size of the guest's memory.
    pub memory_bytes: u64,
    /// Largest total size of the files in `/tmp`.
    pub tmp_bytes: u64,
    /// Goes up by one with each bind and each reset. A kernel that sees a new one takes `seed` before anything else.
    pub generation: u64,
    /// Fresh randomness of this generation.
    pub seed: [u8; 32],
    /// Value of the guest's TSC for which the two times below hold.
    pub tsc: u64,
    /// Nanoseconds per TSC tick, times 2^32.
    pub ns_per_tick_q32: u64,
    /// Nanoseconds since 1970 at `tsc`.
    pub realtime_ns: u64,
    /// The host's monotonic clock at `tsc`.
    pub monotonic_ns: u64,
    /// Length of the event record; 0: none.
    pub event_bytes: u64,
    /// XCR0 of the guest: the register sets that the kernel saves.
    pub xcr0: u64,
    /// Goes up with each tick of a run, whether the program was interrupted for it or the kernel shall see to it.
    pub ticks: u64,
    /// The program that the last tick interrupted.
    pub interrupted: Interrupted,
    /// Answer to [`PAGE_FAULT`](crate::hypercall::PAGE_FAULT).
    pub fault_address: u64,
    /// Size of each image, 0 where there is none.
    pub image_bytes: [u64; crate::layout::IMAGES_MAX],
    /// One bit per image, set if its writable ranges can be written: then its load areas can be used.
    pub images_in_place: u64,
    /// Only at the first entry of a fresh guest: what to start.
    pub start: StartWords,
}

/// The registers that the host replaced to let the kernel run.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Interrupted {
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// RFLAGS.
    pub rflags: u64,
}

/// The program that a fresh guest starts: strings, each ended by a zero byte, arguments first, then the environment.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StartWords {
    /// Number of arguments; the first is the path of the program in an image.
    pub arguments: u32,
    /// Number of environment strings.
    pub environment: u32,
    /// Length of `strings` in use.
    pub strings_bytes: u32,
    /// Must be zero.
    pub reserved: u32,
    /// The strings.
    pub strings: [u8; START_STRINGS_BYTES],
}

/// Room for arguments and environment of the program.
pub const START_STRINGS_BYTES: usize = 2048;

/// Written by the guest. The host copies it once per exit and believes nothing.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct GuestWords {
    /// `generation` whose seed the kernel has taken.
    pub seeded_generation: u64,
    /// Length of the answer record; 0: none.
    pub answer_bytes: u64,
    /// Bytes in the log area.
    pub log_bytes: u64,
    /// Argument of [`SLEEP`](crate::hypercall::SLEEP).
    pub wake_ns: u64,
    /// Argument of [`EXIT`](crate::hypercall::EXIT): the status, or `EXIT_KILLED` and the signal.
    pub exit_status: u64,
    /// 1 once the kernel refused memory to the program.
    pub memory_refused: u64,
    /// Largest amount of memory that the program had mapped, kernel and image included.
    pub memory_peak_bytes: u64,
    /// Not 0: there is something that time changes, another thread or a timer. Else a tick does not interrupt the program.
    pub wants_ticks: u64,
    /// Number of system calls answered, for the breakdown.
    pub system_calls: u64,
    /// Bytes of files that were copied because they could not be mapped where they are.
    pub copied_bytes: u64,
    /// Argument of [`PANIC`](crate::hypercall::PANIC).
    pub last_words: LastWords,
}

/// Why a guest died.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LastWords {
    /// Exception vector; [`KERNEL_PANIC`] for a panic of the kernel.
    pub vector: u64,
    /// Error code of the exception.
    pub error_code: u64,
    /// 1 if the kernel itself was running.
    pub in_kernel: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// rax rbx rcx rdx rsi rdi rbp r8 … r15.
    pub registers: [u64; 15],
    /// Bytes of `message` in use.
    pub message_bytes: u64,
    /// The kernel's own words.
    pub message: [u8; 128],
}

/// `vector` of a kernel panic.
pub const KERNEL_PANIC: u64 = 0x100;

const _: () = assert!(core::mem::size_of::<Control>() <= 4096);
const _: () = assert!(core::mem::offset_of!(Control, guest) == 2288);
const _: () = assert!(ANSWER + RECORD_MAX_BYTES as u64 <= BYTES);
