//! Libraries that are used in their image: what a guest changes of them is its own, is saved, bound and put back.

mod setup;

use mayfly_abi::layout::{IMAGES_WRITABLE_MAX_BYTES, PAGE_BYTES, image_base};
use mayfly_probes::library::{CALL, DATA, EXTENT, TEXT, ZEROS};
use mayfly_vmm::{ImageFile, Machine, Mailbox, Snapshot, Stop, WorkingSet};
use setup::{Guest, MEMORY_BYTES, PATIENCE, TMP_BYTES, file_with, host, image, is_visible, path_of, words};

/// The image of the library comes after that of the program.
const INDEX: usize = 1;

fn library_image(writable_bytes: u64) -> ImageFile {
    let file = file_with(&mayfly_probes::library_image(writable_bytes));
    ImageFile::open(&path_of(&file)).expect("the image")
}

fn empty_machine() -> Machine {
    Machine::new(&host(), Mailbox::new().expect("a mailbox")).expect("a machine")
}

/// A guest that runs this probe and waits for its first event.
fn booted(probe: &str, library: &ImageFile) -> Guest {
    let mut machine = empty_machine();
    machine.mailbox().put_start(&[mayfly_probes::PROGRAM_PATH, probe], &[]).expect("start words");
    machine.boot(&[&image(), library], MEMORY_BYTES, TMP_BYTES).expect("boot");
    let mut guest = Guest { machine };
    let outcome = guest.run(0, PATIENCE);
    assert_eq!(outcome.stop, Stop::Next, "{}", outcome.log);
    guest
}

fn bound(library: &ImageFile, base: &Snapshot, top: Option<&Snapshot>, set: Option<&WorkingSet>) -> Guest {
    let mut machine = empty_machine();
    machine.bind(base, top, &[&image(), library], MEMORY_BYTES, TMP_BYTES, set).expect("bind");
    Guest { machine }
}

/// All that the guest can see of RAM and library.
fn memory(guest: &Guest) -> (Vec<u8>, Vec<u8>) {
    let memory = guest.machine.memory().expect("memory").to_vec();
    (memory, guest.machine.image(INDEX).expect("an image").expect("a writable image").to_vec())
}

#[track_caller]
fn assert_same(guest: &Guest, expected: &(Vec<u8>, Vec<u8>)) {
    let now = memory(guest);
    let pages = |now: &[u8], then: &[u8]| {
        let page = PAGE_BYTES as usize;
        (0..now.len() / page).filter(|at| now[at * page..][..page] != then[at * page..][..page]).collect::<Vec<_>>()
    };
    let of_memory = pages(&now.0, &expected.0).into_iter().filter(|page| is_visible(*page)).collect();
    assert_eq!((of_memory, pages(&now.1, &expected.1)), (vec![], vec![]), "pages differ");
}

/// Numbers in data and zeros, and the first byte of the call: a jump once it has been changed.
#[track_caller]
fn change(guest: &mut Guest, by: u64) -> (u64, u64) {
    let outcome = guest.invoke(&words([by]));
    let start = u64::from_le_bytes(mayfly_probes::library::file()[DATA as usize + 16..][..8].try_into().expect("8"));
    assert_eq!(outcome.word(0).wrapping_sub(start), outcome.word(1));
    (outcome.word(1), outcome.word(2))
}

const CALLS: u64 = 0xb8;
const JUMPS: u64 = 0xe9;

#[test]
fn a_library_is_used_where_it_is() {
    let library = library_image(0);
    assert_eq!(booted("library-load", &library).invoke(b"").word(0), 1);
    let outcome = booted("library-place", &library).invoke(b"");
    let end = image_base(INDEX) + (2 << 20);
    assert!((image_base(INDEX)..end).contains(&outcome.word(0)), "{:#x}", outcome.word(0));
}

#[test]
fn a_second_use_of_a_library_is_a_copy() {
    booted("library-twice", &library_image(0)).invoke(b"").assert_ok();
}

#[test]
fn what_no_loader_does_is_right_or_refused() {
    booted("library-odd", &library_image(0)).invoke(b"").assert_ok();
}

/// An image that asks for more than a guest may have is read-only, and its libraries are copied.
#[test]
fn libraries_of_a_greedy_image_are_copied() {
    let greedy = library_image(IMAGES_WRITABLE_MAX_BYTES);
    let mut guest = booted("library-load", &greedy);
    assert_eq!(guest.machine.image(INDEX).expect("an image"), None, "a guest writes to it");
    assert_eq!(guest.invoke(b"").word(0), 0);
}

