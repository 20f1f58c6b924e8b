//! How fast clients are told that their requests were not carried out.
//!
//! A client who asks again at once when he is refused asks as often as he is answered. Thousands of them keep a processor busy with nothing
//! but refusals, and what has been let in waits for its turn in the server behind all of those. So only so many refusals are told a second; one
//! above that is told later, by two seconds at most: who does not wait by himself is made to.
//!
//! The same with requests that are the clients' mistakes, and four of them are enough: each may come on a connection of its own. Those have a pace of
//! their own: who is refused for load does not wait behind who asks for what there is not.
//!
//! Who is told later keeps his connection meanwhile. So half of the connections may wait to be told of load, a quarter to be told of mistakes, and who comes above that is told at once.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, time::sleep};

use crate::{
    lambda::{Error, Kind},
    server::Limits,
};

/// The paces of all that is refused.
#[derive(Debug)]
pub struct Paces {
    load: Pace,
    mistakes: Pace,
}

impl Paces {
    /// Those of a server with so many processors.
    #[must_use]
    pub fn new(limits: &Limits, processors: u32) -> Paces {
        let pace =
            |per_second: u32, places| Pace::new(per_second.saturating_mul(processors), limits.refusal_delay, places);
        Paces {
            load: pace(limits.refusals_per_second, limits.connections / 2),
            mistakes: pace(limits.mistakes_per_second, limits.connections / 4),
        }
    }

    /// Waits until this one may be told. What is the platform's own fault is told at once.
    pub async fn wait(&self, error: &Error) {
        let Some(pace) = self.of(error) else { return };
        let delay = pace.delay(Instant::now());
        if delay.is_zero() {
            return;
        }
        if let Ok(_place) = pace.places.try_acquire() {
            sleep(delay).await;
        }
    }

    fn of(&self, error: &Error) -> Option<&Pace> {
        match error.kind {
            Kind::TooManyRequests { .. } => Some(&self.load),
            kind if kind.status().is_client_error() => Some(&self.mistakes),
            _ => None,
        }
    }
}

/// Refusals that come so long before their time are told at once: bursts are no storm.
const AHEAD: Duration = Duration::from_millis(50);

/// The times of refusals.
#[derive(Debug)]
struct Pace {
    /// From one to the next.
    interval: Duration,
    delay_max: Duration,
    /// The time of the next one.
    next: Mutex<Option<Instant>>,
    /// For those who wait until they are told.
    places: Semaphore,
}

impl Pace {
    /// So many a second.
    fn new(per_second: u32, delay_max: Duration, places: usize) -> Pace {
        Pace {
            interval: Duration::from_secs(1) / per_second.max(1),
            delay_max,
            next: Mutex::default(),
            places: Semaphore::new(places),
        }
    }

    /// How long the one that is made now waits until it is told.
    fn delay(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let time = next.map_or(now, |next| next.max(now));
        let delay = time.duration_since(now).saturating_sub(AHEAD);
        if delay > self.delay_max {
            // It has no time of its own: when the flood is over, it is.
            return self.delay_max;
        }
        *next = Some(time + self.interval);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_told_at_once_and_many_at_their_pace() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let pace = Pace::new(1000, ms(2000), 0);
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
    fn mistakes_do_not_delay_refusals_for_load_and_faults_of_the_platform_are_told_at_once() {
        let paces = Paces::new(&Limits::default(), 2);
        let start = Instant::now();
        let (mistake, load) = (Error::parameter("wrong"), Error::overloaded("CallerRateLimitExceeded", "x"));
        let told_at_once = |error: &Error| {
            let delay = || paces.of(error).map_or(Duration::ZERO, |pace| pace.delay(start));
            (0..10_000).take_while(|_| delay().is_zero()).count()
        };
        // 50 ms' worth on two processors, and the first.
        assert_eq!(told_at_once(&mistake), 51);
        assert_eq!(told_at_once(&load), 301);
        assert_eq!(told_at_once(&Error::internal("broken")), 10_000);
    }

    #[tokio::test]
    async fn who_waits_has_a_part_of_the_connections_at_most() {
        let limits = Limits { connections: 40, refusal_delay: Duration::from_secs(600), ..Limits::default() };
        let paces = std::sync::Arc::new(Paces::new(&limits, 1));
        let wait = || {
            let paces = std::sync::Arc::clone(&paces);
            tokio::spawn(async move { paces.wait(&Error::parameter("wrong")).await })
        };
        // Far more than are told at once, and then as many as have a place, and more.
        let start = Instant::now();
        for _ in 0..10_000 {
            paces.mistakes.delay(start);
            paces.load.delay(start);
        }
        let all_have_begun = || async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        };
        let all: Vec<_> = (0..100).map(|_| wait()).collect();
        all_have_begun().await;
        let told = all.iter().filter(|one| one.is_finished()).count();
        assert_eq!(told, 90, "ten wait");
        // Who hangs up leaves his place.
        let gone: Vec<_> = all.into_iter().filter(|one| !one.is_finished()).collect();
        gone.iter().for_each(tokio::task::JoinHandle::abort);
        for one in gone {
            assert!(one.await.is_err());
        }
        let next = wait();
        all_have_begun().await;
        assert!(!next.is_finished(), "it has a place");
        // The other kind has its own.
        let load = tokio::spawn(async move { paces.wait(&Error::overloaded("CallerRateLimitExceeded", "x")).await });
        all_have_begun().await;
        assert!(!load.is_finished());
    }
}
