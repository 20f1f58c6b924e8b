//! System calls with arguments that no C library passes.

use mayfly_abi::layout::{
    GDT, IMAGES, KERNEL_DATA, KERNEL_STACK, KERNEL_TEXT, MAILBOX, MAIN_STACK, MEMORY_MIN_BYTES, PAGE_TABLES,
};

use crate::Probe;
use crate::system::{call, map};

pub const PROBES: &[(&str, Probe)] = &[
    ("call-unknown", Probe::Each(unknown)),
    ("call-pointers", Probe::Each(pointers)),
    ("call-lengths", Probe::Each(lengths)),
    ("call-storm", Probe::Each(storm)),
];

const ENOSYS: i64 = -(libc::ENOSYS as i64);
const EFAULT: i64 = -(libc::EFAULT as i64);

fn unknown(_: &[u8]) -> Vec<u8> {
    let numbers =
        [libc::SYS_userfaultfd, libc::SYS_io_uring_setup, libc::SYS_ptrace, libc::SYS_bpf, 511, 100_000, -1, i64::MIN];
    for number in numbers.into_iter().chain(numbers) {
        assert_eq!(call(number, &[]), ENOSYS, "system call {number}");
    }
    b"ok".to_vec()
}

/// The last word of memory: what is smaller than 16 bytes fits there, and a string may end there.
const END: [u64; 1] = [MEMORY_MIN_BYTES - 8];

/// Addresses of which 16 bytes cannot be written; most cannot be read either.
fn bad_addresses() -> Vec<u64> {
    vec![
        0,
        1,
        0xfff,
        PAGE_TABLES,
        GDT,
        0x1f_fff8,
        KERNEL_TEXT,
        KERNEL_DATA,
        KERNEL_STACK.base,
        MAIN_STACK.base - 8,
        MEMORY_MIN_BYTES - 8,
        MEMORY_MIN_BYTES,
        MAILBOX,
        MAILBOX - 8,
        IMAGES,
        IMAGES + 4096,
        1 << 46,
        1 << 47,
        (1 << 47) - 8,
        0xffff_8000_0000_0000,
        u64::MAX - 7,
        u64::MAX - 15,
        u64::MAX,
    ]
}

fn pointers(_: &[u8]) -> Vec<u8> {
    let good = map(4096);
    let path = c"/var/task".as_ptr() as u64;
    let large = call(libc::SYS_open, &[c"/var/task/large".as_ptr() as u64, 0, 0]) as u64;
    let directory = call(libc::SYS_open, &[path, 0, 0]) as u64;
    let zero = call(libc::SYS_open, &[c"/dev/zero".as_ptr() as u64, 0, 0]) as u64;
    for bad in bad_addresses() {
        let writes: &[(&str, i64, &[u64])] = &[
            ("read of a file", libc::SYS_read, &[large, bad, 16]),
            ("pread64", libc::SYS_pread64, &[large, bad, 16, 0]),
            ("read of /dev/zero", libc::SYS_read, &[zero, bad, 16]),
            ("getrandom", libc::SYS_getrandom, &[bad, 16, 0]),
            ("clock_gettime", libc::SYS_clock_gettime, &[0, bad]),
            ("gettimeofday", libc::SYS_gettimeofday, &[bad, 0]),
            ("uname", libc::SYS_uname, &[bad]),
            ("getcwd", libc::SYS_getcwd, &[bad, 100]),
            ("stat", libc::SYS_stat, &[path, bad]),
            ("fstat", libc::SYS_fstat, &[large, bad]),
            ("statx", libc::SYS_statx, &[large, c"".as_ptr() as u64, 0x1000, 0xfff, bad]),
            ("statfs", libc::SYS_statfs, &[path, bad]),
            ("readlink", libc::SYS_readlink, &[c"/var/task/link".as_ptr() as u64, bad, 16]),
            ("getdents64", libc::SYS_getdents64, &[directory, bad, 256]),
            ("sysinfo", libc::SYS_sysinfo, &[bad]),
            ("prlimit64", libc::SYS_prlimit64, &[0, 7, 0, bad]),
            ("getrusage", libc::SYS_getrusage, &[0, bad]),
            ("sched_getaffinity", libc::SYS_sched_getaffinity, &[0, 8, bad]),
            ("arch_prctl", libc::SYS_arch_prctl, &[0x1003, bad]),
        ];
        for (name, number, arguments) in writes {
            // `8` of the end fit, so smaller structures may be written at addresses near an end.
            let fits_8 = ["sched_getaffinity", "arch_prctl", "getcwd"].contains(name) && END.contains(&bad);
            let null_is_good = bad == 0 && ["gettimeofday", "prlimit64", "getrusage"].contains(name);
            if !fits_8 && !null_is_good {
                assert_eq!(call(*number, arguments), EFAULT, "{name} to {bad:#x}");
            }
        }
        let pipe = call(libc::SYS_pipe2, &[bad, 0]);
        let fits = END.contains(&bad);
        assert!(pipe == EFAULT || fits && pipe == 0, "pipe2 to {bad:#x}: {pipe}");
        // Readable are also images and, since the kernel trusts its program, the kernel's constants.
        let readable = [KERNEL_TEXT, IMAGES, IMAGES + 4096].contains(&bad);
        let reads: &[(&str, i64, &[u64])] = &[
            ("open", libc::SYS_open, &[bad, 0, 0]),
            ("write", libc::SYS_write, &[zero, bad, 16]),
            ("readv", libc::SYS_readv, &[large, bad, 1]),
            ("writev", libc::SYS_writev, &[zero, bad, 1]),
            ("nanosleep", libc::SYS_nanosleep, &[bad, 0]),
            ("poll", libc::SYS_poll, &[bad, 2, 0]),
            ("futex", libc::SYS_futex, &[bad & !3, 0, 1, 0]),
            ("rename", libc::SYS_rename, &[bad, bad]),
            ("chdir", libc::SYS_chdir, &[bad]),
        ];
        for (name, number, arguments) in reads {
            if readable && name == &"nanosleep" {
                continue; // for as long as the bytes there say
            }
            let result = call(*number, arguments);
            let small = name == &"futex" && END.contains(&(bad & !3));
            // The first word may be refused for itself.
            let text = END.contains(&bad) && ["open", "rename", "chdir", "nanosleep"].contains(name);
            assert!(readable || small || text || result == EFAULT, "{name} from {bad:#x}: {result}");
        }
        let vector = unsafe { std::slice::from_raw_parts_mut(good as *mut u64, 2) };
        vector.copy_from_slice(&[bad, 16]);
        assert_eq!(call(libc::SYS_readv, &[zero, good, 1]), EFAULT, "readv to {bad:#x}");
    }
    b"ok".to_vec()
}

