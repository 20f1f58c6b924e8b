//! Who runs next, who waits, who is refused: decisions without locks, clocks or machines.
//!
//! A machine that runs more at a time than it has processors for completes no more, only later. So invocations take turns: those that run
//! may use `limit` processors together, each as much as its function's invocations did before. What waits stands in line with others of its
//! function, in the order of arrival; among functions, the one that had least of the processors for its weight is next.
//!
//! An invocation that runs for long does not hold up other functions: after a while, or from the start if its function is known for that, it counts
//! for its own function alone, and others run beside it. What each of them gets then is the kernel's to divide, by their shares.
//!
//! A line may be long for a moment: bursts are served. If those that leave it have waited for too long for half a second on end, the
//! function is overloaded until its line is empty again, and only those are let in that can expect a short wait: the longer the line, the
//! later all of them, and no answer more. A line that was overloaded just before is so again sooner.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{backlog::Backlog, line::Line, long::Long};
use crate::{
    clock::Instant,
    refusal::{Refusal, ThrottleReason},
};

/// A lane.
pub(crate) type LaneId = u64;

/// What bounds the lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Most that wait in one line.
    pub(crate) waiting_max: usize,
    /// Longest wait.
    pub(crate) wait_max: Duration,
    /// A wait is too long if it is longer than this many times what an invocation of the function takes…
    pub(crate) patience: u32,
    /// … and longer than this.
    pub(crate) patience_min: Duration,
    /// Where this is less, a wait is too long if it is longer than this, and than three times what an invocation takes.
    pub(crate) patience_max: Duration,
    /// Waits that are too long for so long mean overload.
    pub(crate) overloaded_after: Duration,
    /// Who runs for longer does not hold up others.
    pub(crate) long: Duration,
}

/// Somebody who waits for his turn.
pub(crate) trait Waits {
    /// He does not wait any more.
    fn is_gone(&self) -> bool;
}

/// The lines of all lanes.
pub(crate) struct Order<W> {
    rules: Rules,
    processors: f64,
    /// Processors that may be in use: as many, or more where those who run sleep.
    limit: f64,
    /// Processors that those who run are taken to use.
    used: f64,
    running: usize,
    waiting: usize,
    /// The virtual time, where a line begins that had nothing to do: of the last one that had a turn.
    now: u64,
    lines: HashMap<LaneId, Line<W>>,
    long: Long,
    backlog: Backlog,
}

/// The right to run. Must be given back.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(super) number: u64,
    lane: LaneId,
    pub(super) demand: f64,
    /// What the line was charged for it.
    charged: Duration,
}

/// How a turn went by.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ran {
    /// From its start to its end.
    pub(crate) all: Duration,
    /// Of that, until an instance was bound.
    pub(crate) bind: Duration,
    /// Of that, the guest slept.
    pub(crate) slept: Duration,
    /// The processor time that it took, however long it had to wait for that; none if that is not known.
    pub(crate) computed: Option<Duration>,
    /// It was ended, or lost.
    pub(crate) is_cut_short: bool,
}

impl Ran {
    /// What others could not have of a processor because of it. A process may say of itself what it wants: not more than was seen from here.
    fn busy(&self) -> Duration {
        let awake = self.all.saturating_sub(self.slept);
        self.computed.map_or(awake, |computed| (self.bind + computed).min(awake))
    }
}

/// What becomes of one who enters.
pub(crate) enum Entered {
    /// He runs.
    Granted(Grant),
    /// He waits.
    Waits,
    /// He is not let in.
    Refused(Refusal),
}

/// One who need not wait any more.
pub(crate) struct Called<W> {
    pub(crate) who: W,
    pub(crate) with: Result<Grant, Refusal>,
}

impl<W: Waits> Order<W> {
    pub(crate) fn new(rules: Rules, processors: f64) -> Order<W> {
        Order {
            rules,
            processors,
            limit: processors,
            used: 0.0,
            running: 0,
            waiting: 0,
            now: 0,
            lines: HashMap::new(),
            long: Long::default(),
            backlog: Backlog::default(),
        }
    }

    /// Adds a lane.
    pub(crate) fn add(&mut self, lane: LaneId, weight: u64) {
        self.lines.insert(lane, Line::new(weight, self.now));
    }

