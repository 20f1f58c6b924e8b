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
    /// The same of the last few looks.
    pub(crate) idle_lately: f64,
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

/// What follows the idle time of look after look, a quarter of the way at a time. Between two looks the kernel counts five ticks, of which a machine that has
/// no time left may well idle for one.
pub(crate) fn lately(before: f64, idle: f64) -> f64 {
    before + (idle - before) / 4.0
}

/// Whether a look can change the limit.
pub(crate) fn may_change(load: TurnLoad, processors: f64) -> bool {
    load.waiting > 0 || (load.running > 0 && load.limit > processors + RAISED)
}

/// The limit after a look.
pub(crate) fn next(limit: f64, processors: f64, most: f64, seen: Seen) -> f64 {
    if seen.waiting > 0 && seen.idle.min(seen.idle_lately) > IDLE {
        let from = limit.max(seen.used);
        return (from + (from * seen.idle).max(1.0)).min(most);
    }
    if seen.idle < BUSY {
        return (limit - (limit - processors) / 8.0).max(processors);
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_follows_the_processors() {
        let seen = Seen { idle: 0.0, idle_lately: 0.5, waiting: 0, used: 2.0 };
        let next = |limit, seen| next(limit, 2.0, 1024.0, seen);
        assert_eq!(next(2.0, seen), 2.0);
        assert_eq!(next(2.0, Seen { idle: 1.0, ..seen }), 2.0, "nobody waits");
        assert_eq!(next(2.0, Seen { waiting: 9, ..seen }), 2.0, "nothing idles");
        assert_eq!(next(2.0, Seen { waiting: 9, idle: 0.05, ..seen }), 2.0);
        assert_eq!(next(2.0, Seen { waiting: 9, idle: 1.0, ..seen }), 4.0);
        assert_eq!(next(2.0, Seen { waiting: 9, idle: 0.2, idle_lately: 0.05, used: 2.0 }), 2.0, "for once");
        assert_eq!(next(2.0, Seen { waiting: 9, idle: 1.0, used: 30.0, ..seen }), 60.0, "from what runs already");
        assert_eq!(next(900.0, Seen { waiting: 9, idle: 1.0, ..seen }), 1024.0);
        let mut limit = 64.0;
        for _ in 0..60 {
            limit = next(limit, seen);
        }
        assert!((2.0..2.1).contains(&limit), "it comes back: {limit}");
    }

    #[test]
    fn a_tick_now_and_then_is_no_idle_time() {
        let looks = |idles: &[f64]| idles.iter().fold(0.0, |before, &idle| lately(before, idle));
        assert!(looks(&[0.2, 0.0, 0.0, 0.0].repeat(9)) < IDLE);
        assert!(looks(&[0.9]) > IDLE, "at once where nobody computes");
        assert!(looks(&[0.3, 0.3]) > IDLE);
    }

    #[test]
    fn an_idle_server_does_not_look_at_the_processors() {
        for (limit, running, waiting, looks) in [
            (2.0, 0, 0, false),
            (2.0, 2, 0, false),
            (2.0, 2, 1, true),
            (8.0, 1, 0, true),
            (8.0, 0, 0, false),
            (2.001, 2, 0, false),
        ] {
            let load = TurnLoad { limit, running, waiting };
            assert_eq!(may_change(load, 2.0), looks, "{load:?}");
        }
    }
}
