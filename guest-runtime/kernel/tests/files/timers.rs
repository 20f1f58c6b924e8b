//! Timers: when they expire, what is left of them, and what waits for them.

use mayfly_kernel::errno::Errno;
use mayfly_kernel::syscall::call::{Reply, Wait};
use mayfly_kernel::syscall::number as n;

use crate::machine::{BUFFER, Machine, NOWHERE, O_NONBLOCK, Pending};

const MS: u64 = 1_000_000;
const REALTIME_NS: u64 = 1_700_000_000_000_000_000;
const NEW: u64 = BUFFER + 0x100;
const OLD: u64 = BUFFER + 0x200;

fn timer(machine: &mut Machine, clock: u64) -> u64 {
    machine.call(n::TIMERFD_CREATE, &[clock, 0]).expect("a timer")
}

/// Sets a timer; times in nanoseconds.
fn set(machine: &mut Machine, fd: u64, flags: u64, value_ns: u64, interval_ns: u64) -> Result<u64, Errno> {
    let words = [interval_ns, value_ns].map(|ns| [ns / 1_000_000_000, ns % 1_000_000_000]);
    machine.put(NEW, &words.as_flattened().iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
    machine.call(n::TIMERFD_SETTIME, &[fd, flags, NEW, OLD])
}

/// What is left, and the interval.
fn left(machine: &mut Machine, fd: u64) -> (u64, u64) {
    assert_eq!(machine.call(n::TIMERFD_GETTIME, &[fd, NEW]), Ok(0));
    let ns = |at| machine.word(at) * 1_000_000_000 + machine.word(at + 8);
    (ns(NEW + 16), ns(NEW))
}

#[test]
fn a_timer_expires_once_or_again_and_again() {
    let mut machine = Machine::new();
    let fd = timer(&mut machine, 1);
    machine.blocked(n::READ, &[fd, BUFFER, 8], &mut Pending::default());
    assert_eq!(set(&mut machine, fd, 0, 10 * MS, 0), Ok(0));
    let mut pending = Pending::default();
    let wait = machine.blocked(n::READ, &[fd, BUFFER, 8], &mut pending);
    assert_eq!(wait, Wait { until_ns: Some(10 * MS), for_event: false });
    machine.world.now_ns = 4 * MS;
    assert_eq!(left(&mut machine, fd), (6 * MS, 0));
    machine.world.now_ns = 10 * MS;
    assert_eq!(machine.attempt(n::READ, &[fd, BUFFER, 8], &mut pending), Ok(Reply::Value(8)));
    assert_eq!(machine.word(BUFFER), 1);
    assert_eq!(left(&mut machine, fd), (0, 0));
    machine.blocked(n::READ, &[fd, BUFFER, 8], &mut Pending::default());
    // Every 3 ms, the first time after 5: at 15, 18, 21, 24, …
    assert_eq!(set(&mut machine, fd, 0, 5 * MS, 3 * MS), Ok(0));
    machine.world.now_ns = 22 * MS;
    assert_eq!(left(&mut machine, fd), (2 * MS, 3 * MS));
    assert_eq!(machine.read(fd, 8), Ok(3_u64.to_le_bytes().to_vec()));
    machine.world.now_ns = 24 * MS;
    assert_eq!(machine.read(fd, 8), Ok(1_u64.to_le_bytes().to_vec()));
    // Set to nothing it never expires; what it was set to is told.
    assert_eq!(set(&mut machine, fd, 0, 0, MS), Ok(0));
    assert_eq!((machine.word(OLD + 8), machine.word(OLD + 24)), (3 * MS, 3 * MS));
    assert_eq!(machine.blocked(n::READ, &[fd, BUFFER, 8], &mut Pending::default()), Wait::default());
}

#[test]
fn absolute_times_are_times_of_the_timer_s_own_clock() {
    let mut machine = Machine::new();
    machine.world.now_ns = 50 * MS;
    let (day, monotonic) = (timer(&mut machine, 0), timer(&mut machine, 1));
    assert_eq!(set(&mut machine, day, 1, REALTIME_NS + 60 * MS, 0), Ok(0));
    assert_eq!(set(&mut machine, monotonic, 1, 70 * MS, 0), Ok(0));
    assert_eq!((left(&mut machine, day).0, left(&mut machine, monotonic).0), (10 * MS, 20 * MS));
    let until =
        |machine: &mut Machine, fd| machine.blocked(n::READ, &[fd, BUFFER, 8], &mut Pending::default()).until_ns;
    assert_eq!((until(&mut machine, day), until(&mut machine, monotonic)), (Some(60 * MS), Some(70 * MS)));
    // In the past: at once, and as often as that.
    assert_eq!(set(&mut machine, monotonic, 1, 20 * MS, 10 * MS), Ok(0));
    assert_eq!(machine.read(monotonic, 8), Ok(4_u64.to_le_bytes().to_vec()));
    assert_eq!(set(&mut machine, monotonic, 1, 1, 1), Ok(0));
    assert_eq!(machine.read(monotonic, 8), Ok((50 * MS).to_le_bytes().to_vec()));
}

#[test]
fn whatever_waits_for_a_timer_waits_until_it_expires() {
    let mut machine = Machine::new();
    let (early, late) = (timer(&mut machine, 1), timer(&mut machine, 1));
    assert_eq!(set(&mut machine, early, 0, 10 * MS, 0), Ok(0));
    assert_eq!(set(&mut machine, late, 0, 20 * MS, 0), Ok(0));
    let epoll = machine.call(n::EPOLL_CREATE1, &[0]).expect("a set");
    let edge = 1_u32 << 31;
    for fd in [early, late] {
        machine.put(BUFFER, &[&(1 | edge).to_le_bytes()[..], &fd.to_le_bytes()].concat());
        assert_eq!(machine.call(n::EPOLL_CTL, &[epoll, 1, fd, BUFFER]), Ok(0));
    }
    let list = BUFFER + 0x1000;
    machine.put(list, &[&(late as u32).to_le_bytes()[..], &[1, 0, 0, 0]].concat());
    machine.put(list + 8, &[&(epoll as u32).to_le_bytes()[..], &[1, 0, 0, 0]].concat());
    let forever = -1_i64 as u64;
    for (number, arguments, until) in [
        (n::POLL, [list, 1, forever, 0], 20 * MS),
        (n::POLL, [list, 2, forever, 0], 10 * MS),
        (n::POLL, [list, 2, 5, 0], 5 * MS),
        (n::EPOLL_WAIT, [epoll, BUFFER, 8, forever], 10 * MS),
        (n::EPOLL_WAIT, [epoll, BUFFER, 8, 3], 3 * MS),
    ] {
        assert_eq!(machine.blocked(number, &arguments, &mut Pending::default()).until_ns, Some(until));
    }
    machine.world.now_ns = 10 * MS;
    assert_eq!(machine.call(n::POLL, &[list, 2, 0]), Ok(1));
    assert_eq!(machine.call(n::EPOLL_WAIT, &[epoll, BUFFER, 8, 0]), Ok(1));
    assert_eq!(machine.word(BUFFER + 4), early);
    assert_eq!(machine.call(n::EPOLL_WAIT, &[epoll, BUFFER, 8, 0]), Ok(0), "an edge is reported once");
    machine.world.now_ns = 20 * MS;
    assert_eq!(machine.call(n::EPOLL_WAIT, &[epoll, BUFFER, 8, 0]), Ok(1));
    machine.close(early);
    machine.close(late);
    assert_eq!(machine.blocked(n::EPOLL_WAIT, &[epoll, BUFFER, 8, forever], &mut Pending::default()), Wait::default());
}

#[test]
fn what_is_no_timer_or_time_is_refused() {
    let mut machine = Machine::new();
    assert_eq!(machine.call(n::TIMERFD_CREATE, &[2, 0]), Err(Errno::INVAL));
    assert_eq!(machine.call(n::TIMERFD_CREATE, &[1, 1]), Err(Errno::INVAL));
    let fd = machine.call(n::TIMERFD_CREATE, &[1, O_NONBLOCK]).expect("a timer");
    assert_eq!(machine.read(fd, 8), Err(Errno::AGAIN));
    assert_eq!(machine.read(fd, 7), Err(Errno::INVAL));
    assert_eq!(machine.write(fd, &[0; 8]), Err(Errno::INVAL));
    assert_eq!(set(&mut machine, fd, 4, 1, 0), Err(Errno::INVAL));
    assert_eq!(set(&mut machine, 0, 0, 1, 0), Err(Errno::INVAL));
    assert_eq!(set(&mut machine, 99, 0, 1, 0), Err(Errno::BADF));
    assert_eq!(machine.call(n::TIMERFD_SETTIME, &[fd, 0, NOWHERE, 0]), Err(Errno::FAULT));
    assert_eq!(machine.call(n::TIMERFD_GETTIME, &[fd, NOWHERE]), Err(Errno::FAULT));
    machine.put(NEW, &[0_u64, 0, 0, 1_000_000_000].map(u64::to_le_bytes).concat());
    assert_eq!(machine.call(n::TIMERFD_SETTIME, &[fd, 0, NEW, 0]), Err(Errno::INVAL));
    // The longest time that there is does not overflow.
    assert_eq!(set(&mut machine, fd, 0, u64::MAX, u64::MAX), Ok(0));
    machine.world.now_ns = u64::MAX / 4;
    assert_eq!(machine.read(fd, 8), Err(Errno::AGAIN));
}
