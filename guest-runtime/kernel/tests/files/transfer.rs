//! Reading and writing: devices, lists of buffers, offsets, copies; and claims on memory that are lies.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::{Reply, Wait};
use mayfly_kernel::syscall::number as n;

use crate::machine::{BASE, BUFFER, BYTES, Machine, NOWHERE, O_CREAT, O_NONBLOCK, O_RDWR, O_WRONLY, Pending};

/// Puts a list of buffers at `at`.
fn segments(machine: &mut Machine, at: u64, list: &[(u64, u64)]) {
    for (index, (address, bytes)) in list.iter().enumerate() {
        machine.put(at + 16 * index as u64, &[address.to_le_bytes(), bytes.to_le_bytes()].concat());
    }
}

#[test]
fn devices_do_what_their_names_say() {
    let mut machine = Machine::new();
    for (path, read) in [("/dev/null", vec![]), ("/dev/zero", vec![0; 8])] {
        let fd = machine.open(path, O_RDWR).expect("a device");
        machine.put(BUFFER, &[1; 8]);
        assert_eq!(machine.read(fd, 8), Ok(read), "{path}");
        assert_eq!(machine.write(fd, b"abc"), Ok(3), "{path}");
    }
    let fd = machine.open("/dev/full", O_RDWR).expect("a device");
    assert_eq!(machine.read(fd, 3), Ok(vec![0; 3]));
    assert_eq!(machine.write(fd, b"abc"), Err(Errno::NOSPC));
    assert_eq!(machine.open("/dev/tty", O_RDWR), Err(Errno::NXIO));
    assert_eq!(machine.open("/dev/ptmx", O_RDWR), Err(Errno::NOENT));
    let fd = machine.open("/dev/stdin", 0).expect("what descriptor 0 is");
    assert_eq!(machine.read(fd, 3), Ok(vec![]));
    let fd = machine.open("/dev/urandom", 0).expect("a device");
    let (one, two) = (machine.read(fd, 32).expect("bytes"), machine.read(fd, 32).expect("bytes"));
    assert_eq!((one.len(), two.len()), (32, 32));
    assert_ne!(one, two);
    assert_eq!(machine.status("/dev/null").map(|status| status.0), Ok(0o020_666));
    assert_eq!(machine.word(BUFFER + 40), 0x103);
    assert_eq!(machine.open("/dev/null", O_WRONLY | 0o1000 | O_CREAT).map(drop), Ok(()));
}

#[test]
fn the_event_device_waits_for_events() {
    let mut machine = Machine::new();
    let fd = machine.open("/dev/mayfly", O_RDWR).expect("the device");
    let mut pending = Pending::default();
    let wait = machine.blocked(n::READ, &[fd, BUFFER, 100], &mut pending);
    assert_eq!(wait, Wait { until_ns: None, for_event: true });
    machine.world.events.extend(b"an event");
    assert_eq!(machine.attempt(n::READ, &[fd, BUFFER, 3], &mut pending), Ok(Reply::Value(3)));
    assert_eq!(machine.get(BUFFER, 3), b"an ");
    assert_eq!(machine.read(fd, 100).as_deref(), Ok(&b"event"[..]));
    assert_eq!(machine.write(fd, b"an answer"), Ok(9));
    assert_eq!(machine.world.answer, b"an answer");
    assert_eq!(machine.call(n::READ, &[fd, BUFFER, 0]), Ok(0), "no bytes wanted: nothing to wait for");
    assert_eq!(machine.call(n::PREAD64, &[fd, BUFFER, 1, 0]), Err(Errno::SPIPE));
    let fd = machine.open("/dev/mayfly", O_RDWR | O_NONBLOCK).expect("the device");
    assert_eq!(machine.read(fd, 1), Err(Errno::AGAIN));
}

#[test]
fn claims_on_memory_are_checked() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", &[1; 100]);
    let file = machine.open("/tmp/f", O_RDWR).expect("a file");
    let zero = machine.open("/dev/zero", 0).expect("a device");
    for (number, fd, address, bytes, expected) in [
        (n::READ, file, NOWHERE, 1, Err(Errno::FAULT)),
        (n::READ, file, 0, 1, Err(Errno::FAULT)),
        (n::READ, file, u64::MAX, 1, Err(Errno::FAULT)),
        (n::READ, file, BASE + BYTES - 50, 100, Err(Errno::FAULT)),
        // Only what the file has must fit.
        (n::READ, file, BASE + BYTES - 100, u64::MAX, Ok(100)),
        (n::READ, file, NOWHERE, 0, Ok(0)),
        (n::READ, zero, BUFFER, u64::MAX, Err(Errno::FAULT)),
        (n::READ, zero, BUFFER, BYTES, Ok(BYTES)),
        (n::WRITE, 1, NOWHERE, 1, Err(Errno::FAULT)),
        (n::WRITE, 1, BUFFER, u64::MAX, Err(Errno::FAULT)),
        (n::WRITE, 1, u64::MAX - 3, 100, Err(Errno::FAULT)),
        (n::WRITE, 1, NOWHERE, 0, Ok(0)),
        (n::WRITE, file, BASE + BYTES - 1, 2, Err(Errno::FAULT)),
    ] {
        machine.call(n::LSEEK, &[file, 0, 0]).expect("a file");
        assert_eq!(machine.call(number, &[fd, address, bytes]), expected, "{number} {address:x} {bytes}");
    }
    assert_eq!(machine.world.log, b"");
}

