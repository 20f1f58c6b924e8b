//! `mayfly logs`.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use http::Method;

use super::client::{Endpoint, function_path};

/// Print what a function has logged.
#[derive(Args)]
#[command(after_help = "The server keeps the last lines of each function in memory.

Examples:
  mayfly logs hello
  mayfly logs hello --follow")]
pub(super) struct Logs {
    /// Name of the function
    name: String,
    /// Go on with new lines until interrupted
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// Between two looks for new lines.
const POLL: Duration = Duration::from_millis(500);

impl Logs {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let mut client = self.endpoint.client()?;
        let path = function_path(&self.name, "/logs").replacen("/2015-03-31/", "/mayfly/v1/", 1);
        let mut after = 0;
        loop {
            let page = client.json(Method::GET, &format!("{path}?after={after}"), None).await?;
            let lines = page["lines"].as_array().map_or(&[][..], Vec::as_slice);
            for line in lines {
                println!("{} {}", line["time"].as_str().unwrap_or_default(), line["text"].as_str().unwrap_or_default());
                after = line["sequence"].as_u64().unwrap_or(after).max(after);
            }
            if !lines.is_empty() {
                continue;
            }
            if !self.follow {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
