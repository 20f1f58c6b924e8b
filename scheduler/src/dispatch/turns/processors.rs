//! What the processors do that machines run on: `/proc/stat`.

use crate::shares::Cpus;

/// What processors have done since the host was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    /// Of these processors. Reads a file: some tens of microseconds, more the more processors and interrupts the host has.
    pub(super) fn now(mine: &Cpus) -> Ticks {
        std::fs::read_to_string("/proc/stat").map_or(Ticks::default(), |stat| parse(&stat, mine))
    }

    /// Part of their time since `before` in which they did nothing; none if that cannot be told.
    pub(super) fn idle_since(self, before: Ticks) -> f64 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { self.idle.saturating_sub(before.idle) as f64 / all as f64 }
    }
}

fn parse(stat: &str, mine: &Cpus) -> Ticks {
    let mut sum = Ticks::default();
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let cpu = words.next().and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok());
        if cpu.is_none_or(|cpu| !mine.contains(cpu)) {
            continue;
        }
        // user nice system idle iowait irq softirq steal; guest time is in user time already.
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        sum.idle += ticks.iter().skip(3).take(2).sum::<u64>();
        sum.all += ticks.iter().sum::<u64>();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_processors_of_machines_count() {
        let parse = |stat, cpus: &str| parse(stat, &cpus.parse().expect("a list"));
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 10 1 5 80 2 1 1 0 7 0\ncpu1 50 0 0 50 0 0 0 0 0 0\ncpu12 1 1 1 1 1 1 1 1 1 1\nintr 5\n";
        for (cpus, idle, all) in [("0", 82, 100), ("0,1", 132, 200), ("12", 2, 8)] {
            assert_eq!(parse(stat, cpus), Ticks { idle, all }, "{cpus}");
        }
        assert_eq!(parse("", "0"), Ticks::default());
    }

    #[test]
    fn idle_is_a_part_of_what_has_passed() {
        let before = Ticks { idle: 10, all: 100 };
        assert!((Ticks { idle: 15, all: 120 }.idle_since(before) - 0.25).abs() < 1e-9);
        assert!(before.idle_since(before).abs() < 1e-9, "no tick has passed");
    }

    #[test]
    fn this_host_has_some() {
        assert!(Ticks::now(&Cpus::of_this_process()).all > 0, "this host is Linux");
    }
}
