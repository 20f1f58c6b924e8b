//! A guest is given its memory and images where it uses them, when it first does: all of them, nothing besides, and for good.

mod setup;

use mayfly_abi::layout::{LARGE_PAGE_BYTES, MAIN_STACK, PAGE_BYTES, image_base};
use mayfly_vmm::{ImageFile, Snapshot};
use setup::{Guest, MEMORY_BYTES, Outcome, file_with, image, path_of, words};

const MIB: u64 = 1 << 20;
/// Memory that neither the probe nor its heap and stack lie in.
const FREE: (u64, u64) = (32 * MIB, 96 * MIB);
const LARGE_BYTES: u64 = 320 * MIB;
const MORE: (u64, u64) = (MEMORY_BYTES, LARGE_BYTES);

/// Adds `added` to the first word of each page; the answer is the sum of what they were.
fn touch(guest: &mut Guest, (start, end): (u64, u64), added: u64) -> Outcome {
    guest.invoke(&words([start, end, PAGE_BYTES, added]))
}

fn pages((start, end): (u64, u64)) -> u64 {
    (end - start) / PAGE_BYTES
}

/// All of it was zero, and the guest had to ask for it; then it is what was written, and nothing is asked for.
#[track_caller]
fn assert_comes(guest: &mut Guest, range: (u64, u64)) {
    let outcome = touch(guest, range, 1);
    assert_eq!(outcome.word(0), 0);
    assert!(outcome.usage.exits > 1, "it had been given already");
    assert!(outcome.usage.exits <= 1 + pages(range).div_ceil(512), "a hypercall gives a large page at least");
    assert_there(guest, range, 1);
}

/// The words have that value, and nothing has to be asked for.
#[track_caller]
fn assert_there(guest: &mut Guest, range: (u64, u64), each: u64) {
    let outcome = touch(guest, range, 0);
    assert_eq!(outcome.word(0), each * pages(range));
    assert_eq!(outcome.usage.exits, 1, "no memory is asked for twice");
}

fn base() -> Snapshot {
    Guest::new("attack-touch").save()
}

#[test]
fn a_guest_gets_all_of_its_memory_and_nothing_beyond() {
    let base = base();
    // The last part may be smaller than what is given at a time.
    for memory_bytes in [MEMORY_BYTES, MEMORY_BYTES + LARGE_PAGE_BYTES, LARGE_BYTES] {
        let mut guest = Guest::bound_with(&base, None, memory_bytes).expect("bind");
        assert_comes(&mut guest, FREE);
        if memory_bytes > MEMORY_BYTES {
            assert_comes(&mut guest, (MEMORY_BYTES, memory_bytes));
        }
        // The stack's pages above and below what a probe uses of it.
        touch(&mut guest, (MAIN_STACK.base, MEMORY_BYTES), 0).word(0);
        for (address, what) in [
            (memory_bytes, "no memory there"),
            (MAIN_STACK.base - PAGE_BYTES, "the stack is used up"),
            (0, "null page"),
        ] {
            let mut guest = Guest::bound_with(&base, None, memory_bytes).expect("bind");
            let outcome = touch(&mut guest, (address, address + 1), 1);
            outcome.assert_killed(libc::SIGSEGV, &[&format!("page fault of the program at {address:#x} "), what]);
        }
    }
}

