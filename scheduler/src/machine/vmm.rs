//! The real machines: VM processes of `mayfly_vmm`, waited for with tokio.

use std::{
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
    task::{Context, Poll, ready},
};

use mayfly_vmm::{Shell, Zygote, host};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{Interest, unix::AsyncFd};

use super::{AnswerRecord, Command, Event, Gone, Image, Machine, Report, Snapshot, Stopped, Usage};
use crate::{
    deploy::hex,
    refusal::OpenError,
    settings::CpuShares,
    shares::{Cpus, Share, Shares},
};

/// The argument with which the program becomes the zygote.
pub const ZYGOTE_ARGUMENT: &str = "zygote";

/// Makes VM processes.
pub(crate) struct VmmHost {
    program: PathBuf,
    cpus: Option<Cpus>,
    /// None once the platform has ended.
    zygote: RwLock<Option<Zygote>>,
    /// After the zygote, whose machines must have ended before their groups can be removed.
    shares: Shares,
    build: [u8; 16],
}

impl VmmHost {
    /// Starts the zygote. Blocks.
    pub(crate) fn start(program: &Path, cpus: Option<Cpus>, shares: CpuShares) -> Result<VmmHost, OpenError> {
        if let Some(obstacle) = host::obstacle() {
            return Err(OpenError::Machines(format!("{}: {}. {}", obstacle.subject, obstacle.found, obstacle.cure)));
        }
        raise_open_files();
        let failed = |error: mayfly_vmm::Error| OpenError::Machines(error.to_string());
        let build = mayfly_vmm::Host::open().map_err(failed)?.build();
        let shares = Shares::start(shares, &cpus.clone().unwrap_or_else(Cpus::of_this_process));
        let zygote = Zygote::start(program, ZYGOTE_ARGUMENT).map_err(failed)?;
        if let Some(cpus) = &cpus {
            cpus.pin(zygote.pid()).map_err(|error| {
                OpenError::Machines(format!(
                    "machines cannot be held to processors {cpus} ({error}); give others with --vm-cpus"
                ))
            })?;
        }
        shares.zygote(zygote.pid());
        Ok(VmmHost { program: program.to_owned(), cpus, zygote: RwLock::new(Some(zygote)), shares, build })
    }

    fn restart_zygote(&self) -> Result<(), mayfly_vmm::Error> {
        let zygote = Zygote::start(&self.program, ZYGOTE_ARGUMENT)?;
        if let Some(Err(error)) = self.cpus.as_ref().map(|cpus| cpus.pin(zygote.pid())) {
            tracing::error!(%error, "machines are not held to their processors any more");
        }
        self.shares.zygote(zygote.pid());
        *self.zygote.write().unwrap_or_else(PoisonError::into_inner) = Some(zygote);
        Ok(())
    }

    fn fork(&self) -> Result<Shell, mayfly_vmm::Error> {
        let zygote = self.zygote.read().unwrap_or_else(PoisonError::into_inner);
        zygote.as_ref().ok_or_else(|| mayfly_vmm::Error::Gone("the platform has ended".into()))?.spawn()
    }
}

impl super::Host for VmmHost {
    fn spawn(&self) -> Result<Box<dyn Machine>, String> {
        let shell = self.fork().or_else(|error| {
            // A zygote that lives is left alone, whatever it cannot do: its VM processes end with it.
            if !matches!(error, mayfly_vmm::Error::ZygoteEnded) {
                return Err(error);
            }
            tracing::error!(%error, "the zygote has ended and is started anew");
            self.restart_zygote()?;
            self.fork()
        });
        let shell = shell.map_err(|error| error.to_string())?;
        watch(shell).map(|shell| Box::new(VmmMachine { shell }) as Box<dyn Machine>)
    }

    fn open_snapshot(&self, path: &Path) -> Result<Snapshot, String> {
        mayfly_vmm::Snapshot::open(path, &self.build).map(Snapshot::Vmm).map_err(|error| error.to_string())
    }

    fn open_image(&self, path: &Path) -> Result<Image, String> {
        mayfly_vmm::ImageFile::open(path).map(Image::Vmm).map_err(|error| error.to_string())
    }

    fn build(&self) -> String {
        hex(&self.build)
    }

    fn share(&self, function: &str, memory_bytes: u64) -> Share {
        self.shares.of(function, memory_bytes)
    }

    fn end(&self) {
        // All machines end with it, and then their groups can be removed.
        drop(self.zygote.write().unwrap_or_else(PoisonError::into_inner).take());
        self.shares.end();
    }
}

/// Each machine takes three descriptors here, and the usual soft limit is 1024; the hard one is the operator's.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// When memory ends, machines go first, since they say so themselves; then whatever else is there, and the server last, where it
/// may ask for that.
pub(crate) fn spare_the_server() {
    const LATE: &str = "-900";
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", LATE) {
        tracing::debug!(%error, "the server is as likely as any program to be ended when memory ends, but less than its machines");
    }
}

/// Lets tokio say when a shell has a report.
#[expect(
    deprecated,
    reason = "its successor is unsafe since a type may change its descriptor; a shell keeps one for life"
)]
fn watch(shell: Shell) -> Result<AsyncFd<Shell>, String> {
    AsyncFd::with_interest(shell, Interest::READABLE).map_err(|error| error.to_string())
}

struct VmmMachine {
    shell: AsyncFd<Shell>,
}

