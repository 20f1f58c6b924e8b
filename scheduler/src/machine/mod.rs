//! A virtual machine, as the policy sees it: something that takes a command and, later, reports.
//!
//! `vmm` is the real one, behind the [`Machine`] trait so that everything else can be tested with machines that follow a script.
//! Dropping a machine ends it.

#[cfg(test)]
pub(crate) mod scripted;
pub(crate) mod vmm;
mod working_set;

use std::{
    fs::File,
    future::poll_fn,
    path::Path,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

// The same words on both sides: what a guest came to is the vmm's to name.
pub(crate) use mayfly_vmm::Stop;
pub(crate) use working_set::WorkingSet;

use crate::{pool::Primed, shares::Share};

/// Makes machines, and opens the files that they are given.
pub(crate) trait Host: Send + Sync {
    /// A new shell. Blocks for a moment.
    fn spawn(&self) -> Result<Box<dyn Machine>, String>;
    /// Opens and verifies a snapshot. Blocks.
    fn open_snapshot(&self, path: &Path) -> Result<Snapshot, String>;
    /// Opens an image. Blocks.
    fn open_image(&self, path: &Path) -> Result<Image, String>;
    /// What snapshots depend on besides images: kernel, contract and CPU.
    fn build(&self) -> String;
    /// The share of the processors of a function with that memory.
    fn share(&self, function: &str, memory_bytes: u64) -> Share;
    /// Ends all machines, and leaves nothing of them on the host. Blocks.
    fn end(&self);
}

/// A virtual machine.
pub(crate) trait Machine: Send {
    /// Begins something. Only one thing at a time.
    fn start(&mut self, command: Command<'_>) -> Result<(), Gone>;
    /// What came of it. Nothing is lost if this is dropped before it is ready.
    fn poll_report(&mut self, context: &mut Context<'_>) -> Poll<Result<Report, Gone>>;
    /// Its process, if it is one.
    fn pid(&self) -> Option<u32>;
}

/// The machine is of no more use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Gone {
    /// Its process has ended: killed from outside, with its zygote, or by a fault of the host.
    #[error("the machine is gone: {0}")]
    Ended(String),
    /// It could not do what it was told.
    #[error("the machine failed: {0}")]
    Failed(String),
    /// It does not answer.
    #[error("the machine has said nothing for {} s", .0.as_secs_f32())]
    Silent(Duration),
}

/// An open snapshot.
#[derive(Debug)]
pub(crate) enum Snapshot {
    Vmm(mayfly_vmm::Snapshot),
    #[cfg(test)]
    Scripted(std::path::PathBuf),
}

/// An open image.
#[derive(Debug)]
pub(crate) enum Image {
    Vmm(mayfly_vmm::ImageFile),
    #[cfg(test)]
    Scripted,
}

/// What a shell is bound to.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) base: Arc<Snapshot>,
    pub(crate) top: Option<Arc<Snapshot>>,
    pub(crate) working_set: Arc<WorkingSet>,
    pub(crate) images: Vec<Arc<Image>>,
    pub(crate) memory_bytes: u64,
    pub(crate) tmp_bytes: u64,
    /// Shells that are bound to the base already.
    pub(crate) primed: Option<Arc<Primed>>,
}

/// What a machine can be told.
pub(crate) enum Command<'a> {
    /// Shell: start a program from nothing. Its log goes into `output` as it comes, if there is one.
    Boot {
        images: &'a [&'a Image],
        arguments: &'a [&'a str],
        environment: &'a [&'a str],
        memory_bytes: u64,
        tmp_bytes: u64,
        output: Option<&'a File>,
    },
    /// Shell: become an instance; or, with a function on top of what it is bound to already, another one.
    Bind(&'a Binding),
    /// Instance: go on, with an event if there is one, and write the working set of this run if there is a file.
    Run { event: Option<Event<'a>>, timeout: Duration, record: Option<&'a File> },
    /// Instance: write what differs from the snapshots below it.
    Save { to: &'a File },
    /// Instance: become what it was when it was bound.
    Reset,
    /// Instance: give back memory that it needs only to be fast.
    Trim,
}

/// An event for a guest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    /// Of `mayfly_abi::record`.
    pub(crate) kind: u32,
    pub(crate) meta: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// What a machine says.
#[derive(Debug)]
pub(crate) enum Report {
    Ready,
    Bound,
    Stopped(Stopped),
    Saved,
    ResetDone,
    Trimmed,
    /// The command could not be carried out; the machine is of no more use.
    Failed(String),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stopped {
    pub(crate) stop: Stop,
    pub(crate) answer: Option<AnswerRecord>,
    pub(crate) log: Vec<u8>,
    pub(crate) usage: Usage,
}

/// What the guest wrote as its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerRecord {
    /// Of `mayfly_abi::record`.
    pub(crate) kind: u32,
    pub(crate) payload: Vec<u8>,
}

/// What a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) duration: Duration,
    /// Of that, the guest slept.
    pub(crate) slept: Duration,
    /// Processor time of the machine; zero if that is not known.
    pub(crate) computed: Duration,
    /// Before that: from the command to its arrival at the machine.
    pub(crate) handover: Duration,
    /// Times that the guest left its vCPU by itself.
    pub(crate) exits: u64,
    /// Page faults of the machine.
    pub(crate) faults: u64,
    pub(crate) memory_peak_bytes: u64,
}

/// The next report of `machine`, or its end, within `limit`.
pub(crate) async fn report(machine: &mut dyn Machine, limit: Duration) -> Result<Report, Gone> {
    let next = poll_fn(|context| machine.poll_report(context));
    match tokio::time::timeout(limit, next).await {
        Ok(report) => report,
        Err(_) => Err(Gone::Silent(limit)),
    }
}

/// Carries out a command that is answered by `wanted` alone.
pub(crate) async fn carry_out(
    machine: &mut dyn Machine,
    command: Command<'_>,
    limit: Duration,
    wanted: fn(&Report) -> bool,
) -> Result<(), Gone> {
    machine.start(command)?;
    await_report(machine, limit, wanted).await
}

/// Waits for `wanted`, and takes anything else for a failure.
pub(crate) async fn await_report(
    machine: &mut dyn Machine,
    limit: Duration,
    wanted: fn(&Report) -> bool,
) -> Result<(), Gone> {
    match report(machine, limit).await? {
        wanted_report if wanted(&wanted_report) => Ok(()),
        Report::Failed(why) => Err(Gone::Failed(why)),
        other => Err(Gone::Failed(format!("unexpected report {other:?}"))),
    }
}
