//! The thread that moves machines into their groups.
//!
//! A move takes a lock that the whole host shares, and where nobody has moved anything for a moment it first waits for all
//! processors: 6 to 14 ms here, of which none is work (`docs/decisions/0009`). So nobody waits for it: a machine is bound meanwhile, and
//! runs with the weight of shells until it is moved.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, setpriority_process};

use super::{
    Group, Way,
    balance::{self, Account, Took},
    tree::Tree,
    weight::Weight,
};

/// How often it is looked whether the machines of a group that is to be removed have ended; and from this time on, nobody stands back any more if
/// that was not said again.
const LOOK: Duration = Duration::from_millis(100);

/// From an order to its beginning.
const PAUSE: Duration = Duration::from_millis(2);

/// Of the time, not more than such a part goes into looking what machines have had: some microseconds for each.
const COST_PART: u32 = 50;

/// What the thread is told.
pub(super) enum Order {
    /// A machine is to have this share from now on.
    Admit(Arc<Group>, u32),
    /// A machine of this group ends.
    Leave(Arc<Group>, u32),
    /// Who has run lately, and whether for long.
    Balance(Vec<(Arc<Group>, bool)>),
    /// The process that forks machines.
    Zygote(u32),
    /// The platform ends.
    End,
}

/// Does what it is told, until the end; then removes all groups.
pub(super) fn enforce(way: Way, orders: &Receiver<Order>) {
    let mut enforcer = Enforcer { way, members: HashMap::new(), leaving: Vec::new(), told: None, looked: None };
    loop {
        let order = if enforcer.leaving.is_empty() && enforcer.told.is_none() {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(LOOK)
        };
        if matches!(order, Ok(Order::Admit(..))) {
            // Whoever gave the order is about to run the machine, on this processor perhaps; and others may give some, too.
            std::thread::sleep(PAUSE);
        }
        for order in std::iter::once(order).chain(orders.try_iter().map(Ok)) {
            match order {
                Ok(Order::Admit(group, pid)) => enforcer.admit(&group, pid),
                Ok(Order::Leave(group, pid)) => enforcer.leave(&group, pid),
                Ok(Order::Balance(present)) => enforcer.balance(&present, Instant::now()),
                Ok(Order::Zygote(pid)) => enforcer.zygote(pid),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        enforcer.look(Instant::now());
    }
}

struct Enforcer {
    way: Way,
    /// Of each group that exists.
    members: HashMap<String, Members>,
    /// Groups without members, whose machines may still be ending.
    leaving: Vec<String>,
    /// When it was last told who has run lately.
    told: Option<Instant>,
    /// When it last looked what they have had, and how long that took.
    looked: Option<(Instant, Duration)>,
}

/// The machines of a group.
struct Members {
    weight: Weight,
    /// Their processes, and the processor time that each had at the last look.
    machines: HashMap<u32, Duration>,
    account: Option<Account>,
    stands_back: bool,
}

impl Enforcer {
    fn zygote(&mut self, pid: u32) {
        let Way::Groups(tree) = &self.way else { return };
        if let Err(error) = tree.adopt_zygote(pid) {
            tracing::warn!(%error, "processes cannot be moved into cgroups; shares are enforced without");
            self.way = Way::without_groups(error.to_string());
        }
    }

    fn admit(&mut self, group: &Group, pid: u32) {
        let done = match &self.way {
            Way::Groups(tree) => {
                let new =
                    || Members { weight: group.weight, machines: HashMap::new(), account: None, stands_back: false };
                let members = self.members.entry(group.name.clone()).or_insert_with(new);
                let is_first = members.machines.is_empty();
                members.machines.insert(pid, ran(pid));
                let made = if is_first { tree.make(&group.name, group.weight) } else { Ok(()) };
                self.leaving.retain(|name| *name != group.name);
                made.and_then(|()| tree.adopt(&group.name, pid))
            }
            Way::Nice => {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                pid.map_or(Ok(()), |pid| setpriority_process(Some(pid), group.weight.nice()).map_err(Into::into))
            }
            Way::None(_) => Ok(()),
        };
        match done {
            // It may have ended before.
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                tracing::warn!(%error, group = group.name, "a machine cannot be given its share of the processors");
            }
            _ => {}
        }
    }

    fn leave(&mut self, group: &Group, pid: u32) {
        let Some(members) = self.members.get_mut(&group.name) else { return };
        members.machines.remove(&pid);
        if members.machines.is_empty() {
            self.members.remove(&group.name);
            self.leaving.push(group.name.clone());
        }
    }

    /// Those who run for long stand back while they are not behind their shares of what all those machines have had.
    fn balance(&mut self, present: &[(Arc<Group>, bool)], now: Instant) {
        let Way::Groups(tree) = &self.way else { return };
        self.told = Some(now);
        if self.looked.is_some_and(|(at, cost)| now.saturating_duration_since(at) < cost * COST_PART) {
            return;
        }
        let took = |(group, _): &(Arc<Group>, bool)| {
            let members = self.members.get_mut(&group.name);
            let (stood_back, used) = members.map_or((false, Duration::ZERO), |of| (of.stands_back, of.used()));
            Took { weight: group.weight.get(), stood_back, used }
        };
        let all: Vec<Took> = present.iter().map(took).collect();
        // Where the kernel does not say what a process has had, everybody keeps his weight.
        let is_known = all.iter().any(|took| !took.used.is_zero());
        for (((group, is_long), took), fair) in present.iter().zip(&all).zip(balance::fair(&all)) {
            let Some(members) = self.members.get_mut(&group.name) else { continue };
            let stands_back = match &mut members.account {
                // Who had what he wanted is in nobody's way. Of one who computes, less than his part may be the time of the look.
                Some(account) if fair.is_content => {
                    if *is_long {
                        account.look_content(took.used, fair.part);
                    }
                    false
                }
                // Between two invocations nobody computes, and the account goes on.
                Some(account) => account.look(took.used, fair.part) && *is_long,
                // What was before the first look says nothing.
                None => *is_long && is_known && members.account.insert(Account::default()).look(fair.part, fair.part),
            };
            members.stand_back(stands_back, tree, &group.name);
        }
        self.looked = Some((now, now.elapsed()));
    }

    fn look(&mut self, now: Instant) {
        let Way::Groups(tree) = &self.way else {
            self.leaving.clear();
            return;
        };
        self.leaving.retain(|name| !tree.remove(name));
        if self.told.is_some_and(|told| now.saturating_duration_since(told) >= LOOK) {
            self.told = None;
            self.members.iter_mut().for_each(|(name, members)| members.reset(tree, name));
        }
    }
}

impl Members {
    /// Processor time that its machines have had since the last look.
    fn used(&mut self) -> Duration {
        let since = |(&pid, before): (&u32, &mut Duration)| {
            let now = ran(pid);
            now.saturating_sub(std::mem::replace(before, now))
        };
        self.machines.iter_mut().map(since).sum()
    }

    /// It has a part of its weight from now on, or all of it.
    fn stand_back(&mut self, stands_back: bool, tree: &Tree, name: &str) {
        if std::mem::replace(&mut self.stands_back, stands_back) != stands_back {
            let weight = if stands_back { self.weight.part(balance::PART) } else { self.weight };
            // If it cannot be, it was removed at this moment.
            let _ = tree.reweigh(name, weight);
        }
    }

    /// It has its whole weight again, and no account.
    fn reset(&mut self, tree: &Tree, name: &str) {
        self.stand_back(false, tree, name);
        self.account = None;
    }
}

/// Processor time that a process has had; none if it has ended.
fn ran(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default())
}
