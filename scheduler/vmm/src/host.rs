//! What this host offers, and how to cure what is missing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kvm_ioctls::{Cap, Kvm};

use crate::dirty::DirtyPages;

/// How good a part of the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Mayfly works, but worse than it could.
    Degraded,
    /// Mayfly cannot work.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub subject: &'static str,
    /// How good.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; empty if nothing.
    pub cure: String,
}

/// Lowest kernel that Mayfly is tested on.
const KERNEL_MIN: (u32, u32) = (5, 14);
/// Open files that a server with a few hundred instances needs.
const FILES_WANTED: u64 = 4096;

/// Processes that a server with two thousand instances needs, the host's own besides.
const PROCESSES_WANTED: u64 = 2500;

/// Looks at everything.
#[must_use]
pub fn examine() -> Vec<Finding> {
    vec![processor(), kernel(), kvm(), kvm_kind(), page_map(), open_files(), processes(), memory(), page_watchers()]
}

/// The first thing without which nothing works, if any.
#[must_use]
pub fn obstacle() -> Option<Finding> {
    [processor(), kernel(), kvm()].into_iter().find(|finding| finding.state == State::Missing)
}

fn finding(subject: &'static str, state: State, found: impl Into<String>, cure: impl Into<String>) -> Finding {
    Finding { subject, state, found: found.into(), cure: cure.into() }
}

fn processor() -> Finding {
    let subject = "processor";
    if cfg!(not(target_arch = "x86_64")) {
        return finding(
            subject,
            State::Missing,
            std::env::consts::ARCH,
            "Guests are x86-64 programs: use an x86-64 machine.",
        );
    }
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |key: &str| {
        let found = info.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
        found.map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let flags = line("flags");
    if !flags.split(' ').any(|flag| flag == "fsgsbase") {
        let cure = "The guest kernel uses rdfsbase and wrfsbase: use a CPU (or CPU model of your VM) of 2013 or later, with Linux 5.9 or later.";
        return finding(subject, State::Missing, format!("{} without fsgsbase", line("model name")), cure);
    }
    finding(subject, State::Good, line("model name"), "")
}

fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < KERNEL_MIN {
        let cure = format!("Linux {}.{} or later is needed (MADV_POPULATE_WRITE, pidfd).", KERNEL_MIN.0, KERNEL_MIN.1);
        return finding("Linux", State::Missing, release, cure);
    }
    finding("Linux", State::Good, release, "")
}

fn kvm() -> Finding {
    let subject = "/dev/kvm";
    let missing = |found: String, cure: &str| finding(subject, State::Missing, found, cure);
    match fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Err(error) if error.kind() == ErrorKind::NotFound => missing(
            "/dev/kvm does not exist".into(),
            "Load the module (modprobe kvm_intel or kvm_amd), switch on virtualization in the firmware, or, if this is a VM, nested virtualization on its host; in a container pass --device /dev/kvm.",
        ),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => missing(
            "no permission to open /dev/kvm".into(),
            "Join its group (sudo usermod -aG kvm $USER, then log in again) or run as root.",
        ),
        Err(error) => missing(format!("/dev/kvm cannot be opened: {error}"), "Look into the kernel's log (dmesg)."),
        Ok(_) => match Kvm::new() {
            Err(error) => missing(format!("KVM does not answer: {error}"), "Look into the kernel's log (dmesg)."),
            Ok(kvm) if kvm.get_api_version() != 12 => {
                missing(format!("KVM API version {}", kvm.get_api_version()), "Use a Linux kernel of this decade.")
            }
            Ok(kvm) if !kvm.check_extension(Cap::SyncRegs) => {
                missing("KVM without KVM_CAP_SYNC_REGS".into(), "Use Linux 4.17 or later.")
            }
            Ok(_) => finding(subject, State::Good, "KVM API version 12", ""),
        },
    }
}

fn kvm_kind() -> Finding {
    let subject = "kind of KVM";
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    let has = |name: &str| {
        modules.lines().any(|line| line.split(' ').next() == Some(name))
            || fs::exists(format!("/sys/module/{name}")).unwrap_or(false)
    };
    if has("kvm_intel") {
        finding(subject, State::Good, "hardware (VMX)", "")
    } else if has("kvm_amd") {
        finding(subject, State::Good, "hardware (SVM)", "")
    } else if has("kvm_pvm") {
        let cure = "Works. Leaving a guest costs 28 µs instead of 1–2 µs; a host with VMX or SVM is faster.";
        finding(subject, State::Degraded, "software (PVM), shadow paging", cure)
    } else {
        finding(subject, State::Degraded, "unknown (built into the kernel)", "Nothing to do if invocations work.")
    }
}

