//! One program of a runtime in a guest, from its start to its end: for looking into images, and for test suites.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use mayfly_abi::layout::IMAGES_MAX;

use super::{BuildError, ENVIRONMENT, Runtimes, host_tree};
use crate::{
    files::Unfinished,
    image::Tree,
    limits,
    machine::{Command, Host, Image, Report, Stop, await_report, carry_out, report, vmm::VmmHost},
    settings::CpuShares,
};

/// What to run.
#[derive(Debug)]
pub struct Program<'a> {
    /// Name of the runtime.
    pub runtime: &'a str,
    /// Path of the program in the guest; the interpreter if there is none.
    pub path: Option<&'a str>,
    /// Its arguments, without the path.
    pub arguments: &'a [String],
    /// Variables on top of the usual ones, `NAME=VALUE`.
    pub environment: &'a [String],
    /// Directories of the host that it sees, as they are at the start.
    pub mounts: &'a [Mount],
    /// Memory of the guest.
    pub memory_bytes: u64,
    /// Room in `/tmp`.
    pub tmp_bytes: u64,
    /// Longest run.
    pub timeout: Duration,
    /// Where what it prints is written while it runs; the last of it is in [`Ended::output`].
    pub output: &'a File,
    /// The program that is started as the zygote: the `mayfly` binary.
    pub zygote: &'a Path,
}

/// A directory of the host in a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the host.
    pub directory: PathBuf,
    /// In the guest, absolute.
    pub path: String,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub ending: Ending,
    /// What it printed and was not written yet.
    pub output: Vec<u8>,
    /// How long it ran.
    pub duration: Duration,
    /// Largest amount of memory that it had.
    pub memory_peak_bytes: u64,
}

/// Why a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Exited(u8),
    /// By a signal.
    Killed {
        /// Which.
        signal: u8,
        /// What is known about it; may be empty.
        diagnosis: String,
    },
    /// Its time was up.
    TimedOut,
    /// It was refused memory.
    OutOfMemory,
    /// It asked for an event of a function: there is none.
    AskedForEvent,
    /// It broke out of its part: what no program can do by accident.
    Violation(String),
}

/// Runs a program in a machine of its own.
///
/// # Errors
/// There is no such runtime, a mount cannot be packed, or no machine can be had. One sentence.
pub async fn run(runtimes: &Runtimes, program: Program<'_>) -> Result<Ended, String> {
    let record = runtimes.get(program.runtime).ok_or_else(|| missing(runtimes, program.runtime))?;
    if program.mounts.len() + 1 > IMAGES_MAX {
        return Err(format!("a guest has room for {} mounts", IMAGES_MAX - 1));
    }
    let host = VmmHost::start(program.zygote, None, CpuShares::Off).map_err(|error| error.to_string())?;
    let mut images = vec![host.open_image(&runtimes.image(&record))?];
    for mount in program.mounts {
        images.push(pack(&host, runtimes, mount).map_err(|error| error.to_string())?);
    }
    let executable = record.executable.to_string_lossy();
    let mut arguments = vec![program.path.unwrap_or(&executable)];
    arguments.extend(program.arguments.iter().map(String::as_str));
    let mut environment = ENVIRONMENT.to_vec();
    environment.retain(|usual| {
        let name = usual.split_inclusive('=').next().unwrap_or(usual);
        !program.environment.iter().any(|given| given.starts_with(name))
    });
    environment.extend(program.environment.iter().map(String::as_str));

    let mut shell = host.spawn()?;
    let failed = |gone: crate::machine::Gone| gone.to_string();
    await_report(&mut *shell, limits::SHELL_WAIT, |report| matches!(report, Report::Ready)).await.map_err(failed)?;
    let boot = Command::Boot {
        images: &images.iter().collect::<Vec<_>>(),
        arguments: &arguments,
        environment: &environment,
        memory_bytes: program.memory_bytes,
        tmp_bytes: program.tmp_bytes,
        output: Some(program.output),
    };
    let bound = |report: &Report| matches!(report, Report::Bound);
    carry_out(&mut *shell, boot, limits::BOOT_TIMEOUT, bound).await.map_err(failed)?;
    shell.start(Command::Run { event: None, timeout: program.timeout, record: None }).map_err(failed)?;
    match report(&mut *shell, program.timeout + limits::REPORT_GRACE).await.map_err(failed)? {
        Report::Stopped(stopped) => Ok(Ended {
            ending: ending(stopped.stop),
            output: stopped.log,
            duration: stopped.usage.duration,
            memory_peak_bytes: stopped.usage.memory_peak_bytes,
        }),
        Report::Failed(why) => Err(format!("the machine failed: {why}")),
        other => Err(format!("the machine said {other:?}")),
    }
}

fn missing(runtimes: &Runtimes, name: &str) -> String {
    let names: Vec<_> = runtimes.list().unwrap_or_default().into_iter().map(|record| record.name).collect();
    let known = if names.is_empty() { "there are none yet".into() } else { format!("there are {}", names.join(", ")) };
    format!("there is no runtime {name} here ({known}); make one with `mayfly runtime build`")
}

fn ending(stop: Stop) -> Ending {
    match stop {
        Stop::Next => Ending::AskedForEvent,
        Stop::Exited { status } => Ending::Exited(status),
        Stop::Killed { signal, diagnosis } => Ending::Killed { signal, diagnosis },
        Stop::TimedOut => Ending::TimedOut,
        Stop::OutOfMemory => Ending::OutOfMemory,
        Stop::Violation(what) => Ending::Violation(what),
    }
}

/// A directory as an image without a name: it is gone with the machine.
fn pack(host: &VmmHost, runtimes: &Runtimes, mount: &Mount) -> Result<Image, BuildError> {
    let cannot = |source| BuildError::File { path: mount.directory.clone(), source };
    let mut tree = Tree::new();
    host_tree::relocate(&mut tree, &mount.directory, mount.path.trim_end_matches('/'))?;
    let unfinished = Unfinished::new(&runtimes.directory().join("mount"));
    let mut file = File::create_new(&unfinished.path).map_err(cannot)?;
    tree.write(&mut file, |source: &host_tree::Source, to| source.copy(to))?;
    host.open_image(&unfinished.path).map_err(BuildError::Image)
}
