//! Pipes and counters.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::Reply;
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, Machine, NOWHERE, O_NONBLOCK, Pending};

const PIPE_BYTES: u64 = 64 << 10;

fn pair(machine: &mut Machine, number: u64, arguments: &[u64]) -> (u64, u64) {
    assert_eq!(machine.call(number, arguments), Ok(0));
    (u64::from(machine.half(BUFFER)), u64::from(machine.half(BUFFER + 4)))
}

fn pipe(machine: &mut Machine, flags: u64) -> (u64, u64) {
    pair(machine, n::PIPE2, &[BUFFER, flags])
}

#[test]
fn a_pipe_carries_bytes_until_its_writer_is_gone() {
    let mut machine = Machine::new();
    let (read, write) = pipe(&mut machine, 0);
    machine.blocked(n::READ, &[read, BUFFER, 1], &mut Pending::default());
    assert_eq!(machine.write(write, b"hello"), Ok(5));
    machine.put(BUFFER, &[0; 4]);
    assert_eq!(machine.call(n::IOCTL, &[read, 0x541b, BUFFER]), Ok(0));
    assert_eq!(machine.half(BUFFER), 5);
    assert_eq!(machine.read(read, 3).as_deref(), Ok(&b"hel"[..]));
    assert_eq!(machine.read(write, 1), Err(Errno::BADF));
    assert_eq!(machine.write(read, b"x"), Err(Errno::BADF));
    assert_eq!(machine.call(n::LSEEK, &[read, 0, 0]), Err(Errno::SPIPE));
    assert_eq!(machine.call(n::PREAD64, &[read, BUFFER, 1, 0]), Err(Errno::SPIPE));
    let other = machine.call(n::DUP, &[write]).expect("a duplicate");
    machine.close(write);
    assert_eq!(machine.read(read, 9).as_deref(), Ok(&b"lo"[..]));
    machine.blocked(n::READ, &[read, BUFFER, 1], &mut Pending::default());
    let before = machine.files.changes();
    machine.close(other);
    assert!(machine.files.changes() > before, "a blocked reader must be tried again");
    assert_eq!(machine.read(read, 1), Ok(vec![]));
    let (read, write) = pipe(&mut machine, O_NONBLOCK);
    assert_eq!(machine.read(read, 1), Err(Errno::AGAIN));
    machine.close(read);
    assert_eq!(machine.write(write, b"x"), Err(Errno::PIPE));
    assert_eq!(machine.call(n::PIPE2, &[BUFFER, 1]), Err(Errno::INVAL));
    let free = machine.call(n::DUP, &[0]).expect("a number");
    machine.close(free);
    assert_eq!(machine.call(n::PIPE, &[NOWHERE]), Err(Errno::FAULT));
    assert_eq!(machine.call(n::DUP, &[0]), Ok(free), "a pipe nobody heard of must not stay open");
}

#[test]
fn a_full_pipe_waits_and_forgets_nothing() {
    let mut machine = Machine::new();
    let (read, write) = pipe(&mut machine, 0);
    let total = 3 * PIPE_BYTES + 100;
    let content: Vec<u8> = (0..total).map(|at| (at % 251) as u8).collect();
    let source = BUFFER + (1 << 20);
    machine.put(source, &content);
    let mut pending = Pending::default();
    let mut seen = Vec::new();
    loop {
        match machine.attempt(n::WRITE, &[write, source, total], &mut pending) {
            Ok(Reply::Value(count)) => break assert_eq!(count, total, "all of it, however often it waited"),
            Ok(Reply::Block(wait)) => assert_eq!(wait, Default::default()),
            Err(error) => panic!("{error:?}"),
        }
        seen.extend(machine.read(read, 50_000).expect("bytes"));
    }
    while seen.len() < content.len() {
        seen.extend(machine.read(read, 1 << 20).expect("bytes"));
    }
    assert!(seen == content);
    // The reader goes away half-way: what went in is reported, then the pipe is broken.
    let mut pending = Pending::default();
    machine.blocked(n::WRITE, &[write, source, total], &mut pending);
    machine.close(read);
    assert_eq!(machine.attempt(n::WRITE, &[write, source, total], &mut pending), Ok(Reply::Value(PIPE_BYTES)));
    assert_eq!(machine.write(write, b"x"), Err(Errno::PIPE));
}

