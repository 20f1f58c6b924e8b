//! Descriptors: their numbers, flags, and what is shared.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::number as n;

use crate::machine::{
    BUFFER, Machine, NOWHERE, O_APPEND, O_CLOEXEC, O_CREAT, O_EXCL, O_NONBLOCK, O_RDWR, O_TRUNC, O_WRONLY,
};

const F_DUPFD: u64 = 0;
const F_GETFD: u64 = 1;
const F_SETFD: u64 = 2;
const F_GETFL: u64 = 3;
const F_SETFL: u64 = 4;
const F_GETLK: u64 = 5;
const F_SETLK: u64 = 6;
const F_DUPFD_CLOEXEC: u64 = 1030;

#[test]
fn numbers_are_the_lowest_that_are_free() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", b"");
    for expected in 3..8 {
        assert_eq!(machine.open("/tmp/f", 0), Ok(expected));
    }
    machine.close(5);
    machine.close(4);
    assert_eq!(machine.call(n::DUP, &[0]), Ok(4));
    assert_eq!(machine.open("/tmp/f", 0), Ok(5));
    assert_eq!(machine.call(n::FCNTL, &[0, F_DUPFD, 100]), Ok(100));
    assert_eq!(machine.call(n::FCNTL, &[0, F_DUPFD, 100]), Ok(101));
    assert_eq!(machine.call(n::FCNTL, &[0, F_DUPFD, 1024]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::FCNTL, &[0, F_DUPFD, u64::MAX]), Err(Errno::INVAL));
    machine.close(0);
    assert_eq!(machine.open("/tmp/f", 0), Ok(0));
}

#[test]
fn the_table_has_an_end_and_nothing_is_left_behind_there() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", b"");
    let mut last = 0;
    loop {
        match machine.open("/tmp/f", 0) {
            Ok(fd) => last = fd,
            Err(error) => break assert_eq!(error, Errno::MFILE),
        }
    }
    assert_eq!(last, 1023);
    for (number, arguments) in [
        (n::DUP, vec![0]),
        (n::PIPE, vec![BUFFER]),
        (n::EVENTFD2, vec![0, 0]),
        (n::EPOLL_CREATE1, vec![0]),
        (n::SOCKET, vec![2, 1, 0]),
        (n::SOCKETPAIR, vec![1, 1, 0, BUFFER]),
        (n::FCNTL, vec![0, F_DUPFD, 1000]),
    ] {
        assert_eq!(machine.call(number, &arguments), Err(Errno::MFILE), "{number}");
    }
    assert_eq!(machine.open("/tmp/new", O_CREAT | O_WRONLY), Err(Errno::MFILE));
    assert_eq!(machine.status("/tmp/new"), Err(Errno::NOENT), "a full table must leave no file behind");
    machine.close(500);
    // One number is free: not enough for two.
    assert_eq!(machine.call(n::PIPE, &[BUFFER]), Err(Errno::MFILE));
    assert_eq!(machine.call(n::DUP, &[0]), Ok(500));
    assert_eq!(machine.call(n::CLOSE_RANGE, &[3, u64::from(u32::MAX), 0]), Ok(0));
    assert_eq!(machine.open("/tmp/f", 0), Ok(3));
}

#[test]
fn bad_numbers_are_bad_everywhere() {
    let mut machine = Machine::new();
    for fd in [3, 1023, 1024, 0x7fff_ffff, 0xffff_ffff, u64::MAX] {
        for (number, rest) in [
            (n::READ, vec![BUFFER, 1]),
            (n::WRITE, vec![BUFFER, 1]),
            (n::WRITE, vec![BUFFER, 0]),
            (n::READV, vec![BUFFER, 0]),
            (n::LSEEK, vec![0, 0]),
            (n::FSTAT, vec![BUFFER]),
            (n::DUP, vec![]),
            (n::DUP2, vec![fd]),
            (n::FCNTL, vec![F_GETFL]),
            (n::FCNTL, vec![12345]),
            (n::IOCTL, vec![0x5401, BUFFER]),
            (n::GETDENTS64, vec![BUFFER, 100]),
            (n::FTRUNCATE, vec![0]),
            (n::FSYNC, vec![]),
            (n::CLOSE, vec![]),
            (n::FCHDIR, vec![]),
            (n::EPOLL_WAIT, vec![BUFFER, 1, 0]),
            (n::SENDTO, vec![BUFFER, 1, 0, 0, 0]),
            (n::FLOCK, vec![2]),
        ] {
            let arguments = [&[fd][..], &rest].concat();
            assert_eq!(machine.call(number, &arguments), Err(Errno::BADF), "{number} of {fd}");
        }
    }
    assert_eq!(machine.call(n::DUP2, &[0, 1024]), Err(Errno::BADF));
    assert_eq!(machine.call(n::DUP3, &[0, 0, 0]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::CLOSE_RANGE, &[4, 3, 0]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::CLOSE_RANGE, &[0, 1, 8]), Err(Errno::INVAL));
}

