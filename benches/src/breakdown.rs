//! Where the time of invocations through HTTP went: what the client saw, against what the platform says of it (`Server-Timing`).

use std::time::Duration;

use crate::distribution::Distribution;

/// The parts of an invocation, in their order; each begins where the one before ends.
const PARTS: [&str; 7] = ["receive", "queue", "bind", "handover", "run", "report", "answer"];

/// Invocations of one kind.
#[derive(Debug, Default)]
pub struct Breakdown {
    seen: Distribution,
    parts: [Distribution; PARTS.len()],
    exits: Counts,
    faults: Counts,
}

/// The median of these is one of them.
#[derive(Debug, Default)]
struct Counts(Vec<u64>);

impl Breakdown {
    /// Adds an invocation that took `seen` for its client, and whose answer had this `Server-Timing`.
    pub fn add(&mut self, seen: Duration, server_timing: &str) {
        self.seen.add(seen);
        for metric in server_timing.split(", ") {
            let Some((name, value)) = metric.split_once(';') else { continue };
            let number = |prefix: &str| value.strip_prefix(prefix)?.trim_matches('"').parse::<f64>().ok();
            if let Some(at) = PARTS.iter().position(|part| *part == name) {
                self.parts[at].add(Duration::from_secs_f64(number("dur=").unwrap_or_default() / 1000.0));
            }
            match name {
                "exits" => self.exits.0.push(number("desc=").unwrap_or_default() as u64),
                "faults" => self.faults.0.push(number("desc=").unwrap_or_default() as u64),
                _ => {}
            }
        }
    }

    /// What the clients saw.
    #[must_use]
    pub fn seen(&self) -> &Distribution {
        &self.seen
    }
}

impl Counts {
    fn median(&self) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

/// The medians of each kind as a table for `docs/spec.md`, in microseconds, and what of the client's median is in no part. `echo` is an answer
/// without an invocation: what HTTP and the network cost anyway.
#[must_use]
pub fn table(echo: &Distribution, kinds: &[(&str, &Breakdown)]) -> String {
    let line = |name: &str, cell: &dyn Fn(&Breakdown) -> String| {
        let cells: Vec<String> = kinds.iter().map(|(_, of)| cell(of)).collect();
        format!("| {name} | {} |\n", cells.join(" | "))
    };
    let p50 = |distribution: &Distribution| distribution.quantile_us(0.5);
    let accounted = |of: &Breakdown| p50(echo) + of.parts.iter().map(p50).sum::<f64>();
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let mut text = format!("| p50, µs | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(kinds.len()));
    text += &line("HTTP and the network (`/healthz`)", &|_| format!("{:.1}", p50(echo)));
    for (at, name) in PARTS.iter().enumerate() {
        text += &line(&format!("`{name}`"), &|of| match of.parts[at].count() {
            0 => String::new(),
            _ => format!("{:.1}", p50(&of.parts[at])),
        });
    }
    text += &line("not accounted for", &|of| {
        let rest = p50(&of.seen) - accounted(of);
        format!("{rest:.1} ({:.0} %)", 100.0 * rest / p50(&of.seen).max(f64::MIN_POSITIVE))
    });
    text += &line("as the client sees it", &|of| format!("{:.1}", p50(&of.seen)));
    text + &line("exits; page faults", &|of| format!("{}; {}", of.exits.median(), of.faults.median()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_part_is_the_rest() {
        let mut echo = Distribution::default();
        echo.add(Duration::from_micros(40));
        let (mut warm, mut bound) = (Breakdown::default(), Breakdown::default());
        for _ in 0..3 {
            warm.add(
                Duration::from_micros(200),
                "queue;dur=0.0020, run;dur=0.1000, report;dur=0.0480, total;dur=9, exits;desc=\"1\", faults;desc=\"4\", start;desc=warm",
            );
        }
        bound.add(Duration::from_micros(1000), "bind;dur=0.9, exits;desc=\"2\", faults;desc=\"300\", start;desc=bound");
        let table = table(&echo, &[("`reuse`", &warm), ("bound", &bound)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| p50, µs | `reuse` | bound |");
        assert_eq!(lines[4..=5], ["| `queue` | 2.0 |  |", "| `bind` |  | 900.0 |"]);
        assert_eq!(
            lines[10..],
            [
                "| not accounted for | 10.0 (5 %) | 60.0 (6 %) |",
                "| as the client sees it | 200.0 | 1000.0 |",
                "| exits; page faults | 1; 4 | 2; 300 |",
            ]
        );
    }
}
