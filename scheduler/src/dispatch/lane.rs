//! The instances of one function revision, and the invocations that wait for them.
//!
//! ```text
//!                       ┌──────────── give_back, nobody waits ───────────┐
//!                       ▼                                                │
//!  room ─► binding ─► idle ── acquire ──► Lease ── take ──► (runs) ── reset or not
//!             │                             ▲                   │
//!             │       give_back, to the one who waits for longest    └─ dropped: the seat is free, another may be bound
//!             └── failed: the one who waits for longest is told
//! ```
//!
//! Who waits is served by whichever instance is there first, one that becomes free or one that is bound: a bind is for the lane,
//! not for a caller. Each instance is in exactly one place, as a value; its [`Seat`] counts it wherever that is.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    Dispatcher, Room,
    admission::{Decision, Load, admit, wants_bind},
    concurrency::throttled,
    smooth,
};
use crate::{
    clock::Instant,
    instance::Instance,
    limits,
    machine::{Binding, Gone, WorkingSet},
    refusal::{Refusal, ThrottleReason},
};

/// Instances of one function revision.
pub(crate) struct Lane {
    this: Weak<Lane>,
    dispatcher: Arc<Dispatcher>,
    binding: Binding,
    /// How long an invocation keeps an instance, in microseconds, smoothed.
    service_us: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last one first: it is the one whose memory is in the caches.
    idle: Vec<Held>,
    waiting: VecDeque<oneshot::Sender<Result<Lease, Refusal>>>,
    instances: usize,
    binding: usize,
    /// Nothing is kept idle any more.
    is_retired: bool,
    /// In the dispatcher's queue for room.
    is_hungry: bool,
}

/// An instance with its place in the counts. Dropping it ends the instance, and then frees the place.
struct Held {
    instance: Instance,
    seat: Seat,
}

/// The place of an instance in the counts of its lane and of the dispatcher.
pub(crate) struct Seat {
    lane: Weak<Lane>,
    _room: Room,
}

/// An instance for one invocation. Goes back to its lane if it is not taken.
pub(crate) struct Lease {
    lane: Arc<Lane>,
    held: Option<Held>,
}

