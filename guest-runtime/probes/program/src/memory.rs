//! brk, mmap and their relatives.

use std::fs::File;
use std::os::fd::AsRawFd;

use crate::Probe;
use crate::system::{bytes, call, is_zero, map, map_at, unmap};

pub const PROBES: &[(&str, Probe)] = &[
    ("memory-brk", Probe::Each(brk)),
    ("memory-map", Probe::Each(mapped_memory_is_zero)),
    ("memory-fixed", Probe::Each(fixed)),
    ("memory-protect", Probe::Each(protect)),
    ("memory-remap", Probe::Each(remap)),
    ("memory-advise", Probe::Each(advise)),
    ("memory-file", Probe::Each(file)),
    ("memory-segments", Probe::Each(segments)),
    ("memory-shared", Probe::Each(shared)),
    ("memory-shared-grows", Probe::Each(shared_grows)),
    ("memory-reserve", Probe::Each(reserve)),
    ("memory-exhaustion", Probe::Each(exhaustion)),
    ("memory-out", Probe::Each(out_of_memory)),
    ("memory-refused-exit", Probe::Each(refused_then_exit)),
    ("memory-size", Probe::Each(size)),
    ("memory-dirty", Probe::Each(dirty)),
];

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;

fn brk(_: &[u8]) -> Vec<u8> {
    let at = |address: u64| call(libc::SYS_brk, &[address]) as u64;
    let start = at(0);
    let start = at(start.next_multiple_of(PAGE as u64));
    assert_eq!(at(start + MIB as u64), start + MIB as u64, "growing");
    assert!(is_zero(start, MIB), "fresh heap");
    bytes(start, MIB).fill(0xa5);
    assert_eq!(at(start + PAGE as u64), start + PAGE as u64, "shrinking");
    assert_eq!(at(start + MIB as u64), start + MIB as u64, "growing again");
    assert!(bytes(start, PAGE).iter().all(|&byte| byte == 0xa5), "what was kept is unchanged");
    assert!(is_zero(start + PAGE as u64, MIB - PAGE), "what came back is zero");
    assert_eq!(at(1), start + MIB as u64, "an end below the heap changes nothing");
    assert_eq!(at(1 << 40), start + MIB as u64, "an end beyond memory changes nothing");
    assert_eq!(at(start), start);
    b"ok".to_vec()
}

fn mapped_memory_is_zero(_: &[u8]) -> Vec<u8> {
    let first = map(MIB);
    assert_eq!(first % PAGE as u64, 0);
    assert!(is_zero(first, MIB), "fresh memory");
    bytes(first, MIB).fill(0xff);
    unmap(first, MIB);
    let second = map(2 * MIB);
    assert!(is_zero(second, 2 * MIB), "memory that was used before");
    bytes(second, 2 * MIB).fill(0xff);
    unmap(second + 4096, PAGE);
    let third = map_at(second + 4096, PAGE, libc::MAP_FIXED_NOREPLACE).expect("the hole");
    assert!(is_zero(third, PAGE), "a hole that was filled again");
    assert!(bytes(second, PAGE).iter().all(|&byte| byte == 0xff), "what is beside the hole is unchanged");
    unmap(second, 2 * MIB);
    assert_eq!(map_at(0, 0, 0), Err(libc::EINVAL));
    assert_eq!(map_at(0, usize::MAX, 0), Err(libc::ENOMEM));
    assert_eq!(call(libc::SYS_munmap, &[1, 4096]), -i64::from(libc::EINVAL));
    assert_eq!(call(libc::SYS_munmap, &[4096, u64::MAX]), -i64::from(libc::EINVAL));
    b"ok".to_vec()
}

