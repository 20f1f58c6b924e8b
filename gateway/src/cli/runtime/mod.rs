//! `mayfly runtime`: interpreters of this host, packed for guests.

mod run;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::{Args, Subcommand};
use mayfly_scheduler::runtime::{Build, RuntimeRecord, Runtimes};

use super::{options, table::Table};

/// Pack interpreters of this host.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Runtime {
    #[command(subcommand)]
    action: Action,
    /// Directory for functions, runtimes and snapshots [default: mayfly-data]
    #[arg(long, global = true, env = "MAYFLY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

const EXAMPLES: &str =
    "A server makes the runtime of this host's python3 by itself; others are made with `build`. A server
that runs sees what changes here with the next deploy.

Examples:
  mayfly runtime build --python /opt/python3.13/bin/python3
  mayfly runtime list
  mayfly runtime run python3.13 -- -c 'import sys; print(sys.version)'";

#[derive(Subcommand)]
enum Action {
    /// Pack an interpreter with its library and everything that it needs.
    Build(BuildArguments),
    /// List the runtimes that were packed.
    List,
    /// Print what a runtime is made of, as JSON.
    Inspect {
        /// Name of the runtime
        name: String,
    },
    /// Remove a runtime. Functions that ask for it cannot be deployed any more.
    Remove {
        /// Name of the runtime
        name: String,
    },
    /// Run a program of a runtime in a machine of its own, to its end.
    Run(run::Run),
}

#[derive(Args)]
struct BuildArguments {
    /// The interpreter, or a shim or virtual environment of it
    #[arg(long, default_value = "python3", value_name = "PATH")]
    python: PathBuf,
    /// What functions will ask for [default: python3.N]
    #[arg(long)]
    name: Option<String>,
    /// Take CPython's own tests along, for `python -m test`
    #[arg(long)]
    with_tests: bool,
}

impl Runtime {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let data_dir = self.data_dir.unwrap_or_else(|| PathBuf::from(options::DATA_DIR));
        let runtimes = Runtimes::open(&data_dir).map_err(|error| {
            format!("the directory {} cannot be used ({error}); give another with --data-dir", data_dir.display())
        })?;
        match self.action {
            Action::Build(arguments) => build(&runtimes, arguments),
            Action::List => list(&runtimes),
            Action::Inspect { name } => inspect(&runtimes, &name),
            Action::Remove { name } => match runtimes.remove(&name).map_err(|error| error.to_string())? {
                true => Ok(ExitCode::SUCCESS),
                false => Err(missing(&name)),
            },
            Action::Run(run) => run.run(&runtimes).await,
        }
    }
}

fn build(runtimes: &Runtimes, arguments: BuildArguments) -> Result<ExitCode, String> {
    let begun = Instant::now();
    let BuildArguments { python, name, with_tests } = arguments;
    let build = Build { python, name, with_tests };
    let record = runtimes.build(&build, &mut |line| eprintln!("{line}")).map_err(|error| error.to_string())?;
    let (bytes, seconds) = (disk_bytes(&runtimes.image(&record)), begun.elapsed().as_secs_f64());
    println!("{}: CPython {}, {} MiB in {seconds:.1} s", record.name, record.version, bytes >> 20);
    Ok(ExitCode::SUCCESS)
}

fn list(runtimes: &Runtimes) -> Result<ExitCode, String> {
    let mut table = Table::new(&["NAME", "VERSION", "MIB", "INTERPRETER"]);
    for record in runtimes.list().map_err(|error| format!("the runtimes cannot be listed ({error})"))? {
        let mib = disk_bytes(&runtimes.image(&record)) >> 20;
        let executable = record.executable.display().to_string();
        table.row([record.name, record.version, mib.to_string(), executable]);
    }
    print!("{}", table.render(super::table::COLUMN_CHARS_MAX));
    Ok(ExitCode::SUCCESS)
}

fn inspect(runtimes: &Runtimes, name: &str) -> Result<ExitCode, String> {
    let record: RuntimeRecord = runtimes.get(name).ok_or_else(|| missing(name))?;
    let image = runtimes.image(&record);
    let mut described = serde_json::to_value(&record).map_err(|error| error.to_string())?;
    described["image"] = image.display().to_string().into();
    described["disk_bytes"] = disk_bytes(&image).into();
    println!("{described:#}");
    Ok(ExitCode::SUCCESS)
}

fn missing(name: &str) -> String {
    format!(
        "there is no runtime {name} here; see `mayfly runtime list`, or give the server's directory with --data-dir"
    )
}

/// What a file takes on the disk: an image has holes.
fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}