#[test]
fn duplicates_share_the_offset_but_not_the_flag() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", b"abcdef");
    let fd = machine.open("/tmp/f", O_CLOEXEC).expect("a file");
    let copy = machine.call(n::DUP, &[fd]).expect("a duplicate");
    assert_eq!(machine.read(fd, 2).as_deref(), Ok(&b"ab"[..]));
    assert_eq!(machine.read(copy, 2).as_deref(), Ok(&b"cd"[..]));
    assert_eq!(machine.call(n::FCNTL, &[fd, F_GETFD]), Ok(1));
    assert_eq!(machine.call(n::FCNTL, &[copy, F_GETFD]), Ok(0));
    assert_eq!(machine.call(n::FCNTL, &[copy, F_SETFD, 1]), Ok(0));
    assert_eq!(machine.call(n::FCNTL, &[copy, F_GETFD]), Ok(1));
    let third = machine.call(n::FCNTL, &[fd, F_DUPFD_CLOEXEC, 0]).expect("a duplicate");
    assert_eq!(machine.call(n::FCNTL, &[third, F_GETFD]), Ok(1));
    machine.close(fd);
    assert_eq!(machine.read(copy, 9).as_deref(), Ok(&b"ef"[..]));
    // A second open shares nothing.
    let other = machine.open("/tmp/f", 0).expect("a file");
    assert_eq!(machine.read(other, 1).as_deref(), Ok(&b"a"[..]));
    // Putting one over another closes that.
    assert_eq!(machine.call(n::DUP2, &[other, third]), Ok(third));
    assert_eq!(machine.read(third, 1).as_deref(), Ok(&b"b"[..]));
    assert_eq!(machine.call(n::DUP3, &[other, copy, O_CLOEXEC]), Ok(copy));
    assert_eq!(machine.call(n::FCNTL, &[copy, F_GETFD]), Ok(1));
    assert_eq!(machine.call(n::CLOSE_RANGE, &[0, 2000, 4]), Ok(0));
    assert_eq!(machine.call(n::FCNTL, &[other, F_GETFD]), Ok(1));
}

#[test]
fn status_flags_are_shown_and_set() {
    let mut machine = Machine::new();
    let fd = machine.open("/tmp/f", O_CREAT | O_EXCL | O_TRUNC | O_RDWR | O_NONBLOCK | O_CLOEXEC).expect("a new file");
    let large = 0o100_000;
    assert_eq!(machine.call(n::FCNTL, &[fd, F_GETFL]), Ok(large | O_RDWR | O_NONBLOCK));
    // The access mode cannot be changed.
    assert_eq!(machine.call(n::FCNTL, &[fd, F_SETFL, O_APPEND | O_WRONLY | O_CREAT]), Ok(0));
    assert_eq!(machine.call(n::FCNTL, &[fd, F_GETFL]), Ok(large | O_RDWR | O_APPEND));
    machine.put(BUFFER, &1_u32.to_le_bytes());
    assert_eq!(machine.call(n::IOCTL, &[fd, 0x5421, BUFFER]), Ok(0));
    assert_eq!(machine.call(n::FCNTL, &[fd, F_GETFL]), Ok(large | O_RDWR | O_APPEND | O_NONBLOCK));
    assert_eq!(machine.call(n::FCNTL, &[1, F_GETFL]), Ok(large | O_WRONLY));
}

