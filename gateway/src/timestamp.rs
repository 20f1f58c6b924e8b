//! Times as Lambda writes them.

/// `2026-01-31T12:00:00.000+0000` for milliseconds since 1970.
#[must_use]
pub fn iso8601(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+0000")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar. Howard Hinnant's `civil_from_days`: years begin
/// in March, so that the leap day is their last.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::iso8601;

    #[test]
    fn known_times() {
        // From `date -u -d @…`.
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000+0000"),
            (951_782_400_000, "2000-02-29T00:00:00.000+0000"),
            (1_769_860_800_001, "2026-01-31T12:00:00.001+0000"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999+0000"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000+0000"),
        ] {
            assert_eq!(iso8601(ms), text);
        }
    }
}
