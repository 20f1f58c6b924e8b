//! Real processes on one processor. What is compared is the processor time that they got, as the kernel counted it: how much of it
//! others took meanwhile does not matter.

use std::{
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};

use super::{balance::PART, *};
use crate::cgroup::{Controller, Version};

/// Processor time over which shares are compared: at least, and at most. A process that begins, wakes up or is weighed anew is ahead or behind by
/// some time slices, and those are longer the more others want the processor.
const MEASURED_NS: std::ops::Range<u64> = 1_500_000_000..15_000_000_000;
/// How far a part may be from what it should be, in points.
const POINTS: f64 = 3.0;
/// Looks, 20 ms apart, until a test gives up.
const LOOKS: usize = 6000;

/// A process that never sleeps. Killed when dropped.
struct Busy(Child);

impl Busy {
    fn new(cpu: &Cpus) -> Busy {
        let busy = Busy(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("there is a shell"));
        cpu.pin(busy.0.id()).expect("it can be pinned");
        busy
    }

    fn used_ns(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.0.id())).expect("it runs");
        text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id() as i32).expect("not 0");
        kill_process(pid, signal).expect("it is ours");
    }

    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('T'))
    }

    fn group(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/cgroup", self.0.id())).expect("it runs")
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never: {what}");
}

/// Parts, in percent, that each got of what all of them got from now on: measured until they are what they should be, or for long enough.
fn parts(all: &[Busy], ideal: &[f64]) -> Vec<f64> {
    let used = || all.iter().map(Busy::used_ns).collect::<Vec<u64>>();
    let before = used();
    let mut parts = Vec::new();
    until("enough processor time", || {
        let got: Vec<u64> = used().iter().zip(&before).map(|(now, before)| now - before).collect();
        let sum: u64 = got.iter().sum();
        parts = got.iter().map(|&ns| ns as f64 * 100.0 / sum as f64).collect();
        sum >= MEASURED_NS.end || (sum >= MEASURED_NS.start && are_near(&parts, ideal))
    });
    parts
}

fn are_near(parts: &[f64], ideal: &[f64]) -> bool {
    parts.iter().zip(ideal).all(|(got, ideal)| (got - ideal).abs() <= POINTS)
}

fn one_cpu() -> Cpus {
    let all = Cpus::of_this_process().to_string();
    all.rsplit(',').next().and_then(|cpu| cpu.parse().ok()).expect("there is one")
}

/// The processes of functions with those memory sizes get parts of one processor in the same ratio.
fn shared_by_memory(wanted: CpuShares, mib: &[u64]) {
    let cpu = one_cpu();
    let shares = Shares::start(wanted, &cpu);
    let busy: Vec<Busy> = mib.iter().map(|_| Busy::new(&cpu)).collect();
    let begins: Vec<i32> = busy.iter().map(nice).collect();
    let members: Vec<Member> =
        mib.iter().zip(&busy).map(|(mib, busy)| shares.of("f", mib << 20).admit(Some(busy.0.id()))).collect();
    until("all have their share", || {
        busy.iter().zip(&begins).all(|(busy, begin)| busy.group().contains("/fn-f-") || nice(busy) != *begin)
    });
    let sum: u64 = mib.iter().sum();
    let ideal: Vec<f64> = mib.iter().map(|&mib| mib as f64 * 100.0 / sum as f64).collect();
    let got = parts(&busy, &ideal);
    assert!(are_near(&got, &ideal), "{mib:?} MiB got {got:.1?} %, not {ideal:.1?} %");

    // What the last one leaves is the others', in the same ratio; and it takes it back.
    let (others, [last]) = busy.split_at(busy.len() - 1) else { panic!("one at least") };
    last.signal(Signal::STOP);
    // It stops when it is next on the processor.
    until("it has stopped", || last.is_stopped());
    let before = last.used_ns();
    let rest = 100.0 - ideal[ideal.len() - 1];
    let without: Vec<f64> = ideal[..others.len()].iter().map(|ideal| ideal * 100.0 / rest).collect();
    let got = parts(others, &without);
    assert_eq!(last.used_ns(), before, "it is stopped");
    assert!(are_near(&got, &without), "without the last of {mib:?} MiB: {got:.1?} %");
    last.signal(Signal::CONT);
    let got = parts(&busy, &ideal);
    assert!(are_near(&got, &ideal), "awake again, {mib:?} MiB got {got:.1?} %, not {ideal:.1?} %");
    drop((busy, members));
}

