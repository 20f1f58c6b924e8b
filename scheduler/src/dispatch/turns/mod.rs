//! Turns: how many invocations run at a time, and whose turn is next.
//!
//! [`order`] decides who, [`long`] who does not count for others, [`limit`] how many. Here are the lock, the wake-ups and the look at the processors.

mod backlog;
mod limit;
mod line;
mod long;
mod order;
mod processors;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use order::{LaneId, Rules, timed_out};
use tokio::sync::oneshot;

use self::{
    limit::Seen,
    order::{Called, Entered, Grant, Order, Ran, Waits},
    processors::Ticks,
};
use crate::{
    clock::{Clock, Instant},
    limits,
    machine::Usage,
    refusal::Refusal,
    shares::Cpus,
};

/// The turns of all lanes.
pub(crate) struct Turns {
    order: Mutex<Order<Waiting>>,
    rules: Rules,
    clock: Clock,
    lanes: AtomicU64,
}

type Waiting = oneshot::Sender<Result<Turn, Refusal>>;

/// The right of one invocation to run. The next one is called when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    grant: Option<Grant>,
    began: Instant,
    ran: Option<Ran>,
}

/// Turns, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TurnLoad {
    /// Processors that may be in use.
    pub(crate) limit: f64,
    /// Invocations that have a turn.
    pub(crate) running: usize,
    /// Invocations that wait for one.
    pub(crate) waiting: usize,
}

impl Turns {
    /// Turns of a machine with so many processors.
    pub(crate) fn new(rules: Rules, processors: f64, clock: Clock) -> Arc<Turns> {
        Arc::new(Turns { order: Mutex::new(Order::new(rules, processors)), rules, clock, lanes: AtomicU64::new(0) })
    }

    /// Adds a lane with a weight against others.
    pub(crate) fn add(&self, weight: u64) -> LaneId {
        let lane = self.lanes.fetch_add(1, Ordering::Relaxed);
        self.order().add(lane, weight);
        lane
    }

    /// Forgets a lane.
    pub(crate) fn remove(&self, lane: LaneId) {
        self.order().remove(lane);
    }

    /// Why an invocation that came now would be refused, if it would.
    pub(crate) fn refusal(&self, lane: LaneId) -> Option<Refusal> {
        self.order().refusal(lane, self.clock.now())
    }

    /// A turn, as soon as it is this caller's.
    pub(crate) async fn take(self: &Arc<Self>, lane: LaneId) -> Result<Turn, Refusal> {
        let now = self.clock.now();
        let mut waits = None;
        let entered = self.order().enter(lane, now, || {
            let (turn, receiver) = oneshot::channel();
            waits = Some(receiver);
            turn
        });
        match (entered, waits) {
            (Entered::Granted(grant), _) => Ok(self.turn(grant, now)),
            (Entered::Refused(refusal), _) => Err(refusal),
            (Entered::Waits, Some(waits)) => {
                // Who runs may have become long just now, which makes room; or it is room that others were about to be called for.
                self.call();
                match tokio::time::timeout(self.rules.wait_max, waits).await {
                    Ok(called) => called.unwrap_or(Err(Refusal::ShuttingDown)),
                    Err(_) => Err(timed_out(self.rules.wait_max, Duration::ZERO)),
                }
            }
            (Entered::Waits, None) => Err(Refusal::ShuttingDown),
        }
    }

    fn turn(self: &Arc<Self>, grant: Grant, began: Instant) -> Turn {
        Turn { turns: self.clone(), grant: Some(grant), began, ran: None }
    }

    /// Lets those run whose turn it is.
    fn call(self: &Arc<Self>) {
        loop {
            let now = self.clock.now();
            // In a statement of its own: one who has gone gives his turn back, which takes the lock.
            let called = self.order().call(now);
            let Some(Called { who, with }) = called else { return };
            let _ = who.send(with.map(|grant| self.turn(grant, now)));
        }
    }

    /// The present numbers.
    pub(crate) fn load(&self) -> TurnLoad {
        let (limit, _, running, waiting) = self.order().load();
        TurnLoad { limit, running, waiting }
    }

    /// Lanes that have run lately, and whether they run for long now; none at all if there are not both kinds.
    pub(crate) fn lately(&self) -> Vec<(LaneId, bool)> {
        self.order().lately(self.clock.now())
    }

    fn order(&self) -> MutexGuard<'_, Order<Waiting>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.load())
    }
}

impl Waits for Waiting {
    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

impl Turn {
    /// There is no instance for it yet: until there is one, others may run.
    pub(crate) fn stand_aside(&self) {
        if let Some(grant) = &self.grant {
            self.turns.order().stand_aside(grant);
            self.turns.call();
        }
    }

    /// Has an instance now.
    pub(crate) fn go_on(&self) {
        if let Some(grant) = &self.grant {
            self.turns.order().go_on(grant, self.turns.clock.now());
        }
    }

    /// Notes how long it took to bind an instance, how long the guest slept (its processor was free for others meanwhile), and how long it computed.
    pub(crate) fn note(&mut self, bind: Duration, usage: &Usage) {
        let computed = Some(usage.computed).filter(|computed| !computed.is_zero());
        self.ran = Some(Ran { bind, slept: usage.slept, computed, ..Ran::default() });
    }

    /// Notes that it was ended, or lost.
    pub(crate) fn cut_short(&mut self) {
        self.ran = Some(Ran { is_cut_short: true, ..Ran::default() });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            // One of which nothing was noted had no instance.
            let none = Ran { is_cut_short: true, ..Ran::default() };
            let ran = self.ran.map_or(none, |ran| Ran { all: self.began.elapsed(), ..ran });
            self.turns.order().leave(grant, ran);
            self.turns.call();
        }
    }
}

/// Follows what the processors do that machines run on, until the turns are dropped. Looks only while that can change the limit, and on no
/// thread on which invocations are carried out.
pub(crate) async fn adapt(turns: Weak<Turns>, cpus: Cpus) {
    let cpus = Arc::new(cpus);
    let processors = cpus.count() as f64;
    let (mut seen, mut idle_lately) = (None, 0.0);
    loop {
        tokio::time::sleep(limits::TURNS_PERIOD).await;
        let Some(turns) = turns.upgrade() else { return };
        // Who runs may have become long.
        turns.call();
        if !limit::may_change(turns.load(), processors) {
            // What they did meanwhile says nothing about those who will wait next.
            (seen, idle_lately) = (None, 0.0);
            continue;
        }
        let mine = Arc::clone(&cpus);
        let Ok(ticks) = tokio::task::spawn_blocking(move || Ticks::now(&mine)).await else { continue };
        let Some(before) = seen.replace(ticks) else { continue };
        let idle = ticks.idle_since(before);
        idle_lately = limit::lately(idle_lately, idle);
        {
            let mut order = turns.order();
            let (limit, used, _, waiting) = order.load();
            order.set_limit(limit::next(
                limit,
                processors,
                limits::TURNS_MAX,
                Seen { idle, idle_lately, waiting, used },
            ));
        }
        turns.call();
    }
}
