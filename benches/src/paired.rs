//! Whether paired measurements differ.

/// Two things measured in turns: of each pair, how many times as large the second is.
#[derive(Debug, Clone, Default)]
pub struct Ratios(Vec<f64>);

/// The interval is wrong in at most so many of all cases.
const WRONG_MAX: f64 = 0.05;

impl Ratios {
    /// Adds a pair.
    pub fn add(&mut self, first: f64, second: f64) {
        let ratio = second / first;
        let at = self.0.partition_point(|other| *other <= ratio);
        self.0.insert(at, ratio);
    }

    /// The median; not a number if there are no pairs.
    #[must_use]
    pub fn median(&self) -> f64 {
        let middle = |at: usize| self.0.get(at).copied().unwrap_or(f64::NAN);
        let count = self.0.len();
        if count.is_multiple_of(2) {
            middle(count / 2).midpoint(middle((count / 2).wrapping_sub(1)))
        } else {
            middle(count / 2)
        }
    }

    /// Where the median would be had there been endless pairs, with 95 % certainty, whatever their distribution: as many of them are left out at both ends as
    /// coins would hardly ever show so few heads. `None`: there are too few pairs to say.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        let count = self.0.len();
        // The chance of `heads` of `count` coins.
        let mut chance = 0.5_f64.powi(i32::try_from(count).ok()?);
        let (mut left_out, mut sum) = (0, 2.0 * chance);
        while sum <= WRONG_MAX {
            chance *= (count - left_out) as f64 / (left_out + 1) as f64;
            left_out += 1;
            sum += 2.0 * chance;
        }
        let first = left_out.checked_sub(1)?;
        Some((*self.0.get(first)?, *self.0.get(count - 1 - first)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ratios: impl IntoIterator<Item = f64>) -> Ratios {
        let mut all = Ratios::default();
        ratios.into_iter().for_each(|ratio| all.add(2.0, 2.0 * ratio));
        all
    }

    #[test]
    fn intervals_are_those_of_the_sign_test() {
        assert_eq!(of((1..=5).map(f64::from)).interval(), None);
        // From tables of the sign test: 0 of 6, 1 of 9, 5 of 20, 7 of 25.
        for (count, first) in [(6, 1), (9, 2), (20, 6), (25, 8)] {
            let expected = (f64::from(first), f64::from(count + 1 - first));
            assert_eq!(of((1..=count).rev().map(f64::from)).interval(), Some(expected), "{count}");
        }
    }

    #[test]
    fn medians() {
        assert!(Ratios::default().median().is_nan());
        assert_eq!(of([3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(of([4.0, 1.0, 2.0, 3.0]).median(), 2.5);
    }
}
