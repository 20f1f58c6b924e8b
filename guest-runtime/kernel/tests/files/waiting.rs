//! poll, select, epoll: what is ready, and how long to wait for it.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::{Reply, Wait};
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, Machine, NOWHERE, O_CREAT, O_RDWR, Pending};

const LIST: u64 = BUFFER + 0x1_0000;
const IN: u32 = 1;
const OUT: u32 = 4;
const ERROR: u32 = 8;
const HANGUP: u32 = 16;
const INVALID: u32 = 32;
const MS: u64 = 1_000_000;

fn pipe(machine: &mut Machine) -> (u64, u64) {
    assert_eq!(machine.call(n::PIPE, &[BUFFER]), Ok(0));
    (u64::from(machine.half(BUFFER)), u64::from(machine.half(BUFFER + 4)))
}

fn put_poll(machine: &mut Machine, list: &[(u64, u32)]) {
    for (index, (fd, events)) in list.iter().enumerate() {
        let entry = [&(*fd as u32).to_le_bytes()[..], &(*events as u16).to_le_bytes(), &[0xff; 2]].concat();
        machine.put(LIST + 8 * index as u64, &entry);
    }
}

fn polled(machine: &Machine, index: u64) -> u32 {
    machine.half(LIST + 8 * index + 4) >> 16
}

#[test]
fn poll_tells_what_can_be_done() {
    let mut machine = Machine::new();
    let (read, write) = pipe(&mut machine);
    let file = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    put_poll(&mut machine, &[(read, IN), (write, IN | OUT), (file, IN | OUT), (99, IN), (u64::MAX, IN), (1, OUT)]);
    assert_eq!(machine.call(n::POLL, &[LIST, 6, 1000]), Ok(4));
    let bits: Vec<_> = (0..6).map(|index| polled(&machine, index)).collect();
    assert_eq!(bits, [0, OUT, IN | OUT, INVALID, 0, OUT]);
    assert_eq!(machine.write(write, b"x"), Ok(1));
    put_poll(&mut machine, &[(read, IN | OUT)]);
    assert_eq!(machine.call(n::POLL, &[LIST, 1, 0]), Ok(1));
    assert_eq!(polled(&machine, 0), IN);
    machine.close(write);
    assert_eq!(machine.call(n::POLL, &[LIST, 1, 0]), Ok(1));
    assert_eq!(polled(&machine, 0), IN | HANGUP);
    let (read, write) = pipe(&mut machine);
    machine.close(read);
    put_poll(&mut machine, &[(write, 0)]);
    assert_eq!(machine.call(n::POLL, &[LIST, 1, 0]), Ok(1));
    assert_eq!(polled(&machine, 0), ERROR);
    assert_eq!(machine.call(n::POLL, &[LIST, 1025, 0]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::POLL, &[LIST, u64::MAX, 0]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::POLL, &[NOWHERE, 1, 0]), Err(Errno::FAULT));
}

#[test]
fn a_timeout_counts_from_the_first_try() {
    let mut machine = Machine::new();
    machine.world.now_ns = 5 * MS;
    let (read, write) = pipe(&mut machine);
    put_poll(&mut machine, &[(read, IN)]);
    let mut pending = Pending::default();
    let expected = Wait { until_ns: Some(15 * MS), for_event: false };
    for now in [5, 9, 14] {
        machine.world.now_ns = now * MS;
        assert_eq!(machine.blocked(n::POLL, &[LIST, 1, 10], &mut pending), expected);
    }
    machine.world.now_ns = 15 * MS;
    assert_eq!(machine.attempt(n::POLL, &[LIST, 1, 10], &mut pending), Ok(Reply::Value(0)));
    // A negative timeout never ends, zero is over at once, and something that happened ends any.
    let forever = -1_i64 as u64;
    assert_eq!(machine.blocked(n::POLL, &[LIST, 1, forever], &mut Pending::default()), Wait::default());
    assert_eq!(machine.call(n::POLL, &[LIST, 1, 0]), Ok(0));
    let mut pending = Pending::default();
    machine.blocked(n::POLL, &[LIST, 1, forever], &mut pending);
    assert_eq!(machine.write(write, b"x"), Ok(1));
    assert_eq!(machine.attempt(n::POLL, &[LIST, 1, forever], &mut pending), Ok(Reply::Value(1)));
    // The longest timeouts do not overflow.
    let times = BUFFER + 0x100;
    machine.put(times, &[i64::MAX as u64, 999_999_999].map(u64::to_le_bytes).concat());
    let wait = machine.blocked(n::PPOLL, &[LIST, 0, times, 0, 8], &mut Pending::default());
    assert_eq!(wait.until_ns, Some(u64::MAX));
    machine.put(times, &[0, 1_000_000_000].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::PPOLL, &[LIST, 0, times, 0, 8]), Err(Errno::INVAL));
    machine.put(times, &[u64::MAX, 0].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::PPOLL, &[LIST, 0, times, 0, 8]), Err(Errno::INVAL));
}

