//! Signals without a machine.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::frame::{Context, SignalFrame};
use super::*;
use crate::errno::Errno;
use crate::frame::{Frame, register};
use crate::threads::{Threads, VectorState, Waiting};
use crate::user::UserMemory;

/// Memory from address 0x1000 on.
struct Memory(Vec<u8>);

const BASE: u64 = 0x1000;

impl Memory {
    fn range(&self, address: u64, bytes: u64) -> Result<core::ops::Range<usize>, Errno> {
        let start = address.checked_sub(BASE).ok_or(Errno::FAULT)?;
        let end = start.checked_add(bytes).filter(|end| *end <= self.0.len() as u64).ok_or(Errno::FAULT)?;
        Ok(start as usize..end as usize)
    }

    fn word(&self, address: u64) -> u64 {
        crate::syscall::call::word_at(self.read(address, 8).unwrap(), 0)
    }
}

impl UserMemory for Memory {
    fn read(&self, address: u64, bytes: u64) -> Result<&[u8], Errno> {
        Ok(&self.0[self.range(address, bytes)?])
    }

    fn write(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], Errno> {
        let range = self.range(address, bytes)?;
        Ok(&mut self.0[range])
    }

    fn string(&self, _: u64, _: u64) -> Result<&[u8], Errno> {
        Err(Errno::FAULT)
    }
}

fn info(signal: u64) -> Info {
    Info::sent(signal, code::USER)
}

#[test]
fn ordinary_signals_are_pending_once_and_the_lowest_is_taken_first() {
    let mut queue = Queue::default();
    for signal in [15, 10, 10, 40, 40] {
        assert!(queue.add(info(signal), Some(1), false));
    }
    assert_eq!(queue.set(1), bit(10) | bit(15) | bit(40));
    assert_eq!(queue.set(2), 0);
    let order: Vec<u64> = core::iter::from_fn(|| queue.take(1, u64::MAX)).map(|info| info.signal).collect();
    assert_eq!(order, [10, 15, 40, 40]);
    assert!(queue.is_empty());
    queue.add(info(10), Some(1), false);
    assert_eq!(queue.take(1, !bit(10)), None, "blocked");
}

#[test]
fn pending_signals_are_limited() {
    let mut queue = Queue::default();
    let added = (0..10_000).take_while(|_| queue.add(info(40), None, true)).count();
    assert_eq!(added, 1024);
    queue.forget(40);
    assert!(queue.is_empty());
}

#[test]
fn a_process_signal_is_passed_on_when_its_thread_blocks_it_or_ends() {
    let mut queue = Queue::default();
    queue.add(info(10), Some(1), true);
    queue.add(info(12), Some(1), false);
    queue.pass_on(1, bit(10) | bit(12), false);
    assert_eq!((queue.set(2), queue.unassigned()), (bit(10), bit(10)), "the thread's own stays its own");
    queue.assign(10, 3);
    assert_eq!((queue.set(2), queue.set(3)), (0, bit(10)));
    queue.pass_on(3, u64::MAX, true);
    queue.pass_on(1, u64::MAX, true);
    assert_eq!((queue.set(1), queue.set(2)), (bit(10), bit(10)), "the dead thread's own is gone");
}

#[test]
fn effects_are_those_of_linux() {
    let mut signals = Signals::default();
    for (signal, effect) in [
        (1, Effect::Ends),
        (number::CHILD, Effect::Ignored),
        (number::STOP, Effect::Ignored),
        (number::KILL, Effect::Ends),
        (64, Effect::Ends),
    ] {
        assert_eq!(signals.effect(signal), effect, "signal {signal}");
    }
    signals.set_action(1, Action { handler: 0x4000, ..Action::default() });
    signals.queue.add(info(1), Some(1), false);
    assert_eq!(signals.effect(1), Effect::Handled);
    signals.set_action(1, Action { handler: 1, ..Action::default() });
    assert!(signals.effect(1) == Effect::Ignored && signals.queue.is_empty(), "ignoring drops what is pending");
}

#[test]
fn a_frame_holds_everything_and_gives_it_back() {
    let mut memory = Memory(vec![0; 0x4000]);
    let mut frame = Frame::starting_at(0x40_0000, 0x3000);
    for (index, register) in frame.registers.iter_mut().enumerate() {
        *register = 0x1000 + index as u64;
    }
    frame.registers[register::RSP] = 0x4800;
    frame.rflags = 0x246;
    let mut vectors = VectorState::clean(7, 832);
    vectors.set_xmm(&[7; 16]);
    let context = Context { error_code: 6, vector: 14, address: 0x1234 };
    let mut saved = SignalFrame::new(&frame, &fault::info(14, 6, frame.rip, 0x1234), 0x5000, context);
    saved.set_mask(0xf0);
    saved.set_stack([0x7000, 0, 0x1000]);
    let address = saved.store(&mut memory, 0x4800 - 128, &vectors).unwrap();
    assert_eq!(address % 16, 8, "as after a call");
    assert_eq!(memory.word(address), 0x5000, "the restorer");
    assert_eq!((memory.word(address + 48), memory.word(address + 176)), (0x1008, 0x40_0000), "r8, rip");
    assert_eq!((memory.word(address + 200), memory.word(address + 208), memory.word(address + 224)), (6, 14, 0x1234));
    assert_eq!((memory.word(address + 312), memory.word(address + 328)), (11, 0x1234), "siginfo");
    let vectors_at = memory.word(address + 232);
    assert!(
        vectors_at.is_multiple_of(64) && vectors_at + 832 + 4 <= 0x4800 - 128,
        "above the frame, below the red zone"
    );
    assert_eq!(memory.read(vectors_at + 832, 4).unwrap(), 0x4650_5845_u32.to_le_bytes());
    let mut handler = frame.clone();
    saved.enter(&mut handler, address, 0x9000);
    assert_eq!((handler.rip, handler.registers[register::RDI]), (0x9000, 11));
    assert_eq!((handler.registers[register::RSI], handler.registers[register::RDX]), (address + 312, address + 8));
    let loaded = SignalFrame::load(&memory, address).unwrap();
    let mut restored = Frame::starting_at(0, 0);
    loaded.restore(&mut restored).unwrap();
    assert_eq!((restored.registers, restored.rip, restored.rflags), (frame.registers, frame.rip, frame.rflags));
    assert_eq!((loaded.mask(), loaded.stack()), (0xf0, Some(Stack { base: 0x7000, bytes: 0x1000, disarms: false })));
    let mut again = VectorState::clean(7, 832);
    loaded.load_vectors(&memory, &mut again).unwrap();
    assert_eq!(again.xmm(), [7; 16]);
}

