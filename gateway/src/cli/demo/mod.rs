//! `mayfly demo`: every example function, deployed and invoked over HTTP in real machines, its answer checked.

pub(super) mod expected;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use http::Method;
use serde_json::{Map, Value};
use tokio::{net::TcpListener, sync::oneshot};

use super::{
    bundle,
    client::{Client, Endpoint, function_path},
    deploy::deploy,
    doctor,
    options::{LISTEN, Options},
    serve,
    table::{COLUMN_CHARS_MAX, Table},
};
use crate::embedded::{self, Example};

/// Deploy the example functions and invoke each twice.
#[derive(Args)]
#[command(after_help = "Needs nothing but KVM, and leaves nothing behind: its data is in a temporary directory.

Examples:
  mayfly demo
  mayfly demo --exit        end with status 1 if an answer was wrong, instead of going on serving")]
pub(super) struct Demo {
    /// End after the last answer
    #[arg(long)]
    exit: bool,
    /// Address to serve on [default: 127.0.0.1:9000, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

/// Longest start of the platform.
const READY_WAIT: Duration = Duration::from_secs(120);
/// Longest deploy of an example.
const DEPLOY_WAIT: Duration = Duration::from_secs(120);

impl Demo {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        let signal = serve::stop_signal()?;
        let listener = bind(self.listen.as_deref()).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?.to_string();
        doctor::host_must_do()?;
        let data = Scratch::new()?;
        let begun = Instant::now();
        let options = Options { data_dir: Some(data.0.clone()), ..Options::default() };
        let gateway = serve::open(&options).await?;
        println!("Starting the interpreter, once; its snapshot is kept. The server is on http://{address}");

        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve::run_until(gateway, listener, async { drop(stopped.await) }));
        let mut signal = std::pin::pin!(signal);
        let outcome = tokio::select! {
            outcome = show(&address, begun) => outcome,
            () = &mut signal => Ok(0),
        };
        if let (Ok(_), false) = (&outcome, self.exit) {
            println!("{}", next_steps(&address));
            signal.await;
        }
        drop(stop);
        server.await.map_err(|error| format!("the server ended early ({error})"))?;
        drop(data);
        Ok(if outcome? == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Deploys and invokes every example; says how many answers were wrong.
async fn show(address: &str, begun: Instant) -> Result<usize, String> {
    let mut client = Endpoint { endpoint: format!("http://{address}") }.client()?;
    wait_ready(&mut client).await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("Ready after {seconds:.1} s. Deploying and invoking {} functions.\n", embedded::EXAMPLES.len());
    let mut table = Table::new(&["FUNCTION", "DEPLOY", "FIRST", "", "SECOND", "", "ANSWER"]);
    let mut wrong = 0;
    for example in embedded::EXAMPLES {
        println!("  {} …", example.name);
        let begun = Instant::now();
        deploy_example(&mut client, example).await?;
        let deployed = format!("{:.0} ms", begun.elapsed().as_secs_f64() * 1000.0);
        let first = invoke(&mut client, example).await?;
        let second = invoke(&mut client, example).await?;
        let verdict = match first.mismatch.as_ref().or(second.mismatch.as_ref()) {
            None => "ok".to_owned(),
            Some(mismatch) => {
                wrong += 1;
                format!("WRONG: {mismatch}")
            }
        };
        table.row([example.name.into(), deployed, first.time, first.start, second.time, second.start, verdict]);
    }
    println!("\n{}", table.render(COLUMN_CHARS_MAX));
    Ok(wrong)
}

async fn wait_ready(client: &mut Client) -> Result<(), String> {
    let deadline = Instant::now() + READY_WAIT;
    loop {
        let answer = client.send(Method::GET, "/readyz", &[], "").await?;
        if answer.status.is_success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let why = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(format!(
                "the platform is not ready after {} s ({why}); try `mayfly doctor`",
                READY_WAIT.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn deploy_example(client: &mut Client, example: &Example) -> Result<(), String> {
    let members: Map<String, Value> = match example.file("function.json") {
        Some(text) => serde_json::from_slice(text)
            .map_err(|error| format!("function.json of {} is not a JSON object ({error})", example.name))?,
        None => Map::new(),
    };
    let mut members = members;
    members.entry("Role").or_insert_with(|| "arn:aws:iam::000000000000:role/demo".into());
    let code = example.files.iter().copied().filter(|(name, _)| !is_description(name));
    let package = bundle::zip(code)?;
    deploy(client, example.name, &package, members, DEPLOY_WAIT).await.map(drop)
}

fn is_description(name: &str) -> bool {
    matches!(name, "function.json" | "event.json" | "expected.json")
}

/// One invocation, as the table shows it.
struct Shown {
    time: String,
    start: String,
    mismatch: Option<String>,
}

async fn invoke(client: &mut Client, example: &Example) -> Result<Shown, String> {
    let event = example.file("event.json").unwrap_or(b"{}");
    let path = function_path(example.name, "/invocations");
    let begun = Instant::now();
    let answer = client.send(Method::POST, &path, &[("x-mayfly-timing", "1")], event).await?;
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    let timing = answer.header("server-timing").unwrap_or_default();
    let start = timing.split("start;desc=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("?").to_owned();
    let mismatch = if !answer.status.is_success() {
        Some(answer.problem())
    } else if let Some(error) = answer.header("x-amz-function-error") {
        Some(format!("{error}: {}", String::from_utf8_lossy(&answer.body)))
    } else {
        example.file("expected.json").and_then(|expected| expected::mismatch(expected, &answer.body))
    };
    Ok(Shown { time: format!("{ms:.1} ms"), start, mismatch })
}

/// The address that was asked for; else the usual one, else any.
async fn bind(asked: Option<&str>) -> Result<TcpListener, String> {
    if let Some(address) = asked {
        return serve::bind(address).await;
    }
    match serve::bind(LISTEN).await {
        Ok(listener) => Ok(listener),
        Err(_) => serve::bind("127.0.0.1:0").await,
    }
}

fn next_steps(address: &str) -> String {
    format!(
        "Still serving on http://{address} until you press Ctrl-C. Try (version 1 of the aws CLI has
no --cli-binary-format and needs none):

  curl -d '{{\"name\": \"you\"}}' http://{address}/2015-03-31/functions/hello/invocations
  mayfly invoke hello '{{\"name\": \"you\"}}' --logs --endpoint http://{address}
  AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws --endpoint-url http://{address} --region us-east-1 \\
      lambda invoke --function-name hello --cli-binary-format raw-in-base64-out \\
      --payload '{{\"name\": \"you\"}}' /dev/stdout"
    )
}

/// A directory that is gone when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        let path = std::env::temp_dir().join(format!("mayfly-demo-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).map_err(|error| {
            format!("cannot make the temporary directory {} ({error}); name another place with TMPDIR", path.display())
        })?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("mayfly: cannot remove {} ({error})", self.0.display());
        }
    }
}
