//! The address space without a machine.

use mayfly_abi::layout::image_base;

use super::*;

const PROGRAM_END: u64 = 0x200_0000;

fn space() -> (AddressSpace, Dirty) {
    (AddressSpace::new(PROGRAM_END, MEMORY_MIN_BYTES), Dirty::new())
}

#[test]
fn memory_is_zeroed_only_when_it_was_used_before() {
    let (mut space, mut dirty) = space();
    let first = space.map(Place::Anywhere, 8192, 3, Backing::Anonymous, &mut dirty).unwrap();
    assert!(dirty.is_empty());
    space.unmap(first, 4096).unwrap();
    let again =
        space.map(Place::Exactly { address: first, replace: false }, 4096, 3, Backing::Anonymous, &mut dirty).unwrap();
    assert_eq!(again, first);
    assert_eq!(dirty, [Span { start: first, end: first + 4096 }]);
}

#[test]
fn brk_and_mmap_meet_but_never_overlap() {
    let (mut space, mut dirty) = space();
    let low = space.map(Place::Anywhere, 16 << 20, 3, Backing::Anonymous, &mut dirty).unwrap();
    assert_eq!(space.set_brk(low, &mut dirty), low);
    assert_eq!(space.set_brk(low + 4096, &mut dirty), low);
    assert!(space.refused());
    assert_eq!(space.map(Place::Anywhere, 4096, 3, Backing::Anonymous, &mut dirty), Err(Errno::NOMEM));
}

#[test]
fn more_memory_can_be_mapped_after_the_guest_grew() {
    let (mut space, mut dirty) = space();
    assert_eq!(space.map(Place::Anywhere, 200 << 20, 3, Backing::Anonymous, &mut dirty), Err(Errno::NOMEM));
    space.grow_memory(512 << 20);
    let at = space.map(Place::Anywhere, 200 << 20, 3, Backing::Anonymous, &mut dirty).unwrap();
    assert!(at >= MEMORY_MIN_BYTES && space.is_accessible(at, 200 << 20));
}

#[test]
fn unmapping_the_middle_leaves_both_ends() {
    let (mut space, mut dirty) = space();
    let at = space.map(Place::Anywhere, 3 * 4096, 3, Backing::Anonymous, &mut dirty).unwrap();
    space.unmap(at + 4096, 4096).unwrap();
    let left: alloc::vec::Vec<_> = space.mappings().map(|mapping| (mapping.start, mapping.end)).collect();
    assert_eq!(left, [(at, at + 4096), (at + 8192, at + 3 * 4096)]);
}

#[test]
fn guards_and_null_are_not_accessible() {
    let (space, _) = space();
    for (start, bytes) in [(0, 1), (MAIN_STACK.base - 1, 2), (MEMORY_MIN_BYTES - 1, 2), (u64::MAX, 2), (0x10_0000, 8)] {
        assert!(!space.is_accessible(start, bytes), "{start:#x}");
    }
    assert!(space.is_accessible(MAIN_STACK.base, MAIN_STACK.bytes));
}

#[test]
fn bad_ranges_are_refused() {
    let (mut space, mut dirty) = space();
    assert_eq!(space.unmap(1, 4096), Err(Errno::INVAL));
    assert_eq!(space.unmap(4096, u64::MAX), Err(Errno::INVAL));
    assert_eq!(space.map(Place::Anywhere, 0, 3, Backing::Anonymous, &mut dirty), Err(Errno::INVAL));
    assert_eq!(space.map(Place::Anywhere, u64::MAX, 3, Backing::Anonymous, &mut dirty), Err(Errno::NOMEM));
    let wrapping = Place::Exactly { address: !4095, replace: true };
    assert!(space.map(wrapping, 8192, 3, Backing::Anonymous, &mut dirty).is_err());
    assert_eq!(space.protect(0, 4096, 3), Err(Errno::NOMEM));
}

#[test]
fn reservations_count_once_they_are_made_accessible() {
    let (mut space, mut dirty) = space();
    let before = space.mapped_bytes();
    let at = space.map(Place::Anywhere, 8 << 20, 0, Backing::Anonymous, &mut dirty).unwrap();
    assert_eq!(space.mapped_bytes(), before);
    space.protect(at, 1 << 20, 3).unwrap();
    assert_eq!(space.mapped_bytes(), before + (1 << 20));
    space.protect(at, 4096, 0).unwrap();
    space.unmap(at, 8 << 20).unwrap();
    assert_eq!(space.mapped_bytes(), before);
    assert_eq!(space.map(Place::Anywhere, 64 << 20, 0, Backing::Anonymous, &mut dirty), Err(Errno::NOMEM));
    assert!(!space.refused(), "a reservation that is refused harms nobody");
}