#[test]
fn changes_are_saved_and_bound() {
    let library = library_image(0);
    let mut guest = booted("library-change", &library);
    assert_eq!(change(&mut guest, 5), (5, CALLS));
    let base = guest.save();
    let mut first = bound(&library, &base, None, None);
    assert_same(&first, &memory(&guest));
    assert_eq!(change(&mut first, 30), (35, JUMPS));
    let top = first.save();
    assert!(top.data_bytes() < 1 << 20, "{} bytes", top.data_bytes());
    let in_image = top.runs().iter().filter(|run| run.address() >= image_base(INDEX)).map(|run| run.pages).sum::<u64>();
    assert!((1..=12).contains(&in_image), "{in_image} pages of the library in the function's snapshot");
    let mut second = bound(&library, &base, Some(&top), None);
    assert_same(&second, &memory(&first));
    assert_eq!(change(&mut second, 1), (36, JUMPS));
    // Each has its own, and the file is what it was.
    assert_eq!(change(&mut guest, 1), (6, CALLS));
    assert_eq!(change(&mut booted("library-change", &library), 1), (1, CALLS));
}

#[test]
fn changes_are_put_back() {
    let library = library_image(0);
    for loads_before in [false, true] {
        let mut guest = booted("library-change", &library);
        let start = if loads_before { change(&mut guest, 3).0 } else { 0 };
        let base = guest.save();
        for old_page_map in [false, true] {
            let mut guest = bound(&library, &base, None, None);
            if old_page_map {
                guest.machine.use_old_page_map().expect("the page map");
            }
            let before = memory(&guest);
            for by in [1, 30, 2] {
                let code = if by >= 16 { JUMPS } else { CALLS };
                assert_eq!(change(&mut guest, by), (start + by, code));
                guest.machine.reset().expect("reset");
                assert_same(&guest, &before);
            }
        }
    }
}

#[test]
fn a_working_set_has_pages_of_libraries() {
    let library = library_image(0);
    let mut guest = booted("library-change", &library);
    change(&mut guest, 1);
    let base = guest.save();
    let mut guest = bound(&library, &base, None, None);
    change(&mut guest, 1);
    let set = guest.machine.working_set().expect("the working set").to_bytes();
    let (ranges, _) = set.as_chunks::<8>();
    let image_page = (image_base(INDEX) / PAGE_BYTES) as u32;
    assert!(ranges.iter().any(|range| u32::from_le_bytes([range[0], range[1], range[2], range[3]]) >= image_page));
    let set = WorkingSet::from_bytes(&set).expect("it is one");
    let mut guest = bound(&library, &base, None, Some(&set));
    assert_eq!(change(&mut guest, 1), (2, CALLS));
}

/// Whatever can be written is the guest's own; what cannot be, faults.
#[test]
fn a_hostile_guest_reaches_its_own_copy() {
    let library = library_image(0);
    for at in [CALL, DATA, ZEROS, EXTENT - 8] {
        assert_eq!(booted("library-attack", &library).invoke(&words([at])).word(0), 0x4141_4141, "{at:#x}");
    }
    for at in [0, TEXT, DATA - 8, EXTENT] {
        booted("library-attack", &library).invoke(&words([at])).assert_killed(libc::SIGSEGV, &["error code 0x7"]);
    }
    assert_eq!(booted("library-load", &library).invoke(b"").word(0), 1);
}

/// What an image says of itself is checked before a guest gets anything of it.
#[test]
fn images_that_say_something_impossible_are_refused() {
    use mayfly_abi::image::{HEADER_BYTES, Header};
    let good = mayfly_probes::library_image(0);
    let header = Header::parse(&good, good.len() as u64).expect("an image");
    let (ranges, last) = (header.ranges_offset() as usize, header.ranges_offset() as usize + 16);
    let open = |at: usize, now: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + now.len()].copy_from_slice(now);
        ImageFile::open(&path_of(&file_with(&bytes))).map(|_| ())
    };
    open(0, &[]).expect("the image as it is");
    let changes: [(&str, usize, &[u8]); 6] = [
        ("another version", 8, &[0]),
        ("ranges beyond the end", 48, &[0, 0, 0x20, 0]),
        ("a thousand million ranges", 60, &[0xff; 4]),
        ("ranges out of order", ranges, &[0xff; 4]),
        ("a range outside of the image", last + 4, &[0, 4, 0, 0]),
        ("no header at all", 0, &[0; HEADER_BYTES]),
    ];
    for (what, at, now) in changes {
        assert!(open(at, now).is_err(), "{what}");
    }
}
