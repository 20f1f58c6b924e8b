//! Programs: which parts of an ELF file go where, and what a new program finds on its stack.

use alloc::vec::Vec;

use mayfly_abi::layout::PAGE_BYTES;

use crate::errno::Errno;
use crate::memory::protection;

/// Parts of a program that the kernel looks at, at most.
pub const PARTS_MAX: usize = 16;

/// A part of the file that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Address, relative to the load bias.
    pub address: u64,
    /// Bytes in memory; what is not in the file is zero.
    pub memory_bytes: u64,
    /// Offset in the file.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_bytes: u64,
    /// As in `mmap`.
    pub protection: u64,
}

impl Part {
    /// The pages of the file that a loader maps for it, as (page-aligned address, offset, bytes), relative to the load bias.
    #[must_use]
    pub fn mapped(&self) -> (u64, u64, u64) {
        let before = self.address % PAGE_BYTES;
        let bytes = (before + self.file_bytes).next_multiple_of(PAGE_BYTES);
        (self.address - before, self.file_offset.saturating_sub(before), bytes)
    }
}

/// What the kernel needs to know of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Whether it can be loaded anywhere.
    pub relocatable: bool,
    /// Where it starts, relative to the load bias.
    pub entry: u64,
    /// Address of its program headers, relative to the load bias.
    pub headers_address: u64,
    /// Number of program headers.
    pub headers: u64,
    /// What is loaded.
    pub parts: Vec<Part>,
    /// Where in the file the path of the program is that loads this one (`PT_INTERP`): offset, bytes.
    pub interpreter: Option<(u64, u64)>,
}

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
const HEADERS: u32 = 6;

impl Program {
    /// Reads the headers of a file with `file_bytes` bytes, the first of which are `file`.
    ///
    /// # Errors
    /// [`Errno::NOEXEC`] for anything but a 64-bit x86 program whose parts lie inside of the file.
    pub fn parse(file: &[u8], file_bytes: u64) -> Result<Program, Errno> {
        let header = file.get(..HEADER_BYTES).ok_or(Errno::NOEXEC)?;
        let kind = half(header, 16);
        if header[..6] != *b"\x7fELF\x02\x01" || half(header, 18) != 62 || !matches!(kind, 2 | 3) {
            return Err(Errno::NOEXEC);
        }
        let (table, count) = (word(header, 32), half(header, 56));
        if usize::from(half(header, 54)) != PROGRAM_HEADER_BYTES || count as usize > 64 {
            return Err(Errno::NOEXEC);
        }
        let table_bytes = slice(file, table, u64::from(count) * PROGRAM_HEADER_BYTES as u64)?;
        let mut program = Program {
            relocatable: kind == 3,
            entry: word(header, 24),
            headers_address: 0,
            headers: u64::from(count),
            parts: Vec::new(),
            interpreter: None,
        };
        for entry in table_bytes.chunks_exact(PROGRAM_HEADER_BYTES) {
            let flags = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            let part = Part {
                protection: protection_of(flags),
                file_offset: word(entry, 8),
                address: word(entry, 16),
                file_bytes: word(entry, 32),
                memory_bytes: word(entry, 40),
            };
            match u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) {
                LOAD => program.add(file_bytes, part, table)?,
                INTERPRETER => program.interpreter = Some((part.file_offset, part.file_bytes)),
                HEADERS => program.headers_address = part.address,
                _ => {}
            }
        }
        if program.parts.is_empty() { Err(Errno::NOEXEC) } else { Ok(program) }
    }

    /// Address range that the parts take, relative to the load bias.
    #[must_use]
    pub fn extent(&self) -> (u64, u64) {
        let start = self.parts.iter().map(|part| part.address).min().unwrap_or(0);
        let end = self.parts.iter().map(|part| part.address + part.memory_bytes).max().unwrap_or(0);
        (start & !4095, (end + 4095) & !4095)
    }

    fn add(&mut self, file_bytes: u64, part: Part, table: u64) -> Result<(), Errno> {
        let file_end = part.file_offset.checked_add(part.file_bytes).ok_or(Errno::NOEXEC)?;
        let end = part.address.checked_add(part.memory_bytes).ok_or(Errno::NOEXEC)?;
        if file_end > file_bytes
            || part.file_bytes > part.memory_bytes
            || end > 1 << 46
            || self.parts.len() == PARTS_MAX
        {
            return Err(Errno::NOEXEC);
        }
        if self.headers_address == 0 && (part.file_offset..part.file_offset + part.file_bytes).contains(&table) {
            self.headers_address = part.address + (table - part.file_offset);
        }
        self.parts.push(part);
        Ok(())
    }
}

/// Flags of a program header as protection.
fn protection_of(flags: u32) -> u64 {
    let bit = |flag: u32, protection: u64| if flags & flag != 0 { protection } else { 0 };
    bit(4, protection::READ) | bit(2, protection::WRITE) | bit(1, protection::EXECUTE)
}

/// What the stack of a new program tells it.
#[derive(Debug)]
pub struct Start<'a> {
    /// Arguments, the path of the program first, each ended by a zero byte.
    pub strings: &'a [u8],
    /// Number of arguments.
    pub arguments: usize,
    /// Number of environment strings, after the arguments.
    pub environment: usize,
    /// Pairs of the auxiliary vector, without those that point into the stack and without the end.
    pub auxiliary: &'a [(u64, u64)],
    /// For `AT_RANDOM`.
    pub random: [u8; 16],
}

