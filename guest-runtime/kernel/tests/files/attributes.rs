//! What is kept of a file besides its content.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, CWD, Machine, O_RDWR};

#[test]
fn attributes_are_kept() {
    let mut machine = Machine::new();
    assert_eq!(machine.call(n::UMASK, &[0o077]), Ok(0o022));
    machine.create("/tmp/f", b"");
    assert_eq!(machine.status("/tmp/f").map(|status| status.0), Ok(0o100_600));
    assert_eq!(machine.on(n::CHMOD, "/tmp/f", &[0o4755]), Ok(0));
    assert_eq!(machine.on(n::CHOWN, "/tmp/f", &[1000, u64::from(u32::MAX)]), Ok(0));
    assert_eq!(machine.status("/tmp/f").map(|status| status.0), Ok(0o104_755));
    assert_eq!((machine.half(BUFFER + 28), machine.half(BUFFER + 32)), (1000, 0));
    let omit = 0x3fff_fffe_u64;
    machine.put(BUFFER, &[5_u64, 6, 7, omit].map(u64::to_le_bytes).concat());
    let path = machine.text("/tmp/f");
    assert_eq!(machine.call(n::UTIMENSAT, &[CWD, path, BUFFER, 0]), Ok(0));
    assert!(machine.status("/tmp/f").is_ok());
    assert_eq!((machine.word(BUFFER + 72), machine.word(BUFFER + 80)), (5, 6));
    assert_eq!(machine.word(BUFFER + 88), 1_700_000_000);
    machine.put(BUFFER, &[5_u64, 1_000_000_000, 7, omit].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::UTIMENSAT, &[CWD, path, BUFFER, 0]), Err(Errno::INVAL));
    assert_eq!(machine.on(n::UTIMES, "/tmp/f", &[BUFFER]), Err(Errno::INVAL));
    assert_eq!(machine.on(n::UTIMES, "/tmp/f", &[0]), Ok(0));
}

#[test]
fn reading_after_a_change_is_noted_and_then_no_more() {
    let mut machine = Machine::new();
    let times = |machine: &mut Machine| {
        assert!(machine.status("/tmp/f").is_ok());
        [72, 88, 104].map(|at| machine.word(BUFFER + at) * 1_000_000_000 + machine.word(BUFFER + at + 8) - START_NS)
    };
    const START_NS: u64 = 1_700_000_000_000_000_000;
    machine.world.now_ns = 10;
    machine.create("/tmp/f", b"content");
    assert_eq!(times(&mut machine), [10, 10, 10]);
    machine.world.now_ns = 20;
    let fd = machine.open("/tmp/f", O_RDWR).expect("a file");
    assert_eq!(times(&mut machine), [10, 10, 10], "opening is not reading");
    for (now, expected) in [(30, 30), (40, 30)] {
        machine.world.now_ns = now;
        assert_eq!(machine.call(n::PREAD64, &[fd, BUFFER, 1, 0]), Ok(1));
        assert_eq!(times(&mut machine), [expected, 10, 10]);
    }
    machine.world.now_ns = 50;
    assert_eq!(machine.write(fd, b"new"), Ok(3));
    assert_eq!(times(&mut machine), [30, 50, 50]);
    let quiet = machine.open("/tmp/f", 0o1_000_000).expect("a file");
    machine.world.now_ns = 60;
    assert_eq!(machine.read(quiet, 1).map(|bytes| bytes.len()), Ok(1));
    assert_eq!(times(&mut machine), [30, 50, 50], "O_NOATIME");
    assert_eq!(machine.read(fd, 1).map(|bytes| bytes.len()), Ok(1));
    assert_eq!(times(&mut machine), [60, 50, 50]);
}

#[test]
fn times_reach_from_long_ago_to_far_ahead() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", b"");
    let path = machine.text("/tmp/f");
    for (seconds, nanoseconds) in [(-1, 999_999_999), (i64::MIN, 0), (i64::MAX, 1), (5_000_000_000, 5)] {
        machine.put(BUFFER, &[seconds, nanoseconds, 0, 0].map(i64::to_le_bytes).concat());
        assert_eq!(machine.call(n::UTIMENSAT, &[CWD, path, BUFFER, 0]), Ok(0));
        assert!(machine.status("/tmp/f").is_ok());
        assert_eq!((machine.word(BUFFER + 72) as i64, machine.word(BUFFER + 80) as i64), (seconds, nanoseconds));
    }
}

#[test]
fn no_file_has_extended_attributes() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", b"");
    assert_eq!(machine.on_two(n::SYMLINK, "none", "/tmp/link"), Ok(0));
    let fd = machine.open("/tmp/f", O_RDWR).expect("a file");
    let not_supported = Err(Errno(95));
    for number in [n::GETXATTR, n::SETXATTR, n::REMOVEXATTR] {
        assert_eq!(machine.on(number, "/tmp/f", &[BUFFER, BUFFER, 0, 0]), not_supported);
        assert_eq!(machine.on(number, "/tmp/link", &[BUFFER, BUFFER, 0, 0]), Err(Errno::NOENT));
    }
    for number in [n::LGETXATTR, n::LSETXATTR, n::LREMOVEXATTR] {
        assert_eq!(machine.on(number, "/tmp/link", &[BUFFER, BUFFER, 0, 0]), not_supported);
    }
    for number in [n::FGETXATTR, n::FSETXATTR, n::FREMOVEXATTR] {
        assert_eq!(machine.call(number, &[fd, BUFFER, BUFFER, 0, 0]), not_supported);
        assert_eq!(machine.call(number, &[99, BUFFER, BUFFER, 0, 0]), Err(Errno::BADF));
    }
    assert_eq!(machine.on(n::LISTXATTR, "/tmp/f", &[BUFFER, 10]), Ok(0));
    assert_eq!(machine.on(n::LISTXATTR, "/tmp/none", &[BUFFER, 10]), Err(Errno::NOENT));
    assert_eq!(machine.on(n::LLISTXATTR, "/tmp/link", &[BUFFER, 10]), Ok(0));
    assert_eq!(machine.call(n::FLISTXATTR, &[fd, BUFFER, 10]), Ok(0));
}
