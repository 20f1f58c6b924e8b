//! `mayfly list`.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::{
    client::Endpoint,
    table::{COLUMN_CHARS_MAX, Table},
};

/// List functions.
#[derive(Args)]
#[command(after_help = "Example:\n  mayfly list --endpoint http://10.0.0.5:9000")]
pub(super) struct List {
    #[command(flatten)]
    endpoint: Endpoint,
}

impl List {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let mut client = self.endpoint.client()?;
        let mut table = Table::new(&["NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "PROVISIONED", "MODIFIED"]);
        // Lambda has one request per function for this; endpoints that are not Mayfly's have none at all.
        let status = client.json(Method::GET, "/mayfly/v1/status", None).await.unwrap_or_default();
        let mut marker = String::new();
        loop {
            let page = client.json(Method::GET, &format!("/2015-03-31/functions?Marker={marker}"), None).await?;
            for function in page["Functions"].as_array().into_iter().flatten() {
                let text = |key: &str| function[key].as_str().unwrap_or_default().to_owned();
                let number = |key: &str, unit: &str| format!("{} {unit}", function[key].as_u64().unwrap_or_default());
                table.row([
                    text("FunctionName"),
                    text("Runtime"),
                    text("Handler"),
                    number("MemorySize", "MB"),
                    number("Timeout", "s"),
                    provisioned(&status, &text("FunctionName")),
                    text("LastModified"),
                ]);
            }
            match &page["NextMarker"] {
                Value::String(next) if *next != marker => marker.clone_from(next),
                _ => break,
            }
        }
        print!("{}", table.render(COLUMN_CHARS_MAX));
        Ok(ExitCode::SUCCESS)
    }
}

/// How many of the machines that a function shall always have are there.
fn provisioned(status: &Value, function: &str) -> String {
    let all = status["provisioned"].as_array().map_or(&[][..], Vec::as_slice);
    let found = all.iter().find(|of| of["function"] == function);
    found.map_or_else(|| "-".into(), |of| format!("{} of {}", of["available"], of["requested"]))
}
