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
//! A lane can also be told to have instances before anyone calls ([`ahead`]).

mod ahead;
mod back_off;
mod lease;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::Ordering},
};

use ahead::Ahead;
#[cfg(test)]
pub(super) use ahead::Progress;
use back_off::BackOff;
use lease::Held;
pub(crate) use lease::{Lease, Seat};
use tokio::sync::oneshot;

use super::{
    Dispatcher, NoRoom,
    turns::{LaneId, Turn, timed_out},
};
use crate::{
    clock::Instant,
    instance::Instance,
    limits,
    machine::{Binding, Gone, WorkingSet},
    refusal::Refusal,
    shares::Share,
};

/// Instances of one function revision.
pub(crate) struct Lane {
    this: Weak<Lane>,
    dispatcher: Arc<Dispatcher>,
    binding: Binding,
    /// What its instances get of the processors.
    share: Share,
    /// Its line among those who wait for a turn.
    line: LaneId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last one first: it is the one whose memory is in the caches.
    idle: Vec<Held>,
    waiting: VecDeque<oneshot::Sender<Result<Lease, Refusal>>>,
    instances: usize,
    binding: usize,
    /// Instances that are being reset or trimmed.
    away: usize,
    ahead: Ahead,
    back_off: BackOff,
    /// Nothing is kept idle any more.
    is_retired: bool,
}

/// A lane, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    /// Instances that wait for an event.
    pub(crate) idle: usize,
    /// All instances, those that are being bound included.
    pub(crate) instances: usize,
    /// Those who have a turn, and wait for an instance.
    pub(crate) waiting: usize,
}

