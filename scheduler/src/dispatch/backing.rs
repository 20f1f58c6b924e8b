//! Whether the host can back another instance.
//!
//! Two rules. What is promised to all instances together, their memory sizes, is bounded by a multiple of the host's memory: most of what an
//! instance has is the snapshot's, shared by all, so that multiple is large. And what the host has available must back the next one
//! in full, above the reserve. What instances take is only seen at the next look, so each is charged its whole size
//! until the first look after it was bound. The same holds for what ends: until the next look, whoever finds too little waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{NoRoom, Until};
use crate::refusal::{Refusal, ThrottleReason};

/// While programs wait for memory, less than so many reserves is little.
const RESERVES_STALLING: u64 = 4;

/// What backs instances.
#[derive(Debug)]
pub(crate) struct Backing {
    /// To be left available.
    reserve_bytes: u64,
    /// With less than this, what runs is not left alone any more.
    emergency_bytes: u64,
    /// Largest promise to one.
    single_max_bytes: u64,
    /// Most that may be promised.
    promise_max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// As of the last look.
    available_bytes: Option<u64>,
    is_stalling: bool,
    /// Promised since the last look, or not bound yet.
    charged_bytes: u64,
    /// Of that, what is not bound yet.
    binding_bytes: u64,
    /// Something ended since the last look.
    is_given_back: bool,
    promised_bytes: u64,
}

/// Why an instance is not backed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unbacked {
    /// It may be after the next look.
    Yet,
    /// It is too large for this host.
    Never(Shortage),
    /// Others would have to go, and then it may be.
    Promised(Shortage),
    /// Others would have to go, and how much that gives is seen at the next look.
    Available(Shortage),
}

/// What there is for one more, and what it would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortage {
    left_bytes: u64,
    wanted_bytes: u64,
}

impl Backing {
    /// Of a host with that much memory.
    pub(super) fn new(memory_bytes: u64, reserve_bytes: u64, promise_max_bytes: u64) -> Backing {
        let single_max_bytes = memory_bytes.saturating_sub(reserve_bytes).min(promise_max_bytes);
        // Half of the reserve, and in a small container an eighth of all: idle instances are given up before that.
        let emergency_bytes = (reserve_bytes / 2).min(memory_bytes / 8);
        Backing { reserve_bytes, emergency_bytes, single_max_bytes, promise_max_bytes, state: Mutex::default() }
    }

    /// Promises memory to an instance.
    pub(super) fn promise(&self, bytes: u64) -> Result<(), Unbacked> {
        let mut state = self.state();
        self.check(&state, bytes)?;
        state.promised_bytes += bytes;
        state.charged_bytes += bytes;
        state.binding_bytes += bytes;
        Ok(())
    }

    /// Whether that could be promised now.
    pub(super) fn backs(&self, bytes: u64) -> bool {
        self.check(&self.state(), bytes).is_ok()
    }

    fn check(&self, state: &State, bytes: u64) -> Result<(), Unbacked> {
        if bytes > self.single_max_bytes {
            return Err(Unbacked::Never(Shortage { left_bytes: self.single_max_bytes, wanted_bytes: bytes }));
        }
        let unpromised = self.promise_max_bytes.saturating_sub(state.promised_bytes);
        if bytes > unpromised {
            return Err(Unbacked::Promised(Shortage { left_bytes: unpromised, wanted_bytes: bytes }));
        }
        let available = state.available_bytes.unwrap_or(u64::MAX).saturating_sub(self.reserve_bytes);
        if bytes > available && state.is_given_back {
            return Err(Unbacked::Yet);
        }
        if bytes > available {
            return Err(Unbacked::Available(Shortage { left_bytes: available, wanted_bytes: bytes }));
        }
        if bytes > available.saturating_sub(state.charged_bytes) {
            return Err(Unbacked::Yet);
        }
        Ok(())
    }

    /// What was promised is bound: the next look sees what it takes.
    pub(super) fn bound(&self, bytes: u64) {
        self.state().binding_bytes -= bytes;
    }

    /// Takes back the promise to one that was never bound.
    pub(super) fn withdraw(&self, bytes: u64) {
        let mut state = self.state();
        state.promised_bytes -= bytes;
        state.charged_bytes -= bytes;
        state.binding_bytes -= bytes;
    }

    /// Takes back the promise to one that has ended.
    pub(super) fn release(&self, bytes: u64) {
        let mut state = self.state();
        state.promised_bytes -= bytes;
        state.is_given_back = true;
    }

