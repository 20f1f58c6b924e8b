//! The `mayfly` program: what it is called with, and where that leads.

mod bundle;
mod client;
mod delete;
mod demo;
mod deploy;
mod doctor;
mod invoke;
mod layer;
mod list;
mod load;
mod logs;
mod options;
mod requirements;
mod runtime;
mod serve;
mod table;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use options::{Options, OptionsError};

/// Python functions, each in a virtual machine of its own, behind AWS Lambda's API.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
struct Command {
    #[command(subcommand)]
    action: Action,
    /// What to log to standard error: error, warn, info, debug, or a filter such as `mayfly_scheduler=debug`
    /// [default: info for serve, else warn].
    #[arg(long, global = true, env = "MAYFLY_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Log one JSON object per line.
    #[arg(long, global = true, env = "MAYFLY_LOG_JSON")]
    log_json: bool,
}

const EXAMPLES: &str = "Examples:
  mayfly demo                          see it work: example functions, deployed and invoked
  mayfly doctor                        find out whether this host can run it
  mayfly serve                         Lambda's API on http://127.0.0.1:9000
  mayfly deploy functions/hello        create or update a function from a folder
  mayfly invoke hello '{\"name\": \"you\"}'
  mayfly load hello --rate 500 --duration 30s --out report
  aws --endpoint-url http://127.0.0.1:9000 lambda list-functions";

#[derive(Subcommand)]
enum Action {
    /// Serve Lambda's API.
    Serve(serve::Serve),
    /// Deploy the example functions, invoke each twice, and go on serving.
    Demo(demo::Demo),
    /// Check whether this host can run functions, and say what to do if not.
    Doctor(doctor::Doctor),
    /// Create a function from a folder or zip file, or update it, and wait until it can be invoked.
    Deploy(deploy::Deploy),
    /// Invoke a function and print its answer.
    Invoke(invoke::Invoke),
    /// List functions.
    List(list::List),
    /// Delete a function.
    Delete(delete::Delete),
    /// Print what a function has logged.
    Logs(logs::Logs),
    /// Publish what functions share, list it, delete it.
    Layer(layer::Layer),
    /// Load functions at rates over time, and measure latency, goodput and refusals.
    Load(load::Load),
    /// Pack interpreters of this host, so that functions can run on them.
    Runtime(runtime::Runtime),
    /// The process from which the machines are forked. Started by `serve`, of no use by itself.
    #[command(hide = true)]
    Zygote,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let command = Command::parse();
    if matches!(command.action, Action::Zygote) {
        // Before there is any other thread: it forks, and only a process of one thread can do that and go on.
        return mayfly_scheduler::zygote_main();
    }
    let usual = if matches!(command.action, Action::Serve(_)) { "info" } else { "warn" };
    if let Err(problem) = start_log(command.log.as_deref().unwrap_or(usual), command.log_json) {
        return fail(&problem);
    }
    let runtime = match crate::threads::start() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads ({error}); is the limit of processes reached?")),
    };
    let ended = runtime.block_on(run(command.action));
    // What still blocks a thread (the packing of an interpreter takes seconds) is not waited for: whatever is on the disk
    // by then is whole, or is removed at the next start.
    runtime.shutdown_background();
    ended.unwrap_or_else(|problem| fail(&problem))
}

/// Carries out one action. A problem is one sentence, with its cure.
async fn run(action: Action) -> Result<ExitCode, String> {
    match action {
        Action::Serve(serve) => serve.run().await,
        Action::Demo(demo) => demo.run().await,
        Action::Doctor(doctor) => doctor.run().await,
        Action::Deploy(deploy) => deploy.run().await,
        Action::Invoke(invoke) => invoke.run().await,
        Action::List(list) => list.run().await,
        Action::Delete(delete) => delete.run().await,
        Action::Logs(logs) => logs.run().await,
        Action::Layer(layer) => layer.run().await,
        Action::Load(load) => load.run().await,
        Action::Runtime(runtime) => runtime.run().await,
        Action::Zygote => Err("the zygote has no business here".into()),
    }
}

fn fail(problem: &str) -> ExitCode {
    eprintln!("mayfly: {problem}");
    ExitCode::FAILURE
}

fn start_log(filter: &str, is_json: bool) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        format!("--log '{filter}' is not a filter ({error}); try `info` or `mayfly_scheduler=debug`")
    })?;
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    if is_json {
        log.json().init()
    } else {
        log.with_target(false).init()
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
