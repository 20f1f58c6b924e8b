//! The guest's memory map. Guest virtual addresses are guest physical addresses.
//!
//! ```text
//! 0x0000_0000  not mapped: null pointers fault                                          64 KiB
//! 0x0001_0000  page tables               written by the host, not mapped for the guest 448 KiB
//! 0x0008_0000  GDT, TSS, IDT             written by the host, read-only for the guest
//! 0x0009_0000  page tables of images     written by the host, not mapped for the guest   1.5 MiB
//! 0x0020_0000  program (static ones are linked at 2 or 4 MiB), then brk upwards
//!      …       free
//!      …       mmap, downwards
//! 0x0700_0000  kernel text, constants    read-only                                       1 MiB
//! 0x0710_0000  kernel data, stacks       read-write, guard pages between the stacks      3 MiB
//! 0x0740_0000  not mapped: guard of the main stack                                       4 MiB
//! 0x0780_0000  main stack                                                                8 MiB
//! 0x0800_0000  more memory for mmap, up to the size of the function
//!
//! 0x40_0000_0000  mailbox, shared with the host
//! 0x50_0000_0000  image 0, image 1 at the next GiB, …: read-only, but for their writable ranges
//! ```
//!
//! Text pages, descriptors and page tables cannot be written by the guest: the few instructions that a CPU may run
//! at CPL 0 (the `syscall` entry) are in them, and the tables decide what CPL 3 can reach.

/// Bytes in a page.
pub const PAGE_BYTES: u64 = 4096;
/// Bytes in a large page.
pub const LARGE_PAGE_BYTES: u64 = 2 << 20;

/// Page tables: PML4 first. Never mapped for the guest.
pub const PAGE_TABLES: u64 = 0x1_0000;
/// End of the room for page tables.
pub const PAGE_TABLES_END: u64 = 0x8_0000;

/// Global descriptor table.
pub const GDT: u64 = 0x8_0000;
/// Task state segment, for its IST stacks and the bitmap that opens the one port of the hypercalls.
pub const TSS: u64 = 0x8_1000;
/// Interrupt descriptor table.
pub const IDT: u64 = 0x8_2000;
/// End of the descriptor pages.
pub const DESCRIPTORS_END: u64 = 0x8_3000;

/// Page tables of the images that have writable ranges: one for each 2 MiB with such a range in it.
pub const IMAGE_TABLES: u64 = 0x9_0000;
/// How many there can be. An image for which there are none left is read-only.
pub const IMAGE_TABLES_MAX: usize = ((PROGRAM - IMAGE_TABLES) / PAGE_BYTES) as usize;
/// Bytes of all images that a guest can write, at most. It can so have that much memory beyond its own.
pub const IMAGES_WRITABLE_MAX_BYTES: u64 = 64 << 20;

/// Where the kernel's read-only part is linked. The first bytes are a [`KernelHeader`].
pub const KERNEL_TEXT: u64 = 0x700_0000;
/// Where the kernel's writable part is linked, and the end of its read-only part.
pub const KERNEL_DATA: u64 = 0x710_0000;
/// End of the kernel's data.
pub const KERNEL_DATA_END: u64 = 0x72c_0000;

/// Stack of the kernel's system calls; the page below it is not mapped.
pub const KERNEL_STACK: Stack = Stack { base: 0x72d_0000, bytes: 0x1_0000 };
/// Stack on which every exception is delivered (IST 1); the page below it is not mapped.
pub const EXCEPTION_STACK: Stack = Stack { base: 0x72e_8000, bytes: 0x8000 };
/// Stack for exceptions taken while one is being handled: double fault, NMI, machine check (IST 2).
pub const LAST_STACK: Stack = Stack { base: 0x72f_8000, bytes: 0x8000 };

/// End of the kernel and its stacks.
pub const KERNEL_END: u64 = 0x740_0000;

/// Where programs may be loaded from.
pub const PROGRAM: u64 = 0x20_0000;

/// Stack of the program's first thread.
pub const MAIN_STACK: Stack = Stack { base: 0x780_0000, bytes: 8 << 20 };
/// Size of the region below the main stack that is never mapped.
pub const MAIN_STACK_GUARD_BYTES: u64 = 2 * LARGE_PAGE_BYTES;