fn fixed(_: &[u8]) -> Vec<u8> {
    let at = map(4 * PAGE);
    bytes(at, 4 * PAGE).fill(7);
    assert_eq!(map_at(at, PAGE, libc::MAP_FIXED_NOREPLACE), Err(libc::EEXIST));
    assert_eq!(map_at(at + 4096, PAGE, libc::MAP_FIXED), Ok(at + 4096));
    assert!(is_zero(at + 4096, PAGE), "what replaced is zero");
    assert_eq!((bytes(at, 1)[0], bytes(at + 8192, 1)[0]), (7, 7), "what is beside it is unchanged");
    assert_eq!(map_at(at + 1, PAGE, libc::MAP_FIXED), Err(libc::EINVAL));
    assert!(map_at(1 << 40, PAGE, libc::MAP_FIXED).is_err(), "beyond memory");
    assert!(map_at(PAGE as u64, PAGE, libc::MAP_FIXED).is_err(), "the null page");
    for kernel in
        [mayfly_abi::layout::KERNEL_TEXT, mayfly_abi::layout::KERNEL_DATA, mayfly_abi::layout::KERNEL_STACK.base]
    {
        assert!(map_at(kernel, PAGE, libc::MAP_FIXED).is_err(), "over the kernel");
    }
    let hint = map_at(at, PAGE, 0).expect("a hint that is taken");
    assert_ne!(hint, at, "a hint does not replace");
    b"ok".to_vec()
}

fn protect(_: &[u8]) -> Vec<u8> {
    let at = map(3 * PAGE);
    let protect = |address: u64, length: u64, protection: u64| call(libc::SYS_mprotect, &[address, length, protection]);
    assert_eq!(protect(at + 4096, 4096, 1), 0);
    assert_eq!(protect(at + 1, 4096, 3), -i64::from(libc::EINVAL));
    assert_eq!(protect(1 << 40, 4096, 3), -i64::from(libc::ENOMEM));
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the map of memory");
    let line = format!("{:08x}-{:08x} r--p", at + 4096, at + 8192);
    assert!(maps.contains(&line), "{line} in\n{maps}");
    unmap(at, 3 * PAGE);
    b"ok".to_vec()
}

fn remap(_: &[u8]) -> Vec<u8> {
    let remap = |old: u64, from: usize, to: usize, flags: i32| {
        call(libc::SYS_mremap, &[old, from as u64, to as u64, flags as u64, 0])
    };
    // Addresses are handed out from the top, so `low` lies right below `high`.
    let (high, low) = (map(PAGE), map(PAGE));
    assert_eq!(low + 4096, high);
    bytes(low, PAGE).fill(1);
    bytes(high, PAGE).fill(2);
    assert_eq!(remap(low, PAGE, 2 * PAGE, 0), -i64::from(libc::ENOMEM), "no room and not allowed to move");
    unmap(high, PAGE);
    assert_eq!(remap(low, PAGE, 2 * PAGE, 0), low as i64, "growing in place");
    assert!(bytes(low, PAGE).iter().all(|&byte| byte == 1) && is_zero(low + 4096, PAGE));
    assert_eq!(remap(low, 2 * PAGE, PAGE, 0), low as i64, "shrinking");
    let moved = remap(low, PAGE, MIB, libc::MREMAP_MAYMOVE);
    assert!(moved > 0, "moving");
    assert!(bytes(moved as u64, PAGE).iter().all(|&byte| byte == 1), "contents move");
    assert!(is_zero(moved as u64 + 4096, MIB - PAGE), "the rest is zero");
    assert_eq!(remap(1 << 40, PAGE, MIB, libc::MREMAP_MAYMOVE), -i64::from(libc::EFAULT));
    assert_eq!(remap(moved as u64, MIB, 0, 0), -i64::from(libc::EINVAL));
    unmap(moved as u64, MIB);
    b"ok".to_vec()
}

fn advise(_: &[u8]) -> Vec<u8> {
    let at = map(3 * PAGE);
    bytes(at, 3 * PAGE).fill(9);
    assert_eq!(call(libc::SYS_madvise, &[at + 4096, 4096, libc::MADV_DONTNEED as u64]), 0);
    assert!(is_zero(at + 4096, PAGE));
    assert_eq!((bytes(at, 1)[0], bytes(at + 8192, 1)[0]), (9, 9));
    for (address, expected) in [(at + 1, libc::EINVAL), (1 << 40, libc::ENOMEM), (0, libc::ENOMEM)] {
        assert_eq!(call(libc::SYS_madvise, &[address, 4096, libc::MADV_DONTNEED as u64]), -i64::from(expected));
    }
    b"ok".to_vec()
}

