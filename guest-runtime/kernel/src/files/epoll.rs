//! epoll: a set of descriptors to wait for.

use alloc::collections::BTreeMap;

use super::Files;
use super::description::Object;
use super::environment::Environment;
use super::limits::INTERESTS_MAX;
use super::readiness::{Awaited, Readiness, bit};
use crate::errno::Errno;

/// `EPOLLONESHOT`: report once, then wait to be armed again.
pub(crate) const ONE_SHOT: u32 = 1 << 30;
/// `EPOLLET`: report changes, not states.
pub(crate) const EDGE: u32 = 1 << 31;
/// `EPOLLEXCLUSIVE`; with one waiter at a time there is nothing to exclude.
const EXCLUSIVE: u32 = 1 << 28;
/// `EPOLLWAKEUP`; there is no sleep to keep the machine from.
const WAKE_UP: u32 = 1 << 29;

/// A number of a descriptor and of its description: as on Linux, a descriptor that was closed and opened again is
/// another one.
type Key = (u32, u32);

/// A set.
#[derive(Debug, Default)]
pub(crate) struct Epoll {
    interests: BTreeMap<Key, Interest>,
    /// The last one reported: the next scan starts after it, so that a busy descriptor starves nobody.
    last: Key,
}

/// What one waits for on a descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interest {
    /// Bits, [`ONE_SHOT`] and [`EDGE`].
    pub(crate) events: u32,
    /// The program's own word.
    pub(crate) data: u64,
    /// How much had happened when it was reported last, for [`EDGE`].
    reported: Option<u64>,
    /// Reported, and [`ONE_SHOT`].
    is_spent: bool,
}

impl Interest {
    pub(crate) fn new(events: u32, data: u64) -> Interest {
        Interest { events: events & !(EXCLUSIVE | WAKE_UP), data, reported: None, is_spent: false }
    }

    /// The bits to report, 0 for none.
    fn due(&self, readiness: &Readiness) -> u32 {
        let bits = readiness.bits() & (self.events | bit::ERROR | bit::HANGUP);
        // The event device counts no changes. Reporting its state too often does no harm.
        let by_edge = self.events & EDGE != 0 && !readiness.waits_for_event;
        let seen = by_edge && self.reported == Some(self.activity(readiness));
        if self.is_spent || seen { 0 } else { bits }
    }

    fn wait(&self, readiness: &Readiness, waits: &mut Awaited) {
        if !self.is_spent {
            waits.add(readiness, self.events);
        }
    }

    /// Goes up when something happened that was waited for.
    fn activity(&self, readiness: &Readiness) -> u64 {
        let drains = if self.events & bit::OUT != 0 { readiness.drains } else { 0 };
        readiness.arrivals.wrapping_add(drains)
    }
}

/// How `epoll_ctl` changes a set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Add(Interest),
    Modify(Interest),
    Delete,
}

impl Epoll {
    /// How many descriptors are watched.
    pub(crate) fn len(&self) -> usize {
        self.interests.len()
    }

    /// A description has ended.
    pub(crate) fn forget(&mut self, description: u32) {
        self.interests.retain(|(_, of), _| *of != description);
    }
}

impl Files {
    pub(crate) fn epoll(&self, fd: u64) -> Result<u32, Errno> {
        match self.description(fd)?.object {
            Object::Epoll(epoll) => Ok(epoll),
            _ => Err(Errno::INVAL),
        }
    }

    /// `epoll_ctl`.
    pub(crate) fn change_interest(&mut self, epoll: u32, fd: u64, change: Change) -> Result<(), Errno> {
        let descriptor = self.descriptors.get(fd as u32)?;
        match self.description(fd)?.object {
            // Linux allows five levels of epoll in epoll. None is known to need one, and none means no cycle.
            Object::Epoll(other) if other == epoll => return Err(Errno::INVAL),
            Object::Epoll(_) => return Err(Errno::LOOP),
            // Files are always ready: there is nothing to wait for.
            Object::Bytes(_) | Object::Generated(_) | Object::Directory | Object::Tmp(_) => return Err(Errno::PERM),
            Object::Path => return Err(Errno::BADF),
            _ => {}
        }
        let epoll = self.epolls.get_mut(epoll).ok_or(Errno::BADF)?;
        let key = (fd as u32, descriptor.description);
        match change {
            Change::Add(_) if epoll.interests.contains_key(&key) => return Err(Errno::EXIST),
            Change::Add(_) if epoll.interests.len() >= INTERESTS_MAX => return Err(Errno::NOSPC),
            Change::Add(interest) => drop(epoll.interests.insert(key, interest)),
            Change::Modify(interest) => *epoll.interests.get_mut(&key).ok_or(Errno::NOENT)? = interest,
            Change::Delete => drop(epoll.interests.remove(&key).ok_or(Errno::NOENT)?),
        }
        self.changes += 1;
        Ok(())
    }

    /// What is ready: at most `max` calls of `report` with the bits and the program's word. Returns how many, and what
    /// else would make something ready.
    pub(crate) fn scan(
        &mut self,
        epoll: u32,
        max: usize,
        environment: &dyn Environment,
        mut report: impl FnMut(u32, u64),
    ) -> Result<(usize, Awaited), Errno> {
        let set = self.epolls.get(epoll).ok_or(Errno::BADF)?;
        let (mut count, mut seen, mut at) = (0, 0, set.last);
        let mut waits = Awaited::default();
        let total = set.interests.len();
        while count < max && seen < total {
            let Some((key, due, activity)) = self.next_interest(epoll, at, environment, &mut waits) else { break };
            (at, seen) = (key, seen + 1);
            let Some(set) = self.epolls.get_mut(epoll) else { break };
            let Some(interest) = set.interests.get_mut(&key) else { break };
            if due == 0 {
                continue;
            }
            report(due, interest.data);
            interest.reported = Some(activity);
            interest.is_spent = interest.events & ONE_SHOT != 0;
            set.last = key;
            count += 1;
        }
        Ok((count, waits))
    }

    /// The interest after `at`, around the end, with the bits that it has to report.
    fn next_interest(
        &self,
        epoll: u32,
        at: Key,
        environment: &dyn Environment,
        waits: &mut Awaited,
    ) -> Option<(Key, u32, u64)> {
        use core::ops::Bound::{Excluded, Unbounded};
        let set = self.epolls.get(epoll)?;
        let after = set.interests.range((Excluded(at), Unbounded)).next();
        let (key, interest) = after.or_else(|| set.interests.first_key_value())?;
        let readiness = self.readiness_of(self.descriptions.get(key.1)?, environment);
        interest.wait(&readiness, waits);
        Some((*key, interest.due(&readiness), interest.activity(&readiness)))
    }

    pub(crate) fn readiness_of_epoll(&self, epoll: u32, environment: &dyn Environment) -> Readiness {
        let Some(set) = self.epolls.get(epoll) else { return Readiness::default() };
        let mut waits = Awaited::default();
        let mut read = false;
        for (key, interest) in &set.interests {
            let Some(description) = self.descriptions.get(key.1) else { continue };
            let readiness = self.readiness_of(description, environment);
            interest.wait(&readiness, &mut waits);
            read |= interest.due(&readiness) != 0;
        }
        Readiness { read, waits_for_event: waits.for_event, due_ns: waits.due_ns, ..Readiness::default() }
    }
}