    /// What the host has available is this now.
    pub(super) fn seen(&self, available_bytes: Option<u64>, is_stalling: bool) {
        let mut state = self.state();
        let charged_bytes = state.binding_bytes;
        *state = State { available_bytes, is_stalling, charged_bytes, is_given_back: false, ..*state };
    }

    /// Whether there is less than the reserve; or less than a few of it, and programs wait for memory. With more left, they wait in a container of their own,
    /// or for a disk.
    pub(super) fn is_low(&self) -> bool {
        let state = self.state();
        let least = self.reserve_bytes * if state.is_stalling { RESERVES_STALLING } else { 1 };
        state.available_bytes.map_or(state.is_stalling, |bytes| bytes < least)
    }

    /// Whether so little is left that the next invocations that grow would stall all others.
    pub(super) fn is_emergency(&self) -> bool {
        let state = self.state();
        let least = if state.is_stalling { self.reserve_bytes } else { self.emergency_bytes };
        state.available_bytes.is_some_and(|bytes| bytes < least)
    }

    /// As of the last look.
    pub(crate) fn available_bytes(&self) -> Option<u64> {
        self.state().available_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Unbacked> for NoRoom {
    fn from(why: Unbacked) -> NoRoom {
        let (until, shortage) = match why {
            Unbacked::Yet => (Until::Look, None),
            Unbacked::Promised(shortage) => (Until::Freed, Some(shortage)),
            Unbacked::Never(shortage) | Unbacked::Available(shortage) => (Until::Look, Some(shortage)),
        };
        let refusal = shortage.map(|Shortage { left_bytes, wanted_bytes }| {
            let (left_mib, wanted_mib) = (left_bytes >> 20, wanted_bytes >> 20);
            Refusal::throttled(ThrottleReason::Memory, left_mib, wanted_mib, std::time::Duration::ZERO)
        });
        NoRoom { until, refusal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_that_cannot_be_kept() {
        let backing = Backing::new(900, 100, 1000);
        let short = |left_bytes, wanted_bytes| Shortage { left_bytes, wanted_bytes };
        assert_eq!(backing.promise(801), Err(Unbacked::Never(short(800, 801))));
        assert_eq!(backing.promise(600), Ok(()), "nobody has looked yet");
        assert_eq!(backing.promise(600), Err(Unbacked::Promised(short(400, 600))));
        backing.bound(600);
        backing.seen(Some(350), false);
        assert_eq!(backing.promise(300), Err(Unbacked::Available(short(250, 300))));
        assert_eq!(backing.promise(200), Ok(()));
        assert_eq!(backing.promise(100), Err(Unbacked::Yet), "the 200 may be taken, or not");
        backing.seen(Some(340), false);
        assert_eq!(backing.promise(100), Err(Unbacked::Yet), "they are not bound yet");
        backing.bound(200);
        assert_eq!(backing.promise(100), Err(Unbacked::Yet), "nobody has seen what they take");
        backing.seen(Some(340), false);
        assert_eq!(backing.promise(100), Ok(()), "most were not");
        backing.withdraw(100);
        backing.release(600);
        assert_eq!(backing.promise(300), Err(Unbacked::Yet), "what ended may have given back that much");
        assert_eq!(backing.promise(240), Ok(()), "who was not bound has taken nothing");
        backing.bound(240);
        backing.seen(Some(340), false);
        assert_eq!(backing.promise(300), Err(Unbacked::Available(short(240, 300))));
        backing.release(140);
        backing.seen(None, false);
        assert_eq!(backing.promise(700), Ok(()));
        assert_eq!(backing.promise(1), Err(Unbacked::Promised(short(0, 1))));
    }

    #[test]
    fn memory_is_low_below_the_reserve_and_when_programs_wait() {
        let backing = Backing::new(900, 100, 1000);
        for (available, is_stalling, is_low, is_emergency) in [
            (None, false, false, false),
            (None, true, true, false),
            (Some(100), false, false, false),
            (Some(99), false, true, false),
            // Others of the host wait for memory: not ours to end anything for.
            (Some(399), true, true, false),
            (Some(400), true, false, false),
            (Some(99), true, true, true),
            (Some(50), false, true, false),
            (Some(49), false, true, true),
        ] {
            backing.seen(available, is_stalling);
            assert_eq!(
                (backing.is_low(), backing.is_emergency()),
                (is_low, is_emergency),
                "{available:?} {is_stalling}"
            );
        }
        let small = Backing::new(160, 100, 1000);
        small.seen(Some(20), false);
        assert!(!small.is_emergency(), "in a small container an eighth must do");
    }
}
