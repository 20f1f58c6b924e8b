//! The one clock of this crate: monotonic time for waits and durations, civil time for records and log lines.
//!
//! Tests stop and move it with `tokio::time::pause` and `advance`; civil time then follows from a fixed day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use tokio::time::Instant;

/// Time, as this crate sees it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Clock {
    /// The system's.
    #[default]
    System,
    /// A day in 2026 plus what has passed since then on tokio's clock.
    #[cfg(test)]
    From(Instant),
}

impl Clock {
    pub(crate) fn now(self) -> Instant {
        Instant::now()
    }

    /// Since 1970.
    pub(crate) fn unix(self) -> Duration {
        match self {
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            #[cfg(test)]
            Clock::From(start) => Duration::from_secs(1_785_000_000) + start.elapsed(),
        }
    }

    pub(crate) fn unix_ms(self) -> u64 {
        self.unix().as_millis() as u64
    }
}

/// Seconds from 1970 to the start of a day, for years from 1970.
pub(crate) fn unix_seconds(year: u64, month: u64, day: u64) -> u64 {
    days_from_civil(year, month, day) * 86_400
}

/// Howard Hinnant's `days_from_civil`, for years from 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day (UTC) of a time since 1970; Howard Hinnant's `civil_from_days`.
pub(crate) fn date(unix_ms: u64) -> (u64, u64, u64) {
    let days = unix_ms / 86_400_000 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        for (seconds, civil) in [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (951_868_800, (2000, 3, 1)),
            (1_769_817_600, (2026, 1, 31)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            assert_eq!(date(seconds * 1000), civil);
            assert_eq!(unix_seconds(civil.0, civil.1, civil.2), seconds);
        }
        for day in 0..60_000 {
            let (year, month, day_of_month) = date(day * 86_400_000);
            assert_eq!(unix_seconds(year, month, day_of_month), day * 86_400);
        }
    }
}
