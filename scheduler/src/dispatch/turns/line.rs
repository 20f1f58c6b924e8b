//! The line of one lane: who waits in it, for how long, and whether that is too long.

use std::{collections::VecDeque, time::Duration};

use super::order::{Rules, Waits};
use crate::clock::Instant;

/// A line, and what is known of those who stand in it.
pub(super) struct Line<W> {
    /// Share of the processors, relative to others.
    pub(super) weight: u64,
    /// Virtual time of its next turn: the processor time that it had for its weight.
    pub(super) virtual_time: u64,
    pub(super) waiting: VecDeque<(Instant, W)>,
    /// Processors that its long invocations are taken to use.
    pub(super) long: f64,
    /// When one was last let run.
    pub(super) ran: Option<Instant>,
    /// What an invocation takes, where it has a processor when it wants one.
    pub(super) service: Smoothed,
    /// What it takes of a processor.
    pub(super) computed: Smoothed,
    /// Processors that one uses, once one has run.
    pub(super) demand: Option<f64>,
    /// Time from one turn to the next while somebody waits.
    pub(super) interval: Smoothed,
    pub(super) last_turn: Option<Instant>,
    late_since: Option<Instant>,
    pub(super) is_overloaded: bool,
    was_overloaded: Option<Instant>,
    /// When those who have gone were last looked for.
    swept: Option<Instant>,
}

/// A line is not looked through more often: it may be long, and is looked at for everybody who comes.
const SWEPT_EVERY: Duration = Duration::from_millis(10);
/// Who takes long himself may wait for so many times that, whatever others may.
const PATIENCE_LEAST: u32 = 3;
/// What was so long ago does not count: who was overloaded has recovered, who ran is not about to come again.
const LATELY: Duration = Duration::from_secs(10);

impl<W: Waits> Line<W> {
    /// Forgets who does not wait any more: those in front at once, all others soon. Returns how many.
    pub(super) fn forget_gone(&mut self, now: Instant) -> usize {
        let before = self.waiting.len();
        while self.waiting.front().is_some_and(|(_, who)| who.is_gone()) {
            self.waiting.pop_front();
        }
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEPT_EVERY) {
            self.swept = Some(now);
            self.waiting.retain(|(_, who)| !who.is_gone());
        }
        before - self.waiting.len()
    }

    /// An empty one, that has had as much as all others at that virtual time.
    pub(super) fn new(weight: u64, virtual_time: u64) -> Line<W> {
        Line {
            weight: weight.max(1),
            virtual_time,
            waiting: VecDeque::new(),
            long: 0.0,
            ran: None,
            service: Smoothed::default(),
            computed: Smoothed::default(),
            demand: None,
            interval: Smoothed::default(),
            last_turn: None,
            late_since: None,
            is_overloaded: false,
            was_overloaded: None,
            swept: None,
        }
    }

    /// What one may wait here.
    pub(super) fn patience(&self, rules: &Rules) -> Duration {
        if !self.is_overloaded {
            return rules.wait_max;
        }
        self.target(rules)
    }

    /// A wait that is not too long.
    fn target(&self, rules: &Rules) -> Duration {
        let service = self.service.value().unwrap_or_default();
        let most = rules.patience_max.max(service * PATIENCE_LEAST);
        (service * rules.patience).min(most).max(rules.patience_min).min(rules.wait_max)
    }

    /// How long the wait is of one with `ahead` turns before his own ends.
    pub(super) fn expected(&self, ahead: usize) -> Duration {
        self.interval.value().unwrap_or_default().saturating_mul(ahead as u32)
    }

    /// Looks at the one in front: whether waits are too long, and since when.
    pub(super) fn look(&mut self, rules: &Rules, now: Instant) {
        let target = self.target(rules);
        let Some((since, _)) = self.waiting.front() else { return };
        if now.saturating_duration_since(*since) <= target {
            self.late_since = None;
            return;
        }
        let late_since = *self.late_since.get_or_insert(now);
        let was_lately = self.was_overloaded.is_some_and(|ended| now.saturating_duration_since(ended) < LATELY);
        let after = if was_lately { rules.overloaded_after / 16 } else { rules.overloaded_after };
        self.is_overloaded |= now.saturating_duration_since(late_since) >= after;
    }

    /// It has run lately.
    pub(super) fn ran_lately(&self, now: Instant) -> bool {
        self.ran.is_some_and(|ran| now.saturating_duration_since(ran) < LATELY)
    }

    pub(super) fn had_turn(&mut self, now: Instant) {
        if let Some(last) = self.last_turn.replace(now) {
            self.interval.add(now.saturating_duration_since(last));
        }
    }

    /// Nobody waits: whatever was, is over.
    pub(super) fn rest(&mut self, now: Instant) {
        self.late_since = None;
        if std::mem::take(&mut self.is_overloaded) {
            self.was_overloaded = Some(now);
        }
    }
}

/// A duration that follows its samples, an eighth of the way at a time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Smoothed(Option<Duration>);

impl Smoothed {
    /// Goes an eighth of the way to `sample`, and all of it to the first.
    pub(super) fn add(&mut self, sample: Duration) {
        self.0 = Some(self.0.map_or(sample, |before| before - before / 8 + sample / 8));
    }

    /// None before the first sample.
    pub(super) fn value(self) -> Option<Duration> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::RULES, *};

    struct Nobody;

    impl Waits for Nobody {
        fn is_gone(&self) -> bool {
            false
        }
    }

    #[test]
    fn nobody_waits_many_times_for_what_takes_long() {
        for (service_ms, target_ms) in
            [(0, 5), (1, 10), (5, 50), (20, 100), (33, 100), (50, 150), (1000, 3000), (9000, 10_000)]
        {
            let mut line = Line::<Nobody>::new(1, 0);
            line.service.add(Duration::from_millis(service_ms));
            assert_eq!(line.target(&RULES), Duration::from_millis(target_ms), "of {service_ms} ms");
        }
    }
}