impl Lane {
    /// A lane without instances.
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, binding: Binding) -> Arc<Lane> {
        let lane = Arc::new_cyclic(|this| Lane {
            this: this.clone(),
            dispatcher: dispatcher.clone(),
            binding,
            service_us: AtomicU64::new(0),
            state: Mutex::new(State::default()),
        });
        dispatcher.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lane));
        lane
    }

    /// An instance: at once if one is idle, else when it is this caller's turn.
    pub(crate) async fn acquire(&self) -> Result<Lease, Refusal> {
        let deadline = self.dispatcher.clock.now() + self.dispatcher.bounds.queue_wait_max;
        let mut turn = match self.enter()? {
            Entered::Served(lease) => return Ok(lease),
            Entered::Waits(turn) => turn,
        };
        self.supply(false);
        // One that waits for longer than a bind takes was wrongly told to wait for those that are there.
        if let Ok(served) = tokio::time::timeout(self.dispatcher.bind_time(), &mut turn).await {
            return served.unwrap_or(Err(Refusal::ShuttingDown));
        }
        self.supply(true);
        match tokio::time::timeout_at(deadline, turn).await {
            Ok(served) => served.unwrap_or(Err(Refusal::ShuttingDown)),
            Err(_) => {
                let load = self.load();
                Err(throttled(ThrottleReason::QueueTimeout, load.instances_max as u64, load.instances as u64))
            }
        }
    }

    fn enter(&self) -> Result<Entered, Refusal> {
        let mut state = self.state();
        while state.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            state.waiting.pop_front();
        }
        match admit(self.load_of(&state)) {
            Decision::Serve => {
                let held = state.idle.pop();
                drop(state);
                let lane = self.this.upgrade().ok_or(Refusal::ShuttingDown)?;
                Ok(Entered::Served(Lease { lane, held }))
            }
            Decision::Wait => {
                let (turn, waits) = oneshot::channel();
                state.waiting.push_back(turn);
                Ok(Entered::Waits(waits))
            }
            Decision::Refuse => {
                let load = self.load_of(&state);
                Err(throttled(ThrottleReason::QueueFull, load.waiting_max as u64, load.waiting as u64))
            }
        }
    }

    /// Begins to bind as many instances as would help those who wait.
    fn supply(&self, aged: bool) {
        let mut aged = aged;
        while self.wants_bind(aged) {
            let Some(lane) = self.this.upgrade() else { return };
            // Not under the lock: making room may end an instance of any lane.
            let Some(room) = self.dispatcher.room() else {
                self.wait_for_room();
                return;
            };
            {
                let mut state = self.state();
                if !self.wants_bind_in(&state, aged) {
                    // `room` is dropped after the lock.
                    drop(state);
                    continue;
                }
                state.instances += 1;
                state.binding += 1;
            }
            // One caller's age is a reason for one bind.
            aged = false;
            let seat = Seat { lane: self.this.clone(), _room: room };
            self.dispatcher.handle.spawn(async move { lane.bind(seat).await });
        }
    }

    fn wait_for_room(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_hungry, true) {
            self.dispatcher.hungry.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.this.clone());
        }
    }

    /// There may be room now; false if nobody waits for it any more.
    pub(super) fn fed(&self) -> bool {
        let is_wanted = {
            let mut state = self.state();
            state.is_hungry = false;
            state.waiting.len() > state.binding
        };
        self.supply(true);
        is_wanted
    }

    async fn bind(self: Arc<Lane>, seat: Seat) {
        let bound = self.bind_shell().await;
        self.state().binding -= 1;
        match bound {
            Ok(instance) => {
                smooth(&self.dispatcher.bind_us, instance.bind);
                self.give_back(instance, seat);
            }
            Err(why) => {
                tracing::error!(%why, "a shell cannot be bound");
                drop(seat);
                // Someone must hear of it, or callers would wait while binds fail for ever.
                let refusal = Refusal::Platform(format!("no instance can be made: {why}"));
                loop {
                    let next = self.state().waiting.pop_front();
                    if next.is_none_or(|turn| turn.send(Err(refusal.clone())).is_ok()) {
                        return;
                    }
                }
            }
        }
    }

    async fn bind_shell(&self) -> Result<Instance, String> {
        let _one_of_few = self.dispatcher.binds.acquire().await.map_err(|error| error.to_string())?;
        let mut gone = String::new();
        for _ in 0..limits::SHELL_TRIES {
            let shell = self.dispatcher.pool.take().await?;
            let stream = crate::invoke::log_stream(self.dispatcher.clock.unix_ms());
            match Instance::bind(shell, &self.binding, stream).await {
                Ok(instance) => return Ok(instance),
                Err(Gone::Ended(why)) => gone = why,
                Err(other) => return Err(other.to_string()),
            }
        }
        Err(gone)
    }

    /// Puts an instance where it is needed: to the one who waits for longest, else idle.
    pub(crate) fn give_back(&self, mut instance: Instance, seat: Seat) {
        instance.idle_since = self.dispatcher.clock.now();
        let mut held = Held { instance, seat };
        let Some(lane) = self.this.upgrade() else { return };
        loop {
            let mut state = self.state();
            let Some(turn) = state.waiting.pop_front() else {
                // Room that nobody here needs is for those who wait for it elsewhere.
                if !state.is_retired && !self.dispatcher.is_anyone_hungry() {
                    state.idle.push(held);
                    return;
                }
                drop(state);
                return drop(held);
            };
            drop(state);
            match turn.send(Ok(Lease { lane: lane.clone(), held: Some(held) })) {
                Ok(()) => return,
                Err(Ok(mut lease)) => match lease.held.take() {
                    Some(back) => held = back,
                    None => return,
                },
                Err(Err(_)) => return,
            }
        }
    }

    /// How long an invocation had an instance.
    pub(crate) fn served(&self, service: Duration) {
        smooth(&self.service_us, service);
    }

    /// The working set of its snapshot.
    pub(crate) fn working_set(&self) -> &WorkingSet {
        &self.binding.working_set
    }

    /// Counts a reset.
    pub(crate) fn was_reset(&self) {
        self.dispatcher.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an instance that had to be ended.
    pub(crate) fn failed(&self) {
        self.dispatcher.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs something for an instance of this lane, on nobody's path.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.dispatcher.handle.spawn(work);
    }

    /// Ends what is idle, now and from now on. Those who wait are still served.
    pub(crate) fn retire(&self) {
        let idle = {
            let mut state = self.state();
            state.is_retired = true;
            std::mem::take(&mut state.idle)
        };
        drop(idle);
    }

    /// Since when the oldest idle instance is idle.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state().idle.first().map(|held| held.instance.idle_since)
    }

    /// Ends the oldest idle instance; false if there is none.
    pub(super) fn drop_oldest(&self) -> bool {
        let oldest = {
            let mut state = self.state();
            if state.idle.is_empty() { None } else { Some(state.idle.remove(0)) }
        };
        oldest.is_some()
    }

    /// Forgets callers who have gone.
    pub(super) fn forget_gone(&self) {
        self.state().waiting.retain(|turn| !turn.is_closed());
    }

    /// The lane, in numbers.
    pub(crate) fn load(&self) -> Load {
        self.load_of(&self.state())
    }

    fn load_of(&self, state: &State) -> Load {
        let bounds = &self.dispatcher.bounds;
        Load {
            idle: state.idle.len(),
            instances: state.instances,
            binding: state.binding,
            instances_max: bounds.instances_per_function_max,
            waiting: state.waiting.len(),
            waiting_max: bounds.queue_per_function,
        }
    }

    fn wants_bind(&self, aged: bool) -> bool {
        self.wants_bind_in(&self.state(), aged)
    }

    fn wants_bind_in(&self, state: &State, aged: bool) -> bool {
        let service = match self.service_us.load(Ordering::Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(us)),
        };
        wants_bind(self.load_of(state), service, self.dispatcher.bind_time(), aged)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered {
    Served(Lease),
    Waits(oneshot::Receiver<Result<Lease, Refusal>>),
}

impl Lease {
    /// The instance, to be given back with its seat, or dropped before it.
    pub(crate) fn take(mut self) -> Option<(Instance, Seat)> {
        self.held.take().map(|held| (held.instance, held.seat))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(Held { instance, seat }) = self.held.take() {
            self.lane.give_back(instance, seat);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.upgrade() {
            lane.state().instances -= 1;
            lane.supply(false);
        }
    }
}