fn file(_: &[u8]) -> Vec<u8> {
    let large = File::open("/var/task/large").expect("a file of the image");
    let map = |protection: i32, offset: u64, length: usize| {
        let arguments =
            [0, length as u64, protection as u64, libc::MAP_PRIVATE as u64, large.as_raw_fd() as u64, offset];
        call(libc::SYS_mmap, &arguments)
    };
    let expected = |at: usize| (at % 251) as u8;
    let read_only = map(libc::PROT_READ, 8192, 10_000);
    assert!(read_only > 0, "{read_only}");
    assert!(bytes(read_only as u64, 10_000).iter().enumerate().all(|(at, &byte)| byte == expected(at + 8192)));
    let writable = map(libc::PROT_READ | libc::PROT_WRITE, 4096, 5000);
    assert!(writable > 0, "{writable}");
    assert!(bytes(writable as u64, 5000).iter().enumerate().all(|(at, &byte)| byte == expected(at + 4096)));
    bytes(writable as u64, 5000).fill(0);
    let again = std::fs::read("/var/task/large").expect("the file");
    assert!(again.iter().enumerate().all(|(at, &byte)| byte == expected(at)), "a private mapping changes no file");
    assert_eq!(map(libc::PROT_READ, 1, 4096), -i64::from(libc::EINVAL));
    // The rest of the last page is zero.
    let tail = map(libc::PROT_READ | libc::PROT_WRITE, 299_008, 4096);
    assert!(tail > 0 && is_zero(tail as u64 + 992, 4096 - 992));
    b"ok".to_vec()
}

fn map_file(file: &File, at: u64, length: usize, protection: i32, flags: i32, offset: u64) -> i64 {
    let arguments = [at, length as u64, protection as u64, flags as u64, file.as_raw_fd() as u64, offset];
    call(libc::SYS_mmap, &arguments)
}

/// What a loader does: the extent first, other parts over it, protection, zeros over the tail.
fn segments(_: &[u8]) -> Vec<u8> {
    const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
    let file = File::open("/opt/probe").expect("a program");
    let image = std::fs::read("/opt/probe").expect("a program");
    let extent = map_file(&file, 0, 16 * PAGE, libc::PROT_READ, libc::MAP_PRIVATE | 0x800, 0);
    assert!(extent > 0, "{extent}");
    let at = |page: usize| extent as u64 + (page * PAGE) as u64;
    assert_eq!(bytes(at(0), 64), &image[..64]);
    let fixed = libc::MAP_PRIVATE | libc::MAP_FIXED;
    let text = libc::PROT_READ | libc::PROT_EXEC;
    assert_eq!(map_file(&file, at(4), 4 * PAGE, text, fixed, 4 * PAGE as u64), at(4) as i64);
    assert_eq!(bytes(at(4), 4 * PAGE), &image[4 * PAGE..8 * PAGE]);
    assert_eq!(map_file(&file, at(8), 2 * PAGE, READ_WRITE, fixed, 7 * PAGE as u64), at(8) as i64);
    assert_eq!(bytes(at(8), 2 * PAGE), &image[7 * PAGE..9 * PAGE]);
    bytes(at(8), PAGE).fill(0x5a);
    assert_eq!(map_at(at(10), 6 * PAGE, libc::MAP_FIXED), Ok(at(10)));
    assert!(is_zero(at(10), 6 * PAGE));
    assert_eq!(call(libc::SYS_mprotect, &[at(8), 4096, libc::PROT_READ as u64]), 0);
    // Advice brings the file's bytes back.
    assert_eq!(call(libc::SYS_madvise, &[at(8), 8192, libc::MADV_DONTNEED as u64]), 0);
    assert_eq!(bytes(at(8), 2 * PAGE), &image[7 * PAGE..9 * PAGE]);
    unmap(at(0), 16 * PAGE);
    // Only read: the image itself, in place. It can be given back, but not made writable.
    let large = File::open("/var/task/large").expect("a file");
    let in_place = map_file(&large, 0, 8192, libc::PROT_READ, libc::MAP_PRIVATE, 0) as u64;
    assert!(in_place >= mayfly_abi::layout::IMAGES, "{in_place:#x}");
    assert_eq!(call(libc::SYS_mprotect, &[in_place, 4096, READ_WRITE as u64]), -i64::from(libc::EACCES));
    assert_eq!(call(libc::SYS_mprotect, &[in_place, 4096, libc::PROT_READ as u64]), 0);
    assert_eq!(call(libc::SYS_madvise, &[in_place, 8192, libc::MADV_DONTNEED as u64]), 0);
    unmap(in_place, 8192);
    // A copy that grows shows more of the file.
    let private = map_file(&large, 0, PAGE, READ_WRITE, libc::MAP_PRIVATE, 4096) as u64;
    bytes(private, 1)[0] = 0xff;
    let grown = call(libc::SYS_mremap, &[private, 4096, 3 * 4096, libc::MREMAP_MAYMOVE as u64, 0]) as u64;
    let expected = |at: usize| ((at + PAGE) % 251) as u8;
    assert!(bytes(grown, 3 * PAGE).iter().enumerate().skip(1).all(|(at, &byte)| byte == expected(at)));
    assert_eq!(bytes(grown, 1)[0], 0xff);
    unmap(grown, 3 * PAGE);
    let writes = map_file(&large, 0, 8192, READ_WRITE, libc::MAP_SHARED, 0);
    assert_eq!(writes, -i64::from(libc::EACCES), "an image cannot be written");
    b"ok".to_vec()
}

