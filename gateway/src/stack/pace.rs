//! How fast refusals for load are told.
//!
//! A client who asks again at once when he is refused asks as often as he is answered. Thousands of them keep a processor busy with nothing
//! but refusals, and what has been let in waits for its turn in the server behind all of those. So only so many refusals are told a second; one
//! above that is told later, by some seconds at most: who does not wait by himself is made to.
//!
//! How many that may be, depends on what of the processors is the server's. Refusals that are told later than they were to be say that there is
//! less of it: then they become fewer, until they are in time.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Refusals that come so long before their time are told at once: bursts are no storm.
const AHEAD: Duration = Duration::from_millis(50);

/// One that is told so much too late has waited for the processor, behind others like it.
const LATE: Duration = Duration::from_millis(20);
/// What each that is late makes of the time from one to the next, and each that is not; and the most that comes of it.
const LONGER: f64 = 1.02;
const SHORTER: f64 = 0.995;
const STRETCH_MAX: f64 = 16.0;

/// The times of refusals.
#[derive(Debug)]
pub struct Pace {
    /// From one to the next, when all are in time.
    interval: Duration,
    delay_max: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The time of the next one.
    next: Option<Instant>,
    /// How many times as long it is from one to the next.
    stretch: f64,
}

impl Pace {
    /// So many a second.
    #[must_use]
    pub fn new(per_second: u32, delay_max: Duration) -> Pace {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Pace { interval, delay_max, state: Mutex::new(State { next: None, stretch: 1.0 }) }
    }

    /// How long the one that is made now waits until it is told.
    pub fn delay(&self, now: Instant) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let time = state.next.map_or(now, |next| next.max(now));
        let delay = time.duration_since(now).saturating_sub(AHEAD);
        if delay > self.delay_max {
            // It has no time of its own: when the flood is over, it is.
            return self.delay_max;
        }
        state.next = Some(time + self.interval.mul_f64(state.stretch));
        delay
    }

    /// One that had to wait was told so much later than that.
    pub fn told(&self, late: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let factor = if late > LATE { LONGER } else { SHORTER };
        state.stretch = (state.stretch * factor).clamp(1.0, STRETCH_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_told_at_once_and_many_at_their_pace() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let pace = Pace::new(1000, ms(2000));
        // Below the pace, and in a burst of no more than 50 ms' worth: at once.
        for at in 0..500 {
            assert_eq!(pace.delay(start + ms(at * 2)), Duration::ZERO, "after {} ms", at * 2);
        }
        let burst = start + ms(2000);
        let delays: Vec<Duration> = (0..5000).map(|_| pace.delay(burst)).collect();
        assert!(delays[..=50].iter().all(Duration::is_zero));
        assert_eq!((delays[51], delays[1050], delays[2050]), (ms(1), ms(1000), ms(2000)));
        assert!(delays[2051..].iter().all(|delay| *delay == ms(2000)), "nobody waits for longer");
        // What was too much has not moved the times of those that come later.
        assert_eq!(pace.delay(burst + ms(2051)), Duration::ZERO);
    }

    #[test]
    fn those_that_are_late_become_fewer_until_they_are_in_time() {
        let start = Instant::now();
        let pace = Pace::new(1000, Duration::from_secs(5));
        // How many more are told at once in a burst: the 50 ms' worth.
        let burst = |at_s: u64| {
            let at = start + Duration::from_secs(at_s);
            (0..100).take_while(|_| pace.delay(at).is_zero()).count()
        };
        assert_eq!(burst(0), 51);
        (0..1000).for_each(|_| pace.told(LATE * 2));
        assert_eq!(burst(10), 4, "a sixteenth");
        (0..300).for_each(|_| pace.told(Duration::from_millis(2)));
        assert!((5..50).contains(&burst(20)), "more again, bit by bit");
        (0..1000).for_each(|_| pace.told(Duration::from_millis(2)));
        assert_eq!(burst(30), 51);
    }
}
