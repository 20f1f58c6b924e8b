//! `mayfly invoke`.

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use http::Method;

use super::client::{Endpoint, function_path};

/// Invoke a function and print its answer.
#[derive(Args)]
#[command(after_help = "Ends with status 1 if the function fails.

Examples:
  mayfly invoke hello '{\"name\": \"you\"}'
  mayfly invoke hello --file event.json --logs
  echo '{}' | mayfly invoke hello --file -")]
pub(super) struct Invoke {
    /// Name of the function
    name: String,
    /// The event, as JSON [default: {}]
    event: Option<String>,
    /// File with the event; - is standard input
    #[arg(long, conflicts_with = "event")]
    file: Option<PathBuf>,
    /// Print the end of the invocation's log, and where the time went, to standard error
    #[arg(long)]
    logs: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Invoke {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let event = self.event()?;
        let mut client = self.endpoint.client()?;
        let path = function_path(&self.name, "/invocations");
        let extras = [("x-amz-log-type", "Tail"), ("x-mayfly-timing", "1")];
        let answer = client.send(Method::POST, &path, if self.logs { &extras } else { &[] }, event).await?;
        if !answer.status.is_success() {
            return Err(answer.problem());
        }
        if let Some(log) = answer.header("x-amz-log-result").and_then(|text| STANDARD.decode(text).ok()) {
            eprint!("{}", String::from_utf8_lossy(&log));
        }
        if let Some(timing) = answer.header("server-timing") {
            eprintln!("{timing}");
        }
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&answer.body).and_then(|()| out.write_all(b"\n"));
        written.map_err(|error| format!("cannot write the answer ({error})"))?;
        Ok(if answer.header("x-amz-function-error").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn event(&self) -> Result<Vec<u8>, String> {
        let Some(path) = &self.file else { return Ok(self.event.clone().unwrap_or_default().into_bytes()) };
        if path.as_os_str() != "-" {
            return std::fs::read(path)
                .map_err(|error| format!("cannot read the event {} ({error}); check --file", path.display()));
        }
        let mut event = Vec::new();
        std::io::stdin().read_to_end(&mut event).map_err(|error| format!("cannot read standard input ({error})"))?;
        Ok(event)
    }
}
