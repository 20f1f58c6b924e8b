//! All registers over the hypercall NEXT.

use std::arch::x86_64::__cpuid_count;
use std::arch::{asm, naked_asm};
use std::os::fd::AsRawFd;

use mayfly_abi::record::{HEADER_BYTES, Header};

use crate::Probe;
use crate::device::Device;

pub const PROBES: &[(&str, Probe)] = &[("registers", Probe::Own(registers))];

const AREA_BYTES: usize = 4096;

/// General registers and bases; `naked` code below knows the offsets.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct General {
    rbx: u64,
    rbp: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    fs_base: u64,
    gs_base: u64,
    rflags: u64,
    rsp: u64,
}

#[repr(C, align(64))]
struct Areas {
    before: [u8; AREA_BYTES],
    after: [u8; AREA_BYTES],
}

/// Waits for each event with a different pattern in every register, and answers with what had changed ("" if nothing) after
/// the number of the wait.
fn registers(mut device: Device) {
    for wait in 0_u64.. {
        let seed = 0x1111_1111_1111_1111_u64.wrapping_mul(wait % 7 + 1) ^ 0x0123_4567_89ab_cdef;
        let (header, changed) = Registers::new(seed).wait(&device);
        device.rest(header);
        device.answer(&[&wait.to_le_bytes()[..], changed.as_bytes()].concat());
    }
}

/// Something for every register.
pub struct Registers {
    seed: u64,
    areas: Box<Areas>,
    sets: u64,
}

impl Registers {
    /// Patterns that the seed decides; those of vectors its lowest byte.
    pub fn new(seed: u64) -> Registers {
        let mut areas = Box::new(Areas { before: [0; AREA_BYTES], after: [0; AREA_BYTES] });
        let sets = pattern(&mut areas.before, seed as u8 | 1);
        Registers { seed, areas, sets }
    }

    /// Waits for the header of an event with these in the registers; names those that had something else in them then.
    pub fn wait(mut self, device: &Device) -> (Header, String) {
        let Registers { seed, ref mut areas, sets } = self;
        let mut header = [0; HEADER_BYTES];
        let mut general = General {
            rbx: seed,
            rbp: seed.rotate_left(1),
            r8: seed.rotate_left(2),
            r9: seed.rotate_left(3),
            r10: seed.rotate_left(4),
            r12: seed.rotate_left(5),
            r13: seed.rotate_left(6),
            r14: seed.rotate_left(7),
            r15: seed.rotate_left(8),
            rdi: device.file.as_raw_fd() as u64,
            rsi: header.as_mut_ptr() as u64,
            rdx: HEADER_BYTES as u64,
            fs_base: 0,
            gs_base: seed >> 20,
            rflags: 0,
            rsp: 0,
        };
        let (gs_base, before) = (general.gs_base, general);
        let got = unsafe { read_with(&raw mut general, areas.before.as_ptr(), areas.after.as_mut_ptr(), sets) };
        let mut changed = String::new();
        if got != HEADER_BYTES as u64 {
            changed += &format!(" read returned {got:#x}");
        }
        let now = General { rflags: 0, rsp: 0, fs_base: 0, ..general };
        if now != before {
            changed += &format!(" before {before:x?}, after {now:x?}");
        }
        if general.rsp != 0 || general.fs_base != 0 {
            changed += &format!(" rsp by {:#x}, FS base by {:#x}", general.rsp, general.fs_base);
        }
        if general.gs_base != gs_base || general.rflags & 0x400 != 0 {
            changed += " GS base or direction flag";
        }
        changed += &compare(&areas.before, &areas.after, sets);
        (Header::from_bytes(header), changed)
    }
}

/// Fills a save area with a pattern for every register set that is turned on; returns which.
fn pattern(area: &mut [u8; AREA_BYTES], seed: u8) -> u64 {
    let (low, high): (u32, u32);
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high) };
    let sets = u64::from(high) << 32 | u64::from(low);
    area.fill(0);
    let byte = |at: usize| (at as u8).wrapping_mul(31) ^ seed;
    // x87: precision of 53 bits and all exceptions masked, no tags but the abridged ones; registers with normal numbers.
    area[0..2].copy_from_slice(&0x027f_u16.to_le_bytes());
    area[4] = 0xff;
    for register in 0..8 {
        let at = 32 + register * 16;
        for (offset, slot) in area[at..at + 7].iter_mut().enumerate() {
            *slot = byte(at + offset);
        }
        area[at + 7] = 0x80 | seed;
        area[at + 8..at + 10].copy_from_slice(&(0x3fff_u16 + register as u16).to_le_bytes());
    }
    // MXCSR: rounding towards zero, flush to zero, all exceptions masked.
    area[24..28].copy_from_slice(&0xff80_u32.to_le_bytes());
    for (at, slot) in area.iter_mut().enumerate().take(416).skip(160) {
        *slot = byte(at);
    }
    for set in (2..8).filter(|set| sets >> set & 1 == 1) {
        let (start, bytes) = place(set);
        for (at, slot) in area.iter_mut().enumerate().take(start + bytes).skip(start) {
            *slot = byte(at);
        }
    }
    area[512..520].copy_from_slice(&sets.to_le_bytes());
    sets
}