    /// Forgets a lane. Nobody waits for it any more.
    pub(crate) fn remove(&mut self, lane: LaneId) {
        if let Some(line) = self.lines.remove(&lane) {
            self.backlog.remove(line.virtual_time, lane, line.weight);
            self.waiting -= line.waiting.len();
        }
    }

    /// Somebody comes. `who` is made only if he has to wait.
    pub(crate) fn enter(&mut self, lane: LaneId, now: Instant, who: impl FnOnce() -> W) -> Entered {
        self.find_long(now);
        if self.sweep(lane, now) && self.may_run_at_once(lane, now) {
            return Entered::Granted(self.grant(lane, now));
        }
        if let Some(refusal) = self.refusal(lane, now) {
            return Entered::Refused(refusal);
        }
        let Some(line) = self.lines.get_mut(&lane) else { return Entered::Refused(Refusal::ShuttingDown) };
        if line.waiting.is_empty() {
            line.last_turn = None;
            self.backlog.insert(line.virtual_time, lane, line.weight);
        }
        line.waiting.push_back((now, who()));
        self.waiting += 1;
        Entered::Waits
    }

    /// Whether there is room for one whose line is empty, and nobody waits for it whose turn is before his.
    fn may_run_at_once(&mut self, lane: LaneId, now: Instant) -> bool {
        let Some(line) = self.lines.get_mut(&lane) else { return false };
        // Who had nothing to do for long has saved nothing up. Who has less to do than his share goes first, for a little while.
        let most = owed_max(self.backlog.weight() + line.weight);
        let saved = if line.ran_lately(now) { most / SAVED_PART } else { 0 };
        line.virtual_time = line.virtual_time.clamp(self.now.saturating_sub(saved), self.now.saturating_add(most));
        let virtual_time = line.virtual_time;
        self.has_room(lane) && self.next_lane().is_none_or(|(earliest, _)| earliest > virtual_time)
    }

    /// Forgets those who do not wait any more; whether nobody waits in this line now.
    fn sweep(&mut self, lane: LaneId, now: Instant) -> bool {
        let Some(line) = self.lines.get_mut(&lane) else { return true };
        self.waiting -= line.forget_gone(now);
        let is_empty = line.waiting.is_empty();
        if is_empty {
            self.backlog.remove(line.virtual_time, lane, line.weight);
            line.rest(now);
        }
        is_empty
    }

    /// Why one who came now would not be let in; `None`: he would.
    pub(crate) fn refusal(&mut self, lane: LaneId, now: Instant) -> Option<Refusal> {
        if self.sweep(lane, now) {
            return None;
        }
        let line = self.lines.get_mut(&lane)?;
        let ahead = line.waiting.len();
        if ahead >= self.rules.waiting_max {
            let (most, wait) = (self.rules.waiting_max as u64, line.expected(ahead));
            return Some(Refusal::throttled(ThrottleReason::QueueFull, most, ahead as u64, wait));
        }
        line.look(&self.rules, now);
        let (wait, patience) = (line.expected(ahead + 1), line.patience(&self.rules));
        (line.is_overloaded && wait > patience).then(|| overloaded(patience, wait))
    }

    /// Somebody has run.
    pub(crate) fn leave(&mut self, grant: Grant, ran: Ran) {
        self.running -= 1;
        self.used -= grant.demand;
        if self.running == 0 {
            // Sums of fractions are not exact, and what let more run says nothing about those who come next.
            (self.used, self.limit) = (0.0, self.processors);
        }
        let was_long = self.long.ended(&grant);
        let Some(line) = self.lines.get_mut(&grant.lane) else { return };
        if was_long {
            line.long = (line.long - grant.demand).max(0.0);
        }
        // One that was ended says nothing about others.
        if !ran.is_cut_short {
            // The next one may find an instance that is bound, and nobody who has the processor when it wants it.
            let awake = ran.all.saturating_sub(ran.bind).saturating_sub(ran.slept);
            let computed = ran.computed.unwrap_or(awake).min(awake);
            let service = ran.slept + computed;
            line.service.add(service);
            line.computed.add(computed);
            let demand = if service.is_zero() { 1.0 } else { computed.as_secs_f64() / service.as_secs_f64() };
            let demand = demand.max(DEMAND_MIN);
            line.demand = Some(line.demand.map_or(demand, |before| before + (demand - before) / 8.0));
        }
        // It was charged what such a run takes, before; now it is known.
        let is_waiting = self.backlog.remove(line.virtual_time, grant.lane, line.weight);
        let most = self.now.saturating_add(owed_max(self.backlog.weight() + line.weight));
        line.virtual_time = line
            .virtual_time
            .saturating_add(charge(ran.busy(), line.weight))
            .saturating_sub(charge(grant.charged, line.weight))
            .min(most);
        if is_waiting {
            self.backlog.insert(line.virtual_time, grant.lane, line.weight);
        }
    }