#[test]
fn offsets_do_not_overflow() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", b"0123456789");
    let fd = machine.open("/tmp/f", O_RDWR).expect("a file");
    let (min, max) = (i64::MIN as u64, i64::MAX as u64);
    for (offset, whence, expected) in [
        (4, 0, Ok(4)),
        (2, 1, Ok(6)),
        (-7_i64 as u64, 1, Err(Errno::INVAL)),
        (-2_i64 as u64, 2, Ok(8)),
        (max, 0, Err(Errno::INVAL)),
        (max, 1, Err(Errno::INVAL)),
        (max, 2, Err(Errno::INVAL)),
        (min, 0, Err(Errno::INVAL)),
        (min, 1, Err(Errno::INVAL)),
        (min, 2, Err(Errno::INVAL)),
        (1 << 43, 0, Ok(1 << 43)),
        (1, 1, Err(Errno::INVAL)),
        (0, 5, Err(Errno::INVAL)),
        (0, u64::MAX, Err(Errno::INVAL)),
        (5, 3, Ok(5)),
        (5, 4, Ok(10)),
        (10, 3, Err(Errno::NXIO)),
        (0, 2, Ok(10)),
    ] {
        assert_eq!(machine.call(n::LSEEK, &[fd, offset, whence]), expected, "{offset} {whence}");
    }
    assert_eq!(machine.read(fd, 5), Ok(vec![]));
    for (number, offset, expected) in [
        (n::PREAD64, u64::MAX, Err(Errno::INVAL)),
        (n::PREAD64, min, Err(Errno::INVAL)),
        (n::PREAD64, max, Ok(0)),
        (n::PREAD64, 8, Ok(2)),
        (n::PWRITE64, u64::MAX, Err(Errno::INVAL)),
        (n::PWRITE64, max, Err(Errno::FBIG)),
        (n::PWRITE64, (1 << 43) - 1, Ok(1)),
        (n::PWRITE64, 1 << 43, Err(Errno::FBIG)),
    ] {
        assert_eq!(machine.call(number, &[fd, BUFFER, 4, offset]), expected, "{number} {offset}");
    }
}

#[test]
fn lists_of_buffers_are_gone_through_in_order() {
    let mut machine = Machine::new();
    let fd = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    let (list, data) = (BUFFER, BUFFER + 0x1_0000);
    machine.put(data, b"abcdefghij");
    segments(&mut machine, list, &[(data, 3), (NOWHERE, 0), (data + 5, 5), (data + 3, 2)]);
    assert_eq!(machine.call(n::WRITEV, &[fd, list, 4]), Ok(10));
    assert_eq!(machine.content("/tmp/f").as_deref(), Ok(&b"abcfghijde"[..]));
    segments(&mut machine, list, &[(data + 100, 4), (data + 200, 100)]);
    assert_eq!(machine.call(n::PREADV, &[fd, list, 2, 1]), Ok(9));
    assert_eq!((machine.get(data + 100, 4), machine.get(data + 200, 5)), (b"bcfg".to_vec(), b"hijde".to_vec()));
    assert_eq!(
        machine.call(n::PREADV2, &[fd, list, 2, u64::MAX, 0, 0]),
        Ok(0),
        "at the end, where the file's own offset is"
    );
    assert_eq!(machine.call(n::PREADV2, &[fd, list, 2, 0, 0, 8]), Err(Errno(95)));
    assert_eq!(machine.call(n::WRITEV, &[fd, list, 0]), Ok(0));
    // More of them than are kept without allocating.
    let many: Vec<(u64, u64)> = (0..1024).map(|index| (data + index % 10, 1)).collect();
    segments(&mut machine, list, &many);
    assert_eq!(machine.call(n::PWRITEV, &[fd, list, 1024, 0]), Ok(1024));
    let content = machine.content("/tmp/f").expect("a file");
    assert!(content.iter().enumerate().all(|(at, byte)| *byte == b'a' + (at % 10) as u8));
    assert_eq!(machine.call(n::WRITEV, &[fd, list, 1025]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::WRITEV, &[fd, NOWHERE, 1]), Err(Errno::FAULT));
    assert_eq!(machine.call(n::WRITEV, &[fd, list, u64::MAX]), Err(Errno::INVAL));
}