/// `AT_PHDR` and its relatives.
pub mod auxiliary {
    /// Address of the program headers.
    pub const HEADERS: u64 = 3;
    /// Size of one.
    pub const HEADER_BYTES: u64 = 4;
    /// Their number.
    pub const HEADER_COUNT: u64 = 5;
    /// Page size.
    pub const PAGE_BYTES: u64 = 6;
    /// Load bias of the interpreter.
    pub const INTERPRETER: u64 = 7;
    /// Entry of the program.
    pub const ENTRY: u64 = 9;
    /// Hardware capabilities (EDX of CPUID 1).
    pub const CAPABILITIES: u64 = 16;
    /// Ticks per second of `times`.
    pub const TICKS: u64 = 17;
    /// Whether to distrust the environment.
    pub const SECURE: u64 = 23;
    /// Address of 16 random bytes.
    pub const RANDOM: u64 = 25;
    /// FSGSBASE can be used.
    pub const CAPABILITIES2: u64 = 26;
    /// Path of the program.
    pub const PATH: u64 = 31;
    /// Smallest signal stack.
    pub const SIGNAL_STACK: u64 = 51;
}

impl Start<'_> {
    /// The stack's contents, for a stack that ends at `top`, and the stack pointer.
    #[must_use]
    pub fn stack(&self, top: u64) -> (Vec<u8>, u64) {
        let strings_at = top - (self.strings.len() as u64 + 16).next_multiple_of(16);
        let random_at = strings_at + self.strings.len() as u64;
        let mut words: Vec<u64> = Vec::new();
        words.push(self.arguments as u64);
        let mut starts = Vec::new();
        let mut at = strings_at;
        for text in self.strings.split_inclusive(|&byte| byte == 0).take(self.arguments + self.environment) {
            starts.push(at);
            at += text.len() as u64;
        }
        let (arguments, environment) = starts.split_at(self.arguments.min(starts.len()));
        words.extend_from_slice(arguments);
        words.push(0);
        words.extend_from_slice(environment);
        words.push(0);
        for &(key, value) in self.auxiliary {
            words.extend_from_slice(&[key, value]);
        }
        words.extend_from_slice(&[auxiliary::RANDOM, random_at, auxiliary::PATH, strings_at, 0, 0]);
        let stack_pointer = (strings_at - words.len() as u64 * 8) & !15;
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize((strings_at - stack_pointer) as usize, 0);
        bytes.extend_from_slice(self.strings);
        bytes.extend_from_slice(&self.random);
        bytes.resize((top - stack_pointer) as usize, 0);
        (bytes, stack_pointer)
    }
}

fn slice(file: &[u8], offset: u64, bytes: u64) -> Result<&[u8], Errno> {
    let start = usize::try_from(offset).map_err(|_| Errno::NOEXEC)?;
    let end = offset.checked_add(bytes).and_then(|end| usize::try_from(end).ok()).ok_or(Errno::NOEXEC)?;
    file.get(start..end).ok_or(Errno::NOEXEC)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn the_test_program_itself_can_be_read() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        let program = Program::parse(&file, file.len() as u64).unwrap();
        assert!(program.relocatable && program.interpreter.is_some() && program.parts.len() >= 2);
        let (start, end) = program.extent();
        assert!(start < program.entry && program.entry < end);
    }

    #[test]
    fn damaged_programs_are_refused() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        for bytes in [0, 10, 63, 64, 100] {
            assert_eq!(Program::parse(&file[..bytes], bytes as u64), Err(Errno::NOEXEC));
        }
        for (at, value) in [(4, 1), (18, 3), (54, 1), (39, 0xff)] {
            let mut bad = file.clone();
            bad[at] = value;
            assert_eq!(Program::parse(&bad, bad.len() as u64), Err(Errno::NOEXEC), "byte {at}");
        }
    }

    #[test]
    fn a_stack_is_aligned_and_points_into_itself() {
        let start = Start {
            strings: b"/bin/a\0-x\0A=1\0",
            arguments: 2,
            environment: 1,
            auxiliary: &[(6, 4096)],
            random: [9; 16],
        };
        let top = 0x800_0000;
        let (bytes, pointer) = start.stack(top);
        assert_eq!(pointer % 16, 0);
        assert_eq!(pointer + bytes.len() as u64, top);
        let word = |index: usize| word(&bytes, index * 8);
        let text = |at: u64| {
            let rest = &bytes[(at - pointer) as usize..];
            rest[..rest.iter().position(|&byte| byte == 0).unwrap()].to_vec()
        };
        assert_eq!(word(0), 2);
        assert_eq!((text(word(1)), text(word(2)), word(3)), (b"/bin/a".to_vec(), b"-x".to_vec(), 0));
        assert_eq!((text(word(4)), word(5)), (b"A=1".to_vec(), 0));
        assert_eq!((word(6), word(7), word(8)), (6, 4096, auxiliary::RANDOM));
        assert_eq!(bytes[(word(9) - pointer) as usize], 9);
    }
}
