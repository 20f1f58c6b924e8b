//! Page tables and descriptors of a guest, as bytes for its memory.
//!
//! What is present in them stays as it is once the guest has run: a guest cannot change them (they are not mapped, or read-only), and a host with
//! shadow paging would not notice a change by us. Entries are only added: by a bind over a runtime, and for each part of the guest's memory when it is
//! given. Accessed and dirty bits are set from the start so that no CPU writes to them, which
//! would make pages of a snapshot diverge for nothing.

use mayfly_abi::hypercall;
use mayfly_abi::layout::{
    self, DESCRIPTORS_END, EXCEPTION_STACK, GDT, IDT, IMAGE_TABLES, IMAGES_MAX, KERNEL_DATA, KERNEL_DATA_END,
    KERNEL_END, KERNEL_STACK, KERNEL_TEXT, KernelHeader, LARGE_PAGE_BYTES, LAST_STACK, MAILBOX, MAIN_STACK,
    MEMORY_MAX_BYTES, PAGE_BYTES, PAGE_TABLES, PAGE_TABLES_END, PROGRAM, TSS, VECTORS, selector,
};

use crate::machine::{GuestImage, tables_of};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const READ_ONLY_PAGE: u64 = PRESENT | USER | ACCESSED | DIRTY;
const TABLE: u64 = PRESENT | WRITE | USER | ACCESSED;

const ENTRIES: usize = 512;
const GIB: u64 = 1 << 30;

const PML4: u64 = PAGE_TABLES;
const PDPT: u64 = PML4 + PAGE_BYTES;
/// Page table of the first 2 MiB, where the descriptors are.
const LOW_TABLE: u64 = PDPT + PAGE_BYTES;
/// Page tables of the kernel.
const KERNEL_TABLES: u64 = LOW_TABLE + PAGE_BYTES;
const KERNEL_TABLE_COUNT: u64 = (KERNEL_END - KERNEL_TEXT) / LARGE_PAGE_BYTES;
/// One directory per GiB of memory.
const MEMORY_DIRECTORIES: u64 = KERNEL_TABLES + KERNEL_TABLE_COUNT * PAGE_BYTES;
const MAILBOX_DIRECTORY: u64 = MEMORY_DIRECTORIES + MEMORY_MAX_BYTES.div_ceil(GIB) * PAGE_BYTES;
/// One directory per image.
const IMAGE_DIRECTORIES: u64 = MAILBOX_DIRECTORY + PAGE_BYTES;
const TABLES_USED_END: u64 = IMAGE_DIRECTORIES + IMAGES_MAX as u64 * PAGE_BYTES;

const _: () = assert!(TABLES_USED_END <= PAGE_TABLES_END);

/// The guest's CR3.
pub(crate) const CR3: u64 = PML4;