#[test]
fn waiting_for_the_event_device_says_so() {
    let mut machine = Machine::new();
    let device = machine.open("/dev/mayfly", O_RDWR).expect("the device");
    put_poll(&mut machine, &[(device, IN)]);
    let forever = -1_i64 as u64;
    let mut pending = Pending::default();
    assert!(machine.blocked(n::POLL, &[LIST, 1, forever], &mut pending).for_event);
    let epoll = machine.call(n::EPOLL_CREATE1, &[0]).expect("a set");
    add(&mut machine, epoll, device, IN | EDGE, 1);
    assert!(machine.blocked(n::EPOLL_WAIT, &[epoll, BUFFER, 8, forever], &mut Pending::default()).for_event);
    machine.world.events.extend(b"event");
    assert_eq!(machine.attempt(n::POLL, &[LIST, 1, forever], &mut pending), Ok(Reply::Value(1)));
    assert_eq!(events(&mut machine, epoll, 8), [(IN, 1)]);
    machine.world.events.clear();
    assert_eq!(events(&mut machine, epoll, 8), []);
    machine.world.events.extend(b"next");
    assert_eq!(events(&mut machine, epoll, 8), [(IN, 1)], "the next event is another edge");
}

#[test]
fn select_takes_and_gives_sets() {
    let mut machine = Machine::new();
    let (read, write) = pipe(&mut machine);
    let (reads, writes) = (LIST, LIST + 128);
    let set = |fd: u64| (1_u64 << fd).to_le_bytes();
    let put = |machine: &mut Machine| {
        machine.put(reads, &set(read));
        machine.put(writes, &set(write));
    };
    put(&mut machine);
    assert_eq!(machine.call(n::SELECT, &[write + 1, reads, writes, 0, 0]), Ok(1));
    assert_eq!((machine.word(reads), machine.word(writes)), (0, 1 << write));
    put(&mut machine);
    let mut pending = Pending::default();
    machine.blocked(n::SELECT, &[write + 1, reads, 0, 0, 0], &mut pending);
    assert_eq!(machine.word(reads), 1 << read, "sets stay as they are until the call returns");
    assert_eq!(machine.write(write, b"x"), Ok(1));
    assert_eq!(machine.attempt(n::SELECT, &[write + 1, reads, writes, 0, 0], &mut pending), Ok(Reply::Value(2)));
    let times = BUFFER + 0x100;
    machine.put(times, &[0_u64, 0].map(u64::to_le_bytes).concat());
    machine.put(reads, &set(40));
    assert_eq!(machine.call(n::PSELECT6, &[41, reads, 0, 0, times, 0]), Err(Errno::BADF));
    assert_eq!(machine.call(n::PSELECT6, &[0, 0, 0, 0, times, 0]), Ok(0));
    assert_eq!(machine.call(n::SELECT, &[-1_i64 as u64, 0, 0, 0, times]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::SELECT, &[1024, NOWHERE, 0, 0, times]), Err(Errno::FAULT));
    // Numbers beyond the table are passed over, as on Linux.
    machine.put(reads, &[0; 128]);
    assert_eq!(machine.call(n::SELECT, &[0x7fff_ffff, reads, 0, 0, times]), Ok(0));
}

const ADD: u64 = 1;
const DELETE: u64 = 2;
const MODIFY: u64 = 3;
const EDGE: u32 = 1 << 31;
const ONE_SHOT: u32 = 1 << 30;

fn change(machine: &mut Machine, epoll: u64, operation: u64, fd: u64, events: u32, data: u64) -> Result<u64, Errno> {
    machine.put(BUFFER, &[&events.to_le_bytes()[..], &data.to_le_bytes()].concat());
    machine.call(n::EPOLL_CTL, &[epoll, operation, fd, BUFFER])
}

fn add(machine: &mut Machine, epoll: u64, fd: u64, events: u32, data: u64) {
    assert_eq!(change(machine, epoll, ADD, fd, events, data), Ok(0));
}

fn events(machine: &mut Machine, epoll: u64, max: u64) -> Vec<(u32, u64)> {
    let count = machine.call(n::EPOLL_WAIT, &[epoll, LIST, max, 0]).expect("events");
    (0..count).map(|index| (machine.half(LIST + 12 * index), machine.word(LIST + 12 * index + 4))).collect()
}