fn nice(busy: &Busy) -> i32 {
    let pid = Pid::from_raw(busy.0.id() as i32).expect("not 0");
    rustix::process::getpriority_process(Some(pid)).expect("it runs")
}

/// Whether this host lets tests make groups; says so if not.
fn has_groups() -> bool {
    let has = Tree::plant(1).map(drop);
    if let Err(why) = &has {
        println!("SKIPPED: no cgroups here ({why})");
    }
    has.is_ok()
}

#[test]
fn groups_share_by_memory() {
    if has_groups() {
        shared_by_memory(CpuShares::Auto, &[512, 512]);
        shared_by_memory(CpuShares::Auto, &[2048, 512]);
        shared_by_memory(CpuShares::Auto, &[256, 512, 1024]);
    }
}

#[test]
fn nice_values_share_by_memory() {
    shared_by_memory(CpuShares::Nice, &[512, 512]);
    shared_by_memory(CpuShares::Nice, &[2048, 512]);
    shared_by_memory(CpuShares::Nice, &[256, 512, 1024]);
}

/// Two instances of a function have its share together.
#[test]
fn a_share_is_the_functions() {
    if !has_groups() {
        return;
    }
    let cpu = one_cpu();
    let shares = Shares::start(CpuShares::Auto, &cpu);
    let busy = [Busy::new(&cpu), Busy::new(&cpu), Busy::new(&cpu)];
    let (two, one) = (shares.of("two", 512 << 20), shares.of("one", 512 << 20));
    let members =
        [&two, &two, &one].iter().zip(&busy).map(|(share, busy)| share.admit(Some(busy.0.id()))).collect::<Vec<_>>();
    until("all are in their groups", || busy.iter().all(|busy| busy.group().contains("/fn-")));
    let ideal = [25.0, 25.0, 50.0];
    let got = parts(&busy, &ideal);
    assert!(are_near(&got, &ideal), "{got:.1?}");
    drop((busy, members));
}

/// One who computes all the time stands back for those who come and go, and has its share all the same.
#[test]
fn who_runs_for_long_stands_back_unless_it_is_behind() {
    if !has_groups() {
        return;
    }
    let cpu = one_cpu();
    let shares = Shares::start(CpuShares::Auto, &cpu);
    let busy = [Busy::new(&cpu), Busy::new(&cpu)];
    let both = [shares.of("long", 512 << 20), shares.of("short", 512 << 20)];
    let members: Vec<Member> = both.iter().zip(&busy).map(|(share, busy)| share.admit(Some(busy.0.id()))).collect();
    until("both are in their groups", || busy.iter().all(|busy| busy.group().contains("/fn-")));
    let whole = weight(&busy[0]);
    assert_eq!(weight(&busy[1]), whole);
    let present = [(both[0].clone(), true), (both[1].clone(), false)];
    let told = |is_so: &dyn Fn() -> bool| {
        balance(&present);
        is_so()
    };
    // The other one wants nothing: all that the first one has is more than its share.
    busy[1].signal(Signal::STOP);
    until("it stands back", || told(&|| weight(&busy[0]) == whole / PART));
    // The other one wants all: then it goes before, and after a moment not any more.
    busy[1].signal(Signal::CONT);
    until("it is behind", || told(&|| weight(&busy[0]) == whole));
    let before = [busy[0].used_ns(), busy[1].used_ns()];
    let mut part = 0.0;
    until("it has its share", || {
        let got = [0, 1].map(|at| busy[at].used_ns() - before[at]);
        let sum = got[0] + got[1];
        part = got[0] as f64 * 100.0 / sum as f64;
        told(&|| sum >= MEASURED_NS.end || (sum >= MEASURED_NS.start && (part - 50.0).abs() <= POINTS))
    });
    assert!((part - 50.0).abs() <= POINTS, "{part} %");
    assert_eq!(weight(&busy[1]), whole);
    // If nobody says so any more, it does not.
    until("it has all of its weight", || weight(&busy[0]) == whole);
    drop((busy, members));
}

