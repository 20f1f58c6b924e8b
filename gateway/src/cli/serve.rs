//! `mayfly serve`.

use std::{future::Future, io, path::PathBuf, process::ExitCode, time::Instant};

use clap::Args;
use mayfly_scheduler::Platform;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{doctor, options::Options};
use crate::{Gateway, awake::Awake, server};

/// Serve Lambda's API.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    options: Options,
    /// File with options (TOML). Flags and variables go before it
    #[arg(long, env = "MAYFLY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str =
    "Each option can also be given as MAYFLY_… variable or in the file, e.g. `account_concurrency = 200`.

Examples:
  mayfly serve
  mayfly serve --listen 0.0.0.0:9000 --data-dir /var/lib/mayfly --account-id 123456789012
  mayfly serve --default-state fresh    put every machine's memory back after every invocation

Requests need no credentials; signed ones are taken without a look at the signature. Put a proxy in
front of it where others can reach it.";

impl Serve {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let options = self.options.with_file(self.config.as_deref()).map_err(|error| error.to_string())?;
        let stop = stop_signal()?;
        // In this order, so that what is cheap to find out is found out first.
        let listener = bind(options.listen()).await?;
        doctor::host_must_do()?;
        let gateway = open(&options).await?;
        announce(&listener);
        run_until(gateway, listener, stop).await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Opens the platform.
pub(super) async fn open(options: &Options) -> Result<std::sync::Arc<Gateway>, String> {
    let settings = options.settings().map_err(|error| error.to_string())?;
    let mut limits = options.limits().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    tracing::info!(data_dir = %settings.data_dir.display(), "starting; the first time takes a while, for the runtime's snapshot");
    let platform = Platform::open(settings).await.map_err(|error| error.to_string())?;
    // Only now: the platform has raised the limit of open files as far as it may be.
    limits.connections = limits.connections.min(connections_possible());
    tracing::info!(ms = begun.elapsed().as_millis() as u64, "started");
    // Only now: the platform has moved this process to where its group is.
    let awake = Awake::start(options.keep_awake()).unwrap_or_else(|error| {
        tracing::warn!(%error, "processors are not kept awake between the steps of invocations");
        Awake::default()
    });
    Ok(Gateway::new(platform, limits, awake))
}

/// Serves until `stop`, then leaves nothing behind.
pub(super) async fn run_until(gateway: std::sync::Arc<Gateway>, listener: TcpListener, stop: impl Future<Output = ()>) {
    let limits = gateway.limits.clone();
    let (begun, limit) = (std::sync::OnceLock::new(), limits.shutdown);
    let stop = async {
        stop.await;
        let _ = begun.set(Instant::now());
        tracing::info!(limit_s = limit.as_secs(), "stopping: no new requests, what runs is finished");
    };
    server::serve(listener, limits, std::sync::Arc::clone(&gateway), stop).await;
    // One limit for both: what the connections have used is not there twice.
    let used = begun.get().map(Instant::elapsed).unwrap_or_default();
    gateway.platform.shutdown(limit.saturating_sub(used)).await;
    tracing::info!("stopped");
}

/// Binds the address.
pub(super) async fn bind(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("the address {address} is in use by another program; stop that one or give another with --listen")
        }
        io::ErrorKind::PermissionDenied => {
            format!("this user may not serve on {address}; give a port from 1024 on with --listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this host does not have the address of {address}; give one of its own, or 0.0.0.0, with --listen")
        }
        _ => format!("cannot serve on {address} ({error}); give an address and port like 127.0.0.1:9000 with --listen"),
    })
}

fn announce(listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!("ready on http://{address}");
    }
}

/// Completes when the process is told to stop.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let catch = |kind| signal(kind).map_err(|error| format!("cannot catch signals ({error})"));
    let (mut terminate, mut interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// How many connections the limit of open files leaves room for: half of it, the rest is for machines and files.
fn connections_possible() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft =
        limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok());
    soft.map_or(usize::MAX, |files: usize| (files / 2).max(16))
}
