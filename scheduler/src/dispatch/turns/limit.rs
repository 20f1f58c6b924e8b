//! How many processors' worth of invocations may run: as many as there are processors, and more while processors idle though somebody waits.
//!
//! What an invocation needs is a guess from those before it. A function that waits for something other than a processor is found out after its
//! first invocation; until then, and where the guess is wrong, idle processors say that more can run.

use super::TurnLoad;

/// What has been seen since the last look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Part of the processors' time that nobody used.
    pub(crate) idle: f64,
    /// How many waited, at the end.
    pub(crate) waiting: usize,
    /// Processors that those who run are taken to use, at the end.
    pub(crate) used: f64,
}

/// Less idle time than this is none: with a burst in between, a busy machine has a little.
const IDLE: f64 = 0.10;
/// Less idle time than this means that there is no room at all.
const BUSY: f64 = 0.03;
/// A limit that is raised by less than this has come back.
const RAISED: f64 = 0.01;

/// Whether a look can change the limit.
pub(crate) fn may_change(load: TurnLoad, processors: f64) -> bool {
    load.waiting > 0 || (load.running > 0 && load.limit > processors + RAISED)
}

/// The limit after a look.
pub(crate) fn next(limit: f64, processors: f64, most: f64, seen: Seen) -> f64 {
    if seen.waiting > 0 && seen.idle > IDLE {
        let from = limit.max(seen.used);
        return (from + (from * seen.idle).max(1.0)).min(most);
    }
    if seen.idle < BUSY {
        return (limit - (limit - processors) / 8.0).max(processors);
    }
    limit
}