fn page_map() -> Finding {
    let subject = "PAGEMAP_SCAN";
    match DirtyPages::open() {
        Ok(pages) if pages.can_scan() => finding(subject, State::Good, "there", ""),
        Ok(_) => {
            let cure = "Linux 6.7 or later makes resets of large functions faster.";
            finding(subject, State::Degraded, "not there: resets read /proc/self/pagemap", cure)
        }
        Err(error) => finding(subject, State::Missing, error.to_string(), "Mount /proc."),
    }
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let found = format!("{soft} (at most {hard})");
    if hard < FILES_WANTED {
        let cure = format!(
            "Each instance needs three: raise the hard limit to {FILES_WANTED} or more (ulimit -Hn, LimitNOFILE=)."
        );
        return finding("open files", State::Degraded, found, cure);
    }
    finding("open files", State::Good, found, "")
}

/// Each instance is a process. What limits those is in four places, and the least counts.
fn processes() -> Finding {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let own = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = [
        ("sysctl kernel.pid_max", number("/proc/sys/kernel/pid_max")),
        ("sysctl kernel.threads-max", number("/proc/sys/kernel/threads-max")),
        ("ulimit -u", own),
        ("pids.max of the cgroup", pids_max(Path::new("/sys/fs/cgroup"), &groups)),
    ];
    let least = limits.into_iter().filter_map(|(name, limit)| Some((limit?, name))).min();
    let Some((limit, name)) = least else { return finding("processes", State::Good, "not limited", "") };
    let found = format!("at most {limit} ({name})");
    if limit < PROCESSES_WANTED {
        let cure =
            format!("Each instance is one: raise {name} to {PROCESSES_WANTED} or more for two thousand of them.");
        return finding("processes", State::Degraded, found, cure);
    }
    finding("processes", State::Good, found, "")
}

/// The least `pids.max` of the own cgroup and those around it; `groups` is `/proc/self/cgroup`.
fn pids_max(root: &Path, groups: &str) -> Option<u64> {
    let own = |line: &str| -> Option<PathBuf> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let is_v1 = controllers.split(',').any(|controller| controller == "pids");
        (is_v1 || controllers.is_empty()).then(|| root.join(if is_v1 { "pids" } else { "" }).join(group))
    };
    let own: Vec<PathBuf> = groups.lines().filter_map(own).collect();
    let around = own.iter().flat_map(|group| group.ancestors()).filter(|group| group.starts_with(root));
    around.filter_map(|group| fs::read_to_string(group.join("pids.max")).ok()?.trim().parse().ok()).min()
}

fn memory() -> Finding {
    const MIB_WANTED: u64 = 1024;
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let mib = available.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024;
    let found = format!("{mib} MiB available");
    if mib < MIB_WANTED {
        return finding("memory", State::Degraded, found, "1 GiB or more leaves room for some tens of instances.");
    }
    finding("memory", State::Good, found, "")
}

/// DAMON's threads, which look at who uses which page. Snapshots and images are pages that all machines map: a look at one goes through every
/// machine's mappings, and until it is done nobody maps that file.
fn page_watchers() -> Finding {
    let subject = "page monitor";
    let threads =
        fs::read_dir(KDAMONDS).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("state")));
    let modules = DAMON_MODULES.map(|module| Path::new("/sys/module").join(module).join("parameters/enabled"));
    let switches = threads.map(|path| (path, "on", "off")).chain(modules.map(|path| (path, "Y", "N")));
    let mut on = switches.filter(|(path, on, _)| fs::read_to_string(path).is_ok_and(|state| state.trim() == *on));
    let Some((path, _, off)) = on.next() else { return finding(subject, State::Good, "none", "") };
    let path = path.display();
    let cure =
        format!("With hundreds of machines some binds take 0.1 s and more: if nothing needs it, echo {off} > {path}.");
    finding(subject, State::Degraded, "DAMON is on", cure)
}

const KDAMONDS: &str = "/sys/kernel/mm/damon/admin/kdamonds";
const DAMON_MODULES: [&str; 2] = ["damon_reclaim", "damon_lru_sort"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_of_the_groups_around_counts() {
        let root = std::env::temp_dir().join(format!("mayfly-groups-{}", std::process::id()));
        for (group, limit) in [("pids/a/b", "max"), ("pids/a", "300"), ("pids", "max"), ("u", "500"), ("memory/a", "7")]
        {
            fs::create_dir_all(root.join(group)).unwrap();
            fs::write(root.join(group).join("pids.max"), limit).unwrap();
        }
        let of = |groups: &str| pids_max(&root, groups);
        assert_eq!(of("9:name=systemd:/x\n8:cpu,pids:/a/b\n4:memory:/a\n"), Some(300));
        assert_eq!(of("0::/u\n"), Some(500));
        assert_eq!(of("4:memory:/a\n0::/\n"), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
