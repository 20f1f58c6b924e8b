//! Processors, as a list.

use std::{fmt, str::FromStr};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// Processors that machines may run on; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

/// Not a list of processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a list of processors like 0,2-5")]
pub struct CpusError;

impl Cpus {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Cpus {
        let all = || (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
        let set = |set: CpuSet| (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
        Cpus(sched_getaffinity(None).map_or_else(|_| all(), set))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether that one is among them.
    #[must_use]
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }

    /// Holds a process, and those that it forks from now on, to them.
    pub(crate) fn pin(&self, pid: u32) -> std::io::Result<()> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|&cpu| set.set(cpu));
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
        sched_setaffinity(Some(pid), &set)?;
        // Linux leaves out those that are not there, and says so only if none is.
        let got = sched_getaffinity(Some(pid))?;
        self.0.iter().all(|&cpu| got.is_set(cpu)).then_some(()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

impl FromStr for Cpus {
    type Err = CpusError;

    fn from_str(text: &str) -> Result<Cpus, CpusError> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse().ok().filter(|&cpu| cpu < CpuSet::MAX_CPU).ok_or(CpusError);
            let (first, last): (usize, usize) = (number(first)?, number(last)?);
            if first > last {
                return Err(CpusError);
            }
            cpus.extend(first..=last);
        }
        cpus.sort_unstable();
        cpus.dedup();
        Ok(Cpus(cpus))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus: Vec<String> = self.0.iter().map(usize::to_string).collect();
        formatter.write_str(&cpus.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list = |text: &str| text.parse::<Cpus>().map(|cpus| cpus.to_string());
        assert_eq!(list("0").as_deref(), Ok("0"));
        assert_eq!(list("4-6,1, 5").as_deref(), Ok("1,4,5,6"));
        for wrong in ["", "a", "3-1", "1,", "-1", "9999999"] {
            assert_eq!(list(wrong), Err(CpusError), "{wrong}");
        }
    }
}