#[test]
fn parts_of_a_copy_know_their_source() {
    let (mut space, mut dirty) = space();
    let backing = Backing::Copy { source: 0x50_0000_0000, source_end: 0x50_0000_5000 };
    let at = space.map(Place::Anywhere, 8 * 4096, 1, backing, &mut dirty).unwrap();
    space.protect(at + 4096, 4096, 3).unwrap();
    let sources: alloc::vec::Vec<_> = space
        .parts(at + 2048, at + 3 * 4096)
        .map(|part| match part.backing {
            Backing::Copy { source, .. } => (part.start - at, source - 0x50_0000_0000, part.protection),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sources, [(2048, 2048, 1), (4096, 4096, 3), (8192, 8192, 1)]);
}

#[test]
fn memory_of_a_file_stays_its_own_until_it_is_released() {
    let (mut space, mut dirty) = space();
    let before = space.mapped_bytes();
    let backing = Backing::Shared { file: 5, count: 1 };
    let at = space.map(Place::Anywhere, 4 * 4096, 3, backing, &mut dirty).unwrap();
    // Mapped a second time, in part.
    space.share(Span { start: at, end: at + 2 * 4096 }, 1, 5);
    space.unmap(at, 4 * 4096).unwrap();
    assert!(space.shows(5) && space.is_mapped(at, 2 * 4096) && !space.is_mapped(at + 2 * 4096, 4096));
    space.unmap(at, 4 * 4096).unwrap();
    assert!(!space.shows(5));
    let taken = Place::Exactly { address: at, replace: true };
    assert_eq!(space.map(taken, 4096, 3, Backing::Anonymous, &mut dirty), Err(Errno::NOMEM));
    assert_eq!(space.mapped_bytes(), before + 4 * 4096);
    space.release(Span { start: at, end: at + 4 * 4096 });
    assert_eq!(space.mapped_bytes(), before);
    assert_eq!(space.map(taken, 4096, 3, Backing::Anonymous, &mut dirty), Ok(at));
}

#[test]
fn the_kernels_own_memory_cannot_be_unmapped() {
    let (mut space, mut dirty) = space();
    let at = space.map(Place::Anywhere, 4096, 3, Backing::Kernel, &mut dirty).unwrap();
    assert_eq!(space.unmap(at, 4096), Err(Errno::INVAL));
    let over = Place::Exactly { address: at, replace: true };
    assert_eq!(space.map(over, 4096, 3, Backing::Anonymous, &mut dirty), Err(Errno::INVAL));
}

#[test]
fn a_load_area_is_taken_once_and_never_free() {
    let (mut space, mut dirty) = space();
    let before = space.mapped_bytes();
    let start = image_base(0) + 0x5000;
    let area = Span { start, end: start + 8 * 4096 };
    let part = |first: u64, last: u64| Span { start: start + first * 4096, end: start + last * 4096 };
    assert!(space.take_area(area, 1, start + 6 * 4096) && !space.take_area(area, 1, start));
    assert!(space.is_mapped(start, 8 * 4096) && !space.is_mapped(start, 8 * 4096 + 1));
    assert_eq!(space.mapped_bytes(), before, "what is only read is no memory of the guest");
    assert_eq!(space.untouched(part(0, 8)), Some(start + 6 * 4096));
    let data = Backing::Copy { source: 0x50_0100_0000, source_end: 0x50_0100_0800 };
    space.settle_area(part(5, 6), 3, data);
    space.settle_area(part(6, 8), 3, Backing::Anonymous);
    assert_eq!(space.mapped_bytes(), before + 3 * 4096);
    assert_eq!(
        (space.untouched(part(0, 5)), space.untouched(part(4, 6)), space.untouched(part(6, 8))),
        (Some(start + 6 * 4096), None, None)
    );
    assert!(space.is_unchanging_code(start + 4096) && !space.is_unchanging_code(start + 5 * 4096 + 7));
    // Gone, it is nobody's: neither for the next mapping nor for the next library.
    space.unmap(start, 8 * 4096).unwrap();
    assert_eq!((space.mapped_bytes(), space.mappings().count()), (before, 0));
    assert!(!space.take_area(area, 1, start));
    let over = Place::Exactly { address: start, replace: true };
    assert_eq!(space.map(over, 4096, 3, Backing::Anonymous, &mut dirty), Err(Errno::NOMEM));
    let at = space.map(Place::Near(start), 4096, 3, Backing::Anonymous, &mut dirty).unwrap();
    assert!(at < image_base(0));
}