fn lengths(_: &[u8]) -> Vec<u8> {
    let good = map(4096);
    let large = call(libc::SYS_open, &[c"/var/task/large".as_ptr() as u64, 0, 0]) as u64;
    let zero = call(libc::SYS_open, &[c"/dev/zero".as_ptr() as u64, 2, 0]) as u64;
    for length in [u64::MAX, u64::MAX - good, 1 << 63, 1 << 40, 1 << 32] {
        for (name, number, arguments) in [
            ("read", libc::SYS_read, vec![zero, good, length]),
            ("write", libc::SYS_write, vec![zero, good, length]),
            ("write to the log", libc::SYS_write, vec![1, good, length]),
            ("getrandom", libc::SYS_getrandom, vec![good.wrapping_add(4090), length, 0]),
            ("pread64", libc::SYS_pread64, vec![large, good, length, 0]),
            ("pread64 far away", libc::SYS_pread64, vec![large, good, 16, length]),
            ("readv", libc::SYS_readv, vec![zero, good, length]),
            ("writev", libc::SYS_writev, vec![zero, good, length]),
            ("poll", libc::SYS_poll, vec![good, length, 0]),
            ("getdents64", libc::SYS_getdents64, vec![large, good, length]),
            ("lseek", libc::SYS_lseek, vec![large, length, 1]),
            ("ftruncate", libc::SYS_ftruncate, vec![large, length]),
            ("mmap", libc::SYS_mmap, vec![0, length, 3, 0x22, u64::MAX, 0]),
            ("mmap of a file", libc::SYS_mmap, vec![0, length, 1, 2, large, 0]),
            ("mmap at an offset", libc::SYS_mmap, vec![0, 4096, 1, 2, large, length & !0xfff]),
            ("munmap", libc::SYS_munmap, vec![1 << 40, length]),
            ("mprotect", libc::SYS_mprotect, vec![good, length, 3]),
            ("mremap", libc::SYS_mremap, vec![good, 4096, length, 1]),
            ("mremap from", libc::SYS_mremap, vec![good, length, 4096, 1]),
            ("madvise", libc::SYS_madvise, vec![good, length, 4]),
            ("brk", libc::SYS_brk, vec![length]),
            ("nanosleep", libc::SYS_clock_nanosleep, vec![length, 0, good, 0]),
            ("setsockopt", libc::SYS_setsockopt, vec![zero, 1, 1, good, length]),
        ] {
            // It must come back; with what, depends on the call.
            let result = call(number, &arguments);
            assert!(result >= -4095, "{name} with {length:#x}: {result}");
        }
    }
    // The kernel still works, and so does the program's memory.
    assert_eq!(call(libc::SYS_getpid, &[]), 1);
    assert!(std::fs::read("/var/task/large").expect("read").len() == 300_000);
    b"ok".to_vec()
}

/// Every number with garbage arguments, many times over: whatever they do, the kernel must survive or end the program in an orderly way.
fn storm(payload: &[u8]) -> Vec<u8> {
    // These end or stop the program, as they should.
    let skipped = [
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_tgkill,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_futex,
        libc::SYS_pause,
        libc::SYS_rt_sigreturn,
        libc::SYS_arch_prctl,
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_poll,
        libc::SYS_ppoll,
        libc::SYS_select,
        libc::SYS_pselect6,
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_rt_sigaction,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_dup2,
        libc::SYS_dup3,
        libc::SYS_vfork,
        libc::SYS_fork,
        // Reading from what these make would wait for ever.
        libc::SYS_pipe,
        libc::SYS_pipe2,
        libc::SYS_eventfd,
        libc::SYS_eventfd2,
        libc::SYS_socketpair,
    ];
    let scratch = map(1 << 20);
    let mut state = crate::word(payload) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let interesting = bad_addresses();
    for _ in 0..6000 {
        let number = (next() % 463) as i64;
        if skipped.contains(&number) {
            continue;
        }
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = match next() % 6 {
                0 => scratch + next() % (1 << 20),
                1 => scratch + (next() % 250) * 4096,
                2 => interesting[next() as usize % interesting.len()],
                3 => next() % 64,
                4 => next(),
                _ => 0,
            };
        }
        // Descriptor 3 is the event device: a `read` of it would wait for an event.
        if arguments[0] as u32 == 3
            || [libc::SYS_sendfile, libc::SYS_splice, libc::SYS_copy_file_range, libc::SYS_tee].contains(&number)
        {
            continue;
        }
        call(number, &arguments);
    }
    assert_eq!(call(libc::SYS_getpid, &[]), 1);
    b"ok".to_vec()
}