/// The weight of the group that a process is in.
fn weight(of: &Busy) -> u64 {
    let name = of.group().lines().find_map(|line| Some(line.split_once("/fn-")?.1.to_owned())).expect("a group");
    let tree = |version: Version| Some((version.own(Controller::Cpu)?, version));
    [tree(Version::V2), tree(Version::V1)]
        .into_iter()
        .flatten()
        .find_map(|(own, version)| {
            let file = if version == Version::V1 { "cpu.shares" } else { "cpu.weight" };
            let roots = std::fs::read_dir(own).ok()?.flatten();
            let read = |root: std::fs::DirEntry| {
                std::fs::read_to_string(root.path().join(format!("fn-{name}")).join(file)).ok()
            };
            roots.filter_map(read).find_map(|text| text.trim().parse().ok())
        })
        .expect("it has one")
}

/// Directories of groups that have this in their names.
fn groups(below: &Path, part: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        found.extend(name.contains(part).then_some(name));
        found.extend(groups(&entry.path(), part));
    }
    found
}

#[test]
fn a_group_is_there_while_it_has_members() {
    if !has_groups() {
        return;
    }
    let own = [Version::V2, Version::V1].into_iter().find_map(|version| {
        let own = version.own(Controller::Cpu)?;
        Tree::plant_in(version, &own, 1).ok().map(|_| own)
    });
    let own = own.expect("it has just been there");
    let cpu = one_cpu();
    let shares = Shares::start(CpuShares::Auto, &cpu);
    let share = shares.of("comes-and-goes", 128 << 20);
    assert!(groups(&own, "comes-and-goes").is_empty(), "nobody needs it yet");
    for _ in 0..2 {
        let (busy, other) = (Busy::new(&cpu), Busy::new(&cpu));
        let (one, two) = (share.admit(Some(busy.0.id())), share.admit(Some(other.0.id())));
        until("both are in it", || [&busy, &other].iter().all(|busy| busy.group().contains("comes-and-goes")));
        drop(one);
        drop(other);
        drop(two);
        // The first one left before its process ended: the group waits for it.
        assert_eq!(groups(&own, "comes-and-goes").len(), 1);
        drop(busy);
        until("it is removed", || groups(&own, "comes-and-goes").is_empty());
    }
    let busy = Busy::new(&cpu);
    let member = share.admit(Some(busy.0.id()));
    until("it is back", || busy.group().contains("comes-and-goes"));
    drop((busy, member));
    drop(shares);
    assert!(groups(&own, "comes-and-goes").is_empty(), "nothing is left at the end");
}

#[test]
fn what_a_killed_server_left_is_removed() {
    // Not among the groups of other tests, which remove what they find.
    let own = Version::V1.own(Controller::Cpu).map(|own| own.join(format!("test-{}", std::process::id())));
    let Some(own) = own.filter(|own| has_groups() && std::fs::create_dir(own).is_ok()) else { return };
    let make = |name: &str| {
        let group = own.join(name);
        std::fs::create_dir_all(group.join("fn-x-0")).expect("it can");
        group
    };
    let (dead, alive) = (make("mayfly-0-dead"), make("mayfly-0-alive"));
    let lock = std::fs::File::open(&alive).expect("it is there");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody else has it");
    drop(Tree::plant_in(Version::V1, &own, 1).expect("it can"));
    assert!(!dead.exists() && alive.join("fn-x-0").exists());
    drop(lock);
    drop(Tree::plant_in(Version::V1, &own, 1).expect("it can"));
    assert!(!alive.exists());
    std::fs::remove_dir(own).expect("nothing else is in it");
}

#[test]
fn what_is_found_has_a_cure_if_it_is_not_the_best() {
    for wanted in [CpuShares::Auto, CpuShares::Nice, CpuShares::Off] {
        let finding = examine(wanted);
        assert_eq!(finding.cure.is_empty(), finding.state == State::Good, "{finding:?}");
    }
    assert_eq!(examine(CpuShares::Nice).found, "nice values, as told");
}
