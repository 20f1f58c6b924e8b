//! A shared library, mapped as a loader maps it (`guest-runtime/probes/src/library.rs` has what is in it).

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use mayfly_abi::layout::IMAGES;

use crate::system::{bytes, call, is_zero};
use crate::{Probe, word};

pub const PROBES: &[(&str, Probe)] = &[
    ("library-load", Probe::Each(load_and_look)),
    ("library-change", Probe::Each(change)),
    ("library-place", Probe::Each(place)),
    ("library-twice", Probe::Each(twice)),
    ("library-odd", Probe::Each(odd)),
    ("library-attack", Probe::Each(attack)),
];

const PATH: &str = "/opt/library.so";
const CALL: u64 = 0x1000;
const TEXT: u64 = 0x2000;
const DATA: u64 = 0x3000;
const DATA_BYTES: usize = 0x800;
const ZEROS: u64 = 0x4000;
const EXTENT: u64 = 0x6000;
const PAGE: u64 = 0x1000;

const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
const PRIVATE: u64 = libc::MAP_PRIVATE as u64;
const LOADER: u64 = (libc::MAP_PRIVATE | libc::MAP_DENYWRITE) as u64;
const FIXED: u64 = libc::MAP_FIXED as u64;
const ANONYMOUS: u64 = libc::MAP_ANONYMOUS as u64;

fn map(address: u64, length: u64, protection: u64, flags: u64, file: Option<&File>, offset: u64) -> Result<u64, i32> {
    let fd = file.map_or(u64::MAX, |file| file.as_raw_fd() as u64);
    let result = call(libc::SYS_mmap, &[address, length, protection, flags, fd, offset]);
    if result < 0 { Err(-result as i32) } else { Ok(result as u64) }
}

fn protect(address: u64, length: u64, protection: u64) -> i64 {
    call(libc::SYS_mprotect, &[address, length, protection])
}

/// As `ld.so` does it.
fn load() -> u64 {
    let file = File::open(PATH).expect("the library");
    let base = map(0, EXTENT, READ, LOADER, Some(&file), 0).expect("its extent");
    let part = |at: u64, length: u64, protection: u64, flags: u64, file: Option<&File>, offset: u64| {
        assert_eq!(map(base + at, length, protection, flags | FIXED, file, offset), Ok(base + at));
    };
    part(CALL, 2 * PAGE, READ | EXECUTE, LOADER, Some(&file), CALL);
    part(DATA, PAGE, READ | WRITE, LOADER, Some(&file), DATA);
    bytes(base + DATA, PAGE as usize)[DATA_BYTES..].fill(0);
    part(ZEROS, EXTENT - ZEROS, READ | WRITE, PRIVATE | ANONYMOUS, None, 0);
    base
}

/// The library, loaded once.
fn loaded() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(load)
}

fn file() -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(PATH).expect("the library").read_to_end(&mut bytes).expect("reading it");
    bytes
}

/// Everything is where the loader asked for it, with the contents that it asked for.
#[track_caller]
fn assert_fresh(base: u64) {
    let file = file();
    let part = |at: u64, length: usize| (&*bytes(base + at, length), &file[at as usize..][..length]);
    for (at, length) in [(0, PAGE as usize), (CALL, 2 * PAGE as usize), (DATA, DATA_BYTES)] {
        let (memory, expected) = part(at, length);
        assert!(memory == expected, "{at:#x}");
    }
    assert!(is_zero(base + DATA + DATA_BYTES as u64, PAGE as usize - DATA_BYTES), "the rest of the data's page");
    assert!(is_zero(base + ZEROS, (EXTENT - ZEROS) as usize), "the zeros");
}

fn process_id(base: u64) -> i32 {
    let function: extern "C" fn() -> i32 = unsafe { std::mem::transmute((base + CALL) as *const u8) };
    function()
}

/// Answers whether the library is used in place.
fn load_and_look(_: &[u8]) -> Vec<u8> {
    let base = load();
    assert_fresh(base);
    let before = file();
    for _ in 0..100 {
        assert_eq!(process_id(base), 1);
    }
    let code = bytes(base + CALL, 8);
    assert_eq!((code[0], &code[5..]), (0xe9, &[0x0f, 0x05, 0xc3][..]), "the place of the call has been changed");
    assert!(file() == before, "but not in the file");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    for (start, end, permissions) in [(CALL, DATA, "r-xp"), (ZEROS, EXTENT, "rw-p")] {
        let line = format!("{:08x}-{:08x} {permissions}", base + start, base + end);
        assert!(maps.contains(&line), "{line} is not in {maps}");
    }
    // Calls write to the data, and not to the text.
    let file = File::open(PATH).expect("the library");
    assert_eq!(call(libc::SYS_read, &[file.as_raw_fd() as u64, base + ZEROS, 16]), 16);
    assert_eq!(bytes(base + ZEROS, 4), b"\x7fELF");
    let into_text = call(libc::SYS_pread64, &[file.as_raw_fd() as u64, base + TEXT, 16, 0]);
    // What the loader has settled, it makes read-only, and back.
    assert_eq!(protect(base + DATA, PAGE, READ), 0);
    assert_eq!(protect(base + DATA, PAGE, READ | WRITE), 0);
    let writable_text = protect(base + TEXT, PAGE, READ | WRITE | EXECUTE);
    let is_in_place = base >= IMAGES;
    let refused = |errno: i32| if is_in_place { -i64::from(errno) } else { 0 };
    assert_eq!(writable_text, refused(libc::EACCES));
    assert_eq!(into_text, if is_in_place { refused(libc::EFAULT) } else { 16 });
    u64::from(is_in_place).to_le_bytes().to_vec()
}

