//! Hands instances to invocations.
//!
//! An invocation first waits for its turn to run ([`turns`]), then for an instance. One [`Lane`] per function revision has its idle instances and
//! those who wait for one. The [`Dispatcher`] is what lanes share: the turns, the shells, the room for instances, and the order in which lanes get
//! room when there is too little.

mod backing;
mod balance;
pub(crate) mod concurrency;
mod keeper;
mod lane;
pub(crate) mod scaling;
mod spares;
mod tenants;
pub(crate) mod turns;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(crate) use balance::balance;
pub(crate) use keeper::keep;
pub(crate) use lane::{Lane, Lease, Seat};
use tokio::{runtime::Handle, sync::Semaphore};
pub(crate) use turns::Turn;

use self::{
    backing::{Backing, Unbacked},
    spares::Spares,
    tenants::Tenants,
    turns::{Rules, Turns},
};
use crate::{clock::Clock, limits, pool::Pool, refusal::Refusal};

/// The bounds of dispatching.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) instances_max: usize,
    pub(crate) instances_per_function_max: usize,
    pub(crate) queue_per_function: usize,
    pub(crate) queue_wait_max: Duration,
    pub(crate) idle_instance_ttl: Duration,
    pub(crate) memory_reserve_bytes: u64,
    /// Memory of the host.
    pub(crate) memory_bytes: u64,
    /// Most memory that is promised to instances, all together.
    pub(crate) memory_promise_max_bytes: u64,
    /// Processors' worth of invocations that run at a time, to begin with.
    pub(crate) processors: f64,
}

impl Bounds {
    fn rules(&self) -> Rules {
        Rules {
            waiting_max: self.queue_per_function,
            wait_max: self.queue_wait_max,
            patience: limits::PATIENCE,
            patience_max: limits::PATIENCE_MAX,
            patience_min: limits::PATIENCE_MIN,
            overloaded_after: limits::OVERLOADED_AFTER,
            long: limits::LONG,
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
    pub(crate) backing: Backing,
    tenants: Tenants,
    spares: Spares,
    lanes: Mutex<Vec<Weak<Lane>>>,
    /// Lanes whose callers wait until another instance ends.
    until_freed: Queue,
    /// Lanes whose callers wait for the next look at memory: that others end does not help them before.
    until_look: Queue,
    pub(crate) failures: AtomicU64,
    pub(crate) resets: AtomicU64,
}

/// Room for one instance: a place among them, and memory. Given back when it is dropped.
struct Room {
    dispatcher: Arc<Dispatcher>,
    memory_bytes: u64,
    is_bound: bool,
}

/// There is none.
struct NoRoom {
    until: Until,
    /// For those who have no instance to wait for: whoever goes, there is too little.
    refusal: Option<Refusal>,
}

/// When there may be room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Another instance ends.
    Freed,
    /// Memory is looked at.
    Look,
}

/// Lanes that wait, in the order in which they are served.
#[derive(Default)]
struct Queue(Mutex<VecDeque<Weak<Lane>>>);

impl Dispatcher {
    /// Must be called in a tokio runtime.
    pub(crate) fn new(pool: Arc<Pool>, bounds: Bounds, clock: Clock) -> Arc<Dispatcher> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Arc::new(Dispatcher {
            pool,
            backing: Backing::new(bounds.memory_bytes, bounds.memory_reserve_bytes, bounds.memory_promise_max_bytes),
            tenants: Tenants::default(),
            spares: Spares::default(),
            turns: Turns::new(bounds.rules(), bounds.processors, clock),
            bounds,
            clock,
            handle: Handle::current(),
            binds: Semaphore::new(cores.max(2)),
            instances: AtomicUsize::new(0),
            lanes: Mutex::new(Vec::new()),
            until_freed: Queue::default(),
            until_look: Queue::default(),
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

    fn lanes(&self) -> Vec<Arc<Lane>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.iter().filter_map(Weak::upgrade).collect()
    }

    /// Room for an instance with that much memory, if need be that of those which have been idle for longest.
    fn room(self: &Arc<Self>, memory_bytes: u64) -> Result<Room, NoRoom> {
        loop {
            match self.backing.promise(memory_bytes) {
                Ok(()) => break,
                Err(Unbacked::Promised(_)) if self.evict() => {}
                Err(Unbacked::Available(_)) if self.evict_some() > 0 => return Err(Unbacked::Yet.into()),
                Err(why) => return Err(why.into()),
            }
        }
        let take = || {
            self.instances.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |instances| {
                (instances < self.bounds.instances_max).then_some(instances + 1)
            })
        };
        while take().is_err() {
            if !self.evict() {
                self.backing.withdraw(memory_bytes);
                return Err(NoRoom { until: Until::Freed, refusal: None });
            }
        }
        Ok(Room { dispatcher: self.clone(), memory_bytes, is_bound: false })
    }

