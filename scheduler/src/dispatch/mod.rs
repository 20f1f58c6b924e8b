//! Hands instances to invocations.
//!
//! An invocation first waits for its turn to run ([`turns`]), then for an instance. One [`Lane`] per function revision has its idle instances and
//! those who wait for one. The [`Dispatcher`] is what lanes share: the turns, the shells, the room for instances, and the order in which lanes get
//! room when there is too little.

pub(crate) mod concurrency;
mod keeper;
mod lane;
pub(crate) mod turns;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(crate) use keeper::{available_memory, keep};
pub(crate) use lane::{Lane, Lease, Seat};
use tokio::{runtime::Handle, sync::Semaphore};
pub(crate) use turns::Turn;

use self::turns::{Rules, Turns};
use crate::{clock::Clock, limits, pool::Pool};

/// The bounds of dispatching.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) instances_max: usize,
    pub(crate) instances_per_function_max: usize,
    pub(crate) queue_per_function: usize,
    pub(crate) queue_wait_max: Duration,
    pub(crate) idle_instance_ttl: Duration,
    pub(crate) memory_reserve_bytes: u64,
    /// Processors' worth of invocations that run at a time, to begin with.
    pub(crate) processors: f64,
}

impl Bounds {
    fn rules(&self) -> Rules {
        Rules {
            waiting_max: self.queue_per_function,
            wait_max: self.queue_wait_max,
            patience: limits::PATIENCE,
            patience_min: limits::PATIENCE_MIN,
            overloaded_after: limits::OVERLOADED_AFTER,
        }
    }
}

/// What lanes share.
pub(crate) struct Dispatcher {
    pub(crate) pool: Arc<Pool>,
    pub(crate) bounds: Bounds,
    pub(crate) clock: Clock,
    pub(crate) turns: Arc<Turns>,
    handle: Handle,
    /// Binds at a time: more than there are cores only make each other slow.
    binds: Semaphore,
    instances: AtomicUsize,
    /// As of the keeper's last look.
    memory_available_bytes: AtomicU64,
    lanes: Mutex<Vec<Weak<Lane>>>,
    /// Lanes whose callers wait for room, in the order in which they get it.
    hungry: Mutex<VecDeque<Weak<Lane>>>,
    pub(crate) failures: AtomicU64,
    pub(crate) resets: AtomicU64,
}

/// Room for one instance. Given back when it is dropped.
struct Room(Arc<Dispatcher>);

impl Dispatcher {
    /// Must be called in a tokio runtime.
    pub(crate) fn new(pool: Arc<Pool>, bounds: Bounds, clock: Clock) -> Arc<Dispatcher> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Arc::new(Dispatcher {
            pool,
            turns: Turns::new(bounds.rules(), bounds.processors, clock),
            bounds,
            clock,
            handle: Handle::current(),
            binds: Semaphore::new(cores.max(2)),
            instances: AtomicUsize::new(0),
            memory_available_bytes: AtomicU64::new(u64::MAX),
            lanes: Mutex::new(Vec::new()),
            hungry: Mutex::new(VecDeque::new()),
            failures: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        })
    }

    /// Idle and busy instances, and invocations that wait.
    pub(crate) fn totals(&self) -> (usize, usize, usize) {
        let (mut idle, mut waiting) = (0, self.turns.load().waiting);
        for lane in self.lanes() {
            let load = lane.load();
            idle += load.idle;
            waiting += load.waiting;
        }
        let all = self.instances.load(Ordering::Relaxed);
        (idle, all.saturating_sub(idle), waiting)
    }

    /// Memory that the host had left when it was last looked at, if it was.
    pub(crate) fn memory_available_bytes(&self) -> Option<u64> {
        Some(self.memory_available_bytes.load(Ordering::Relaxed)).filter(|&bytes| bytes != u64::MAX)
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.iter().filter_map(Weak::upgrade).collect()
    }

    /// Room for an instance, if need be that of the instance which has been idle for longest.
    fn room(self: &Arc<Self>) -> Option<Room> {
        let memory_is_low = || self.memory_available_bytes.load(Ordering::Relaxed) < self.bounds.memory_reserve_bytes;
        if memory_is_low() && !self.evict() {
            return None;
        }
        let take = || {
            self.instances.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |instances| {
                (instances < self.bounds.instances_max).then_some(instances + 1)
            })
        };
        while take().is_err() {
            if !self.evict() {
                return None;
            }
        }
        Some(Room(self.clone()))
    }

    /// Ends the instance that has been idle for longest; false if none is idle.
    fn evict(&self) -> bool {
        let lanes = self.lanes();
        let oldest = lanes.iter().filter_map(|lane| Some((lane.idle_since()?, lane))).min_by_key(|(since, _)| *since);
        oldest.is_some_and(|(_, lane)| lane.drop_oldest())
    }

    /// Lets the next lane that waits for room try again.
    fn feed(&self) {
        loop {
            let next = self.hungry.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(lane) = next else { return };
            if lane.upgrade().is_some_and(|lane| lane.fed()) {
                return;
            }
        }
    }

    fn is_anyone_hungry(&self) -> bool {
        !self.hungry.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::Relaxed);
        self.0.feed();
    }
}

#[cfg(test)]
mod tests;