#[test]
fn no_frame_makes_the_cpu_refuse() {
    let mut memory = Memory(vec![0xff; 0x4000]);
    let saved = SignalFrame::load(&memory, BASE).unwrap();
    assert_eq!(saved.restore(&mut Frame::starting_at(0, 0)), Err(Errno::FAULT), "an address that is not canonical");
    // Vector registers of ones: without the mark only the first sets, with it those that the CPU has, header and MXCSR cleaned.
    for mark in [false, true] {
        if mark {
            memory.write(BASE + 464, 4).unwrap().copy_from_slice(&0x4650_5853_u32.to_le_bytes());
        }
        let mut vectors = VectorState::clean(7, 832);
        vectors.load(memory.read(BASE, 832).unwrap());
        let header = crate::syscall::call::word_at(vectors.bytes(), 512);
        assert_eq!(header, if mark { 7 } else { 3 });
        assert_eq!(vectors.bytes()[24..28], [0xff, 0xff, 0, 0]);
        assert!(vectors.bytes()[520..576].iter().all(|&byte| byte == 0));
    }
    let mut frame = Frame::starting_at(0, 0);
    frame.rflags = u64::MAX;
    let saved = SignalFrame::new(&frame, &info(10), 0, Context::default());
    saved.restore(&mut frame).unwrap();
    assert_eq!(frame.rflags & !0x4_0dd5, mayfly_abi::layout::RFLAGS, "no privileged flag, no NT");
    assert_eq!(saved.clone().store(&mut memory, 0x1100, &VectorState::clean(7, 832)), Err(Errno::FAULT), "no room");
}

#[test]
fn stacks_are_told_as_linux_tells_them() {
    let stack = Stack { base: 0x1000, bytes: 0x1000, disarms: false };
    assert_eq!(stack.to_words(0x1800), [0x1000, 1, 0x1000], "in use");
    assert_eq!(stack.to_words(0x1000), [0x1000, 0, 0x1000], "just below");
    assert_eq!(stack.to_words(0x2000), [0x1000, 1, 0x1000], "its very top");
    assert_eq!(Stack::default().to_words(0x1800), [0, 2, 0]);
    assert_eq!(Stack::from_words([0x1000, 1 << 31, 0x1000]), Some(Stack { disarms: true, ..stack }));
    assert_eq!(Stack::from_words([1, 2, 3]), Some(Stack::default()));
    assert_eq!(Stack::from_words([0, 4, 0]), None);
}

#[test]
fn a_wait_is_interrupted_unless_the_signal_is_blocked() {
    let interrupt = |waiting, mask, until| {
        let mut threads = Threads::new(Frame::starting_at(0, 0));
        threads.current_mut().signal_mask = mask;
        threads.current_mut().call = 0;
        threads.block(waiting, until);
        threads.interrupt(1, bit(10));
        let thread = threads.current();
        (thread.waiting, thread.interrupted.map(|interrupted| interrupted.can_restart))
    };
    assert_eq!(interrupt(Waiting::Signal, bit(10), None), (Waiting::Signal, None));
    assert_eq!(interrupt(Waiting::Io { since: 0 }, 0, None), (Waiting::Nothing, Some(true)));
    assert_eq!(interrupt(Waiting::Io { since: 0 }, 0, Some(5)), (Waiting::Nothing, Some(false)), "a timeout");
    let wanted = Waiting::Signals { wanted: bit(10) };
    assert!(
        matches!(interrupt(wanted, bit(10), None), (Waiting::Io { since: u64::MAX }, None)),
        "it is taken, not handled"
    );
}

#[test]
fn the_first_thread_takes_what_it_does_not_block() {
    let mut threads = Threads::new(Frame::starting_at(0, 0));
    let second = threads.spawn(Frame::starting_at(0, 0), 0).unwrap().id;
    assert_eq!(threads.taker(bit(10)), Some(1));
    threads.current_mut().signal_mask = bit(10);
    assert_eq!(threads.taker(bit(10)), Some(second));
    threads.find_mut(second).unwrap().signal_mask = bit(10);
    assert_eq!(threads.taker(bit(10)), None);
    threads.find_mut(second).unwrap().waiting = Waiting::Signals { wanted: bit(10) };
    assert_eq!(threads.taker(bit(10)), Some(second), "it waits for exactly that");
}