/// Smallest memory of a function. The runtime snapshot is taken with it.
pub const MEMORY_MIN_BYTES: u64 = 128 << 20;
/// Largest memory of a function.
pub const MEMORY_MAX_BYTES: u64 = 10_240 << 20;

/// Start of the mailbox.
pub const MAILBOX: u64 = 0x40_0000_0000;

/// Start of image 0.
pub const IMAGES: u64 = 0x50_0000_0000;
/// Address distance between two images, and the largest size of one.
pub const IMAGE_STRIDE_BYTES: u64 = 1 << 30;
/// Largest number of images in a guest: a runtime, five layers, a package.
pub const IMAGES_MAX: usize = 8;

/// Start of image `index`.
#[must_use]
pub const fn image_base(index: usize) -> u64 {
    IMAGES + index as u64 * IMAGE_STRIDE_BYTES
}

/// Room for stubs in an image: code of the kernel's that must be near a library's.
pub const STUBS_BYTES: u64 = 0x8000;

/// Is the address in the place of an image?
#[must_use]
pub const fn is_in_images(address: u64) -> bool {
    IMAGES <= address && address < image_base(IMAGES_MAX)
}

/// A stack that grows down from `base + bytes`.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    /// Lowest usable address.
    pub base: u64,
    /// Usable size.
    pub bytes: u64,
}

impl Stack {
    /// The address just above the stack.
    #[must_use]
    pub const fn top(self) -> u64 {
        self.base + self.bytes
    }
}

/// Segment selectors, all of CPL 3 but the two that the `syscall` instruction loads by itself on its way in.
pub mod selector {
    /// CS that `syscall` loads at CPL 0.
    pub const KERNEL_CODE: u16 = 0x08;
    /// SS that `syscall` loads at CPL 0.
    pub const KERNEL_DATA: u16 = 0x10;
    /// SS of CPL 3 (`sysretq` wants it right below the code segment).
    pub const USER_DATA: u16 = 0x18 | 3;
    /// CS of CPL 3, 64 bit.
    pub const USER_CODE: u16 = 0x20 | 3;
    /// The task state segment.
    pub const TASK_STATE: u16 = 0x28;
}

/// RFLAGS with which the guest runs: reserved bit 1 and IF. The I/O privilege level is 0: what a guest may do with ports, the
/// task state's I/O bitmap says.
pub const RFLAGS: u64 = 0x202;

/// Number of vectors in the IDT: the CPU's own. The host injects no interrupt: see [`KernelHeader::tick`].
pub const VECTORS: usize = 32;

/// First bytes of the kernel, at [`KERNEL_TEXT`]: the addresses that the host needs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct KernelHeader {
    /// [`KERNEL_MAGIC`].
    pub magic: u64,
    /// [`crate::VERSION`].
    pub abi_version: u64,
    /// First instruction of a fresh guest.
    pub entry: u64,
    /// The `out` of [`crate::hypercall::NEXT`]: a guest can be saved or reset only when it stopped exactly here.
    pub next_out: u64,
    /// First instruction of a restored guest. It relies on no register.
    pub resume: u64,
    /// Target of the `syscall` instruction (LSTAR).
    pub syscall_entry: u64,
    /// Where a program that the host interrupted goes on, with the stack pointer at the top of [`KERNEL_STACK`], flags [`RFLAGS`] and every
    /// other register as it was; `interrupted` of the mailbox has the three that were replaced. The host does this only to a guest that
    /// is not in the kernel's text.
    pub tick: u64,
    /// One address per vector.
    pub vectors: [u64; VECTORS],
}

/// First word of [`KernelHeader`]: "MAYFLYK1".
pub const KERNEL_MAGIC: u64 = u64::from_le_bytes(*b"MAYFLYK1");

const _: () = assert!(core::mem::size_of::<KernelHeader>() == (7 + VECTORS) * 8);
const _: () = assert!(MAIN_STACK.top() == MEMORY_MIN_BYTES);
const _: () = assert!(LAST_STACK.top() <= KERNEL_END);
const _: () = assert!(KERNEL_END == MAIN_STACK.base - MAIN_STACK_GUARD_BYTES);