fn place(set: u32) -> (usize, usize) {
    let leaf = __cpuid_count(0xd, set);
    (leaf.ebx as usize, leaf.eax as usize)
}

fn compare(before: &[u8], after: &[u8], sets: u64) -> String {
    let mut parts = vec![("x87 control", 0, 2), ("MXCSR", 24, 4), ("x87 registers", 32, 128), ("XMM", 160, 256)];
    let names = ["", "", "YMM", "", "", "mask registers", "upper ZMM", "ZMM 16 to 31"];
    for set in (2..8).filter(|set| sets >> set & 1 == 1) {
        let (start, bytes) = place(set);
        parts.push((names[set as usize], start, bytes));
    }
    let differs =
        |&(_, start, bytes): &(&str, usize, usize)| before[start..start + bytes] != after[start..start + bytes];
    parts.iter().filter(|part| differs(part)).map(|(name, ..)| format!(" {name}")).collect()
}

/// Loads everything, makes the system call `read`, stores everything. `rsp` and `fs_base` of `general` become the differences.
#[unsafe(naked)]
unsafe extern "C" fn read_with(general: *mut General, load: *const u8, store: *mut u8, sets: u64) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8", // keeps the stack aligned
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "push rdx",
        "push rcx",
        "push rdi",
        "rdgsbase rax",
        "push rax",
        "rdfsbase rax",
        "push rax",
        "mov [rdi + 120], rsp",
        "mov eax, ecx",
        "mov rdx, rcx",
        "shr rdx, 32",
        "xrstor64 [rsi]",
        "mov rax, [rdi + 104]",
        "wrgsbase rax",
        "mov rbx, [rdi]",
        "mov rbp, [rdi + 8]",
        "mov r8, [rdi + 16]",
        "mov r9, [rdi + 24]",
        "mov r10, [rdi + 32]",
        "mov r12, [rdi + 40]",
        "mov r13, [rdi + 48]",
        "mov r14, [rdi + 56]",
        "mov r15, [rdi + 64]",
        "mov rsi, [rdi + 80]",
        "mov rdx, [rdi + 88]",
        "mov rdi, [rdi + 72]",
        "xor eax, eax", // read
        "syscall",
        // The pointers are on the stack: base of FS, base of GS, `general`, `sets`, `store`.
        "mov r11, rdi",
        "mov rdi, [rsp + 16]",
        "mov [rdi], rbx",
        "mov [rdi + 8], rbp",
        "mov [rdi + 16], r8",
        "mov [rdi + 24], r9",
        "mov [rdi + 32], r10",
        "mov [rdi + 40], r12",
        "mov [rdi + 48], r13",
        "mov [rdi + 56], r14",
        "mov [rdi + 64], r15",
        "mov [rdi + 72], r11",
        "mov [rdi + 80], rsi",
        "mov [rdi + 88], rdx",
        "mov rbx, rax",
        "rdfsbase rax",
        "sub rax, [rsp]",
        "mov [rdi + 96], rax",
        "rdgsbase rax",
        "mov [rdi + 104], rax",
        "pushfq",
        "pop rax",
        "mov [rdi + 112], rax",
        "mov rax, rsp",
        "sub rax, [rdi + 120]",
        "mov [rdi + 120], rax",
        "mov rcx, [rsp + 24]",
        "mov r12, [rsp + 32]",
        "mov eax, ecx",
        "mov rdx, rcx",
        "shr rdx, 32",
        "xsave64 [r12]",
        "add rsp, 8",
        "pop rax",
        "wrgsbase rax",
        "add rsp, 24",
        "fninit",
        "fldcw [rsp + 4]",
        "ldmxcsr [rsp]",
        "add rsp, 8",
        "mov rax, rbx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