#[test]
fn short_writes_into_a_pipe_are_whole_or_not_at_all() {
    let mut machine = Machine::new();
    let (read, write) = pipe(&mut machine, O_NONBLOCK);
    let source = BUFFER + (1 << 20);
    assert_eq!(machine.call(n::WRITE, &[write, source, PIPE_BYTES - 100]), Ok(PIPE_BYTES - 100));
    assert_eq!(machine.call(n::WRITE, &[write, source, 101]), Err(Errno::AGAIN));
    assert_eq!(machine.call(n::WRITE, &[write, source, 4096]), Err(Errno::AGAIN));
    assert_eq!(machine.call(n::WRITE, &[write, source, 4097]), Ok(100));
    assert_eq!(machine.call(n::WRITE, &[write, source, 0]), Ok(0));
    assert_eq!(machine.read(read, 1 << 20).map(|bytes| bytes.len() as u64), Ok(PIPE_BYTES));
}

#[test]
fn counters_count() {
    let mut machine = Machine::new();
    let fd = machine.call(n::EVENTFD2, &[3, 0]).expect("a counter");
    assert_eq!(machine.read(fd, 8), Ok(3_u64.to_le_bytes().to_vec()));
    machine.blocked(n::READ, &[fd, BUFFER, 8], &mut Pending::default());
    for (value, expected) in [(u64::MAX, Err(Errno::INVAL)), (u64::MAX - 2, Ok(8)), (1, Ok(8))] {
        assert_eq!(machine.write(fd, &value.to_le_bytes()), expected);
    }
    machine.put(BUFFER, &1_u64.to_le_bytes());
    machine.blocked(n::WRITE, &[fd, BUFFER, 8], &mut Pending::default());
    assert_eq!(machine.read(fd, 100), Ok((u64::MAX - 1).to_le_bytes().to_vec()));
    assert_eq!(machine.read(fd, 7), Err(Errno::INVAL));
    assert_eq!(machine.write(fd, &[1; 7]), Err(Errno::INVAL));
    // Sixteen bytes are still one addition.
    assert_eq!(machine.write(fd, &[[1, 0, 0, 0, 0, 0, 0, 0], [5; 8]].concat()), Ok(8));
    assert_eq!(machine.read(fd, 8), Ok(1_u64.to_le_bytes().to_vec()));
    let fd = machine.call(n::EVENTFD2, &[2, 1 | O_NONBLOCK]).expect("a semaphore");
    for _ in 0..2 {
        assert_eq!(machine.read(fd, 8), Ok(1_u64.to_le_bytes().to_vec()));
    }
    assert_eq!(machine.read(fd, 8), Err(Errno::AGAIN));
    assert_eq!(machine.call(n::EVENTFD2, &[0, 2]), Err(Errno::INVAL));
}

#[test]
fn a_pipe_can_be_made_larger_and_smaller() {
    const SET: u64 = 1031;
    const GET: u64 = 1032;
    let mut machine = Machine::new();
    let (read, write) = pipe(&mut machine, O_NONBLOCK);
    assert_eq!(machine.call(n::FCNTL, &[write, GET, 0]), Ok(PIPE_BYTES));
    for (wanted, expected) in [
        (1, Ok(4096)),
        (5000, Ok(8192)),
        (1 << 20, Ok(1 << 20)),
        ((1 << 20) + 1, Err(Errno::PERM)),
        (u64::from(u32::MAX), Err(Errno::PERM)),
    ] {
        assert_eq!(machine.call(n::FCNTL, &[read, SET, wanted]), expected, "{wanted}");
    }
    let source = BUFFER + (1 << 20);
    assert_eq!(machine.call(n::WRITE, &[write, source, 2 << 20]), Ok(1 << 20));
    assert_eq!(machine.call(n::FCNTL, &[write, SET, 1 << 19]), Err(Errno::BUSY));
    assert_eq!(machine.call(n::FCNTL, &[0, GET, 0]), Err(Errno::BADF));
}

#[test]
fn a_write_that_nobody_reads_raises_a_signal_unless_told_not_to() {
    use mayfly_kernel::syscall::dispatch::raises_pipe_signal;
    let quiet = 0x4000;
    for (number, arguments, error, expected) in [
        (n::WRITE, [0; 6], Errno::PIPE, true),
        (n::WRITEV, [0; 6], Errno::PIPE, true),
        (n::WRITE, [0; 6], Errno::AGAIN, false),
        (n::READ, [0; 6], Errno::PIPE, false),
        (n::SENDTO, [0; 6], Errno::PIPE, true),
        (n::SENDTO, [0, 0, 0, quiet, 0, 0], Errno::PIPE, false),
        (n::SENDMSG, [0, 0, quiet, 0, 0, 0], Errno::PIPE, false),
        (n::SENDMSG, [0, 0, 0, quiet, 0, 0], Errno::PIPE, true),
    ] {
        assert_eq!(raises_pipe_signal(number, &arguments, error), expected, "{number} {arguments:?}");
    }
}
