//! Who runs for long stands back while he is not behind his share.
//!
//! The kernel divides the processors among those that want them at the moment. A function that always computes and one that is called now and then
//! have half each while both want them: the second one takes twice as long, though in sum it takes far less than its half. So what runs for
//! long has a small part of its weight beside what does not, and an account of what it should have had: when it is behind, it has its whole weight again until
//! it is not. Who takes less than his share gets it soon, and who takes all that he can get has his share, and not more.

use std::time::Duration;

/// What is left of a weight that stands back: an eighth.
pub(super) const PART: u64 = 8;
/// So far behind its share a function goes before others.
const BEHIND: i64 = 20_000_000;
/// What was long ago does not count: no account goes further than that, either way.
const MOST: i64 = 500_000_000;

/// What a function has had beyond its share, in nanoseconds.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Account {
    ahead_ns: i64,
    stands_back: bool,
}

impl Account {
    /// It has `used` so much since the last look, and its share was `fair`. Says whether it stands back from now on.
    pub(super) fn look(&mut self, used: Duration, fair: Duration) -> bool {
        let more = used.as_nanos() as i64 - fair.as_nanos() as i64;
        self.ahead_ns = (self.ahead_ns + more).clamp(-MOST, MOST);
        self.decide()
    }

    /// The same of one that had what it wanted: what it left to others does not become a debt of theirs, but for what a look may be wrong by.
    pub(super) fn look_content(&mut self, used: Duration, fair: Duration) {
        let less = fair.saturating_sub(used).as_nanos() as i64;
        self.ahead_ns = self.ahead_ns.min((self.ahead_ns - less).max(-BEHIND));
        self.decide();
    }

    fn decide(&mut self) -> bool {
        self.stands_back = if self.stands_back { self.ahead_ns > -BEHIND } else { self.ahead_ns >= 0 };
        self.stands_back
    }
}

/// A function in the time since the last look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    pub(super) weight: u64,
    /// It stood back, and may have wanted more.
    pub(super) stood_back: bool,
    pub(super) used: Duration,
}

/// What one should have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fair {
    pub(super) part: Duration,
    /// He had what he wanted, which was less.
    pub(super) is_content: bool,
}

/// What each should have had of what all have had. Who had all of his weight and took less than his part wanted no more, however long his invocations run: what
/// he leaves is the others', by their weights.
pub(super) fn fair(all: &[Took]) -> Vec<Fair> {
    let (mut rest, mut weights) =
        (all.iter().map(|took| took.used).sum::<Duration>(), all.iter().map(|took| took.weight).sum::<u64>());
    let mut parts: Vec<Option<Duration>> = vec![None; all.len()];
    let part = |weight: u64, rest: Duration, weights: u64| rest.mul_f64(weight as f64 / weights.max(1) as f64);
    loop {
        let content = |(at, took): (usize, &Took)| {
            let part = part(took.weight, rest, weights);
            (parts[at].is_none() && !took.stood_back && took.used < part).then_some((at, part))
        };
        let Some((at, content)) = all.iter().enumerate().find_map(content) else { break };
        parts[at] = Some(content);
        rest = rest.saturating_sub(all[at].used);
        weights -= all[at].weight;
    }
    let fair = |(content, took): (&Option<Duration>, &Took)| Fair {
        part: content.unwrap_or_else(|| part(took.weight, rest, weights)),
        is_content: content.is_some(),
    };
    parts.iter().zip(all).map(fair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(50);

    /// One that computes all the time beside others that want `wanted` of one processor: what it gets of it, and in how many of 100 looks it stands back. All
    /// weights are alike, and it has `share` of them.
    fn beside(wanted: f64, share: f64) -> (f64, usize) {
        let (mut account, mut stands_back, mut got, mut backs) = (Account::default(), false, 0.0, 0);
        const LOOKS: usize = 2000;
        for _ in 0..LOOKS {
            let own = if stands_back { share / PART as f64 } else { share };
            let others = wanted.min((1.0 - share) / (1.0 - share + own));
            got += 1.0 - others;
            stands_back = account.look(LOOK.mul_f64(1.0 - others), LOOK.mul_f64(share));
            backs += usize::from(stands_back);
        }
        (got * 100.0 / LOOKS as f64, backs * 100 / LOOKS)
    }

    #[test]
    fn it_has_its_share_beside_those_who_want_all() {
        for share in [0.2, 0.5, 0.8] {
            let (got, _) = beside(1.0, share);
            assert!((got - share * 100.0).abs() < 1.0, "{got} % of {share}");
        }
    }

    #[test]
    fn who_wants_less_than_his_share_is_always_first() {
        for (wanted, share) in [(0.2, 0.5), (0.05, 0.5), (0.45, 0.5), (0.1, 0.8)] {
            let (got, backs) = beside(wanted, share);
            assert!((got - (1.0 - wanted) * 100.0).abs() < 0.1, "all that is left: {got} %");
            assert_eq!(backs, 100, "it always stands back for {wanted} beside {share}");
        }
    }

    #[test]
    fn who_takes_little_leaves_the_rest_to_the_others() {
        let took = |weight, stood_back, ms| Took { weight, stood_back, used: Duration::from_millis(ms) };
        let fair = |all: &[Took]| -> Vec<_> {
            fair(all).iter().map(|fair| (!fair.is_content).then_some(fair.part.as_millis())).collect()
        };
        // One computes and stood back, one floods, and twenty are called now and then.
        let mut all = vec![took(100, true, 5), took(100, false, 43)];
        all.extend(vec![took(100, false, 0); 20]);
        all.push(took(100, false, 2));
        let parts = fair(&all);
        assert_eq!(
            (&parts[..2], parts[22]),
            (&[Some(24), Some(24)][..], None),
            "the flood and the one that computes have half of the rest each"
        );
        // Who stood back and took less would have taken more; who did not, would not.
        assert_eq!(fair(&[took(300, true, 10), took(100, false, 70)]), [Some(60), Some(20)]);
        assert_eq!(fair(&[took(300, false, 10), took(100, false, 70)]), [None, Some(70)]);
        assert_eq!(fair(&[took(100, true, 70), took(300, false, 10)]), [Some(70), None]);
        assert_eq!(fair(&[took(100, true, 0), took(100, false, 0)]), [Some(0), Some(0)]);
    }

    #[test]
    fn nobody_pays_for_long_for_what_was() {
        let mut account = Account::default();
        for _ in 0..100_000 {
            account.look(LOOK, LOOK / 2);
        }
        // Others take all now.
        let looks = (0..).take_while(|_| account.look(Duration::ZERO, LOOK / 2)).count();
        assert!(looks < 25, "{looks} looks until it is not behind others any more");
    }
}