#[test]
fn a_guest_gets_its_images_and_nothing_beyond() {
    let base = base();
    let added = file_with(&mayfly_probes::added_image(40 << 20));
    let bytes = added.metadata().expect("its length").len();
    let added = ImageFile::open(&path_of(&added)).expect("the image");
    let bound = || {
        let mut guest = Guest::bound(&base, None);
        guest.bind_over(&base, None, &[&image(), &added], MEMORY_BYTES).map(|()| guest)
    };
    assert!(bound().is_err(), "only a guest that was reset can be bound over");
    let bound = || {
        let mut guest = Guest::bound(&base, None);
        touch(&mut guest, FREE, 0).word(0);
        guest.machine.reset().expect("reset");
        guest.bind_over(&base, None, &[&image(), &added], MEMORY_BYTES).expect("bind");
        guest
    };
    let whole = (image_base(1), image_base(1) + bytes);
    let mut guest = bound();
    let outcome = touch(&mut guest, whole, 0);
    let sum = outcome.word(0);
    assert!(outcome.usage.exits > 1, "it had been given already");
    let outcome = touch(&mut guest, whole, 0);
    assert_eq!((outcome.word(0), outcome.usage.exits), (sum, 1));
    for address in [whole.1, image_base(2), image_base(8), image_base(1) - 8] {
        let outcome = touch(&mut bound(), (address, address + 1), 0);
        outcome.assert_killed(libc::SIGSEGV, &[&format!("page fault of the program at {address:#x} ")]);
    }
    // What comes late is as little writable as what was there.
    let address = whole.1 - PAGE_BYTES;
    let outcome = touch(&mut bound(), (address, address + 1), 1);
    outcome.assert_killed(libc::SIGSEGV, &["error code 0x7"]);
}

/// What a guest was given it keeps: a reset puts back what was in it, and a snapshot says where it was.
#[test]
fn a_guest_that_has_grown_is_reset_saved_and_bound() {
    let base = base();
    let primed = || {
        let mut guest = Guest::bound(&base, None);
        assert_comes(&mut guest, (FREE.0, FREE.0 + MIB));
        guest.machine.reset().expect("reset");
        guest
    };
    let mut guest = primed();
    guest.bind_over(&base, None, &[&image()], LARGE_BYTES).expect("bind");
    for _ in 0..2 {
        assert_there(&mut guest, (FREE.0, FREE.0 + MIB), 0);
        assert_eq!(touch(&mut guest, MORE, 1).word(0), 0);
        guest.machine.reset().expect("reset");
        assert_there(&mut guest, MORE, 0);
        guest.machine.trim().expect("trim");
        assert_there(&mut guest, MORE, 0);
    }
    assert_eq!(touch(&mut guest, MORE, 7).word(0), 0);
    let top = guest.save();
    let mut over = primed();
    over.bind_over(&base, Some(&top), &[&image()], LARGE_BYTES).expect("bind");
    let mut anew = Guest::bound_with(&base, Some(&top), LARGE_BYTES).expect("bind");
    for guest in [&mut over, &mut anew] {
        for _ in 0..2 {
            assert_there(guest, MORE, 7);
            assert_comes_or_is_there(guest, (FREE.0 + 20 * MIB, FREE.1));
            touch(guest, MORE, 1).word(0);
            guest.machine.reset().expect("reset");
        }
    }
    // A third storey: what the second was given late is in it.
    assert_eq!(touch(&mut anew, FREE, 3).word(0), 0);
    let top = anew.save();
    let mut guest = Guest::bound_with(&base, Some(&top), LARGE_BYTES).expect("bind");
    assert_there(&mut guest, FREE, 3);
    assert_there(&mut guest, MORE, 7);
}

#[track_caller]
fn assert_comes_or_is_there(guest: &mut Guest, range: (u64, u64)) {
    assert_eq!(touch(guest, range, 1).word(0), 0);
    assert_there(guest, range, 1);
}

/// The hypercall without a fault, and after one that was answered, gives nothing.
#[test]
fn asking_without_a_fault_gives_nothing() {
    // mov ecx, 1000; mov al, PAGE_FAULT; 1: out 0x6d, al; loop 1b
    let call = mayfly_abi::hypercall::PAGE_FAULT;
    let code = [0xb9, 0xe8, 0x03, 0, 0, 0xb0, call, 0xe6, 0x6d, 0xe2, 0xfc];
    let mut guest = Guest::new("attack-execute");
    let outcome = guest.invoke(&code);
    outcome.payload();
    assert!(outcome.usage.exits >= 1000, "{} exits", outcome.usage.exits);
    assert_eq!(guest.invoke(&[0x90]).usage.exits, 1);
}
