//! A lane whose machines end badly, one after the other, gets new ones more slowly: to end one and to make another takes processor time that is in
//! nobody's share.

use std::time::Duration;

use crate::{clock::Instant, limits};

/// How many ended in a row, and when the next one may be bound.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    in_a_row: u32,
    next: Option<Instant>,
}

impl BackOff {
    pub(super) fn failed(&mut self) {
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    pub(super) fn went_well(&mut self) {
        *self = BackOff::default();
    }

    /// Whether the next one may have to wait.
    pub(super) fn is_slow(&self) -> bool {
        self.in_a_row >= limits::BACK_OFF_AFTER
    }

    /// How long the next bind has to wait. It is taken to begin then: another one waits for longer.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let Some(doubled) = self.in_a_row.checked_sub(limits::BACK_OFF_AFTER) else { return Duration::ZERO };
        let gap = (limits::BACK_OFF * 2_u32.pow(doubled.min(16))).min(limits::BACK_OFF_MAX);
        let begins = self.next.map_or(now, |next| next.max(now));
        self.next = Some(begins + gap);
        begins.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_waits_for_longer() {
        let (mut back_off, now) = (BackOff::default(), Instant::now());
        let ms = Duration::from_millis;
        for _ in 0..limits::BACK_OFF_AFTER {
            assert_eq!(back_off.wait(now), Duration::ZERO);
            back_off.failed();
        }
        assert_eq!([back_off.wait(now), back_off.wait(now), back_off.wait(now)], [ms(0), ms(8), ms(16)]);
        (0..100).for_each(|_| back_off.failed());
        assert_eq!([back_off.wait(now), back_off.wait(now)], [ms(24), ms(24) + limits::BACK_OFF_MAX]);
        assert_eq!(back_off.wait(now + ms(10_000)), Duration::ZERO, "what is over is over");
        back_off.went_well();
        assert_eq!([back_off.wait(now), back_off.wait(now)], [Duration::ZERO; 2]);
    }
}
