//! Clocks, from the TSC and a base that the host renews at each entry.

use mayfly_abi::mailbox::HostWords;

/// The guest's clocks.
#[derive(Debug, Default, Clone, Copy)]
pub struct Clock {
    tsc: u64,
    ns_per_tick_q32: u64,
    realtime_ns: u64,
    monotonic_ns: u64,
    /// Added to the host's monotonic clock: after a reboot of the host its clock is behind what a snapshot has seen.
    monotonic_offset_ns: u64,
    /// The latest time that was given out.
    latest_ns: u64,
}

impl Clock {
    /// Takes a new base from the host.
    pub fn rebase(&mut self, host: &HostWords) {
        self.tsc = host.tsc;
        self.ns_per_tick_q32 = host.ns_per_tick_q32;
        self.realtime_ns = host.realtime_ns;
        self.monotonic_ns = host.monotonic_ns;
        let seen = self.latest_ns;
        if self.monotonic_ns.saturating_add(self.monotonic_offset_ns) < seen {
            self.monotonic_offset_ns = seen - self.monotonic_ns;
        }
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn realtime_ns(&self, tsc: u64) -> u64 {
        self.realtime_ns.saturating_add(self.elapsed_ns(tsc))
    }

    /// A clock that never goes back, not even from one snapshot, entry or host boot to the next.
    #[must_use]
    pub fn monotonic_ns(&mut self, tsc: u64) -> u64 {
        let now = self.monotonic_ns.saturating_add(self.monotonic_offset_ns).saturating_add(self.elapsed_ns(tsc));
        self.latest_ns = self.latest_ns.max(now);
        self.latest_ns
    }

    /// A time of the guest's monotonic clock as the host's.
    #[must_use]
    pub fn to_host_monotonic_ns(&self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_sub(self.monotonic_offset_ns)
    }

    fn elapsed_ns(&self, tsc: u64) -> u64 {
        // A TSC that is a little behind the base (another core, an early read) counts as no time.
        let ticks = tsc.saturating_sub(self.tsc);
        ((u128::from(ticks) * u128::from(self.ns_per_tick_q32)) >> 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(tsc: u64, monotonic_ns: u64) -> HostWords {
        // SAFETY-free zero: every field is set that the clock reads.
        HostWords {
            abi_version: 1,
            images: 0,
            memory_bytes: 0,
            tmp_bytes: 0,
            generation: 0,
            seed: [0; 32],
            tsc,
            ns_per_tick_q32: 1 << 31,
            realtime_ns: 1_000_000,
            monotonic_ns,
            event_bytes: 0,
            xcr0: 0,
            ticks: 0,
            interrupted: mayfly_abi::mailbox::Interrupted::default(),
            fault_address: 0,
            image_bytes: [0; 8],
            images_in_place: 0,
            start: mayfly_abi::mailbox::StartWords {
                arguments: 0,
                environment: 0,
                strings_bytes: 0,
                reserved: 0,
                strings: [0; mayfly_abi::mailbox::START_STRINGS_BYTES],
            },
        }
    }

    #[test]
    fn ticks_become_nanoseconds() {
        let mut clock = Clock::default();
        clock.rebase(&host(100, 500));
        assert_eq!(clock.realtime_ns(300), 1_000_100);
        assert_eq!(clock.monotonic_ns(300), 600);
    }

    #[test]
    fn monotonic_time_survives_a_host_whose_clock_is_behind() {
        let mut clock = Clock::default();
        clock.rebase(&host(100, 5_000));
        let before = clock.monotonic_ns(1_100);
        clock.rebase(&host(7, 10));
        let after = clock.monotonic_ns(7);
        assert!(after >= before);
        assert_eq!(clock.to_host_monotonic_ns(after), 10);
    }

    #[test]
    fn a_tsc_behind_the_base_does_not_wrap() {
        let mut clock = Clock::default();
        clock.rebase(&host(1_000, 500));
        assert_eq!(clock.monotonic_ns(10), 500);
    }
}
