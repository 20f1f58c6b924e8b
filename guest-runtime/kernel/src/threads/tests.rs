//! Threads without a machine.

use super::*;

fn threads(count: u32) -> Threads {
    let mut threads = Threads::new(Frame::starting_at(0, 0));
    for _ in 1..count {
        threads.spawn(Frame::starting_at(0, 0), 0).unwrap();
    }
    threads
}

#[test]
fn turns_go_round() {
    let mut threads = threads(3);
    let order: Vec<_> = (0..4)
        .map(|_| {
            let Next::Resume(index) = threads.next() else { panic!("all can run") };
            threads.run(index);
            index
        })
        .collect();
    assert_eq!(order, [1, 2, 0, 1]);
}

#[test]
fn a_futex_wakes_only_its_waiters() {
    let mut threads = threads(2);
    threads.block(Waiting::Futex { address: 8, bits: 1 }, None);
    assert_eq!(threads.wake(16, 1, ANY_BITS), 0);
    assert_eq!(threads.wake(8, 1, 2), 0);
    assert_eq!(threads.wake(8, 1, 3), 1);
    assert_eq!(threads.runnable(), 2);
}

#[test]
fn a_wait_ends_in_a_timeout() {
    let mut threads = threads(1);
    threads.block(Waiting::Futex { address: 8, bits: 1 }, Some(100));
    assert_eq!(threads.next(), Next::Sleep(100));
    threads.expire(99);
    assert_eq!(threads.next(), Next::Sleep(100));
    threads.expire(100);
    assert_eq!(threads.next(), Next::Resume(0));
    assert_eq!(threads.current().frame.registers[register::RAX] as i64, -110);
}

#[test]
fn a_blocked_call_is_made_again_when_something_happened() {
    let mut threads = threads(1);
    let waiting = threads.io();
    threads.block(waiting, None);
    assert_eq!(threads.next(), Next::Sleep(u64::MAX));
    threads.happened();
    assert_eq!(threads.next(), Next::Retry(0));
}

#[test]
fn too_many_threads_are_refused() {
    let mut threads = threads(THREADS_MAX as u32);
    assert_eq!(threads.spawn(Frame::starting_at(0, 0), 0).err(), Some(Errno::AGAIN));
}
