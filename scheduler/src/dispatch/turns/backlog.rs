//! Lines with somebody in it, by their virtual time.

use std::collections::BTreeSet;

use super::LaneId;

/// Knows the weights of all of them together: so much virtual time goes by with each time of a processor.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    lines: BTreeSet<(u64, LaneId)>,
    weight: u64,
}

impl Backlog {
    pub(super) fn insert(&mut self, virtual_time: u64, lane: LaneId, weight: u64) {
        if self.lines.insert((virtual_time, lane)) {
            self.weight += weight;
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, virtual_time: u64, lane: LaneId, weight: u64) -> bool {
        let was_there = self.lines.remove(&(virtual_time, lane));
        if was_there {
            self.weight -= weight;
        }
        was_there
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// All of them, the one whose turn is next first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, LaneId)> + '_ {
        self.lines.iter().copied()
    }
}