/// The page tables of a guest with `memory_bytes` and these images: what is to be written where. They lead to those large pages of both that
/// have been given, to the kernel and to the mailbox.
pub(crate) fn page_tables(
    memory_bytes: u64,
    images: &[GuestImage],
    is_given: impl Fn(u64) -> bool,
) -> [(u64, Vec<u8>); 2] {
    let small: usize = images.iter().map(|image| tables_of(&image.ranges).count()).sum();
    let words = (TABLES_USED_END - PAGE_TABLES) as usize / 8;
    let mut tables = Tables { words: vec![0; words], image_words: Vec::with_capacity(small * ENTRIES) };
    tables.set(PML4, 0, PDPT | TABLE);
    for index in 0..memory_bytes.div_ceil(GIB) {
        tables.set(PDPT, index as usize, (MEMORY_DIRECTORIES + index * PAGE_BYTES) | TABLE);
    }
    tables.set(MEMORY_DIRECTORIES, 0, LOW_TABLE | TABLE);
    for index in 0..KERNEL_TABLE_COUNT {
        let slot = (KERNEL_TEXT / LARGE_PAGE_BYTES + index) as usize;
        tables.set(MEMORY_DIRECTORIES, slot, (KERNEL_TABLES + index * PAGE_BYTES) | TABLE);
    }
    tables.pages(LOW_TABLE, 0, layout::GDT, DESCRIPTORS_END, READ_ONLY_PAGE);
    for (start, end, flags) in [
        (KERNEL_TEXT, KERNEL_DATA, READ_ONLY_PAGE),
        (KERNEL_DATA, KERNEL_DATA_END, READ_ONLY_PAGE | WRITE),
        (KERNEL_STACK.base, KERNEL_STACK.top(), READ_ONLY_PAGE | WRITE),
        (EXCEPTION_STACK.base, EXCEPTION_STACK.top(), READ_ONLY_PAGE | WRITE),
        (LAST_STACK.base, LAST_STACK.top(), READ_ONLY_PAGE | WRITE),
    ] {
        tables.pages(KERNEL_TABLES, KERNEL_TEXT, start, end, flags);
    }
    tables.set(PDPT, (MAILBOX / GIB) as usize % ENTRIES, MAILBOX_DIRECTORY | TABLE);
    for offset in (0..mayfly_abi::mailbox::BYTES).step_by(LARGE_PAGE_BYTES as usize) {
        let index = (offset / LARGE_PAGE_BYTES) as usize;
        tables.set(MAILBOX_DIRECTORY, index, (MAILBOX + offset) | READ_ONLY_PAGE | WRITE | LARGE);
    }
    for (index, image) in images.iter().enumerate() {
        tables.image(index, image);
    }
    let parts = images.iter().enumerate().map(|(index, image)| (layout::image_base(index), image.bytes));
    for (start, bytes) in [(0, memory_bytes)].into_iter().chain(parts) {
        for page in (start..start + bytes).step_by(LARGE_PAGE_BYTES as usize).filter(|page| is_given(*page)) {
            if let Some(entry) = entry(page, memory_bytes, images) {
                tables.set(place_of_entry(page), 0, entry);
            }
        }
    }
    let bytes = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    [(PAGE_TABLES, bytes(&tables.words)), (IMAGE_TABLES, bytes(&tables.image_words))]
}

/// Where the entry of a large page is, of memory or of an image.
pub(crate) fn place_of_entry(page: u64) -> u64 {
    let (directories, start) =
        if page < layout::IMAGES { (MEMORY_DIRECTORIES, 0) } else { (IMAGE_DIRECTORIES, layout::IMAGES) };
    directories + (page - start) / LARGE_PAGE_BYTES * 8
}

/// The entry that leads to a large page; `None` where there is no memory for programs, nor an image.
pub(crate) fn entry(page: u64, memory_bytes: u64, images: &[GuestImage]) -> Option<u64> {
    let Some(offset) = page.checked_sub(layout::IMAGES) else {
        let is_memory = (PROGRAM..KERNEL_TEXT).contains(&page) || (MAIN_STACK.base..memory_bytes).contains(&page);
        return is_memory.then_some(page | READ_ONLY_PAGE | WRITE | LARGE);
    };
    let (index, offset) = ((offset / layout::IMAGE_STRIDE_BYTES) as usize, offset % layout::IMAGE_STRIDE_BYTES);
    let image = images.get(index).filter(|image| offset < image.bytes)?;
    let tables_before =
        |images: &[GuestImage]| -> usize { images.iter().map(|image| tables_of(&image.ranges).count()).sum() };
    match tables_of(&image.ranges).position(|part| part == offset / LARGE_PAGE_BYTES) {
        Some(table) => Some((IMAGE_TABLES + (tables_before(&images[..index]) + table) as u64 * PAGE_BYTES) | TABLE),
        None => Some(page | READ_ONLY_PAGE | LARGE),
    }
}

/// Whether an entry leads anywhere.
pub(crate) fn is_present(entry: u64) -> bool {
    entry & PRESENT != 0
}

