//! Instances that are bound before anyone calls: those that are kept, provisioned concurrency, and spares.
//!
//! As long as a lane has fewer instances than it shall have, busy ones counted, it binds another, a few at a time so that callers of other lanes do
//! not queue behind that. If one cannot be bound, the next try comes later, at a look of the keeper. What is above that number is idle like any other;
//! what is not is given up only when memory is low and nothing else is left to give up.
//!
//! A spare is the first instance of a function that was deployed just now and whose bind takes long. It is idle like any other, and bound only if nobody has to
//! go for it. A few functions have one at a time, those that were deployed last: who deploys many does not have one of each. Until it is used it
//! keeps what it needs to be fast: of a function that has not run yet nobody knows what that is, so it has copies of all of its snapshot.

use std::sync::Arc;

use super::{Held, Lane, State};
use crate::{
    clock::Instant,
    limits,
    machine::{Binding, WorkingSet},
};

/// What is wanted of a lane before anyone calls.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Instances that shall be there.
    pub(super) wanted: usize,
    /// Why there are fewer, if that did not only take its time.
    trouble: Option<String>,
    /// Not before then is another bound for this.
    not_before: Option<Instant>,
    /// One shall be bound now, if there is none.
    is_spare_wanted: bool,
}

/// How far a lane is with what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Instances that are there or being bound, as far as they are wanted.
    pub(crate) allocated: usize,
    /// Those that are bound.
    pub(crate) available: usize,
    /// Why there are fewer than wanted, if that does not only take its time.
    pub(crate) trouble: Option<String>,
}

impl State {
    /// Whether another instance shall be bound that nobody waits for.
    pub(super) fn wants_ahead(&self) -> bool {
        let is_kept =
            self.ahead.not_before.is_none() && self.instances < self.ahead.wanted && self.binding < limits::BINDS_AHEAD;
        !self.is_retired && (is_kept || self.wants_spare())
    }

    /// Whether the next one that is bound is a spare.
    pub(super) fn wants_spare(&self) -> bool {
        let is_first = self.instances == 0 && self.waiting.is_empty() && self.ahead.wanted == 0;
        self.ahead.is_spare_wanted && is_first
    }

    /// Whether there are more instances than must be kept.
    pub(super) fn has_spare(&self) -> bool {
        self.instances > self.ahead.wanted
    }

    /// One could not be bound, or was given up: no other is bound ahead for a while.
    pub(super) fn pause_ahead(&mut self, now: Instant, trouble: String) {
        self.ahead.trouble = Some(trouble);
        self.ahead.not_before = Some(now + limits::BIND_AHEAD_PAUSE);
    }

    /// One was bound.
    pub(super) fn ahead_goes_well(&mut self) {
        self.ahead.trouble = None;
    }
}

/// Whether it is a spare that nobody has called yet.
pub(super) fn is_unused(held: &Held) -> bool {
    held.instance.is_spare && held.instance.served == 0
}

impl Lane {
    /// Binds the first instance though nobody has called, if there is room that nobody else needs.
    pub(crate) fn bind_spare(&self) {
        if !self.dispatcher.has_room_to_spare(self.binding.memory_bytes) {
            return;
        }
        self.state().ahead.is_spare_wanted = true;
        self.supply();
        // Now or never: it is not worth waiting for.
        self.state().ahead.is_spare_wanted = false;
    }

    /// What a spare is bound to: it has the time to bring in all that the first caller may need, where that is not known.
    pub(super) fn binding_of_spare(&self) -> Binding {
        let mut binding = self.binding.clone();
        if let (None, Some(top)) = (binding.working_set.recorded(), &binding.top) {
            binding.working_set = Arc::new(WorkingSet::of(&top.all_pages(limits::SPARE_COPIED_MAX_BYTES)));
        }
        binding
    }

    /// Whether it has a spare that nobody has called yet.
    pub(in crate::dispatch) fn has_unused(&self) -> bool {
        self.state().idle.iter().any(is_unused)
    }

    /// Ends that.
    pub(in crate::dispatch) fn drop_unused(&self) {
        let unused = {
            let mut state = self.state();
            let at = state.idle.iter().position(is_unused);
            at.map(|at| state.idle.remove(at))
        };
        drop(unused);
    }

    /// From now on, so many instances shall be there whether or not anyone calls.
    pub(crate) fn keep_ahead(&self, wanted: usize) {
        {
            let mut state = self.state();
            if state.is_retired {
                return;
            }
            let wanted = wanted.min(self.dispatcher.bounds.instances_per_function_max);
            state.ahead = Ahead { wanted, ..Ahead::default() };
        }
        self.supply();
    }

    /// How far it is with that.
    pub(crate) fn progress(&self) -> Progress {
        let state = self.state();
        let wanted = state.ahead.wanted;
        Progress {
            allocated: state.instances.min(wanted),
            available: (state.instances - state.binding).min(wanted),
            trouble: state.ahead.trouble.clone().filter(|_| state.instances - state.binding < wanted),
        }
    }

    /// Tries again what could not be bound ahead, when it is time.
    pub(in crate::dispatch) fn retry_ahead(&self, now: Instant) {
        let is_time = {
            let mut state = self.state();
            let is_time = state.ahead.not_before.is_some_and(|then| now >= then);
            if is_time {
                state.ahead.not_before = None;
            }
            is_time
        };
        if is_time {
            self.supply();
        }
    }

    /// Ends the oldest idle instance though it should be kept; false if there is none.
    pub(in crate::dispatch) fn give_up_kept(&self, now: Instant) -> bool {
        let oldest = {
            let mut state = self.state();
            if state.idle.is_empty() {
                return false;
            }
            state.pause_ahead(now, "The host has too little memory for it.".into());
            state.idle.remove(0)
        };
        drop(oldest);
        true
    }
}
