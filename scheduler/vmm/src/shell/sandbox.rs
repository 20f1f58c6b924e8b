//! What a VM process may still do once its machine exists: talk to its socket, run its vCPU, map what it is handed.
//!
//! Layers, each enough on its own against most of what a broken-out guest could try: no other files than those it needs, no
//! privileges and no way to get any, an allow-list of system calls whose violation kills the process, limits.

use std::collections::BTreeMap;

use rustix::process::{Pid, Resource, Rlimit, Signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::error::Error;

/// System calls of a VM process after its start. `ioctl` is what KVM and the page map are spoken to with; `mmap` and its like
/// place snapshots; nothing opens a path, makes a socket, a process or a thread.
const ALLOWED: &[libc::c_long] = &[
    libc::SYS_ioctl,
    libc::SYS_ppoll,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_fdatasync,
    libc::SYS_fallocate,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_timer_settime,
    libc::SYS_timer_delete,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Memory of a VM process besides its guest's: its heap, and tables that grow with the guest.
const OWN_BYTES: u64 = 64 << 20;

/// Nobody.
const UNPRIVILEGED_ID: u32 = 65_534;

/// Gives up everything that is not needed any more, and ties this process's life to its zygote's.
pub(super) fn enter(zygote: Pid) -> Result<(), Error> {
    volunteer()?;
    give_up_identity()?;
    die_with(zygote)?;
    rustix::thread::set_no_new_privs(true).map_err(Error::errno("setting no_new_privs"))?;
    // The library looks for the vDSO at its first use, with calls that are not on the list.
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let arch =
        TargetArch::try_from(std::env::consts::ARCH).map_err(|_| Error::Unsupported("not an x86-64 host".into()))?;
    let mut rules: BTreeMap<_, _> = ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_prlimit64, vec![of_itself()?]);
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| Error::Unsupported(format!("the system call filter cannot be made: {error}")))?;
    seccompiler::apply_filter(&filter)
        .map_err(|error| Error::Unsupported(format!("the system call filter cannot be installed: {error}")))
}

/// A call whose first argument, a process, is 0.
fn of_itself() -> Result<SeccompRule, Error> {
    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)
        .and_then(|itself| SeccompRule::new(vec![itself]))
        .map_err(|error| Error::Unsupported(format!("the system call filter cannot be made: {error}")))
}

/// Holds this process to the memory of its guest: what it could take beyond that, were it not ours any more, is [`OWN_BYTES`].
/// Pages that it shares with others (images, snapshots) do not count until it has a copy of its own.
/// Once that is final, it is so for good.
pub(super) fn limit_memory(guest_bytes: u64, is_final: bool) -> Result<(), Error> {
    let limit = Some(guest_bytes.saturating_add(OWN_BYTES));
    let maximum = if is_final { limit } else { rustix::process::getrlimit(Resource::Data).maximum };
    setrlimit(Resource::Data, Rlimit { current: limit, maximum }).map_err(Error::errno("limiting memory"))
}

/// When the host's memory ends, this process is ended before any other: it is one of many, and what it holds can be made again. Comes
/// first, since the file is root's after a change of identity.
fn volunteer() -> Result<(), Error> {
    const FIRST: &str = "1000";
    std::fs::write("/proc/self/oom_score_adj", FIRST).map_err(Error::host("volunteering for the OOM killer"))
}

/// Asks to be killed when the zygote ends, whatever ends it. Linux forgets this at a change of identity, so it comes after that.
fn die_with(zygote: Pid) -> Result<(), Error> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Error::errno("asking for a signal"))?;
    if rustix::process::getppid() == Some(zygote) { Ok(()) } else { Err(Error::Gone("the zygote has ended".into())) }
}

/// A server that runs as root does not want its guests' processes to.
fn give_up_identity() -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (gid, uid) = (rustix::fs::Gid::from_raw(UNPRIVILEGED_ID), rustix::fs::Uid::from_raw(UNPRIVILEGED_ID));
    rustix::thread::set_thread_groups(&[]).map_err(Error::errno("dropping groups"))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(Error::errno("dropping the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(Error::errno("dropping the user"))
}
