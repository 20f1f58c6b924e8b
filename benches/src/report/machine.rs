//! What figures were measured on, and with.

use std::{fs, path::Path, process::Command, time::SystemTime};

use aws_smithy_types::{DateTime, date_time::Format};
use serde::{Deserialize, Serialize};

/// The machine, and the state of the project, at the beginning of a figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
            date: now.fmt(Format::DateTime).unwrap_or_default(),
            commit: commit().unwrap_or_else(|| "unknown".into()),
        }
    }

    /// What a page says of it, line by line.
    #[must_use]
    pub fn lines(&self) -> [(&'static str, String); 5] {
        [
            ("CPU", format!("{}, {} cores, {} GiB", self.cpu, self.cores, self.memory_gib)),
            ("System", format!("Linux {}, KVM {}", self.linux, self.kvm)),
            ("Load before", self.load.clone()),
            ("Date", self.date.clone()),
            ("Commit", self.commit.clone()),
        ]
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
