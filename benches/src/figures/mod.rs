//! The figures, and the command line that asks for them.
//!
//! - [`invocation`]: one invocation, through HTTP and in the vmm.
//! - [`density`]: what the N-th of many instances costs.
//! - [`cost`]: what functions and instances cost.
//! - [`snapshots`]: saved, loaded, bound, put back.
//! - [`overload`]: goodput past what the machine can bear, and what else must hold there.
//! - [`shares`]: who gets what of the host.
//! - [`compare`]: no figure, but two builds in turns.

mod compare;
mod cost;
mod density;
mod invocation;
mod overload;
mod shares;
mod snapshots;

use std::{error::Error, path::PathBuf};

use clap::{Args, Parser, Subcommand};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures Mayfly, and what it compares with, and writes data, plots and a report page.
#[derive(Parser)]
#[command(max_term_width = 100)]
pub struct Command {
    #[command(subcommand)]
    figure: Figure,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Subcommand)]
enum Figure {
    /// All of them.
    All(All),
    /// Latency and throughput of invocations through HTTP, their parts, and what else answers.
    Invocation,
    /// Time and memory of the N-th of many instances, processes and containers.
    Density,
    /// Disk and memory of many functions, deploys, and functions with large libraries.
    Cost,
    /// Snapshots saved and loaded by size; reset and bind by pages written, beside memcpy.
    Snapshots,
    /// Goodput past what the machine can bear, and what else must hold there.
    Overload(overload::Overload),
    /// Shares of processors and memory.
    Shares,
    /// Two builds in turns, and whether they differ: for those who change Mayfly. Writes nothing.
    Compare(compare::Compare),
}

#[derive(Args)]
struct All {
    /// Those that are left out.
    #[arg(long, value_name = "FIGURE", value_delimiter = ',')]
    without: Vec<String>,
}

/// How figures are measured.
#[derive(Args)]
struct Asked {
    /// Less of everything: to see that it works, not to publish.
    #[arg(long, global = true)]
    quick: bool,
    /// Folder that is written to.
    #[arg(long, global = true, value_name = "DIR", default_value_os_t = mayfly_benches::report::results())]
    results: PathBuf,
    /// The `mayfly` that is measured; another build, for instance [default: this one].
    #[arg(long, global = true, value_name = "FILE", default_value = "/proc/self/exe", hide_default_value = true)]
    program: PathBuf,
}

impl Command {
    /// Measures what was asked for.
    ///
    /// # Errors
    /// If something could not be measured. `all` goes on with the next figure.
    pub fn run(self) -> Outcome<()> {
        let asked = Asked { program: std::fs::canonicalize(&self.asked.program)?, ..self.asked };
        match self.figure {
            Figure::All(all) => all.run(&asked),
            Figure::Invocation => invocation::measure(&asked),
            Figure::Density => density::measure(&asked),
            Figure::Cost => cost::measure(&asked),
            Figure::Snapshots => snapshots::measure(&asked),
            Figure::Overload(overload) => overload.measure(&asked),
            Figure::Shares => shares::measure(&asked),
            Figure::Compare(compare) => compare.measure(&asked),
        }
    }
}

/// Measures a figure.
type Measure = fn(&Asked) -> Outcome<()>;

impl All {
    fn run(&self, asked: &Asked) -> Outcome<()> {
        let all: [(&str, Measure); 6] = [
            ("invocation", invocation::measure),
            ("density", density::measure),
            ("cost", cost::measure),
            ("snapshots", snapshots::measure),
            ("shares", shares::measure),
            ("overload", |asked| overload::Overload::default().measure(asked)),
        ];
        if let Some(unknown) = self.without.iter().find(|name| all.iter().all(|(known, _)| known != name)) {
            return Err(format!("there is no figure {unknown}").into());
        }
        let mut failed = Vec::new();
        for (name, measure) in all.into_iter().filter(|(name, _)| !self.without.iter().any(|left| left == name)) {
            if let Err(error) = measure(asked) {
                eprintln!("{name}: {error}");
                failed.push(name);
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(format!("not measured to the end: {}", failed.join(", ")).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
        let command = Command::parse_from(["mayfly-benches", "all", "--without", "overload,shares", "--quick"]);
        assert!(command.asked.quick && matches!(command.figure, Figure::All(All { without }) if without.len() == 2));
    }
}
