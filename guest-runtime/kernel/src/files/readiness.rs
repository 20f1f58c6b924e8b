//! What can be done with a descriptor without waiting.

use super::Files;
use super::description::{Description, End, Object};
use super::device::Device;
use super::environment::Environment;
use super::pipe::Pipe;
use crate::errno::Errno;

/// What can be done now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// Something came out of band.
    pub(crate) urgent: bool,
    /// The other side is gone.
    pub(crate) hangup: bool,
    /// The other side does not read any more.
    pub(crate) error: bool,
    /// The other side does not write any more, but may read.
    pub(crate) read_hangup: bool,
    /// Waiting for this means waiting for the next event.
    pub(crate) waits_for_event: bool,
    /// It can be read at this time of the monotonic clock at the latest.
    pub(crate) due_ns: Option<u64>,
    /// Other numbers than last time: something came in, or there was room again, in between. What edge-triggered waiting
    /// goes by.
    pub(crate) arrivals: u64,
    pub(crate) drains: u64,
}

/// Bits of `poll` and `epoll`; the numbers are Linux's, the same for both.
pub(crate) mod bit {
    pub(crate) const IN: u32 = 0x1;
    pub(crate) const URGENT: u32 = 0x2;
    pub(crate) const OUT: u32 = 0x4;
    pub(crate) const ERROR: u32 = 0x8;
    pub(crate) const HANGUP: u32 = 0x10;
    pub(crate) const INVALID: u32 = 0x20;
    pub(crate) const READ_NORMAL: u32 = 0x40;
    pub(crate) const WRITE_NORMAL: u32 = 0x100;
    pub(crate) const READ_HANGUP: u32 = 0x2000;
}

impl Readiness {
    const ALWAYS: Readiness = Readiness {
        read: true,
        write: true,
        urgent: false,
        hangup: false,
        error: false,
        read_hangup: false,
        waits_for_event: false,
        due_ns: None,
        arrivals: 0,
        drains: 0,
    };

    /// As bits of `poll`.
    pub(crate) fn bits(&self) -> u32 {
        let mut bits = 0;
        for (is_set, set) in [
            (self.read, bit::IN | bit::READ_NORMAL),
            (self.write, bit::OUT | bit::WRITE_NORMAL),
            (self.urgent, bit::URGENT),
            (self.hangup, bit::HANGUP),
            (self.error, bit::ERROR),
            (self.read_hangup, bit::READ_HANGUP),
        ] {
            bits |= if is_set { set } else { 0 };
        }
        bits
    }
}

/// What would end a wait, besides a change of something that is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// The next event.
    pub(crate) for_event: bool,
    /// This time of the monotonic clock.
    pub(crate) due_ns: Option<u64>,
}

impl Awaited {
    /// Adds what is waited for with these bits on something of that readiness.
    pub(crate) fn add(&mut self, readiness: &Readiness, bits: u32) {
        if bits & bit::IN != 0 {
            self.for_event |= readiness.waits_for_event;
            self.due_ns = self.due_ns.into_iter().chain(readiness.due_ns).min();
        }
    }
}

impl Files {
    /// What can be done with `fd` now.
    pub(crate) fn readiness(&self, fd: u64, environment: &dyn Environment) -> Result<Readiness, Errno> {
        Ok(self.readiness_of(self.description(fd)?, environment))
    }

    pub(crate) fn readiness_of(&self, description: &Description, environment: &dyn Environment) -> Readiness {
        match description.object {
            Object::Device(Device::Events) => {
                let read = environment.is_readable();
                Readiness { read, waits_for_event: true, ..Readiness::ALWAYS }
            }
            Object::Pipe { pipe, end } => self.readiness_of_pipe(pipe, end),
            Object::Counter(counter) => self.counters.get(counter).map_or(Readiness::default(), |counter| Readiness {
                read: counter.is_readable(),
                write: counter.is_writable(),
                arrivals: counter.arrivals,
                drains: counter.drains,
                ..Readiness::default()
            }),
            Object::Timer(timer) => self.timers.get(timer).map_or(Readiness::default(), |timer| Readiness {
                read: timer.is_expired(),
                due_ns: timer.due_ns,
                arrivals: timer.arrivals,
                ..Readiness::default()
            }),
            Object::Epoll(epoll) => self.readiness_of_epoll(epoll, environment),
            Object::Socket(socket) => self.readiness_of_socket(socket),
            _ => Readiness::ALWAYS,
        }
    }

    fn readiness_of_pipe(&self, pipe: u32, end: End) -> Readiness {
        let Some(pipe) = self.pipes.get(pipe) else { return Readiness { hangup: true, ..Readiness::default() } };
        let Pipe { arrivals, drains, .. } = *pipe;
        match end {
            End::Read => {
                Readiness { read: pipe.len() > 0, hangup: pipe.writers == 0, arrivals, ..Readiness::default() }
            }
            End::Write => {
                Readiness { write: pipe.has_room(), error: pipe.readers == 0, drains, ..Readiness::default() }
            }
        }
    }
}