impl Machine for VmmMachine {
    fn start(&mut self, command: Command<'_>) -> Result<(), Gone> {
        let shell = self.shell.get_mut();
        let sent = match command {
            Command::Boot { images, arguments, environment, memory_bytes, tmp_bytes, output } => {
                let images = images.iter().map(|image| image.file()).collect::<Result<Vec<_>, Gone>>()?;
                shell.send(mayfly_vmm::Command::Boot {
                    images: &images,
                    arguments,
                    environment,
                    memory_bytes,
                    tmp_bytes,
                    output,
                })
            }
            Command::Bind(binding) => {
                let images = binding.images.iter().map(|image| image.file()).collect::<Result<Vec<_>, Gone>>()?;
                shell.send(mayfly_vmm::Command::Bind {
                    base: binding.base.file()?,
                    top: binding.top.as_ref().map(|top| top.file()).transpose()?,
                    working_set: binding.working_set.recorded(),
                    images: &images,
                    memory_bytes: binding.memory_bytes,
                    tmp_bytes: binding.tmp_bytes,
                })
            }
            Command::Run { event, timeout, record } => {
                let event = event.map(|Event { kind, meta, payload }| mayfly_vmm::Event { kind, meta, payload });
                shell.send(mayfly_vmm::Command::Run { event, timeout, record })
            }
            Command::Save { to } => shell.send(mayfly_vmm::Command::Save { to }),
            Command::Reset => shell.send(mayfly_vmm::Command::Reset),
            Command::Trim => shell.send(mayfly_vmm::Command::Trim),
        };
        sent.map_err(|error| Gone::Ended(error.to_string()))
    }

    fn poll_report(&mut self, context: &mut Context<'_>) -> Poll<Result<Report, Gone>> {
        loop {
            let ready = ready!(self.shell.poll_read_ready_mut(context));
            let mut guard = ready.map_err(|error| Gone::Ended(error.to_string()))?;
            let received = guard.get_inner_mut().receive();
            // One report per command, so nothing else waits. If something has come since the guard was made, this does nothing.
            guard.clear_ready();
            match received {
                Ok(Some(report)) => return Poll::Ready(Ok(translate(report))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Gone::Ended(error.to_string()))),
            }
        }
    }

    fn pid(&self) -> Option<u32> {
        Some(self.shell.get_ref().pid())
    }
}

fn translate(report: mayfly_vmm::Report) -> Report {
    match report {
        mayfly_vmm::Report::Ready => Report::Ready,
        mayfly_vmm::Report::Bound => Report::Bound,
        mayfly_vmm::Report::Saved { .. } => Report::Saved,
        mayfly_vmm::Report::ResetDone(_) => Report::ResetDone,
        mayfly_vmm::Report::Trimmed { .. } => Report::Trimmed,
        mayfly_vmm::Report::Failed(why) => Report::Failed(why),
        mayfly_vmm::Report::Stopped(stopped) => Report::Stopped(Stopped {
            stop: stopped.stop,
            answer: stopped.answer.ok().map(|answer| AnswerRecord { kind: answer.kind, payload: answer.payload }),
            log: stopped.log,
            usage: Usage {
                duration: std::time::Duration::from_nanos(stopped.usage.duration_ns),
                slept: std::time::Duration::from_nanos(stopped.usage.slept_ns),
                computed: std::time::Duration::from_nanos(stopped.usage.computed_ns),
                handover: std::time::Duration::from_nanos(stopped.handover_ns),
                exits: stopped.usage.exits,
                faults: stopped.faults,
                memory_peak_bytes: stopped.usage.memory_peak_bytes,
            },
        }),
    }
}

impl Snapshot {
    /// The pages of it that a bind copies.
    pub(crate) fn copied(&self) -> mayfly_vmm::WorkingSet {
        match self {
            Snapshot::Vmm(snapshot) => mayfly_vmm::WorkingSet::copied(snapshot),
            #[cfg(test)]
            Snapshot::Scripted(_) => mayfly_vmm::WorkingSet::default(),
        }
    }

    /// All of its pages, but of long runs only as many as fit into `bytes_max`.
    pub(crate) fn all_pages(&self, bytes_max: u64) -> mayfly_vmm::WorkingSet {
        match self {
            Snapshot::Vmm(snapshot) => mayfly_vmm::WorkingSet::all(snapshot, bytes_max),
            #[cfg(test)]
            Snapshot::Scripted(_) => mayfly_vmm::WorkingSet::default(),
        }
    }

    /// Bytes of its pages.
    pub(crate) fn data_bytes(&self) -> u64 {
        match self {
            Snapshot::Vmm(snapshot) => snapshot.data_bytes(),
            #[cfg(test)]
            Snapshot::Scripted(path) => path.metadata().map_or(0, |metadata| metadata.len()),
        }
    }

    #[allow(clippy::unnecessary_wraps, reason = "in tests there are others")]
    fn file(&self) -> Result<&mayfly_vmm::Snapshot, Gone> {
        match self {
            Snapshot::Vmm(snapshot) => Ok(snapshot),
            #[cfg(test)]
            Snapshot::Scripted(_) => Err(Gone::Failed("not a real snapshot".into())),
        }
    }
}

impl Image {
    #[allow(clippy::unnecessary_wraps, reason = "in tests there are others")]
    fn file(&self) -> Result<&mayfly_vmm::ImageFile, Gone> {
        match self {
            Image::Vmm(image) => Ok(image),
            #[cfg(test)]
            Image::Scripted => Err(Gone::Failed("not a real image".into())),
        }
    }
}