    /// The next one whose wait has ended, if there is one.
    pub(crate) fn call(&mut self, now: Instant) -> Option<Called<W>> {
        self.find_long(now);
        while let Some((virtual_time, lane)) = self.next_lane() {
            let line = self.lines.get_mut(&lane)?;
            let (since, who) = line.waiting.pop_front()?;
            self.waiting -= 1;
            let waited = now.saturating_duration_since(since);
            line.look(&self.rules, now);
            let is_empty = line.waiting.is_empty();
            if is_empty {
                self.backlog.remove(virtual_time, lane, line.weight);
            }
            if who.is_gone() {
                if is_empty {
                    line.rest(now);
                }
                continue;
            }
            let patience = line.patience(&self.rules);
            if waited > patience {
                let with = Err(if line.is_overloaded {
                    overloaded(patience, waited)
                } else {
                    timed_out(self.rules.wait_max, line.expected(1))
                });
                if is_empty {
                    line.rest(now);
                }
                return Some(Called { who, with });
            }
            line.had_turn(now);
            if is_empty {
                line.rest(now);
            }
            return Some(Called { who, with: Ok(self.grant(lane, now)) });
        }
        None
    }

    fn grant(&mut self, lane: LaneId, now: Instant) -> Grant {
        self.running += 1;
        let Some(line) = self.lines.get_mut(&lane) else {
            self.used += 1.0;
            return Grant { number: self.long.began(lane, 1.0, now), lane, demand: 1.0, charged: Duration::ZERO };
        };
        line.ran = Some(now);
        let demand = line.demand.unwrap_or(1.0);
        let charged = line.computed.value().unwrap_or_default().min(OWED_MAX);
        let is_waiting = self.backlog.remove(line.virtual_time, lane, line.weight);
        // Who could not run for long, because of long ones of his own, does not have all of that ahead of others then.
        let most = owed_max(self.backlog.weight() + line.weight);
        let begins = line.virtual_time.max(self.now.saturating_sub(most));
        line.virtual_time = begins.saturating_add(charge(charged, line.weight));
        // Time goes on with each turn, also where nobody had to wait for it: else whoever comes next would have all that those have had who were alone before.
        self.now = self.now.max(begins);
        if is_waiting {
            self.backlog.insert(line.virtual_time, lane, line.weight);
        }
        self.used += demand;
        let computes = line.computed.value();
        // As if it had begun earlier, if it is known that it will be long: not where it only was in a crowd.
        let is_long = computes.is_some_and(|computes| computes > self.rules.long);
        let began = if is_long { now.checked_sub(self.rules.long).unwrap_or(now) } else { now };
        Grant { number: self.long.began(lane, demand, began), lane, demand, charged }
    }

    /// The line whose turn is next, if there is room for it. Only those may be passed over that have long ones of their own, or will have one too many.
    fn next_lane(&self) -> Option<(u64, LaneId)> {
        if !self.is_room(self.long.used) {
            return None;
        }
        self.backlog.iter().find(|&(_, lane)| self.has_room(lane))
    }

    fn has_room(&self, lane: LaneId) -> bool {
        let Some(line) = self.lines.get(&lane) else { return self.is_room(self.long.used) };
        // What is known to become long needs room among those that are: else it would take that of the short ones, for as long as it runs.
        let is_known_long = line.computed.value().is_some_and(|computes| computes > self.rules.long);
        let is_crowded = is_known_long && self.long.used + ROUNDING > self.processors * LONG_MAX;
        self.is_room(self.long.used - line.long) && (self.running == 0 || !is_crowded)
    }