impl Lane {
    /// A lane without instances.
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, binding: Binding, share: Share) -> Arc<Lane> {
        let lane = Arc::new_cyclic(|this| Lane {
            this: this.clone(),
            dispatcher: dispatcher.clone(),
            line: dispatcher.turns.add(binding.memory_bytes >> 20),
            binding,
            share,
            state: Mutex::new(State::default()),
        });
        dispatcher.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lane));
        lane
    }

    /// Its line among those who wait for a turn.
    pub(super) fn line(&self) -> LaneId {
        self.line
    }

    /// What its instances get of the processors.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// The right to run, when it is this caller's turn.
    pub(crate) async fn turn(&self) -> Result<Turn, Refusal> {
        self.dispatcher.turns.take(self.line).await
    }

    /// Why an invocation that came now would be refused, if it would.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.dispatcher.turns.refusal(self.line)
    }

    /// An instance for one whose turn it is: at once if one is idle, else as soon as there is one.
    pub(crate) async fn acquire(&self, turn: &Turn) -> Result<Lease, Refusal> {
        let waits = match self.enter()? {
            Entered::Served(lease) => return Ok(lease),
            Entered::Waits(waits) => waits,
        };
        turn.stand_aside();
        self.supply();
        let wait_max = self.dispatcher.bounds.queue_wait_max;
        match tokio::time::timeout(wait_max, waits).await {
            Ok(served) => {
                turn.go_on();
                served.unwrap_or(Err(Refusal::ShuttingDown))
            }
            Err(_) => Err(timed_out(wait_max, wait_max)),
        }
    }

    fn enter(&self) -> Result<Entered, Refusal> {
        let lane = self.this.upgrade().ok_or(Refusal::ShuttingDown)?;
        let mut state = self.state();
        // First come, first served: nobody overtakes those who wait.
        if state.waiting.is_empty() && !state.idle.is_empty() {
            let held = state.idle.pop();
            return Ok(Entered::Served(Lease { lane: lane.clone(), held }));
        }
        let (turn, waits) = oneshot::channel();
        state.waiting.push_back(turn);
        Ok(Entered::Waits(waits))
    }

    /// Begins to bind as many instances as would help those who wait.
    fn supply(&self) {
        while self.wants_bind(&self.state()) {
            let Some(lane) = self.this.upgrade() else { return };
            // Not under the lock: making room may end an instance of any lane.
            let room = match self.dispatcher.room(self.binding.memory_bytes) {
                Ok(room) => room,
                Err(none) => return self.no_room(none),
            };
            let is_spare = {
                let mut state = self.state();
                if !self.wants_bind(&state) {
                    drop(state); // before `room`
                    continue;
                }
                let is_spare = state.wants_spare();
                state.instances += 1;
                state.binding += 1;
                is_spare
            };
            let seat = Seat { lane: self.this.clone(), tenant: Arc::default(), room };
            self.dispatcher.handle.spawn(async move { lane.bind(seat, is_spare).await });
        }
    }

    /// Waits until there may be room; or, if there never is, refuses those who wait, unless there are instances that they may wait for.
    fn no_room(&self, NoRoom { until, refusal }: NoRoom) {
        let queue = self.dispatcher.queue(until);
        let Some(refusal) = refusal else { return queue.add(&self.this) };
        let waiting = {
            let mut state = self.state();
            if state.wants_ahead() {
                state.pause_ahead(self.dispatcher.clock.now(), "The host has too little memory for it.".into());
            }
            if !state.waiting.is_empty() && state.instances > 0 {
                drop(state);
                return queue.add(&self.this);
            }
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(|turn| drop(turn.send(Err(refusal.clone()))));
    }

    /// There may be room now; false if nobody waits for it any more.
    pub(super) fn fed(&self) -> bool {
        let is_wanted = self.wants_bind(&self.state());
        self.supply();
        is_wanted
    }

    async fn bind(self: Arc<Lane>, mut seat: Seat, is_spare: bool) {
        let wait = self.state().back_off.wait(self.dispatcher.clock.now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let of_spare = is_spare.then(|| self.binding_of_spare());
        let bound = self.bind_shell(of_spare.as_ref().unwrap_or(&self.binding)).await;
        self.state().binding -= 1;
        match bound {
            Ok(mut instance) => {
                instance.is_spare = is_spare;
                seat.room.bound();
                self.state().ahead_goes_well();
                seat.tenant = self.dispatcher.tenants.add(instance.pid());
                self.give_back(instance, seat);
                self.supply();
            }
            Err(why) => {
                tracing::error!(%why, "a shell cannot be bound");
                // Before its place is free, or the next would be bound at once, and fail.
                self.state().pause_ahead(self.dispatcher.clock.now(), why.clone());
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

    async fn bind_shell(&self, binding: &Binding) -> Result<Instance, String> {
        let _one_of_few = self.dispatcher.binds.acquire().await.map_err(|error| error.to_string())?;
        let mut gone = String::new();
        for _ in 0..limits::SHELL_TRIES {
            let shell = self.dispatcher.pool.take_for(binding).await?;
            let stream = crate::invoke::log_stream(self.dispatcher.clock.unix_ms());
            // The share while the machine is busy with the bind: it takes a moment too, on nobody's path.
            let pid = shell.pid();
            let bind = Instance::bind(shell, binding, stream);
            let (bound, member) = tokio::join!(biased; bind, async { self.share.admit(pid) });
            match bound {
                Ok(instance) => return Ok(instance.with_share(member)),
                Err(Gone::Ended(why)) => gone = why,
                Err(other) => return Err(other.to_string()),
            }
        }
        Err(gone)
    }

    /// Puts an instance where it is needed: to the one who waits for longest, else idle.
    pub(crate) fn give_back(&self, mut instance: Instance, seat: Seat) {
        instance.idle_since = self.dispatcher.clock.now();
        self.put(Held { instance, seat });
    }

    fn put(&self, mut held: Held) {
        let Some(lane) = self.this.upgrade() else { return };
        loop {
            let mut state = self.state();
            if held.instance.served > 0 {
                state.back_off.went_well();
            }
            let Some(turn) = state.waiting.pop_front() else {
                // Room that nobody here needs is for those who wait for it elsewhere.
                if !state.is_retired && (!state.has_spare() || self.dispatcher.until_freed.is_empty()) {
                    if held.instance.served == 0 {
                        held.instance.is_ahead = true;
                        held.instance.is_provisioned = !state.has_spare();
                    }
                    let is_spare = ahead::is_unused(&held);
                    let at = state.idle.partition_point(|other| other.instance.idle_since <= held.instance.idle_since);
                    state.idle.insert(at, held);
                    drop(state);
                    if is_spare {
                        self.dispatcher.spares.add(self.this.clone());
                    }
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

    /// The working set of its snapshot.
    pub(crate) fn working_set(&self) -> &WorkingSet {
        &self.binding.working_set
    }

    /// Size of its function's snapshot.
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        self.binding.top.as_ref().map_or(0, |top| top.data_bytes())
    }

    /// An instance is being reset: one who waits may as well wait for it.
    pub(crate) fn reset_begins(&self) {
        self.state().away += 1;
    }

    /// Counts a reset.
    pub(crate) fn reset_ended(&self) {
        self.state().away -= 1;
        self.dispatcher.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an instance that had to be ended.
    pub(crate) fn failed(&self) {
        self.state().back_off.failed();
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
            state.ahead = Ahead::default();
            std::mem::take(&mut state.idle)
        };
        drop(idle);
    }

    /// Since when the oldest idle instance is idle, if it may be ended.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        state.idle.first().filter(|_| state.has_spare()).map(|held| held.instance.idle_since)
    }

    /// Ends the oldest idle instance; false if there is none that may be ended.
    pub(super) fn drop_oldest(&self) -> bool {
        let oldest = {
            let mut state = self.state();
            if state.idle.is_empty() || !state.has_spare() { None } else { Some(state.idle.remove(0)) }
        };
        oldest.is_some()
    }

    /// Lets an instance that has been idle since `then` or longer give back memory that it needs only to be fast; false if there is none left.
    pub(super) fn trim_one(&self, then: Instant) -> bool {
        let Some(lane) = self.this.upgrade() else { return false };
        let held = {
            let mut state = self.state();
            let is_due =
                |held: &Held| !held.instance.is_trimmed && held.instance.idle_since <= then && !ahead::is_unused(held);
            let Some(at) = state.idle.iter().position(is_due) else { return false };
            state.away += 1;
            state.idle.remove(at)
        };
        self.spawn(async move {
            let Held { instance, seat } = held;
            let trimmed = instance.trim().await;
            lane.state().away -= 1;
            match trimmed {
                Ok(instance) => lane.put(Held { instance, seat }),
                Err(why) => {
                    tracing::error!(%why, "an idle instance is gone");
                    lane.failed();
                }
            }
        });
        true
    }

    /// Forgets callers who have gone.
    pub(super) fn forget_gone(&self) {
        self.state().waiting.retain(|turn| !turn.is_closed());
    }

    /// The lane, in numbers.
    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        Load { idle: state.idle.len(), instances: state.instances, waiting: state.waiting.len() }
    }

    /// Whether somebody waits for whom no instance is on its way, or one is wanted ahead. Those who wait all have a turn: what they wait for can run.
    fn wants_bind(&self, state: &State) -> bool {
        let coming = state.binding + state.away;
        let is_awaited =
            state.waiting.len() > coming && state.instances < self.dispatcher.bounds.instances_per_function_max;
        // Who waits to be bound keeps room from others: of a lane whose machines end badly, one does.
        let is_enough = state.binding > 0 && state.back_off.is_slow();
        !is_enough && (is_awaited || state.wants_ahead())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entered {
    Served(Lease),
    Waits(oneshot::Receiver<Result<Lease, Refusal>>),
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.dispatcher.turns.remove(self.line);
    }
}
