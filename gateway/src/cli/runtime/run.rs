//! `mayfly runtime run`.

use std::{fs::File, io::Write as _, os::fd::AsFd as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use mayfly_scheduler::{
    Settings, limits,
    runtime::{self, Ending, Mount, Program, Runtimes},
};

use crate::cli::doctor;

/// Run a program of a runtime in a machine of its own.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// Name of the runtime
    name: String,
    /// Path of another program of the image than the interpreter
    #[arg(long, value_name = "PATH")]
    program: Option<String>,
    /// MiB of memory
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    memory: u32,
    /// MiB of /tmp
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    tmp: u32,
    /// Seconds that it may take
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    timeout: u64,
    /// Variable of its environment; can be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Directory that it sees, read-only, as it is at the start; can be given several times
    #[arg(long, value_name = "DIR=/PATH")]
    mount: Vec<String>,
    /// Arguments of the interpreter
    #[arg(last = true)]
    arguments: Vec<String>,
}

const EXAMPLES: &str =
    "What it prints, to either of its outputs, is printed as it comes, in pieces. It ends with the program's own
status; with 128 and the signal if one ended it; with 124 if its time was up, 137 if it was refused memory,
and 125 if it broke the guest's rules.

Examples:
  mayfly runtime run python3.11 -- -c 'import ssl; print(ssl.OPENSSL_VERSION)'
  mayfly runtime run python3.11 --mount wheels=/opt/python --env PYTHONPATH=/opt/python -- -m pytest";

/// Status of a program whose time was up, as `timeout` has it.
const TIMED_OUT: u8 = 124;
/// Status for what is not the program's own end, as `timeout`, `env` and container runtimes have it.
const FAILED: u8 = 125;
/// Status for a signal, to which its number is added.
const KILLED: u8 = 128;
/// The signal with which Linux ends programs when there is no memory.
const SIGKILL: u8 = 9;

impl Run {
    pub(super) async fn run(self, runtimes: &Runtimes) -> Result<ExitCode, String> {
        doctor::host_must_do()?;
        let mounts = self.mount.iter().map(|text| mount(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(text) = self.env.iter().find(|text| !text.contains('=')) {
            return Err(format!("--env '{text}' has no '='; give it as NAME=VALUE"));
        }
        if !limits::MEMORY_MB.contains(&self.memory) {
            let (least, most) = (limits::MEMORY_MB.start(), limits::MEMORY_MB.end());
            return Err(format!("--memory cannot be {}; it must be from {least} to {most}", self.memory));
        }
        let output = std::io::stdout().as_fd().try_clone_to_owned();
        let output = File::from(output.map_err(|error| format!("there is no standard output ({error})"))?);
        let ended = runtime::run(
            runtimes,
            Program {
                runtime: &self.name,
                path: self.program.as_deref(),
                arguments: &self.arguments,
                environment: &self.env,
                mounts: &mounts,
                memory_bytes: u64::from(self.memory) << 20,
                tmp_bytes: u64::from(self.tmp) << 20,
                timeout: Duration::from_secs(self.timeout),
                output: &output,
                zygote: &Settings::default().program,
            },
        )
        .await?;
        // Whoever read it may have gone.
        let _ = (&output).write_all(&ended.output);
        let (status, problem) = status(ended.ending, self.timeout);
        if let Some(problem) = problem {
            eprintln!("mayfly: {problem}");
        }
        Ok(ExitCode::from(status))
    }
}

/// `DIR=/PATH`.
fn mount(text: &str) -> Result<Mount, String> {
    let (directory, path) =
        text.rsplit_once('=').ok_or_else(|| format!("--mount '{text}' has no '='; give it as DIR=/PATH"))?;
    if !path.starts_with('/') || path.len() == 1 {
        return Err(format!("--mount '{text}' must name an absolute path in the guest, other than /, after its '='"));
    }
    let directory = PathBuf::from(directory);
    if !directory.is_dir() {
        return Err(format!("--mount '{text}': {} is no directory of this host", directory.display()));
    }
    Ok(Mount { directory, path: path.into() })
}

/// The status to end with, and what there is to say.
fn status(ending: Ending, timeout_s: u64) -> (u8, Option<String>) {
    match ending {
        Ending::Exited(status) => (status, None),
        Ending::Killed { signal, diagnosis } => {
            let detail = if diagnosis.is_empty() { String::new() } else { format!(": {diagnosis}") };
            (KILLED + signal, Some(format!("the program was ended by signal {signal}{detail}")))
        }
        Ending::TimedOut => {
            let text = format!("the program was stopped after {timeout_s} s; give it more with --timeout");
            (TIMED_OUT, Some(text))
        }
        Ending::OutOfMemory => {
            let text = "the program ended after it was refused memory; give it more with --memory";
            (KILLED + SIGKILL, Some(text.into()))
        }
        Ending::AskedForEvent => (FAILED, Some("the program waits for a function's event: there is none here".into())),
        Ending::Violation(what) => (FAILED, Some(format!("the program broke the guest's rules: {what}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let found = mount("/usr=/opt/usr").expect("it is right");
        assert_eq!(found, Mount { directory: "/usr".into(), path: "/opt/usr".into() });
        for wrong in ["/usr", "/usr=", "/usr=/", "/usr=relative", "/no/such/directory=/opt"] {
            assert!(mount(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn endings_are_statuses() {
        assert_eq!(status(Ending::Exited(3), 1), (3, None));
        let (code, text) = status(Ending::Killed { signal: 11, diagnosis: "page fault at 0x0".into() }, 1);
        assert_eq!((code, text.as_deref()), (139, Some("the program was ended by signal 11: page fault at 0x0")));
        assert_eq!(status(Ending::TimedOut, 1).0, 124);
        assert_eq!(status(Ending::OutOfMemory, 1).0, 137);
    }
}
