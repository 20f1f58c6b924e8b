//! `mayfly delete`.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::client::{Endpoint, function_path};

/// Delete functions.
#[derive(Args)]
#[command(after_help = "Example:\n  mayfly delete hello counter")]
pub(super) struct Delete {
    /// Names of the functions
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Delete {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let mut client = self.endpoint.client()?;
        for name in &self.names {
            client.json(Method::DELETE, &function_path(name, ""), None).await?;
            println!("{name}: deleted");
        }
        Ok(ExitCode::SUCCESS)
    }
}