/// Adds to a number in the data and to one in the zeros, and makes calls; answers the numbers and the first byte of the code.
fn change(payload: &[u8]) -> Vec<u8> {
    let base = loaded();
    let mut answer = Vec::new();
    for at in [DATA + 16, EXTENT - 16] {
        let number = unsafe { &mut *((base + at) as *mut u64) };
        *number += word(payload);
        answer.extend_from_slice(&number.to_le_bytes());
    }
    for _ in 0..word(payload) {
        assert_eq!(process_id(base), 1);
    }
    answer.extend_from_slice(&u64::from(bytes(base + CALL, 1)[0]).to_le_bytes());
    answer
}

fn place(_: &[u8]) -> Vec<u8> {
    loaded().to_le_bytes().to_vec()
}

/// A load area is good for one use: who loads a library again gets a copy, and both work.
fn twice(_: &[u8]) -> Vec<u8> {
    let first = load();
    bytes(first + DATA, DATA_BYTES).fill(0xaa);
    bytes(first + ZEROS, PAGE as usize).fill(0xbb);
    let second = load();
    assert!(first >= IMAGES && second < IMAGES, "{first:#x} {second:#x}");
    assert_fresh(second);
    assert_eq!((process_id(first), process_id(second)), (1, 1));
    assert!(bytes(first + DATA, DATA_BYTES).iter().all(|&byte| byte == 0xaa));
    for base in [first, second] {
        assert_eq!(call(libc::SYS_munmap, &[base, EXTENT]), 0);
    }
    let third = load();
    assert!(third < IMAGES);
    assert_fresh(third);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    assert!(!maps.contains(&format!("{first:08x}")), "{maps}");
    b"ok".to_vec()
}

/// What no loader does.
fn odd(_: &[u8]) -> Vec<u8> {
    let file = File::open(PATH).expect("the library");
    let contents = self::file();
    // Not as a loader does it, or not all of it: a copy of the file as it is.
    for (length, flags) in [(EXTENT, PRIVATE), (EXTENT - PAGE, LOADER), (EXTENT + PAGE, LOADER)] {
        let base = map(0, length, READ, flags, Some(&file), 0).expect("a copy");
        assert!(base < IMAGES && *bytes(base, PAGE as usize) == contents[..PAGE as usize], "{length:#x} {flags:#x}");
    }
    let base = load();
    assert!(base >= IMAGES);
    // Other contents, over what can be written and what cannot.
    assert_eq!(map(base + ZEROS, PAGE, READ, LOADER | FIXED, Some(&file), 0), Ok(base + ZEROS));
    assert!(bytes(base + ZEROS, PAGE as usize) == &contents[..PAGE as usize]);
    assert_eq!(map(base + ZEROS, PAGE, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, None, 0), Ok(base + ZEROS));
    assert!(is_zero(base + ZEROS, PAGE as usize));
    assert_eq!(map(base + TEXT, PAGE, READ, PRIVATE | ANONYMOUS | FIXED, None, 0), Err(libc::ENOMEM));
    assert_eq!(map(base + TEXT, PAGE, READ, LOADER | FIXED, Some(&file), 0), Err(libc::ENOMEM));
    assert_eq!(map(base + EXTENT, PAGE, READ, PRIVATE | ANONYMOUS | FIXED, None, 0), Err(libc::ENOMEM));
    assert_eq!(map(base + DATA + 1, PAGE, READ, PRIVATE | ANONYMOUS | FIXED, None, 0), Err(libc::EINVAL));
    let no_replace = PRIVATE | ANONYMOUS | libc::MAP_FIXED_NOREPLACE as u64;
    assert_eq!(map(base + DATA, PAGE, READ, no_replace, None, 0), Err(libc::EEXIST));
    let mut start = [0; 4];
    file.read_exact_at(&mut start, 0).expect("reading");
    assert_eq!(bytes(base, 4), start, "text is as it was");
    // Advice gives back what was there first.
    bytes(base + DATA, DATA_BYTES).fill(0xaa);
    bytes(base + ZEROS, PAGE as usize).fill(0xaa);
    let advise = |at: u64, length: u64| call(libc::SYS_madvise, &[base + at, length, libc::MADV_DONTNEED as u64]);
    assert_eq!((advise(DATA, 2 * PAGE), advise(0, DATA)), (0, 0));
    assert!(bytes(base + DATA, DATA_BYTES) == &contents[DATA as usize..][..DATA_BYTES]);
    assert!(is_zero(base + ZEROS, PAGE as usize) && bytes(base, 4) == start);
    // Moving makes it ordinary memory.
    bytes(base + ZEROS, 1)[0] = 7;
    let moved = call(libc::SYS_mremap, &[base + ZEROS, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE as u64]) as u64;
    assert!(moved < IMAGES && bytes(moved, 1)[0] == 7 && is_zero(moved + 1, 2 * PAGE as usize - 1), "{moved:#x}");
    assert_eq!(protect(base + ZEROS, PAGE, READ), 0, "what is not mapped any more is an image's");
    b"ok".to_vec()
}

/// Writes to the library at that offset.
fn attack(payload: &[u8]) -> Vec<u8> {
    let address = (loaded() + word(payload)) as *mut u64;
    unsafe { address.write_volatile(0x4141_4141) };
    unsafe { address.read_volatile() }.to_le_bytes().to_vec()
}
