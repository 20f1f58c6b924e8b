//! What the rest of the kernel sees of the host: log, events, clocks, randomness, and facts about memory.

use mayfly_abi::mailbox::RECORD_MAX_BYTES;
use mayfly_kernel::errno::Errno;
use mayfly_kernel::files::environment::{Clock, Events, Log, Mapping, Memory, MemoryFacts, Random};
use mayfly_kernel::memory::protection;
use mayfly_kernel::system::System;

use super::{entry, heap, hypercall, mailbox};

/// The event device.
#[derive(Debug, Default)]
pub(crate) struct Device {
    /// Bytes of the event that the program has read.
    read_bytes: usize,
    /// Bytes of the answer that the program has written.
    answer_bytes: usize,
    /// System calls answered.
    pub(crate) system_calls: u64,
    /// Whether the host's constant words changed: there may be other images.
    pub(crate) is_new_generation: bool,
}

impl Device {
    /// Hands over the answer and waits for the next event. What is before this call and what is after it may be in different
    /// processes, hours apart, with only memory in common.
    pub(crate) fn next(&mut self, system: &mut System) {
        let words = mailbox::guest();
        words.answer_bytes = self.answer_bytes as u64;
        words.seeded_generation = system.random.generation();
        report_memory(system);
        words.system_calls = self.system_calls;
        // SAFETY: the entry point saves and restores everything that the compiler relies on.
        unsafe { entry::next_event() };
        self.answer_bytes = 0;
        self.read_bytes = 0;
        let host = mailbox::host();
        system.clock.rebase(host);
        if system.random.reseed(host.generation, host.seed) {
            system.space.grow_memory(host.memory_bytes);
            self.is_new_generation = true;
        }
        mailbox::guest().seeded_generation = system.random.generation();
        system.space.forget_peak();
    }
}

/// Tells the host how much memory the program has had.
pub(crate) fn report_memory(system: &System) {
    let words = mailbox::guest();
    words.memory_peak_bytes = system.space.peak_bytes();
    words.memory_refused = u64::from(system.space.refused());
    words.copied_bytes = system.space.copied_bytes;
}

/// All of it, for one system call.
pub(crate) struct Host<'a> {
    pub(crate) device: &'a mut Device,
    pub(crate) system: &'a mut System,
}

impl Log for Host<'_> {
    fn append(&mut self, bytes: &[u8]) {
        append_log(bytes);
    }
}

/// Adds to the log area; a full one is emptied by the host.
pub(crate) fn append_log(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let area = mailbox::log();
        let at = (mailbox::guest().log_bytes as usize).min(area.len());
        if at == area.len() {
            hypercall::flush_log();
            continue;
        }
        let (part, rest) = bytes.split_at(bytes.len().min(area.len() - at));
        area[at..at + part.len()].copy_from_slice(part);
        mailbox::guest().log_bytes = (at + part.len()) as u64;
        bytes = rest;
    }
}

impl Random for Host<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.system.random.fill(bytes);
    }
}

impl Events for Host<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Errno> {
        if into.is_empty() {
            return Ok(Some(0));
        }
        while self.device.read_bytes >= mailbox::event().len() {
            let start = self.monotonic_ns();
            self.device.next(self.system);
            let idle = self.monotonic_ns().saturating_sub(start);
            self.system.idle_ns = self.system.idle_ns.saturating_add(idle);
            self.system.turn_ns = self.system.turn_ns.saturating_add(idle);
        }
        let left = &mailbox::event()[self.device.read_bytes..];
        let bytes = left.len().min(into.len());
        into[..bytes].copy_from_slice(&left[..bytes]);
        self.device.read_bytes += bytes;
        Ok(Some(bytes))
    }

    fn write(&mut self, from: &[u8]) -> Result<usize, Errno> {
        let at = self.device.answer_bytes;
        if from.len() > RECORD_MAX_BYTES - at {
            return Err(Errno::FBIG);
        }
        mailbox::answer()[at..at + from.len()].copy_from_slice(from);
        self.device.answer_bytes += from.len();
        Ok(from.len())
    }

    fn is_readable(&self) -> bool {
        self.device.read_bytes < mailbox::event().len()
    }
}

impl Clock for Host<'_> {
    fn realtime_ns(&self) -> u64 {
        self.system.clock.realtime_ns(tsc())
    }

    fn monotonic_ns(&mut self) -> u64 {
        self.system.clock.monotonic_ns(tsc())
    }
}

impl Memory for Host<'_> {
    fn reserve(&mut self, bytes: usize) -> bool {
        heap::reserve(&mut self.system.space, bytes)
    }

    fn facts(&self) -> MemoryFacts {
        let space = &self.system.space;
        let permissions = |bits: u64| match bits & (protection::READ | protection::WRITE | protection::EXECUTE) {
            0 => "---p",
            1 => "r--p",
            3 => "rw-p",
            5 => "r-xp",
            _ => "rwxp",
        };
        let mapping = |start, end, permissions, name: &str| Mapping { start, end, permissions, name: name.into() };
        let heap = space.heap();
        let stack = mayfly_abi::layout::MAIN_STACK;
        let mut mappings: alloc::vec::Vec<_> =
            space.mappings().map(|found| mapping(found.start, found.end, permissions(found.protection), "")).collect();
        mappings.push(mapping(mayfly_abi::layout::PROGRAM, heap.start, "rwxp", ""));
        mappings.push(mapping(heap.start, heap.end, "rw-p", "[heap]"));
        mappings.push(mapping(stack.base, stack.top(), "rw-p", "[stack]"));
        mappings.retain(|found| found.start < found.end);
        mappings.sort_unstable_by_key(|found| found.start);
        MemoryFacts {
            total_bytes: space.memory_bytes(),
            free_bytes: space.memory_bytes().saturating_sub(space.mapped_bytes()),
            peak_bytes: space.peak_bytes(),
            threads: self.system.threads.count(),
            mappings,
        }
    }
}

fn tsc() -> u64 {
    // SAFETY: `rdtsc` has no precondition.
    unsafe { core::arch::x86_64::_rdtsc() }
}
