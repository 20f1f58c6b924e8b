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
    time::Duration,
};

use rustix::process::{Pid, setpriority_process};

use super::{Group, Way};

/// How often it is looked whether the machines of a group that is to be removed have ended.
const LOOK: Duration = Duration::from_millis(100);

/// From an order to its beginning.
const PAUSE: Duration = Duration::from_millis(2);

/// What the thread is told.
pub(super) enum Order {
    /// A machine is to have this share from now on.
    Admit(Arc<Group>, u32),
    /// A machine of this group ends.
    Leave(Arc<Group>),
    /// The process that forks machines.
    Zygote(u32),
    /// The platform ends.
    End,
}

/// Does what it is told, until the end; then removes all groups.
pub(super) fn enforce(way: Way, orders: &Receiver<Order>) {
    let mut enforcer = Enforcer { way, members: HashMap::new(), leaving: Vec::new() };
    loop {
        let order = if enforcer.leaving.is_empty() {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(LOOK)
        };
        match order {
            Ok(Order::Admit(group, pid)) => {
                // Whoever gave the order is about to run the machine, on this processor perhaps.
                std::thread::sleep(PAUSE);
                enforcer.admit(&group, pid);
            }
            Ok(Order::Leave(group)) => enforcer.leave(&group),
            Ok(Order::Zygote(pid)) => enforcer.zygote(pid),
            Err(RecvTimeoutError::Timeout) => enforcer.look(),
            Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Enforcer {
    way: Way,
    /// Machines of each group that exists.
    members: HashMap<String, usize>,
    /// Groups without members, whose machines may still be ending.
    leaving: Vec<String>,
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
                let members = self.members.entry(group.name.clone()).or_default();
                *members += 1;
                let made = if *members == 1 { tree.make(&group.name, group.weight) } else { Ok(()) };
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

    fn leave(&mut self, group: &Group) {
        let Some(members) = self.members.get_mut(&group.name) else { return };
        *members -= 1;
        if *members == 0 {
            self.members.remove(&group.name);
            self.leaving.push(group.name.clone());
        }
    }

    fn look(&mut self) {
        if let Way::Groups(tree) = &self.way {
            self.leaving.retain(|name| !tree.remove(name));
        } else {
            self.leaving.clear();
        }
    }
}
