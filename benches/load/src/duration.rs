//! Durations as people write them, and as they read them.

use std::time::Duration;

/// Longest duration that is taken: a week.
const SECONDS_MAX: f64 = 7.0 * 86_400.0;

/// Reads `250ms`, `30s`, `5m`, `1h` or, in seconds, `30`.
///
/// # Errors
/// It is something else, not positive, or more than a week. One sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let seconds = number.trim().parse::<f64>().unwrap_or(f64::NAN) * seconds;
    if seconds > 0.0 && seconds <= SECONDS_MAX {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("'{text}' is not a duration; write one like 250ms, 30s, 5m or 1h, of at most a week"))
    }
}

/// Three digits and a unit: `870 µs`, `1.23 ms`, `12.0 s`.
#[must_use]
pub fn show(nanoseconds: u64) -> String {
    let ns = nanoseconds as f64;
    let (value, unit) = match nanoseconds {
        0..1_000_000 => (ns / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    match value {
        _ if unit == "µs" || value >= 100.0 => format!("{value:.0} {unit}"),
        10.0.. => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("30", 30_000), ("1.5m", 90_000), (" 1h ", 3_600_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "0", "1d", "nan", "1e99s", "8000h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown() {
        for (ns, text) in [
            (0, "0 µs"),
            (870_400, "870 µs"),
            (1_234_000, "1.23 ms"),
            (45_670_000, "45.7 ms"),
            (456_700_000, "457 ms"),
            (12_000_000_000, "12.0 s"),
        ] {
            assert_eq!(show(ns), text);
        }
    }
}
