//! `mayfly invoke`.

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use http::Method;

use super::{
    client::{Endpoint, function_path},
    table::{COLUMN_CHARS_MAX, Table},
};

/// Invoke a function and print its answer.
#[derive(Args)]
#[command(after_help = "Ends with status 1 if the function fails.

Examples:
  mayfly invoke hello '{\"name\": \"you\"}'
  mayfly invoke hello --file event.json --logs
  mayfly invoke hello --timing
  echo '{}' | mayfly invoke hello --file -")]
pub(super) struct Invoke {
    /// Name of the function
    name: String,
    /// The event, as JSON [default: {}]
    event: Option<String>,
    /// File with the event; - is standard input
    #[arg(long, conflicts_with = "event")]
    file: Option<PathBuf>,
    /// Print the end of the invocation's log to standard error
    #[arg(long)]
    logs: bool,
    /// Print where the time went to standard error
    #[arg(long)]
    timing: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Invoke {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let event = self.event()?;
        let mut client = self.endpoint.client()?;
        let path = function_path(&self.name, "/invocations");
        let extras = [(self.logs, ("x-amz-log-type", "Tail")), (self.timing, ("x-mayfly-timing", "1"))];
        let headers: Vec<_> =
            extras.into_iter().filter_map(|(is_wanted, header)| is_wanted.then_some(header)).collect();
        let answer = client.send(Method::POST, &path, &headers, event).await?;
        if !answer.status.is_success() {
            return Err(answer.problem());
        }
        if let Some(log) = answer.header("x-amz-log-result").and_then(|text| STANDARD.decode(text).ok()) {
            eprint!("{}", String::from_utf8_lossy(&log));
        }
        if let Some(timing) = answer.header("server-timing") {
            eprint!("{}", timing_table(timing));
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

/// The metrics of a `Server-Timing`, one a line: name, milliseconds or what else it says, what that is.
fn timing_table(header: &str) -> String {
    let mut table = Table::new(&["part", "ms", ""]);
    for metric in header.split(", ") {
        let mut fields = metric.split(';');
        let name = fields.next().unwrap_or_default();
        let value = fields.find_map(|field| field.strip_prefix("dur=").or(field.strip_prefix("desc=")));
        let about = match name {
            "receive" => "reading and checking the request",
            "queue" => "waiting for its turn and for a free machine",
            "bind" => "putting the function into a machine",
            "handover" => "from the server to the machine's process",
            "run" => "in the machine",
            "report" => "from the machine's process back to the server",
            "answer" => "making the answer",
            "total" => "all of it",
            "reset" => "putting the memory back, after the invocation before",
            "compute" => "processor time of the machine for it",
            "exits" => "times that the guest left the vCPU",
            "faults" => "page faults",
            "start" => "what it ran on",
            "began" => "when it had come, in seconds since 1970",
            _ => "",
        };
        table.row([name.to_owned(), value.unwrap_or_default().trim_matches('"').to_owned(), about.to_owned()]);
    }
    table.render(COLUMN_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::timing_table;

    #[test]
    fn a_line_for_each_part() {
        let table = timing_table("run;dur=0.0861, exits;desc=\"1\", start;desc=warm, new;dur=2");
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines[1..],
            [
                "run    0.0861  in the machine",
                "exits  1       times that the guest left the vCPU",
                "start  warm    what it ran on",
                "new    2",
            ]
        );
    }
}
