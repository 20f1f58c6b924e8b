//! Shared libraries: what a loader makes of their files, so that an image can have it ready.
//!
//! Pure: from the bytes of a file, which anybody may have made, to a plan whose every number lies inside of the file and of the load area.

use mayfly_abi::layout::PAGE_BYTES;

/// Segments of a library, at most: the guest's kernel looks at no more.
const SEGMENTS_MAX: usize = 16;
/// Program headers, at most.
const HEADERS_MAX: usize = 64;
/// A page in which a library makes system calls can be written by the guest's kernel. Numbers are below that.
const CALL_NUMBERS: u32 = 1024;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: u64 = 56;
const SHARED_OBJECT: u64 = 3;
const X86_64: u64 = 62;
const LOAD: u64 = 1;
const DYNAMIC: u64 = 2;
const WRITE: u64 = 2;
const EXECUTE: u64 = 1;
const DT_TEXTREL: u64 = 22;
const DT_FLAGS: u64 = 30;
const DF_TEXTREL: u64 = 4;

/// How a library is laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Length of the load area, in whole pages.
    pub(super) area_bytes: u64,
    /// Bytes of the file that go to the load area, in order there and apart; the rest of it is zero.
    pub(super) loaded: Vec<Part>,
    /// Those of the file that need not be anywhere else, for nobody ever changes them; in order in the file, and apart.
    pub(super) shared: Vec<Part>,
    /// Pages of the load area that a guest may write, in order and apart: (first, number).
    pub(super) writable: Vec<(u64, u64)>,
    /// Whether there are places among them which the guest's kernel may want to lead to stubs.
    pub(super) has_sites: bool,
}

/// Bytes of the file, and where in the load area they are. Starts on a page of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) file_offset: u64,
    pub(super) area_offset: u64,
    pub(super) bytes: u64,
}

/// A `PT_LOAD`, in pages of the load area.
struct Segment {
    flags: u64,
    /// Offset in the file of the first page.
    file_offset: u64,
    /// Bytes from there on that are in the file.
    file_bytes: u64,
    /// Address of the first page.
    start: u64,
    /// Address after the last one.
    end: u64,
}

impl Plan {
    /// The plan for a file, if it is a library that a loader of an ordinary C library maps in one piece: anything odd is left to be copied.
    pub(super) fn of(file: &[u8]) -> Option<Plan> {
        let (headers_end, segments) = segments(file)?;
        let (first, last) = (segments.first()?, segments.last()?);
        let is_headed = first.file_offset == 0 && first.flags & WRITE == 0 && headers_end <= first.file_bytes;
        let area_bytes = last.end - first.start;
        let written: u64 =
            segments.iter().filter(|part| part.flags & WRITE != 0).map(|part| part.end - part.start).sum();
        // Holes between segments cost addresses.
        if !is_headed || area_bytes > 2 * file.len() as u64 + written {
            return None;
        }
        let mut plan = Plan { area_bytes, loaded: vec![], shared: vec![], writable: vec![], has_sites: false };
        let mut shared_end = 0;
        for segment in &segments {
            let part = Part {
                file_offset: segment.file_offset,
                area_offset: segment.start - first.start,
                bytes: segment.file_bytes.next_multiple_of(PAGE_BYTES).min(file.len() as u64 - segment.file_offset),
            };
            plan.loaded.push(part);
            let first_page = part.area_offset / PAGE_BYTES;
            if segment.flags & WRITE != 0 {
                plan.writable.push((first_page, (segment.end - segment.start) / PAGE_BYTES));
                continue;
            }
            let bytes = file.get(part.file_offset as usize..(part.file_offset + part.bytes) as usize)?;
            let sites = if segment.flags & EXECUTE != 0 { pages_with_sites(bytes) } else { vec![] };
            if sites.is_empty() {
                // Neighbours may have a page of the file in common.
                let skipped = shared_end.max(part.file_offset) - part.file_offset;
                if skipped < part.bytes {
                    let Part { file_offset, area_offset, bytes } = part;
                    shared_end = file_offset + bytes;
                    plan.shared.push(Part {
                        file_offset: file_offset + skipped,
                        area_offset: area_offset + skipped,
                        bytes: bytes - skipped,
                    });
                }
            } else {
                plan.has_sites = true;
                plan.writable.extend(sites.iter().map(|&(page, pages)| (first_page + page, pages)));
            }
        }
        join(&mut plan.writable);
        Some(plan)
    }
}

