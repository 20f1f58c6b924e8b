//! `mayfly deploy`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use http::Method;
use mayfly_scheduler::StateMode;
use serde_json::{Map, Value, json};

use super::{
    bundle,
    client::{Client, Endpoint, encoded, function_path},
    requirements::{Folder, Installer},
};

/// Create a function, or update it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Deploy {
    /// Folder with the function's code, or a zip file
    source: PathBuf,
    /// Name of the function [default: name of the folder or file]
    #[arg(long)]
    name: Option<String>,
    /// What runs it: rustpython, or python3.N [default: rustpython; with --requirements, this host's python3.N]
    #[arg(long)]
    runtime: Option<String>,
    /// MODULE.FUNCTION [default: handler.handler or lambda_function.lambda_handler, whichever is there]
    #[arg(long)]
    handler: Option<String>,
    /// MiB of memory [default: 128]
    #[arg(long)]
    memory: Option<u32>,
    /// Seconds that an invocation may take [default: 3]
    #[arg(long)]
    timeout: Option<u32>,
    /// Variable of the function's environment; can be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Memory after an invocation: reuse keeps it, fresh puts it back
    #[arg(long, value_name = "MODE", value_parser = ["reuse", "fresh"])]
    state: Option<String>,
    /// List of packages that this host's pip installs beside the code
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// ARN of a layer version; can be given several times, later ones hide files of earlier ones. An empty one takes all away
    #[arg(long, value_name = "ARN")]
    layer: Vec<String>,
    /// Machines that are there before anyone calls, and stay: provisioned concurrency. 0 takes it away
    #[arg(long, value_name = "N")]
    provisioned: Option<u32>,
    /// Seconds to wait until it can be invoked, and until its provisioned machines are there
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    endpoint: Endpoint,
}

const EXAMPLES: &str =
    "A function.json in the folder can have fields of CreateFunction (Runtime, Handler, Timeout, …); flags go
before it.

Examples:
  mayfly deploy functions/hello
  mayfly deploy app.zip --name api --handler app.main --memory 256 --env STAGE=test
  mayfly deploy functions/counter --state fresh --provisioned 2
  mayfly deploy app --runtime python3.11 --requirements app/requirements.txt
  mayfly deploy app --layer arn:aws:lambda:us-east-1:000000000000:layer:numpy:1";

/// Role of functions that need none: kept and given back, never looked at.
const ROLE: &str = "arn:aws:iam::000000000000:role/mayfly";
/// Between two looks at a function's state.
const POLL: Duration = Duration::from_millis(20);

impl Deploy {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let begun = Instant::now();
        let mut described = described(&self.source)?;
        let packages = self.install(&mut described)?;
        let package = package(&self.source, packages.as_ref().map(|folder| folder.path.as_path()))?;
        drop(packages);
        let name = self.name()?;
        let members = self.members(described)?;
        let mut client = self.endpoint.client()?;
        let wait = Duration::from_secs(self.wait);
        let what = deploy(&mut client, &name, &package, members, wait).await?;
        if let Some(count) = self.provisioned {
            provision(&mut client, &name, count, wait).await?;
        }
        println!("{name}: {what} in {:.1} s ({} bytes)", begun.elapsed().as_secs_f64(), package.len());
        Ok(ExitCode::SUCCESS)
    }

    fn name(&self) -> Result<String, String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let path = self.source.canonicalize().unwrap_or_else(|_| self.source.clone());
        let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
        stem.map(|name| name.to_string_lossy().into_owned())
            .ok_or_else(|| format!("{} gives no name for the function; give one with --name", self.source.display()))
    }

    /// The packages that were asked for, for the runtime that was asked for; or else for the one that they decide on.
    fn install(&self, described: &mut Map<String, Value>) -> Result<Option<Folder>, String> {
        let Some(requirements) = &self.requirements else { return Ok(None) };
        let runtime = self.runtime.as_deref().or_else(|| described.get("Runtime").and_then(Value::as_str));
        let installer = Installer::find(runtime)?;
        let folder = installer.install(requirements)?;
        described.entry("Runtime").or_insert_with(|| json!(installer.runtime));
        Ok(Some(folder))
    }

    /// The members of CreateFunction: what the folder says, and the flags over it.
    fn members(&self, mut members: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(key.into(), value);
            }
        };
        set("Runtime", self.runtime.as_ref().map(|text| json!(text)));
        set("Handler", self.handler.as_ref().map(|text| json!(text)));
        set("MemorySize", self.memory.map(|mb| json!(mb)));
        set("Timeout", self.timeout.map(|s| json!(s)));
        if !self.env.is_empty() {
            let mut variables = Map::new();
            for text in &self.env {
                let (name, value) =
                    text.split_once('=').ok_or_else(|| format!("--env '{text}' has no '='; give it as NAME=VALUE"))?;
                variables.insert(name.into(), json!(value));
            }
            set("Environment", Some(json!({"Variables": variables})));
        }
        if !self.layer.is_empty() {
            let layers: Vec<_> = self.layer.iter().filter(|arn| !arn.is_empty()).collect();
            members.insert("Layers".into(), json!(layers));
        }
        if let Some(state) = &self.state {
            let tags = members.entry("Tags").or_insert_with(|| json!({}));
            tags[StateMode::TAG] = json!(state);
        }
        members.entry("Runtime").or_insert_with(|| json!("rustpython"));
        members.entry("Role").or_insert_with(|| json!(ROLE));
        if !members.contains_key("Handler") {
            members.insert("Handler".into(), json!(self.guess_handler()?));
        }
        Ok(members)
    }

    fn guess_handler(&self) -> Result<&'static str, String> {
        let has = |file: &str| self.source.join(file).is_file();
        [("handler.py", "handler.handler"), ("lambda_function.py", "lambda_function.lambda_handler")]
            .into_iter()
            .find_map(|(file, handler)| has(file).then_some(handler))
            .ok_or_else(|| "it is not clear which function to call; give it with --handler MODULE.FUNCTION".into())
    }
}

