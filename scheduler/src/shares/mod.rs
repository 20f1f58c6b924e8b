//! Who gets how much of the processors once he runs.
//!
//! Turns (`dispatch::turns`) decide who runs when; among those that run, a function has the processors in proportion to its memory
//! size, 1,769 MB for one vCPU. That is its floor, when all others are busy; what they leave it may use too. One cgroup per
//! function has that weight, and the machines of the function are in it; `enforcer` moves them, beside the path of invocations.
//! Where the host gives no cgroups, each machine has a nice value.

mod balance;
mod cpus;
mod enforcer;
mod tree;
mod weight;

#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
};

pub use cpus::{Cpus, CpusError};
use mayfly_vmm::host::{Finding, State};
use rustix::thread::{CapabilitySet, capabilities};
pub use weight::MIB_PER_VCPU;

use self::{enforcer::Order, tree::Tree, weight::Weight};
use crate::{
    cgroup::{Controller, Version},
    settings::CpuShares,
};

/// By what shares are enforced.
#[derive(Debug)]
enum Way {
    /// A group per function.
    Groups(Tree),
    /// A nice value per machine.
    Nice,
    /// Nothing, and why.
    None(String),
}

/// The shares of all functions. They end when they are dropped.
pub(crate) struct Shares {
    orders: Sender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
    next: AtomicU64,
}

/// The share of one function revision. The default has none.
#[derive(Clone, Default)]
pub(crate) struct Share(Option<(Arc<Group>, Sender<Order>)>);

/// A machine that has a share, and its process. Dropped with it.
#[derive(Default)]
pub(crate) struct Member(Share, u32);

/// A function's group, whether or not it exists at the moment.
struct Group {
    name: String,
    weight: Weight,
}

impl Shares {
    /// Finds out what this host gives. Blocks. Must come before the zygote: with cgroup v2 this process may have to move.
    pub(crate) fn start(wanted: CpuShares, cpus: &Cpus) -> Shares {
        let way = Way::find(wanted, cpus);
        match &way {
            Way::Groups(tree) => tracing::info!("CPU shares by {}", tree.describe()),
            Way::Nice => tracing::info!("CPU shares by nice values; `mayfly doctor` says what would be better"),
            Way::None(why) => tracing::info!(why, "functions have no CPU shares"),
        }
        let (orders, received) = channel();
        let name = "mayfly-shares".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || enforcer::enforce(way, &received)).ok();
        Shares { orders, thread: Mutex::new(thread), next: AtomicU64::new(0) }
    }

    /// The share of a function with that memory.
    pub(crate) fn of(&self, function: &str, memory_bytes: u64) -> Share {
        let name = format!("fn-{function}-{}", self.next.fetch_add(1, Ordering::Relaxed));
        Share(Some((Arc::new(Group { name, weight: Weight::of_memory(memory_bytes) }), self.orders.clone())))
    }

    /// Removes all groups. The machines must have been ended before.
    pub(crate) fn end(&self) {
        // If the thread has ended, so have the groups.
        let _ = self.orders.send(Order::End);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map(JoinHandle::join);
    }

    /// From now on, machines are forked by that process.
    pub(crate) fn zygote(&self, pid: u32) {
        let _ = self.orders.send(Order::Zygote(pid));
    }
}

impl Share {
    /// Gives the machine of that process this share, as soon as may be.
    pub(crate) fn admit(&self, pid: Option<u32>) -> Member {
        let (Some((group, orders)), Some(pid)) = (&self.0, pid) else { return Member::default() };
        // If the thread has ended, so has the platform.
        let _ = orders.send(Order::Admit(group.clone(), pid));
        Member(self.clone(), pid)
    }
}

/// Divides the processors anew between those who have run lately, and of whom some run for long: those stand back while they are not behind their
/// shares. Ends by itself if it is not said again and again.
pub(crate) fn balance(present: &[(Share, bool)]) {
    let group = |(share, is_long): &(Share, bool)| Some((share.0.as_ref()?.0.clone(), *is_long));
    let orders = present.iter().find_map(|(share, _)| Some(&share.0.as_ref()?.1));
    if let Some(orders) = orders {
        // If the thread has ended, so has the platform.
        let _ = orders.send(Order::Balance(present.iter().filter_map(group).collect()));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some((group, orders)) = self.0.0.take() {
            let _ = orders.send(Order::Leave(group, self.1));
        }
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        self.end();
    }
}

impl Way {
    fn find(wanted: CpuShares, cpus: &Cpus) -> Way {
        let planted = match wanted {
            CpuShares::Off => return Way::None("as told".into()),
            CpuShares::Nice => Err("as told".into()),
            CpuShares::Auto => Tree::plant(cpus.count() as u64),
        };
        match planted {
            Ok(tree) => Way::Groups(tree),
            Err(why) => Way::without_groups(why),
        }
    }

    fn without_groups(why: String) -> Way {
        if may_renice() { Way::Nice } else { Way::None(why) }
    }
}

/// Machines of a server that is root are another user's, and then it takes a privilege.
fn may_renice() -> bool {
    let may_all = || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE));
    !rustix::process::geteuid().is_root() || may_all()
}

/// Whether a cgroup counts what this process uses of the processors, beside others or against a quota: then to keep one busy with nothing costs somebody something.
#[must_use]
pub fn are_counted() -> bool {
    let own = |version: Version| version.own(Controller::Cpu);
    let has_quota = |own: PathBuf| {
        let quota = std::fs::read_to_string(own.join("cpu.cfs_quota_us"));
        quota.is_ok_and(|quota| !quota.starts_with('-'))
    };
    own(Version::V2).is_some_and(|own| own.join("cpu.max").exists()) || own(Version::V1).is_some_and(has_quota)
}

/// By what shares would be enforced if a server were started here, and what would be better.
#[must_use]
pub fn examine(wanted: CpuShares) -> Finding {
    let subject = "CPU shares";
    let better = "For shares per function and not per machine, start it where it may make cgroups: as a service of systemd \
                  with Delegate=cpu, or as root with the cgroup file system writable";
    let (state, found, cure) = match Way::find(wanted, &Cpus::of_this_process()) {
        Way::Groups(tree) => (State::Good, tree.describe(), String::new()),
        _ if wanted == CpuShares::Off => (State::Good, "off, as told".into(), String::new()),
        Way::Nice if wanted == CpuShares::Nice => (State::Good, "nice values, as told".into(), String::new()),
        Way::Nice => (State::Degraded, "nice values".into(), format!("{better}.")),
        Way::None(why) => {
            (State::Degraded, format!("none ({why})"), format!("{better}; or give it CAP_SYS_NICE, for nice values."))
        }
    };
    Finding { subject, state, found, cure }
}