#[test]
fn lying_lists_of_buffers_do_no_harm() {
    let mut machine = Machine::new();
    machine.create("/tmp/f", &[0x41; 4096]);
    let fd = machine.open("/tmp/f", O_RDWR).expect("a file");
    let (list, data) = (BUFFER, BUFFER + 0x1_0000);
    segments(&mut machine, list, &[(data, u64::MAX)]);
    assert_eq!(machine.call(n::READV, &[fd, list, 1]), Err(Errno::INVAL));
    segments(&mut machine, list, &[(data, i64::MAX as u64), (data, i64::MAX as u64)]);
    assert_eq!(machine.call(n::READV, &[fd, list, 2]), Ok(4096));
    // The first buffer lies over the list: the second is still the one that was asked for.
    machine.call(n::LSEEK, &[fd, 0, 0]).expect("a file");
    segments(&mut machine, list, &[(list, 32), (data, 8)]);
    machine.put(data, &[0; 8]);
    assert_eq!(machine.call(n::READV, &[fd, list, 2]), Ok(40));
    assert_eq!(machine.get(data, 8), [0x41; 8]);
    // Buffers over each other: the later one counts.
    machine.put(BUFFER, b"0123456789");
    machine.call(n::PWRITE64, &[fd, BUFFER, 10, 0]).expect("a file");
    segments(&mut machine, list, &[(data, 4), (data + 2, 4)]);
    assert_eq!(machine.call(n::PREADV, &[fd, list, 2, 0]), Ok(8));
    assert_eq!(machine.get(data, 6), b"014567");
    // What was done before the lie is reported.
    segments(&mut machine, list, &[(data, 4), (NOWHERE, 4)]);
    assert_eq!(machine.call(n::PREADV, &[fd, list, 2, 0]), Ok(4));
    assert_eq!(machine.call(n::PWRITEV, &[fd, list, 2, 0]), Ok(4));
    segments(&mut machine, list, &[(NOWHERE, 4), (data, 4)]);
    assert_eq!(machine.call(n::PREADV, &[fd, list, 2, 0]), Err(Errno::FAULT));
    assert_eq!(machine.call(n::PWRITEV, &[fd, list, 2, 0]), Err(Errno::FAULT));
}

#[test]
fn copies_go_from_file_to_file() {
    let mut machine = Machine::new();
    let content: Vec<u8> = (0..10_000_u32).map(|at| at as u8).collect();
    machine.create("/tmp/from", &content);
    let from = machine.open("/tmp/from", O_RDWR).expect("a file");
    let to = machine.open("/tmp/to", O_CREAT | O_RDWR).expect("a new file");
    assert_eq!(machine.call(n::SENDFILE, &[to, from, 0, 6_000]), Ok(6_000));
    assert_eq!(machine.call(n::SENDFILE, &[to, from, 0, u64::MAX]), Ok(4_000));
    assert_eq!(machine.content("/tmp/to").as_deref(), Ok(&content[..]));
    machine.put(BUFFER, &9_990_u64.to_le_bytes());
    assert_eq!(machine.call(n::SENDFILE, &[1, from, BUFFER, 100]), Ok(10));
    assert_eq!((machine.world.log.len(), machine.word(BUFFER)), (10, 10_000));
    machine.put(BUFFER, &[0_u64, 500].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::COPY_FILE_RANGE, &[from, BUFFER, to, BUFFER + 8, 100, 0]), Ok(100));
    assert_eq!((machine.word(BUFFER), machine.word(BUFFER + 8)), (100, 600));
    assert_eq!(machine.content("/tmp/to").map(|to| to[500..600] == content[..100]), Ok(true));
    let zero = machine.open("/dev/zero", 0).expect("a device");
    for (arguments, error) in [
        (vec![to, zero, 0, 100], Errno::INVAL),
        (vec![from, 1, 0, 100], Errno::BADF),
        (vec![to, from, NOWHERE, 100], Errno::FAULT),
        (vec![0, from, 0, 100], Errno::BADF),
    ] {
        assert_eq!(machine.call(n::SENDFILE, &arguments), Err(error), "{arguments:?}");
    }
    machine.put(BUFFER, &[0_u64, 500].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::COPY_FILE_RANGE, &[to, BUFFER, to, BUFFER + 8, 501, 0]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::COPY_FILE_RANGE, &[to, BUFFER, to, BUFFER + 8, 500, 0]), Ok(500));
}