/// What a `function.json` beside the code says.
fn described(source: &Path) -> Result<Map<String, Value>, String> {
    let path = source.join("function.json");
    match std::fs::read(&path) {
        Err(_) => Ok(Map::new()),
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|error| format!("{} is not a JSON object ({error})", path.display()))
        }
    }
}

/// The package: a zip file as it is, or the code in a folder and the packages in another.
fn package(source: &Path, packages: Option<&Path>) -> Result<Vec<u8>, String> {
    match (source.is_dir(), packages) {
        (true, packages) => bundle::folder(source, packages),
        (false, None) => std::fs::read(source).map_err(|error| {
            format!("cannot read {} ({error}); give a folder with code, or a zip file", source.display())
        }),
        (false, Some(_)) => {
            Err(format!("{} is no folder; --requirements adds packages to the code in a folder", source.display()))
        }
    }
}

/// Creates the function, or updates it if there is one, and waits until it can be invoked. Says which of them it was.
pub(super) async fn deploy(
    client: &mut Client,
    name: &str,
    package: &[u8],
    members: Map<String, Value>,
    wait: Duration,
) -> Result<&'static str, String> {
    let zip = STANDARD.encode(package);
    let mut request = members.clone();
    request.insert("FunctionName".into(), json!(name));
    request.insert("Code".into(), json!({"ZipFile": &zip}));
    let body = Value::Object(request).to_string();
    let answer = client.send(Method::POST, "/2015-03-31/functions", &[], body).await?;
    if answer.status.is_success() {
        settle(client, name, wait).await?;
        return Ok("created");
    }
    if answer.error_type() != "ResourceConflictException" {
        return Err(answer.problem());
    }

    settle(client, name, wait).await?;
    let code = json!({"ZipFile": zip});
    client.json(Method::PUT, &function_path(name, "/code"), Some(&code)).await?;
    let function = settle(client, name, wait).await?;
    let mut change = members;
    let tags = change.remove("Tags");
    change.remove("Architectures");
    client.json(Method::PUT, &function_path(name, "/configuration"), Some(&Value::Object(change))).await?;
    if let Some(tags) = tags {
        let arn = function["FunctionArn"].as_str().unwrap_or_default();
        client.json(Method::POST, &format!("/2017-03-31/tags/{arn}"), Some(&json!({"Tags": tags}))).await?;
    }
    settle(client, name, wait).await?;
    Ok("updated")
}

/// Waits until no deploy of the function goes on.
async fn settle(client: &mut Client, name: &str, wait: Duration) -> Result<Value, String> {
    let deadline = Instant::now() + wait;
    loop {
        let function = client.json(Method::GET, &function_path(name, "/configuration"), None).await?;
        let text = |key: &str| function[key].as_str().unwrap_or_default();
        if text("State") == "Failed" {
            return Err(format!("{name} could not be deployed: {}", text("StateReason")));
        }
        if text("LastUpdateStatus") == "Failed" {
            return Err(format!("{name} could not be updated: {}", text("LastUpdateStatusReason")));
        }
        if text("State") == "Active" && text("LastUpdateStatus") != "InProgress" {
            return Ok(function);
        }
        if Instant::now() > deadline {
            let seconds = wait.as_secs();
            return Err(format!(
                "{name} is not deployed after {seconds} s; wait longer with --wait, or see the server's log"
            ));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Sets provisioned concurrency, or takes it away, and waits until the machines are there.
async fn provision(client: &mut Client, name: &str, count: u32, wait: Duration) -> Result<(), String> {
    let path = format!("/2019-09-30/functions/{}/provisioned-concurrency?Qualifier=$LATEST", encoded(name));
    if count == 0 {
        let answer = client.send(Method::DELETE, &path, &[], "").await?;
        let was_none = answer.error_type() == "ProvisionedConcurrencyConfigNotFoundException";
        return if answer.status.is_success() || was_none { Ok(()) } else { Err(answer.problem()) };
    }
    let deadline = Instant::now() + wait;
    let mut config = client.json(Method::PUT, &path, Some(&json!({"ProvisionedConcurrentExecutions": count}))).await?;
    while config["Status"] != "READY" {
        if config["Status"] == "FAILED" || Instant::now() > deadline {
            let available = &config["AvailableProvisionedConcurrentExecutions"];
            let why = config["StatusReason"].as_str().unwrap_or("it takes longer than --wait");
            return Err(format!("{name} is deployed, but has {available} of {count} machines ahead of calls: {why}"));
        }
        tokio::time::sleep(POLL).await;
        config = client.json(Method::GET, &path, None).await?;
    }
    Ok(())
}
