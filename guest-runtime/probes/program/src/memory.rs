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
