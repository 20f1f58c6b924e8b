//! The groups of one server.
//!
//! ```text
//!  the group in which the server was started
//!  ├─ mayfly-server       v2 alone: the server itself, for only leaves may have both processes and a share
//!  └─ mayfly-PID-N        all machines: one vCPU's weight per processor, locked by the server for as long as it lives
//!     ├─ shells           machines of no function yet, and those that deploy one: together a quarter of the smallest function's weight
//!     └─ fn-NAME-ID       machines of a function
//! ```

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use super::weight::Weight;
use crate::cgroup::{Controller, Version};

/// Groups of servers that one process may have: tests have several.
const SERVERS_MAX: u32 = 64;
/// How long machines that were told to end may take to be gone.
const END_WAIT: Duration = Duration::from_secs(2);
const END_LOOK: Duration = Duration::from_millis(10);
const PREFIX: &str = "mayfly-";
const SERVER: &str = "mayfly-server";
const SHELLS: &str = "shells";

/// The groups.
#[derive(Debug)]
pub(super) struct Tree {
    version: Version,
    own: PathBuf,
    root: PathBuf,
    /// Tells others that this server lives: the lock goes with the process, however it ends.
    _lock: File,
    /// Whether the server itself had to be moved.
    has_moved: bool,
}

impl Tree {
    /// Makes the groups, of whichever version this process may use; or says why there are none.
    pub(super) fn plant(processors: u64) -> Result<Tree, String> {
        let mut why = Vec::new();
        for version in [Version::V2, Version::V1] {
            let name = if version == Version::V1 { "v1" } else { "v2" };
            let planted = match version.own(Controller::Cpu) {
                Some(own) => {
                    Tree::plant_in(version, &own, processors).map_err(|error| format!("{}: {error}", own.display()))
                }
                None => Err("not mounted".into()),
            };
            match planted {
                Ok(tree) => return Ok(tree),
                Err(error) => why.push(format!("{name}: {error}")),
            }
        }
        Err(why.join("; "))
    }

    pub(super) fn plant_in(version: Version, own: &Path, processors: u64) -> io::Result<Tree> {
        // A server of this process may have moved it already.
        let moved_from = own.parent().filter(|_| own.ends_with(SERVER));
        let own = moved_from.unwrap_or(own);
        sweep(own);
        let has_moved = version == Version::V2 && moved_from.is_none() && hand_down(own)?;
        let (root, lock) = make_root(own)?;
        let tree = Tree { version, own: own.to_owned(), root, _lock: lock, has_moved };
        // From here on, dropping it cleans up.
        tree.weigh(&tree.root, Weight::vcpus(processors.max(1)), Rank::Servers)?;
        if version == Version::V2 {
            fs::write(tree.root.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::create_dir(tree.root.join(SHELLS))?;
        tree.weigh(&tree.root.join(SHELLS), Weight::SHELLS, Rank::Functions)?;
        Ok(tree)
    }

    /// What it is, for people.
    pub(super) fn describe(&self) -> String {
        let version = if self.version == Version::V1 { "v1" } else { "v2" };
        format!("cgroup {version} below {}", self.own.display())
    }

    /// Puts the process from which shells are forked where they belong.
    pub(super) fn adopt_zygote(&self, pid: u32) -> io::Result<()> {
        adopt(&self.root.join(SHELLS), pid)
    }

    /// Makes a function's group.
    pub(super) fn make(&self, name: &str, weight: Weight) -> io::Result<()> {
        let group = self.root.join(name);
        match fs::create_dir(&group) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.weigh(&group, weight, Rank::Functions)
    }

    /// Gives a function's group another weight.
    pub(super) fn reweigh(&self, name: &str, weight: Weight) -> io::Result<()> {
        self.weigh(&self.root.join(name), weight, Rank::Functions)
    }

    /// Moves a machine into a function's group.
    pub(super) fn adopt(&self, name: &str, pid: u32) -> io::Result<()> {
        adopt(&self.root.join(name), pid)
    }

    /// Removes a function's group; false if there still is a machine in it.
    pub(super) fn remove(&self, name: &str) -> bool {
        !matches!(fs::remove_dir(self.root.join(name)), Err(error) if error.kind() == ErrorKind::ResourceBusy)
    }

    fn weigh(&self, group: &Path, weight: Weight, rank: Rank) -> io::Result<()> {
        match (self.version, rank) {
            (Version::V1, _) => fs::write(group.join("cpu.shares"), weight.v1().to_string()),
            (Version::V2, Rank::Functions) => fs::write(group.join("cpu.weight"), weight.v2().to_string()),
            // Beside others of the host, for whom one vCPU's worth is 100.
            (Version::V2, Rank::Servers) => fs::write(group.join("cpu.weight"), (weight.v2() / 10).to_string()),
        }
    }
}

/// Against whom a group has its weight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Servers,
    Functions,
}

impl Drop for Tree {
    /// The machines have been told to end, but the last of them may still be ending.
    fn drop(&mut self) {
        let begun = std::time::Instant::now();
        while !fell(&self.root) {
            if begun.elapsed() > END_WAIT {
                tracing::warn!(group = %self.root.display(), "cgroups with processes are left to the next start");
                return;
            }
            std::thread::sleep(END_LOOK);
        }
        // This fails while another server is here, and then all of it stays as it is.
        if self.has_moved && fs::write(self.own.join("cgroup.subtree_control"), "-cpu").is_ok() {
            let _ = adopt(&self.own, std::process::id());
            let _ = fs::remove_dir(self.own.join(SERVER));
        }
    }
}

fn adopt(group: &Path, pid: u32) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), pid.to_string())
}