/// A file and its shared mappings are the same bytes, also when only a mapping is left.
fn shared(_: &[u8]) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
    let path = "/tmp/shared";
    let open =
        || File::options().read(true).write(true).create(true).truncate(false).open(path).expect("a file in /tmp");
    let file = open();
    file.set_len(3 * PAGE as u64).expect("length");
    file.write_all_at(b"before", 4090).expect("write");
    let first = map_file(&file, 0, 2 * PAGE, READ_WRITE, libc::MAP_SHARED, 0);
    assert!(first > 0, "{first}");
    let first = first as u64;
    assert_eq!(bytes(first + 4090, 6), b"before");
    bytes(first, 4).copy_from_slice(b"mapd");
    let mut read = [0; 4];
    file.read_exact_at(&mut read, 0).expect("read");
    assert_eq!(&read, b"mapd", "a store is in the file");
    open().write_all_at(b"file", 4094).expect("write");
    assert_eq!(bytes(first + 4094, 4), b"file", "a write is in the mapping");
    let again = map_file(&open(), 0, 2 * PAGE, libc::PROT_READ, libc::MAP_SHARED, 0) as u64;
    assert_eq!(bytes(again + 4094, 4), b"file", "a second mapping shows the same");
    unmap(again, 2 * PAGE);
    bytes(first + 8, 1)[0] = 7;
    // A private mapping keeps its changes.
    let private = map_file(&file, 0, PAGE, READ_WRITE, libc::MAP_PRIVATE, 0) as u64;
    assert_eq!((bytes(private, 4), bytes(private + 8, 1)[0]), (&mut b"mapd"[..].to_vec()[..], 7));
    bytes(private, 4).fill(0);
    assert_eq!(bytes(first, 4), b"mapd");
    unmap(private, PAGE);
    // Cut and grown: what was beyond the end is zero.
    file.set_len(4094).expect("cut");
    file.set_len(2 * PAGE as u64).expect("grow");
    assert!(is_zero(first + 4094, PAGE));
    // The file lives on in its mapping.
    std::fs::remove_file(path).expect("remove");
    drop(file);
    assert_eq!(bytes(first, 4), b"mapd");
    assert_eq!(call(libc::SYS_msync, &[first, 4096, libc::MS_SYNC as u64]), 0);
    unmap(first, 2 * PAGE);
    assert_eq!(call(libc::SYS_msync, &[first, 4096, libc::MS_SYNC as u64]), -i64::from(libc::ENOMEM));
    b"ok".to_vec()
}