    /// Whether there is room for an instance that nobody waits for, without that any other has to go.
    fn has_room_to_spare(&self, memory_bytes: u64) -> bool {
        let is_place = self.instances.load(Ordering::Relaxed) < self.bounds.instances_max;
        let is_free = is_place && self.until_freed.is_empty() && self.until_look.is_empty();
        is_free && !self.backing.is_low() && self.backing.backs(memory_bytes)
    }

    /// Ends an eighth of the idle instances, and says how many that were: what that gives back is only seen at the next look.
    fn evict_some(&self) -> usize {
        let (idle, _, _) = self.totals();
        (0..idle.div_ceil(8)).filter(|_| self.evict()).count()
    }

    /// Ends the instance that has been idle for longest; false if none is idle.
    fn evict(&self) -> bool {
        let lanes = self.lanes();
        let oldest = lanes.iter().filter_map(|lane| Some((lane.idle_since()?, lane))).min_by_key(|(since, _)| *since);
        oldest.is_some_and(|(_, lane)| lane.drop_oldest())
    }

    /// The lanes that wait for that.
    fn queue(&self, until: Until) -> &Queue {
        match until {
            Until::Freed => &self.until_freed,
            Until::Look => &self.until_look,
        }
    }

    /// One has ended: the next lane that waits for that tries again.
    fn feed(&self) {
        while let Some(lane) = self.until_freed.next() {
            if lane.upgrade().is_some_and(|lane| lane.fed()) {
                return;
            }
        }
    }

    /// After a look there may be room for many: all lanes that wait try again, each once.
    fn feed_all(&self) {
        let waiting = [&self.until_look, &self.until_freed].map(Queue::take_all);
        for lane in waiting.iter().flatten().filter_map(Weak::upgrade) {
            lane.fed();
        }
    }
}

impl Queue {
    /// At the end, if it is not in it.
    fn add(&self, lane: &Weak<Lane>) {
        let mut lanes = self.lanes();
        if !lanes.iter().any(|other| other.ptr_eq(lane)) {
            lanes.push_back(lane.clone());
        }
    }

    fn next(&self) -> Option<Weak<Lane>> {
        self.lanes().pop_front()
    }

    fn take_all(&self) -> VecDeque<Weak<Lane>> {
        std::mem::take(&mut self.lanes())
    }

    fn is_empty(&self) -> bool {
        self.lanes().is_empty()
    }

    fn lanes(&self) -> MutexGuard<'_, VecDeque<Weak<Lane>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Its instance is bound: what it takes is seen at the next look.
    fn bound(&mut self) {
        self.is_bound = true;
        self.dispatcher.backing.bound(self.memory_bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let take_back = if self.is_bound { Backing::release } else { Backing::withdraw };
        take_back(&self.dispatcher.backing, self.memory_bytes);
        self.dispatcher.instances.fetch_sub(1, Ordering::Relaxed);
        self.dispatcher.feed();
    }
}

#[cfg(test)]
mod tests;
