//! How much of the processors a function's memory size stands for.

use crate::limits;

/// Memory that stands for one vCPU, as on Lambda.
pub const MIB_PER_VCPU: u64 = 1769;
/// The largest memory of a function: nice 0, where only nice values are at hand.
const MIB_LARGEST: f64 = 10_240.0;

/// One vCPU.
const ONE: u64 = 1_000_000;

/// A share against the shares of others, in millionths of a vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight(u64);

impl Weight {
    /// Of the smallest function.
    const LEAST: Weight = Weight::of_memory((*limits::MEMORY_MB.start() as u64) << 20);
    /// Of what is made ready for later, all together. With a vCPU's worth, deploys one after the other left a small function a fourteenth of the
    /// processor, and with as much as that one, half.
    pub(super) const SHELLS: Weight = Weight::LEAST.part(4);

    /// Of so many vCPUs.
    pub(super) const fn vcpus(count: u64) -> Weight {
        Weight(count * ONE)
    }

    /// Of a function with that memory.
    pub(super) const fn of_memory(bytes: u64) -> Weight {
        Weight((bytes >> 20) * ONE / MIB_PER_VCPU)
    }

    /// As a number, against those of others.
    pub(super) const fn get(self) -> u64 {
        self.0
    }

    /// One of so many parts of it.
    pub(super) const fn part(self, parts: u64) -> Weight {
        Weight(self.0 / parts)
    }

    /// `cpu.shares` of cgroup v1: 1,024 for one vCPU, which is what a process outside of all groups counts.
    pub(super) fn v1(self) -> u64 {
        (self.0 * 1024 / ONE).clamp(2, 1 << 18)
    }

    /// `cpu.weight` of cgroup v2: 1,000 for one vCPU, for functions count against functions alone, and the usual 100 would leave
    /// a small one 7.
    pub(super) fn v2(self) -> u64 {
        (self.0 * 1000 / ONE).clamp(1, 10_000)
    }

    /// A nice value. Each step is a quarter more or less, so three of them are the double, and twenty are all sizes of memory. None is
    /// below 0, for that takes privileges.
    pub(super) fn nice(self) -> i32 {
        let mib = (self.0.max(1) * MIB_PER_VCPU) as f64 / ONE as f64;
        (3.0 * (MIB_LARGEST / mib).log2()).round().clamp(0.0, 19.0) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_processor_time() {
        for (mib, v1, v2, nice) in
            [(128, 74, 72, 19), (512, 296, 289, 13), (1769, 1024, 1000, 8), (10_240, 5927, 5788, 0)]
        {
            let weight = Weight::of_memory(mib << 20);
            assert_eq!((weight.v1(), weight.v2(), weight.nice()), (v1, v2, nice), "{mib} MiB");
        }
        assert_eq!((Weight::vcpus(0).v1(), Weight::vcpus(0).v2(), Weight::vcpus(0).nice()), (2, 1, 19));
        assert_eq!((Weight::vcpus(1000).v1(), Weight::vcpus(1000).v2()), (1 << 18, 10_000), "what the kernel takes");
    }

    /// The weights that Linux gives to nice values 0 to 19 (`sched_prio_to_weight`).
    const LINUX: [f64; 20] = [
        1024.0, 820.0, 655.0, 526.0, 423.0, 335.0, 272.0, 215.0, 172.0, 137.0, 110.0, 87.0, 70.0, 56.0, 45.0, 36.0,
        29.0, 23.0, 18.0, 15.0,
    ];

    #[test]
    fn nice_values_of_doubles_are_within_three_points() {
        for mib in 140..=2560 {
            let of = |mib: u64| LINUX[Weight::of_memory(mib << 20).nice() as usize];
            for ratio in [1, 2, 4] {
                let (small, large) = (of(mib), of(mib * ratio));
                let (share, wanted) = (large / (small + large), ratio as f64 / (1 + ratio) as f64);
                assert!((share - wanted).abs() < 0.03, "{mib} MiB and {ratio} times that: {share}, not {wanted}");
            }
        }
    }
}