/// A mapping that grows with its file, moved if need be, and memory that comes back in the end.
fn shared_grows(_: &[u8]) -> Vec<u8> {
    const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
    for round in 0..20_u8 {
        let fd = call(libc::SYS_memfd_create, &[c"grows".as_ptr() as u64, 0]);
        let file = unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) };
        file.set_len(MIB as u64).expect("length");
        let mut at = map_file(&file, 0, MIB, READ_WRITE, libc::MAP_SHARED, 0) as u64;
        bytes(at, MIB).fill(round);
        // Something in the way, in every other round.
        let wall = (round % 2 == 0).then(|| map_at(at + MIB as u64, PAGE, libc::MAP_FIXED_NOREPLACE));
        file.set_len(3 * MIB as u64).expect("length");
        let moved = call(libc::SYS_mremap, &[at, MIB as u64, 3 * MIB as u64, libc::MREMAP_MAYMOVE as u64, 0]);
        assert!(moved > 0, "{moved}");
        at = moved as u64;
        assert!(bytes(at, MIB).iter().all(|&byte| byte == round) && is_zero(at + MIB as u64, 2 * MIB));
        bytes(at + 2 * MIB as u64, 1)[0] = 9;
        let mut read = [0; 1];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 2 * MIB as u64).expect("read");
        assert_eq!(read, [9]);
        assert_eq!(call(libc::SYS_mremap, &[at, 3 * MIB as u64, MIB as u64, 0, 0]), at as i64);
        unmap(at, MIB);
        if let Some(Ok(wall)) = wall {
            unmap(wall, PAGE);
        }
    }
    b"ok".to_vec()
}

/// Reservations count for nothing, and never take what is left. Answers with the size of the largest block that can still be mapped.
fn reserve(_: &[u8]) -> Vec<u8> {
    let reserve = |length: usize| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        call(libc::SYS_mmap, &[0, length as u64, 0, flags as u64, u64::MAX, 0])
    };
    assert_eq!(reserve(64 * MIB), -i64::from(libc::ENOMEM), "a C library's arena in a small guest");
    let stack = reserve(2 * MIB);
    assert!(stack > 0);
    let free = || std::fs::read_to_string("/proc/meminfo").expect("meminfo").lines().nth(1).map(str::to_owned);
    let before = free();
    let another = reserve(2 * MIB);
    assert_eq!(free(), before, "a reservation is no memory");
    assert_eq!(call(libc::SYS_mprotect, &[another as u64, MIB as u64, 3]), 0);
    assert_ne!(free(), before, "what is made accessible is");
    bytes(another as u64, MIB).fill(1);
    for at in [stack, another] {
        unmap(at as u64, 2 * MIB);
    }
    let block = map(64 * MIB);
    unmap(block, 64 * MIB);
    b"ok".to_vec()
}

/// Returns how many blocks of 1 MiB there were.
fn exhaustion(_: &[u8]) -> Vec<u8> {
    assert_eq!(map_at(0, 1 << 40, 0), Err(libc::ENOMEM));
    let mut blocks = Vec::with_capacity(1024);
    let refused = loop {
        match map_at(0, MIB, 0) {
            Ok(at) => {
                assert!(is_zero(at, MIB));
                blocks.push(at);
            }
            Err(errno) => break errno,
        }
    };
    assert_eq!(refused, libc::ENOMEM);
    for &at in &blocks {
        unmap(at, MIB);
    }
    let again = map(blocks.len() / 2 * MIB);
    unmap(again, blocks.len() / 2 * MIB);
    (blocks.len() as u64).to_le_bytes().to_vec()
}

fn out_of_memory(_: &[u8]) -> Vec<u8> {
    loop {
        std::mem::forget(vec![1_u8; 4 * MIB]);
    }
}

fn refused_then_exit(_: &[u8]) -> Vec<u8> {
    assert_eq!(map_at(0, 1 << 40, 0), Err(libc::ENOMEM));
    std::process::exit(3)
}

/// Maps as much as the payload says, writes the last byte of it, and gives it back.
fn size(payload: &[u8]) -> Vec<u8> {
    let length = crate::word(payload) as usize;
    match map_at(0, length, 0) {
        Ok(at) => {
            bytes(at, length)[length - 1] = 1;
            unmap(at, length);
            b"mapped".to_vec()
        }
        Err(errno) => format!("errno {errno}").into_bytes(),
    }
}

/// Writes one byte to each of as many pages as the payload says, every page or every other, and counts its calls in memory.
fn dirty(payload: &[u8]) -> Vec<u8> {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let calls = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (pages, step) = (crate::word(payload) as usize, crate::word(&payload[8..]) as usize);
    if pages > 0 {
        let at = map(pages * step * PAGE);
        for page in 0..pages {
            bytes(at + (page * step * PAGE) as u64, 1)[0] = 0xee;
        }
    }
    calls.to_le_bytes().to_vec()
}