#[test]
fn epoll_reports_states_edges_and_once() {
    let mut machine = Machine::new();
    let epoll = machine.call(n::EPOLL_CREATE1, &[0]).expect("a set");
    let (level, level_write) = pipe(&mut machine);
    let (edge, edge_write) = pipe(&mut machine);
    let (once, once_write) = pipe(&mut machine);
    add(&mut machine, epoll, level, IN, 1);
    add(&mut machine, epoll, edge, IN | EDGE, 2);
    add(&mut machine, epoll, once, IN | ONE_SHOT, u64::MAX);
    assert_eq!(events(&mut machine, epoll, 8), []);
    for fd in [level_write, edge_write, once_write] {
        assert_eq!(machine.write(fd, b"ab"), Ok(2));
    }
    assert_eq!(events(&mut machine, epoll, 8), [(IN, 1), (IN, 2), (IN, u64::MAX)]);
    assert_eq!(events(&mut machine, epoll, 8), [(IN, 1)]);
    for fd in [edge_write, once_write] {
        assert_eq!(machine.write(fd, b"c"), Ok(1));
    }
    assert_eq!(events(&mut machine, epoll, 8), [(IN, 2), (IN, 1)]);
    assert_eq!(change(&mut machine, epoll, MODIFY, once, IN | ONE_SHOT, 3), Ok(0));
    assert_eq!(machine.read(level, 9).map(|bytes| bytes.len()), Ok(2));
    assert_eq!(events(&mut machine, epoll, 8), [(IN, 3)]);
    machine.close(once_write);
    assert_eq!(events(&mut machine, epoll, 8), [], "spent: not even a hang-up is reported");
    machine.close(level_write);
    assert_eq!(events(&mut machine, epoll, 8), [(HANGUP, 1)]);
}

#[test]
fn no_busy_descriptor_starves_the_others() {
    let mut machine = Machine::new();
    let epoll = machine.call(n::EPOLL_CREATE1, &[0]).expect("a set");
    for data in 0..10 {
        let fd = machine.call(n::EVENTFD2, &[1, 0]).expect("a counter");
        add(&mut machine, epoll, fd, IN, data);
    }
    let mut seen: Vec<u64> = (0..5).flat_map(|_| events(&mut machine, epoll, 2)).map(|(_, data)| data).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_set_follows_what_is_closed_and_refuses_what_it_cannot_watch() {
    let mut machine = Machine::new();
    let epoll = machine.call(n::EPOLL_CREATE1, &[0]).expect("a set");
    let fd = machine.call(n::EVENTFD2, &[1, 0]).expect("a counter");
    let file = machine.open("/tmp/f", O_CREAT | O_RDWR).expect("a new file");
    add(&mut machine, epoll, fd, IN, 1);
    for (operation, fd, error) in [
        (ADD, fd, Errno::EXIST),
        (ADD, file, Errno::PERM),
        (ADD, epoll, Errno::INVAL),
        (ADD, 999, Errno::BADF),
        (MODIFY, 1, Errno::NOENT),
        (DELETE, 1, Errno::NOENT),
        (4, fd, Errno::INVAL),
    ] {
        assert_eq!(change(&mut machine, epoll, operation, fd, IN, 0), Err(error), "{operation} {fd}");
    }
    let other = machine.call(n::EPOLL_CREATE1, &[0]).expect("a set");
    assert_eq!(change(&mut machine, epoll, ADD, other, IN, 0), Err(Errno::LOOP));
    assert_eq!(machine.call(n::EPOLL_CTL, &[epoll, ADD, 1, NOWHERE]), Err(Errno::FAULT));
    assert_eq!(machine.call(n::EPOLL_CTL, &[file, DELETE, fd, 0]), Err(Errno::INVAL));
    for (max, error) in [(0, Errno::INVAL), (-1_i64 as u64, Errno::INVAL)] {
        assert_eq!(machine.call(n::EPOLL_WAIT, &[epoll, LIST, max, 0]), Err(error));
    }
    assert_eq!(machine.call(n::EPOLL_WAIT, &[epoll, NOWHERE, 1, 0]), Err(Errno::FAULT));
    assert_eq!(events(&mut machine, epoll, 0x7fff_ffff), [(IN, 1)], "a bad pointer lost nothing");
    // A number that is used again is another descriptor.
    machine.close(fd);
    assert_eq!(machine.call(n::EVENTFD2, &[1, 0]), Ok(fd));
    assert_eq!(events(&mut machine, epoll, 8), []);
    add(&mut machine, epoll, fd, IN, 2);
    assert_eq!(change(&mut machine, epoll, DELETE, fd, 0, 0), Ok(0));
    assert_eq!(events(&mut machine, epoll, 8), []);
    put_poll(&mut machine, &[(epoll, IN)]);
    assert_eq!(machine.call(n::POLL, &[LIST, 1, 0]), Ok(0));
    add(&mut machine, epoll, fd, IN, 3);
    put_poll(&mut machine, &[(epoll, IN)]);
    assert_eq!(machine.call(n::POLL, &[LIST, 1, 0]), Ok(1));
}
