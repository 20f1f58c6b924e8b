//! Where the time of invocations through HTTP went: what the client saw, against what the platform says of it (`Server-Timing`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::distribution::Distribution;

/// The parts of an invocation, in their order; each begins where the one before ends. The first and the last are the client's to know.
const PARTS: [&str; 9] = [REQUEST, "receive", "queue", "bind", "handover", "run", "report", "answer", REPLY];
/// From the client's first look at the clock to the server having the head; from the server having the answer to the client's last look.
const REQUEST: &str = "request";
const REPLY: &str = "reply";

/// Invocations of one kind.
#[derive(Debug, Default)]
pub struct Breakdown {
    invocations: Vec<Invocation>,
}

/// Times in microseconds.
#[derive(Debug, Default)]
struct Invocation {
    seen: f64,
    parts: [Option<f64>; PARTS.len()],
    exits: f64,
    faults: f64,
}

impl Breakdown {
    /// Adds an invocation that its client sent at `sent`, by the server's clock, that took `seen`, and whose answer had this `Server-Timing`.
    pub fn add(&mut self, sent: SystemTime, seen: Duration, server_timing: &str) {
        let mut invocation = Invocation { seen: seen.as_secs_f64() * 1e6, ..Invocation::default() };
        let (mut began, mut total) = (None, None);
        for metric in server_timing.split(", ") {
            let Some((name, value)) = metric.split_once(';') else { continue };
            let number = |prefix: &str| value.strip_prefix(prefix)?.trim_matches('"').parse::<f64>().ok();
            if let Some(at) = PARTS.iter().position(|part| *part == name) {
                invocation.parts[at] = number("dur=").map(|ms| ms * 1000.0);
            }
            match name {
                // Split, for a double has too few digits for both.
                "began" => began = value.strip_prefix("desc=").and_then(since_1970),
                "total" => total = number("dur=").map(|ms| ms * 1000.0),
                "exits" => invocation.exits = number("desc=").unwrap_or_default(),
                "faults" => invocation.faults = number("desc=").unwrap_or_default(),
                _ => {}
            }
        }
        let sent = sent.duration_since(UNIX_EPOCH).unwrap_or_default();
        if let (Some(began), Some(total)) = (began, total) {
            let request = began.saturating_sub(sent).as_secs_f64() * 1e6;
            invocation.parts[0] = Some(request);
            invocation.parts[PARTS.len() - 1] = Some(invocation.seen - request - total);
        }
        self.invocations.push(invocation);
    }

    /// What the clients saw.
    #[must_use]
    pub fn seen(&self) -> Distribution {
        let mut distribution = Distribution::default();
        self.invocations.iter().for_each(|one| distribution.add(Duration::from_secs_f64(one.seen / 1e6)));
        distribution
    }

    /// The fifth of the invocations around the client's median, at least one. Medians of parts do not add up to the median of the whole, means do.
    fn typical(&self) -> Vec<&Invocation> {
        let mut sorted: Vec<&Invocation> = self.invocations.iter().collect();
        sorted.sort_by(|left, right| left.seen.total_cmp(&right.seen));
        let (middle, aside) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 10);
        sorted.into_iter().skip(middle - aside.min(middle)).take(2 * aside + 1).collect()
    }
}

/// Seconds with nine digits after the point, in quotes.
fn since_1970(text: &str) -> Option<Duration> {
    let (seconds, nanoseconds) = text.trim_matches('"').split_once('.')?;
    Some(Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok()?))
}

/// Mean of what is there.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Where the typical invocation of each kind went, as a table for `docs/spec.md` in microseconds, and what of the client's time is in no part. `echo` is
/// an answer without an invocation: what a request and its reply cost anyway.
#[must_use]
pub fn table(echo: &Distribution, kinds: &[(&str, &Breakdown)]) -> String {
    let echo = echo.quantile_us(0.5);
    let kinds: Vec<(&str, Vec<&Invocation>)> = kinds.iter().map(|(name, of)| (*name, of.typical())).collect();
    let line = |name: &str, cell: &dyn Fn(&[&Invocation]) -> String| {
        let cells: Vec<String> = kinds.iter().map(|(_, of)| cell(of)).collect();
        format!("| {name} | {} |\n", cells.join(" | "))
    };
    let part = |of: &[&Invocation], at: usize| mean(of.iter().filter_map(|one| one.parts[at]));
    let seen = |of: &[&Invocation]| mean(of.iter().map(|one| one.seen)).unwrap_or_default();
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let mut text = format!("| around p50, µs | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(kinds.len()));
    for (at, name) in PARTS.iter().enumerate() {
        text += &line(&format!("`{name}`"), &|of| part(of, at).map_or(String::new(), |us| format!("{us:.1}")));
    }
    text += &line("not accounted for", &|of| {
        let accounted = (0..PARTS.len()).filter_map(|at| part(of, at)).sum::<f64>();
        let rest = seen(of) - accounted;
        format!("{rest:.1} ({:.0} %)", 100.0 * rest / seen(of).max(f64::MIN_POSITIVE))
    });
    text += &line("as the client sees it", &|of| format!("{:.1}", seen(of)));
    text += &line("above an answer without an invocation (`/healthz`)", &|of| format!("{:.1}", seen(of) - echo));
    text + &line("exits; page faults", &|of| {
        let count = |which: fn(&Invocation) -> f64| mean(of.iter().map(|one| which(one))).unwrap_or_default();
        format!("{:.1}; {:.1}", count(|one| one.exits), count(|one| one.faults))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_part_is_the_rest() {
        let sent = UNIX_EPOCH + Duration::from_secs(100);
        let mut echo = Distribution::default();
        echo.add(Duration::from_micros(40));
        let (mut warm, mut bound) = (Breakdown::default(), Breakdown::default());
        // The first and the last are too far from the middle to count.
        for seen in [1, 200, 200, 200, 200, 200, 200, 200, 200, 9999] {
            warm.add(
                sent,
                Duration::from_micros(seen),
                "queue;dur=0.0020, run;dur=0.1000, report;dur=0.0480, total;dur=0.1600, exits;desc=\"1\", faults;desc=\"4\", start;desc=warm, began;desc=\"100.000030000\"",
            );
        }
        bound.add(
            sent,
            Duration::from_micros(1000),
            "bind;dur=0.9, exits;desc=\"2\", faults;desc=\"300\", start;desc=bound",
        );
        let table = table(&echo, &[("`reuse`", &warm), ("bound", &bound)]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| around p50, µs | `reuse` | bound |");
        assert_eq!(
            lines[2..=5],
            ["| `request` | 30.0 |  |", "| `receive` |  |  |", "| `queue` | 2.0 |  |", "| `bind` |  | 900.0 |"]
        );
        assert_eq!(
            lines[10..],
            [
                "| `reply` | 10.0 |  |",
                "| not accounted for | 10.0 (5 %) | 100.0 (10 %) |",
                "| as the client sees it | 200.0 | 1000.0 |",
                "| above an answer without an invocation (`/healthz`) | 160.0 | 960.0 |",
                "| exits; page faults | 1.0; 4.0 | 2.0; 300.0 |",
            ]
        );
    }
}
