//! `mayfly doctor`: whether this host can run functions, and what to do if not.

use std::{path::Path, process::ExitCode};

use clap::Args;
use mayfly_scheduler::{
    host::{self, State},
    runtime, shares,
};

use super::{
    options::Options,
    serve,
    table::{self, Table},
};

/// Check whether this host can run functions.
#[derive(Args)]
#[command(
    after_help = "Ends with status 1 if something is missing.\n\nExample:\n  mayfly doctor --data-dir /var/lib/mayfly"
)]
pub(super) struct Doctor {
    #[command(flatten)]
    options: Options,
    /// File with options (TOML)
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE")]
    config: Option<std::path::PathBuf>,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let options = self.options.with_file(self.config.as_deref()).map_err(|error| error.to_string())?;
        let settings = options.settings().map_err(|error| error.to_string())?;
        let mut findings: Vec<Finding> = host::examine().into_iter().map(Finding::from).collect();
        findings.push(shares::examine(settings.cpu_shares).into());
        findings.push(examine_address(options.listen()).await);
        findings.push(examine_data_dir(&options.data_dir()));
        findings.push(examine_python(settings.python.as_deref()));

        print!("{}", shown(&findings));
        let missing = findings.iter().filter(|finding| finding.state == State::Missing).count();
        if missing == 0 {
            println!("\nThis host can run functions.");
            return Ok(ExitCode::SUCCESS);
        }
        println!("\nThis host cannot run functions: {missing} of {} checks failed.", findings.len());
        Ok(ExitCode::FAILURE)
    }
}

/// One line of the report.
struct Finding {
    subject: String,
    state: State,
    found: String,
    cure: String,
}

impl From<host::Finding> for Finding {
    fn from(finding: host::Finding) -> Finding {
        let host::Finding { subject, state, found, cure, .. } = finding;
        Finding { subject: subject.to_string(), state, found, cure }
    }
}

/// Fails with the first thing that the host does not have.
pub(super) fn host_must_do() -> Result<(), String> {
    host::obstacle().map_or(Ok(()), |finding| {
        Err(format!("this host cannot run functions: {} ({}). {}", finding.found, finding.subject, finding.cure))
    })
}

async fn examine_address(address: &str) -> Finding {
    let subject = format!("address {address}");
    match serve::bind(address).await {
        Ok(_) => good(subject, "free"),
        Err(problem) => missing(subject, &problem),
    }
}

/// Writes a file there, or in what would become its parent.
fn examine_data_dir(path: &Path) -> Finding {
    let subject = format!("data directory {}", path.display());
    let present = path.ancestors().find(|path| path.is_dir()).unwrap_or_else(|| Path::new("."));
    let probe = present.join(format!(".mayfly-doctor-{}", std::process::id()));
    let written = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) if present == path => good(subject, "writable"),
        Ok(()) => good(subject, "will be created"),
        Err(error) => missing(
            subject,
            &format!("{} cannot be written ({error}); give another with --data-dir", present.display()),
        ),
    }
}

/// The interpreter that functions with wheels need; without it, others run.
fn examine_python(python: Option<&Path>) -> Finding {
    let Some(python) = python else { return good("interpreter none".into(), "only rustpython, as told") };
    let subject = format!("interpreter {}", python.display());
    match runtime::describe(python) {
        Ok((name, version, path)) => good(subject, &format!("{name}: {version} at {}", path.display())),
        Err(error) => Finding {
            subject,
            state: State::Degraded,
            found: error.to_string(),
            cure: "Install CPython 3.9 or later, or give its path with --python; until then functions run on rustpython alone.".into(),
        },
    }
}

fn good(subject: String, found: &str) -> Finding {
    Finding { subject, state: State::Good, found: found.into(), cure: String::new() }
}

/// Splits the sentence that others show as one.
fn missing(subject: String, problem: &str) -> Finding {
    let (found, cure) = problem.split_once("; ").unwrap_or((problem, ""));
    Finding { subject, state: State::Missing, found: found.into(), cure: cure.into() }
}

fn shown(findings: &[Finding]) -> String {
    let mut table = Table::new(&["", "check", "found"]);
    for finding in findings {
        let mark = match finding.state {
            State::Good => "ok",
            State::Degraded => "limited",
            State::Missing => "MISSING",
        };
        table.row([mark.into(), finding.subject.clone(), finding.found.clone()]);
    }
    let cures = findings.iter().filter(|finding| !finding.cure.is_empty() && finding.state != State::Good);
    let cures: String = cures.map(|finding| format!("\n{}: {}", finding.subject, finding.cure)).collect();
    format!("{}{}", table.render(table::COLUMN_CHARS_MAX), if cures.is_empty() { cures } else { cures + "\n" })
}
