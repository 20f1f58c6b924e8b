//! Lambda's burst rule: how fast the environments of one function may become more. Decisions without locks or clocks.
//!
//! On Lambda each invocation in flight has an environment to itself. One that has become free takes the next invocation; where none is free another
//! is started, of which there may be 1,000 more every 10 s: what is above is refused, however much the account still has. Here invocations
//! wait for their turn without one, so this is no protection, but shows clients what they will meet there. That is why it is off by default.

use std::time::Duration;

use crate::{
    clock::Instant,
    refusal::{Refusal, ThrottleReason},
};

/// The rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScalingRule {
    /// Environments that may be started in each [`PERIOD`], and all at once after a quiet one.
    pub(crate) started_max: u32,
    /// Those that were not needed for so long are gone.
    pub(crate) idle_max: Duration,
}

/// Lambda's.
const PERIOD: Duration = Duration::from_secs(10);

/// The environments of one function.
#[derive(Debug)]
pub(crate) struct Scaling {
    rule: ScalingRule,
    in_flight: u32,
    environments: u32,
    /// Most in flight since then, and a moment at most [`ScalingRule::idle_max`] ago.
    peak: u32,
    peak_since: Instant,
    /// What may be started: comes back evenly.
    left: f64,
    left_at: Instant,
}

impl Scaling {
    pub(crate) fn new(rule: ScalingRule, now: Instant) -> Scaling {
        let left = f64::from(rule.started_max);
        Scaling { rule, in_flight: 0, environments: 0, peak: 0, peak_since: now, left, left_at: now }
    }

    /// Why an invocation that came now would be refused, if it would.
    pub(crate) fn refusal(&mut self, now: Instant) -> Option<Refusal> {
        self.pass(now);
        if self.in_flight < self.environments || self.left >= 1.0 {
            return None;
        }
        let per_second = f64::from(self.rule.started_max) / PERIOD.as_secs_f64();
        let wait = Duration::try_from_secs_f64((1.0 - self.left) / per_second).unwrap_or(PERIOD);
        let (most, present) = (self.rule.started_max.into(), self.environments.into());
        Some(Refusal::throttled(ThrottleReason::ScalingRate, most, present, wait))
    }

    /// Lets one in that is not refused.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.pass(now);
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
        if self.in_flight > self.environments {
            self.environments = self.in_flight;
            self.left = (self.left - 1.0).max(0.0);
        }
    }

    /// One has ended.
    pub(crate) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn pass(&mut self, now: Instant) {
        let most = f64::from(self.rule.started_max);
        let passed = now.saturating_duration_since(self.left_at).as_secs_f64() / PERIOD.as_secs_f64();
        (self.left, self.left_at) = ((self.left + most * passed).min(most), now);
        if now.saturating_duration_since(self.peak_since) >= self.rule.idle_max {
            self.environments = self.peak;
            (self.peak, self.peak_since) = (self.in_flight, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: ScalingRule = ScalingRule { started_max: 1000, idle_max: Duration::from_secs(300) };

    /// Of so many that come at one moment, how many are let in; they stay until `end`.
    fn burst(scaling: &mut Scaling, count: u32, now: Instant) -> u32 {
        let mut entered = 0;
        for _ in 0..count {
            if scaling.refusal(now).is_none() {
                scaling.begin(now);
                entered += 1;
            }
        }
        entered
    }

    fn end(scaling: &mut Scaling, count: u32) {
        (0..count).for_each(|_| scaling.end());
    }

    #[test]
    fn a_thousand_more_every_ten_seconds() {
        let start = Instant::now();
        let mut scaling = Scaling::new(RULE, start);
        // Seconds since the start, how many come, how many are let in. Nobody leaves.
        for (seconds, come, entered) in
            [(0, 1500, 1000), (0, 1, 0), (1, 300, 100), (2, 50, 50), (10, 2000, 850), (20, 999, 999), (600, 1500, 1000)]
        {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(burst(&mut scaling, come, now), entered, "after {seconds} s");
        }
    }

    #[test]
    fn an_environment_that_is_free_takes_the_next() {
        let start = Instant::now();
        let mut scaling = Scaling::new(RULE, start);
        assert_eq!(burst(&mut scaling, 1200, start), 1000);
        for _ in 0..5 {
            end(&mut scaling, 1000);
            assert_eq!(burst(&mut scaling, 1200, start), 1000, "the same ones, none is started");
        }
    }

    #[test]
    fn what_is_not_needed_goes() {
        let start = Instant::now();
        let mut scaling = Scaling::new(RULE, start);
        burst(&mut scaling, 1000, start);
        end(&mut scaling, 1000);
        let at = |seconds| start + Duration::from_secs(seconds);
        // 200 at a time for two periods: then there are 200, and 1,000 that may be started.
        for seconds in [290, 301, 500, 602] {
            assert_eq!(burst(&mut scaling, 200, at(seconds)), 200);
            end(&mut scaling, 200);
        }
        assert_eq!(burst(&mut scaling, 2000, at(610)), 1200);
    }

    #[test]
    fn refusals_say_why() {
        let now = Instant::now();
        let mut scaling = Scaling::new(ScalingRule { started_max: 2, ..RULE }, now);
        assert_eq!(burst(&mut scaling, 5, now), 2);
        let Some(Refusal::Throttled { reason, limit, present, retry_after }) = scaling.refusal(now) else {
            panic!("it is refused");
        };
        assert_eq!((reason, limit, present), (ThrottleReason::ScalingRate, 2, 2));
        assert_eq!(reason.lambda_reason(), "ConcurrentInvocationLimitExceeded");
        assert_eq!(retry_after, Duration::from_secs(5), "one every five seconds");
    }
}
