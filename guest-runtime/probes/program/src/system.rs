//! System calls as they are, without the C library between.

use std::arch::asm;

/// Makes a call; the result is the kernel's, errors as negative numbers.
pub fn call(number: i64, arguments: &[u64]) -> i64 {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let result;
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") argument(0), in("rsi") argument(1), in("rdx") argument(2),
            in("r10") argument(3), in("r8") argument(4), in("r9") argument(5),
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// Maps anonymous memory; panics if there is none.
pub fn map(bytes: usize) -> u64 {
    map_at(0, bytes, 0).unwrap_or_else(|errno| panic!("mmap of {bytes} bytes: errno {errno}"))
}

/// Maps anonymous memory at or near an address.
pub fn map_at(address: u64, bytes: usize, flags: i32) -> Result<u64, i32> {
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags) as u64;
    let result = call(libc::SYS_mmap, &[address, bytes as u64, 3, flags, u64::MAX, 0]);
    if result < 0 { Err(-result as i32) } else { Ok(result as u64) }
}

/// Gives memory back.
pub fn unmap(address: u64, bytes: usize) {
    assert_eq!(call(libc::SYS_munmap, &[address, bytes as u64]), 0, "munmap");
}

/// Memory that this program has mapped.
pub fn bytes(address: u64, bytes: usize) -> &'static mut [u8] {
    unsafe { std::slice::from_raw_parts_mut(address as *mut u8, bytes) }
}

/// Whether all of it is zero.
pub fn is_zero(address: u64, length: usize) -> bool {
    bytes(address, length).iter().all(|&byte| byte == 0)
}

/// The error number of a failed operation.
pub fn errno<T>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(-1),
    }
}