/// Lets groups below `own` have shares. True if this process had to leave it for that: but for the root, a group of v2 has either processes or
/// groups with shares. (Linux lets one enable `cpu` in spite of processes, and makes the group the root of threaded ones then.)
fn hand_down(own: &Path) -> io::Result<bool> {
    let controllers = fs::read_to_string(own.join("cgroup.controllers"))?;
    if !controllers.split_whitespace().any(|controller| controller == "cpu") {
        return Err(io::Error::new(ErrorKind::Unsupported, "there is no controller cpu"));
    }
    let control = own.join("cgroup.subtree_control");
    let is_root = !own.join("cgroup.type").exists();
    if is_root {
        return fs::write(&control, "+cpu").map(|()| false);
    }
    let leaf = own.join(SERVER);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => adopt(&leaf, std::process::id())?,
    }
    let enabled = match fs::read_to_string(own.join("cgroup.procs")) {
        Ok(others) if !others.is_empty() => {
            Err(io::Error::new(ErrorKind::ResourceBusy, "other processes are in this group"))
        }
        Ok(_) => fs::write(&control, "+cpu"),
        Err(error) => Err(error),
    };
    enabled.map(|()| true).inspect_err(|_| {
        let _ = adopt(own, std::process::id());
        let _ = fs::remove_dir(&leaf);
    })
}

/// Makes the group of a server, and locks it.
fn make_root(own: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0..SERVERS_MAX {
        let root = own.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs::create_dir(&root) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        let lock = File::open(&root)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        // Another that starts at this moment may have found it unlocked, and removed it.
        if fs::metadata(&root).is_ok_and(|there| lock.metadata().is_ok_and(|ours| ours.ino() == there.ino())) {
            return Ok((root, lock));
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// Removes what servers left that were killed.
fn sweep(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_one = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name != SERVER);
        let Some(lock) = is_one.then(|| File::open(entry.path()).ok()).flatten() else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && fell(&entry.path()) {
            tracing::info!(group = %entry.path().display(), "what a killed server left is removed");
        }
    }
}

/// Removes a group and those in it; false if there are processes left.
fn fell(root: &Path) -> bool {
    let groups = fs::read_dir(root).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    groups.for_each(|group| drop(fs::remove_dir(group.path())));
    !matches!(fs::remove_dir(root), Err(error) if error.kind() != ErrorKind::NotFound)
}
