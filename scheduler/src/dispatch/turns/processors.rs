//! What the processors do that machines run on: `/proc/stat`.

use crate::shares::Cpus;

/// The processors on which machines may run.
pub(super) struct Processors {
    mine: Cpus,
    /// Idle and all ticks at the last look.
    seen: (u64, u64),
}

impl Processors {
    pub(super) fn new(mine: Cpus) -> Processors {
        let mut processors = Processors { mine, seen: (0, 0) };
        processors.seen = processors.read();
        processors
    }

    /// How many there are.
    pub(super) fn count(&self) -> f64 {
        self.mine.count() as f64
    }

    /// Part of their time since the last look in which they did nothing; none if that cannot be told.
    pub(super) fn idle(&mut self) -> f64 {
        let now = self.read();
        let before = std::mem::replace(&mut self.seen, now);
        let all = self.seen.1.saturating_sub(before.1);
        if all == 0 { 0.0 } else { self.seen.0.saturating_sub(before.0) as f64 / all as f64 }
    }

    fn read(&self) -> (u64, u64) {
        std::fs::read_to_string("/proc/stat").map_or((0, 0), |stat| parse(&stat, &self.mine))
    }
}

/// Idle and all ticks of some processors.
fn parse(stat: &str, mine: &Cpus) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in stat.lines() {
        let mut words = line.split_ascii_whitespace();
        let cpu = words.next().and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok());
        if cpu.is_none_or(|cpu| !mine.contains(cpu)) {
            continue;
        }
        // user nice system idle iowait irq softirq steal; guest time is in user time already.
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        sum.0 += ticks.iter().skip(3).take(2).sum::<u64>();
        sum.1 += ticks.iter().sum::<u64>();
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
        assert_eq!(parse(stat, "0"), (82, 100));
        assert_eq!(parse(stat, "0,1"), (132, 200));
        assert_eq!(parse(stat, "12"), (2, 8));
        assert_eq!(parse("", "0"), (0, 0));
    }

    #[test]
    fn this_host_has_some() {
        let processors = Processors::new(Cpus::of_this_process());
        assert!(processors.count() >= 1.0 && processors.read().1 > 0, "this host is Linux");
    }
}