/// End of the program headers, and the segments in order, if they are what a loader maps without further ado.
fn segments(file: &[u8]) -> Option<(u64, Vec<Segment>)> {
    let header = file.get(..HEADER_BYTES)?;
    let (kind, machine) = (number(header, 16, 2)?, number(header, 18, 2)?);
    if header[..6] != *b"\x7fELF\x02\x01" || kind != SHARED_OBJECT || machine != X86_64 {
        return None;
    }
    let (table, each, count) = (number(header, 32, 8)?, number(header, 54, 2)?, number(header, 56, 2)?);
    if each != PROGRAM_HEADER_BYTES || count as usize > HEADERS_MAX {
        return None;
    }
    let mut found: Vec<Segment> = Vec::new();
    for index in 0..count {
        let at = table.checked_add(index * PROGRAM_HEADER_BYTES)?;
        let entry = slice(file, at, PROGRAM_HEADER_BYTES)?;
        let word = |at: usize| number(entry, at, 8);
        let (offset, address, file_bytes, memory_bytes) = (word(8)?, word(16)?, word(32)?, word(40)?);
        match number(entry, 0, 4)? {
            DYNAMIC if changes_text(slice(file, offset, file_bytes)?) => return None,
            LOAD => {
                slice(file, offset, file_bytes)?;
                let before = address % PAGE_BYTES;
                let end = address.checked_add(memory_bytes)?.checked_next_multiple_of(PAGE_BYTES)?;
                let segment = Segment {
                    flags: number(entry, 4, 4)?,
                    file_offset: offset.checked_sub(before)?,
                    file_bytes: before + file_bytes,
                    start: address - before,
                    end,
                };
                let is_apart = found.last().is_none_or(|last| last.end <= segment.start);
                let fits = segment.file_offset.is_multiple_of(PAGE_BYTES) && file_bytes <= memory_bytes;
                // For a larger alignment, the loader looks for a place by itself.
                if !is_apart || !fits || memory_bytes == 0 || word(48)? > PAGE_BYTES || found.len() == SEGMENTS_MAX {
                    return None;
                }
                found.push(segment);
            }
            _ => {}
        }
    }
    (!found.is_empty()).then_some((table.checked_add(count * PROGRAM_HEADER_BYTES)?, found))
}

/// Does the loader have to write to the text of the library with this dynamic section?
fn changes_text(dynamic: &[u8]) -> bool {
    let (entries, _) = dynamic.as_chunks::<16>();
    entries.iter().any(|entry| match number(entry, 0, 8) {
        Some(DT_TEXTREL) => true,
        Some(DT_FLAGS) => number(entry, 8, 8).is_some_and(|flags| flags & DF_TEXTREL != 0),
        _ => false,
    })
}

/// Pages with `mov eax, N; syscall`, which the guest's kernel may change (`guest-runtime/kernel/src/sites.rs`): (first, number), in order and apart.
fn pages_with_sites(code: &[u8]) -> Vec<(u64, u64)> {
    const MOV_EAX: u8 = 0xb8;
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    const CHANGED_BYTES: usize = 5;
    let mut pages: Vec<(u64, u64)> = Vec::new();
    for (at, window) in code.windows(CHANGED_BYTES + SYSCALL.len()).enumerate() {
        let is_site = window[0] == MOV_EAX
            && window[CHANGED_BYTES..] == SYSCALL
            && number(window, 1, 4).is_some_and(|number| number < u64::from(CALL_NUMBERS));
        if is_site {
            let (first, last) = (at as u64 / PAGE_BYTES, (at + CHANGED_BYTES - 1) as u64 / PAGE_BYTES);
            pages.push((first, last - first + 1));
        }
    }
    join(&mut pages);
    pages
}

/// Joins ranges that touch, in order.
fn join(ranges: &mut Vec<(u64, u64)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let touches = next.0 <= last.0 + last.1;
        if touches {
            last.1 = last.1.max(next.0 + next.1 - last.0);
        }
        touches
    });
}

fn slice(file: &[u8], offset: u64, bytes: u64) -> Option<&[u8]> {
    let end = offset.checked_add(bytes)?;
    file.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
}

/// A little-endian number of `bytes` bytes.
fn number(of: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let mut word = [0; 8];
    word[..bytes].copy_from_slice(of.get(at..at + bytes)?);
    Some(u64::from_le_bytes(word))
}
