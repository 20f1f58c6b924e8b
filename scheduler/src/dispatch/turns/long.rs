//! Which of those that run have done so for long.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::order::{Grant, LaneId};
use crate::clock::Instant;

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Long {
    /// Processors that long ones are taken to use, all together.
    pub(super) used: f64,
    /// How many long ones there are.
    count: usize,
    next: u64,
    running: HashMap<u64, Run>,
    /// Those that were not long at the last look, by their begin; some have ended since, or wait for an instance.
    young: VecDeque<(Instant, u64)>,
}

#[derive(Debug)]
struct Run {
    lane: LaneId,
    demand: f64,
    is_long: bool,
    /// Since when it has an instance; none while it waits for one.
    began: Option<Instant>,
}

impl Long {
    /// One begins; returns its number.
    pub(super) fn began(&mut self, lane: LaneId, demand: f64, at: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.running.insert(number, Run { lane, demand, is_long: false, began: Some(at) });
        // One that is known to be long is taken to have begun earlier, and goes in front.
        if self.young.back().is_some_and(|(begun, _)| *begun > at) {
            self.young.push_front((at, number));
        } else {
            self.young.push_back((at, number));
        }
        number
    }

    /// One ends; whether it was long.
    pub(super) fn ended(&mut self, grant: &Grant) -> bool {
        let is_long = self.running.remove(&grant.number).is_some_and(|run| run.is_long);
        if is_long {
            self.count -= 1;
            // Sums of fractions are not exact.
            self.used = if self.count == 0 { 0.0 } else { self.used - grant.demand };
        }
        is_long
    }

    /// The next one that has become long since the last look: its lane, and what it uses.
    pub(super) fn next(&mut self, now: Instant, long: Duration) -> Option<(LaneId, f64)> {
        while self.young.front().is_some_and(|(began, _)| now.saturating_duration_since(*began) >= long) {
            let (_, number) = self.young.pop_front()?;
            let found = self.found(number);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Lanes with one that has an instance, and has run for longer than is `long` for its lane.
    pub(super) fn lanes(&self, now: Instant, long: impl Fn(LaneId) -> Duration) -> HashSet<LaneId> {
        let runs_for = |run: &Run| run.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        self.running.values().filter(|run| runs_for(run) >= long(run.lane)).map(|run| run.lane).collect()
    }

    /// The one of that number waits for an instance from now on, and counts as long: as [`Long::found`].
    pub(super) fn waits(&mut self, number: u64) -> Option<(LaneId, f64)> {
        self.running.get_mut(&number)?.began = None;
        self.found(number)
    }

    /// It has one now.
    pub(super) fn goes_on(&mut self, number: u64, now: Instant) {
        if let Some(run) = self.running.get_mut(&number).filter(|run| run.began.is_none()) {
            run.began = Some(now);
        }
    }

    /// The one of that number counts as long from now on, if it runs and did not before: its lane, and what it uses.
    fn found(&mut self, number: u64) -> Option<(LaneId, f64)> {
        let run = self.running.get_mut(&number).filter(|run| !run.is_long)?;
        run.is_long = true;
        self.count += 1;
        self.used += run.demand;
        Some((run.lane, run.demand))
    }
}
