//! What figures were measured on, and with.

use std::{fs, path::Path, process::Command, time::SystemTime};

use aws_smithy_types::{DateTime, date_time::Format};
use serde::{Deserialize, Serialize};

/// The machine, and the state of the project, at the beginning of a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the CPU.
    pub cpu: String,
    /// Cores that may be used.
    pub cores: usize,
    /// Memory of the machine, in GiB.
    pub memory_gib: u64,
    /// Release of the kernel.
    pub linux: String,
    /// Kind of KVM.
    pub kvm: String,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: String,
    /// Of the processors' time that was wanted while it was measured, the part that the host of this virtual machine gave to others, in percent.
    #[serde(default)]
    pub stolen_percent: Option<f64>,
    /// When, in UTC.
    pub date: String,
    /// What was built, and whether files differed from it.
    pub commit: String,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn examine() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let general = mayfly_load::machine::examine();
        let kvm = mayfly_vmm::host::examine().into_iter().find(|finding| finding.subject == "kind of KVM");
        let total = read("/proc/meminfo")
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let now = DateTime::from_secs(DateTime::from(SystemTime::now()).secs());
        Machine {
            cpu: general.cpu,
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            memory_gib: total.unwrap_or_default() >> 20,
            linux: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            kvm: kvm.map_or_else(|| "none".into(), |finding| finding.found),
            load: general.load,
            stolen_percent: None,
            date: now.fmt(Format::DateTime).unwrap_or_default(),
            commit: commit().unwrap_or_else(|| "unknown".into()),
        }
    }

    /// What a page says of it, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("CPU", format!("{}, {} cores, {} GiB", self.cpu, self.cores, self.memory_gib)),
            ("System", format!("Linux {}, KVM {}", self.linux, self.kvm)),
            ("Load before", self.load.clone()),
            ("Date", self.date.clone()),
            ("Commit", self.commit.clone()),
        ];
        if let Some(percent) = self.stolen_percent {
            lines.push((
                "Stolen",
                format!("{percent:.1} % of the processors' time that was wanted meanwhile: the host gave it to others"),
            ));
        }
        lines
    }
}

/// What the processors have done since the start of this machine, in ticks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks {
    wanted: u64,
    stolen: u64,
}

impl Ticks {
    pub(super) fn now() -> Option<Ticks> {
        Ticks::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Ticks> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
        let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen] = *ticks.first_chunk()?;
        Some(Ticks { wanted: user + nice + system + irq + softirq + stolen, stolen })
    }

    /// Of what was wanted since `before`, in percent; `None` if nothing was.
    pub(super) fn stolen_percent(self, before: Ticks) -> Option<f64> {
        let wanted = self.wanted.checked_sub(before.wanted).filter(|wanted| *wanted > 0)?;
        Some(self.stolen.saturating_sub(before.stolen) as f64 * 100.0 / wanted as f64)
    }
}

/// The commit that the sources are at. A result's own files are not counted as changes.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/", ":!results"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}, with changes") })
}

/// Where results lie if nothing else is asked for.
#[must_use]
pub fn results() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_told_of_what_was_wanted() {
        let [before, after] = ["cpu  100 0 50 900 7 0 0 10 3 0\ncpu0 1", "cpu  130 10 70 950 9 5 5 40 4 0\ncpu0 2"]
            .map(|stat| Ticks::parse(stat).expect("ticks"));
        assert_eq!(after.stolen_percent(before), Some(30.0));
        assert_eq!(before.stolen_percent(before), None);
        assert!(Ticks::parse("cpu  1 2 3").is_none() && Ticks::parse("").is_none());
        assert!(Ticks::now().is_some());
    }
}