#[test]
fn locks_are_always_free() {
    const F_OFD_GETLK: u64 = 36;
    const F_OFD_SETLK: u64 = 37;
    let mut machine = Machine::new();
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    let (read_only, write_only) =
        (machine.open("/tmp/f", 0).expect("a file"), machine.open("/tmp/f", O_WRONLY).expect("a file"));
    // struct flock: type, whence, start, length, owner.
    let lock = |kind: u16, whence: u16, start: i64, length: i64, owner: u32| {
        let words = [&kind.to_le_bytes()[..], &whence.to_le_bytes(), &[0; 4], &start.to_le_bytes()].concat();
        [&words[..], &length.to_le_bytes(), &owner.to_le_bytes(), &[0; 4]].concat()
    };
    for (fd, command, lock, expected) in [
        (fd, F_SETLK, lock(1, 0, 0, 0, 0), Ok(0)),
        (fd, F_GETLK, lock(1, 0, 0, 0, 0), Ok(0)),
        (fd, F_SETLK, lock(2, 1, -5, 0, 7), Ok(0)),
        (fd, F_OFD_SETLK, lock(0, 2, 0, -1, 0), Ok(0)),
        (fd, F_OFD_GETLK, lock(0, 0, 9, 9, 0), Ok(0)),
        (read_only, F_SETLK, lock(0, 0, 0, 1, 0), Ok(0)),
        (read_only, F_SETLK, lock(1, 0, 0, 1, 0), Err(Errno::BADF)),
        (write_only, F_SETLK, lock(0, 0, 0, 1, 0), Err(Errno::BADF)),
        (fd, F_SETLK, lock(3, 0, 0, 1, 0), Err(Errno::INVAL)),
        (fd, F_GETLK, lock(2, 0, 0, 1, 0), Err(Errno::INVAL)),
        (fd, F_SETLK, lock(0, 3, 0, 1, 0), Err(Errno::INVAL)),
        (fd, F_SETLK, lock(0, 0, -1, 1, 0), Err(Errno::INVAL)),
        (fd, F_SETLK, lock(0, 0, 1, -2, 0), Err(Errno::INVAL)),
        (fd, F_OFD_SETLK, lock(0, 0, 0, 1, 1), Err(Errno::INVAL)),
        (99, F_SETLK, lock(0, 0, 0, 1, 0), Err(Errno::BADF)),
    ] {
        machine.put(BUFFER, &lock);
        assert_eq!(machine.call(n::FCNTL, &[fd, command, BUFFER]), expected, "{command} {lock:?}");
        if expected.is_ok() && [F_GETLK, F_OFD_GETLK].contains(&command) {
            assert_eq!(machine.get(BUFFER, 2), [2, 0], "nobody holds a lock");
        }
    }
    assert_eq!(machine.call(n::FCNTL, &[fd, F_GETLK, NOWHERE]), Err(Errno::FAULT));
    for (operation, expected) in
        [(1, Ok(0)), (2, Ok(0)), (2 | 4, Ok(0)), (8, Ok(0)), (0, Err(Errno::INVAL)), (3, Err(Errno::INVAL))]
    {
        assert_eq!(machine.call(n::FLOCK, &[fd, operation]), expected, "{operation}");
    }
}

#[test]
fn standard_descriptors_are_no_terminal() {
    let mut machine = Machine::new();
    for fd in 0..3 {
        assert_eq!(machine.call(n::IOCTL, &[fd, 0x5401, BUFFER]), Err(Errno::NOTTY));
        assert_eq!(machine.call(n::FSTAT, &[fd, BUFFER]), Ok(0));
        assert_eq!(machine.half(BUFFER + 24) & 0o170_000, 0o020_000);
    }
    assert_eq!(machine.read(0, 10), Ok(vec![]));
    assert_eq!(machine.write(0, b"x"), Err(Errno::BADF));
    assert_eq!(machine.read(1, 1), Err(Errno::BADF));
    assert_eq!(machine.write(1, b"out "), Ok(4));
    assert_eq!(machine.write(2, b"err\n"), Ok(4));
    assert_eq!(machine.world.log, b"out err\n");
    assert_eq!(machine.call(n::LSEEK, &[1, 0, 1]), Err(Errno::SPIPE));
    machine.create("/dev/stdout", b"by path");
    assert_eq!(machine.world.log, b"out err\nby path");
}
