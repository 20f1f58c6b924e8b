//! Times of files: the whole range that `struct timespec` has.

/// A moment, in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    /// Less than a second; counts forward also before 1970.
    pub(crate) nanoseconds: u32,
}

impl Timestamp {
    pub(crate) const fn of_ns(ns: u64) -> Timestamp {
        const NS_PER_S: u64 = 1_000_000_000;
        Timestamp { seconds: (ns / NS_PER_S) as i64, nanoseconds: (ns % NS_PER_S) as u32 }
    }

    pub(crate) const fn of_seconds(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }
}