struct Tables {
    words: Vec<u64>,
    /// From [`IMAGE_TABLES`] on.
    image_words: Vec<u64>,
}

impl Tables {
    fn set(&mut self, table: u64, index: usize, entry: u64) {
        self.words[(table - PAGE_TABLES) as usize / 8 + index] = entry;
    }

    /// Maps a range in small pages, in consecutive page tables whose first entry is for `base`.
    fn pages(&mut self, table: u64, base: u64, start: u64, end: u64, flags: u64) {
        for address in (start..end).step_by(PAGE_BYTES as usize) {
            self.set(table, ((address - base) / PAGE_BYTES) as usize, address | flags);
        }
    }

    /// An image's directory, empty, and the small pages of its parts that can be written somewhere.
    fn image(&mut self, index: usize, image: &GuestImage) {
        let (base, directory) = (layout::image_base(index), IMAGE_DIRECTORIES + index as u64 * PAGE_BYTES);
        self.set(PDPT, (base / GIB) as usize % ENTRIES, directory | TABLE);
        for part in tables_of(&image.ranges) {
            let first = base + part * LARGE_PAGE_BYTES;
            self.image_words.extend((0..ENTRIES as u64).map(|page| (first + page * PAGE_BYTES) | READ_ONLY_PAGE));
            let entries = self.image_words.rchunks_mut(ENTRIES).next().unwrap_or(&mut []);
            let first_page = part * ENTRIES as u64;
            for range in &image.ranges {
                let page = |page: u32| u64::from(page).clamp(first_page, first_page + ENTRIES as u64) - first_page;
                let written = page(range.first_page)..page(range.first_page + range.pages);
                entries[written.start as usize..written.end as usize].iter_mut().for_each(|entry| *entry |= WRITE);
            }
        }
    }
}

/// Bytes of the GDT in use: null, four segments, the task state (two slots).
pub(crate) const GDT_LIMIT: u16 = 7 * 8 - 1;
/// Limit of the IDT.
pub(crate) const IDT_LIMIT: u16 = VECTORS as u16 * 16 - 1;
/// Bytes of the I/O bitmap: up to the port of the hypercalls, and the byte of ones that must follow.
const IO_BITMAP_BYTES: usize = hypercall::PORT as usize / 8 + 2;
/// Where it starts in the task state.
const IO_BITMAP: u64 = 104;
/// Limit of the task state.
pub(crate) const TSS_LIMIT: u32 = IO_BITMAP as u32 + IO_BITMAP_BYTES as u32 - 1;

/// The three descriptor pages, to be written at [`GDT`].
pub(crate) fn descriptors(kernel: &KernelHeader) -> Vec<u8> {
    let mut bytes = vec![0; (DESCRIPTORS_END - GDT) as usize];
    // Accessed bits are set: the CPU would set them, and cannot, the page is read-only.
    let segments: [(u16, u64); 4] = [
        (selector::KERNEL_CODE, 0x00af_9b00_0000_ffff),
        (selector::KERNEL_DATA, 0x00cf_9300_0000_ffff),
        (selector::USER_DATA, 0x00cf_f300_0000_ffff),
        (selector::USER_CODE, 0x00af_fb00_0000_ffff),
    ];
    let mut put = |address: u64, data: &[u8]| {
        let at = (address - GDT) as usize;
        bytes[at..at + data.len()].copy_from_slice(data);
    };
    for (selector, descriptor) in segments {
        put(GDT + u64::from(selector & !7), &descriptor.to_le_bytes());
    }
    let base = TSS;
    let task_state = u64::from(TSS_LIMIT) | (base & 0xff_ffff) << 16 | 0x8b << 40 | (base >> 24 & 0xff) << 56;
    put(GDT + u64::from(selector::TASK_STATE), &task_state.to_le_bytes());
    put(GDT + u64::from(selector::TASK_STATE) + 8, &(base >> 32).to_le_bytes());
    // IST 1 and 2, at offsets 36 and 44.
    put(TSS + 36, &EXCEPTION_STACK.top().to_le_bytes());
    put(TSS + 44, &LAST_STACK.top().to_le_bytes());
    let mut io_bitmap = [0xff; IO_BITMAP_BYTES];
    io_bitmap[usize::from(hypercall::PORT / 8)] &= !(1 << (hypercall::PORT % 8));
    put(TSS + 102, &(IO_BITMAP as u16).to_le_bytes());
    put(TSS + IO_BITMAP, &io_bitmap);
    for (vector, &handler) in kernel.vectors.iter().enumerate() {
        put(IDT + vector as u64 * 16, &gate(handler, ist(vector)));
    }
    bytes
}