    /// Whether there is room beside those that run, but for so many processors' worth of long ones.
    fn is_room(&self, beside: f64) -> bool {
        self.running == 0 || self.used - beside + ROUNDING < self.limit
    }

    fn find_long(&mut self, now: Instant) {
        while let Some(found) = self.long.next(now, self.rules.long) {
            self.count_long(found);
        }
    }

    /// One that runs waits for an instance: that takes its time, and is not to hold up others.
    pub(crate) fn stand_aside(&mut self, grant: &Grant) {
        if let Some(found) = self.long.waits(grant.number) {
            self.count_long(found);
        }
    }

    /// It has one now, and computes.
    pub(crate) fn go_on(&mut self, grant: &Grant, now: Instant) {
        self.long.goes_on(grant.number, now);
    }

    fn count_long(&mut self, (lane, demand): (LaneId, f64)) {
        if let Some(line) = self.lines.get_mut(&lane) {
            line.long += demand;
        }
    }

    /// Lanes that have run lately, and whether they run for long now; none at all if there are not both kinds.
    pub(crate) fn lately(&self, now: Instant) -> Vec<(LaneId, bool)> {
        let is_known_short = |lane: &LaneId| {
            let computes = self.lines.get(lane).and_then(|line| line.computed.value());
            computes.is_some_and(|computes| computes <= self.rules.long)
        };
        let mut long = self.long.lanes(now, |lane| self.rules.long * if is_known_short(&lane) { CROWD } else { 1 });
        let late = self.lines.iter().filter(|(_, line)| line.ran_lately(now)).map(|(&lane, _)| lane);
        let mut short: HashSet<LaneId> = late.filter(|lane| !long.contains(lane)).collect();
        if short.is_empty() {
            // Those that are known for short runs run for long because of the others.
            (short, long) = long.into_iter().partition(is_known_short);
        }
        if short.is_empty() || long.is_empty() {
            return Vec::new();
        }
        long.into_iter().map(|lane| (lane, true)).chain(short.into_iter().map(|lane| (lane, false))).collect()
    }

    /// Sets how many processors may be in use.
    pub(crate) fn set_limit(&mut self, limit: f64) {
        self.limit = limit;
    }

    /// Processors that may be in use, those that are taken to be in use, and how many run and wait.
    pub(crate) fn load(&self) -> (f64, f64, usize, usize) {
        (self.limit, self.used, self.running, self.waiting)
    }
}

/// Sums of fractions are not exact.
const ROUNDING: f64 = 1e-6;
/// So many times as long as long ones run those of a function that is known for short ones, until they are taken for long and not for held up by others.
const CROWD: u32 = 10;
/// What lines owe each other is made up for within this much of a processor: what lies further back is forgotten, as in the shares of the processors.
const OWED_MAX: Duration = Duration::from_millis(500);
/// Of what a line may be owed, this part is kept for it while it has nothing to do: enough for those who come at once, too little for a flood.
const SAVED_PART: u64 = 5;
/// However long it sleeps, an invocation uses this much of a processor.
const DEMAND_MIN: f64 = 0.02;
/// Of those that are known to be long so many run beside what has its turn on each processor: more only make each other slow.
const LONG_MAX: f64 = 7.0;

/// Virtual time for processor time.
fn charge(busy: Duration, weight: u64) -> u64 {
    (busy.as_nanos() as u64).saturating_mul(1024) / weight
}

/// The virtual time that goes by in [`OWED_MAX`], where lines of so much weight together wait.
fn owed_max(weights: u64) -> u64 {
    charge(OWED_MAX, weights)
}

fn overloaded(patience: Duration, wait: Duration) -> Refusal {
    Refusal::throttled(ThrottleReason::Overload, patience.as_millis() as u64, wait.as_millis() as u64, wait)
}

/// The longest wait is over.
pub(crate) fn timed_out(wait_max: Duration, retry_after: Duration) -> Refusal {
    let ms = wait_max.as_millis() as u64;
    Refusal::throttled(ThrottleReason::QueueTimeout, ms, ms, retry_after)
}