/// Which stack a vector uses: double fault, NMI and machine check may arrive while another exception is handled.
fn ist(vector: usize) -> u8 {
    if matches!(vector, 2 | 8 | 18) { 2 } else { 1 }
}

/// A trap gate of DPL 3 to the CPL-3 code segment: an interrupt gate would clear the interrupt flag, which CPL 3 cannot set again.
fn gate(handler: u64, ist: u8) -> [u8; 16] {
    const PRESENT_DPL3_TRAP: u64 = 0xef;
    let low = handler & 0xffff
        | u64::from(selector::USER_CODE) << 16
        | u64::from(ist) << 32
        | PRESENT_DPL3_TRAP << 40
        | (handler >> 16 & 0xffff) << 48;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&low.to_le_bytes());
    bytes[8..].copy_from_slice(&(handler >> 32).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use mayfly_abi::image::Range;

    use super::*;

    fn image(bytes: u64, ranges: &[(u32, u32)]) -> GuestImage {
        let ranges = ranges.iter().map(|&(first_page, pages)| Range { first_page, pages }).collect();
        GuestImage { bytes, ranges, is_in_place: true }
    }

    /// Walks the tables as a CPU does; returns the flags that hold for the address.
    fn walk(tables: &[(u64, Vec<u8>); 2], address: u64) -> Option<u64> {
        let word = |table: u64, index: u64| {
            let (start, bytes) = tables.iter().rfind(|(start, _)| *start <= table).unwrap();
            let at = (table - start + index * 8) as usize;
            u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
        };
        let mut table = PML4;
        for shift in [39, 30, 21, 12] {
            let entry = word(table, address >> shift & 511);
            if entry & PRESENT == 0 {
                return None;
            }
            if shift == 12 || entry & LARGE != 0 {
                let size = 1 << shift;
                assert_eq!(entry & !(size - 1) & 0xf_ffff_ffff_f000, address & !(size - 1), "not an identity mapping");
                return Some(entry & 0xfff);
            }
            table = entry & 0xf_ffff_ffff_f000;
        }
        None
    }

    #[test]
    fn a_guest_reaches_its_memory_and_nothing_else() {
        let tables = page_tables(256 << 20, &[image(4 << 20, &[(1, 2), (511, 2)]), image(2 << 20, &[])], |_| true);
        let writable = |address| walk(&tables, address).map(|flags| flags & WRITE != 0);
        let cases = [
            (0, None),
            (0xffff, None),
            (PAGE_TABLES, None),
            (GDT, Some(false)),
            (IDT, Some(false)),
            (KERNEL_TEXT, Some(false)),
            (KERNEL_DATA - 1, Some(false)),
            (KERNEL_DATA, Some(true)),
            (KERNEL_STACK.base - 1, None),
            (EXCEPTION_STACK.base - 1, None),
            (LAST_STACK.base - 1, None),
            (PROGRAM, Some(true)),
            (MAIN_STACK.base - 1, None),
            (KERNEL_END, None),
            (KERNEL_TEXT - 1, Some(true)),
            (IMAGE_TABLES, None),
            (0x1f_ffff, None),
            (MAIN_STACK.base, Some(true)),
            ((256 << 20) - 1, Some(true)),
            (256 << 20, None),
            (MAILBOX, Some(true)),
            (MAILBOX + mayfly_abi::mailbox::BYTES, None),
            (layout::image_base(0), Some(false)),
            (layout::image_base(0) + 0xfff, Some(false)),
            (layout::image_base(0) + 0x1000, Some(true)),
            (layout::image_base(0) + 0x2fff, Some(true)),
            (layout::image_base(0) + 0x3000, Some(false)),
            (layout::image_base(0) + 0x1f_f000, Some(true)),
            (layout::image_base(0) + 0x20_0fff, Some(true)),
            (layout::image_base(0) + 0x20_1000, Some(false)),
            (layout::image_base(0) + 0x3f_ffff, Some(false)),
            (layout::image_base(0) + (4 << 20), None),
            (layout::image_base(1) + (2 << 20) - 1, Some(false)),
            (layout::image_base(2), None),
        ];
        for (address, expected) in cases {
            assert_eq!(writable(address), expected, "{address:#x}");
        }
    }

    #[test]
    fn a_guest_reaches_only_what_it_was_given() {
        let images = [image(6 << 20, &[(512, 1)]), image(2 << 20, &[(0, 1), (511, 1)])];
        let places = [PROGRAM, KERNEL_TEXT - LARGE_PAGE_BYTES, MAIN_STACK.base, (256 << 20) - LARGE_PAGE_BYTES];
        let in_images = [0, 2 << 20, 4 << 20, GIB].map(|offset| layout::IMAGES + offset);
        let all: Vec<u64> = places.into_iter().chain(in_images).collect();
        let complete = page_tables(256 << 20, &images, |_| true);
        for given in &all {
            let mut tables = page_tables(256 << 20, &images, |page| page == *given);
            for page in &all {
                assert_eq!(walk(&tables, *page).is_some(), page == given, "{page:#x} with {given:#x}");
            }
            assert!(walk(&tables, KERNEL_TEXT).is_some() && walk(&tables, MAILBOX).is_some());
            // One entry for each that is given later makes the same tables as all at once.
            for page in &all {
                let at = (place_of_entry(*page) - PAGE_TABLES) as usize;
                let entry = entry(*page, 256 << 20, &images).unwrap();
                assert_eq!(is_present(u64::from_le_bytes(tables[0].1[at..at + 8].try_into().unwrap())), page == given);
                tables[0].1[at..at + 8].copy_from_slice(&entry.to_le_bytes());
                assert_eq!(walk(&tables, *page), walk(&complete, *page), "{page:#x}");
            }
        }
        for page in [0, KERNEL_TEXT, KERNEL_END, 256 << 20, MAILBOX, layout::IMAGES + (6 << 20), layout::image_base(2)]
        {
            assert_eq!(entry(page, 256 << 20, &images), None, "{page:#x}");
        }
    }

    #[test]
    fn every_entry_has_its_accessed_bit() {
        let images = vec![image(GIB, &[(5, 3), (40_000, 90_000)]); IMAGES_MAX];
        let tables = page_tables(MEMORY_MAX_BYTES, &images, |_| true);
        for entry in tables
            .iter()
            .flat_map(|(_, bytes)| bytes.chunks_exact(8))
            .map(|entry| u64::from_le_bytes(entry.try_into().unwrap()))
        {
            assert!(entry & PRESENT == 0 || entry & (ACCESSED | USER) == ACCESSED | USER, "{entry:#x}");
        }
    }

    #[test]
    fn gates_are_for_cpl_3_on_an_interrupt_stack() {
        let gate = gate(0x1234_5678_9abc_def0, 1);
        assert_eq!(gate[5], 0xef);
        assert_eq!(gate[4], 1);
        assert_eq!(u16::from_le_bytes([gate[2], gate[3]]), selector::USER_CODE);
        assert_eq!([gate[0], gate[1], gate[6], gate[7]], [0xf0, 0xde, 0xbc, 0x9a]);
    }
}
