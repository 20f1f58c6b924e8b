//! What is left after something was killed.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mayfly_scheduler::{AboutLayer, LayerId, NewFunction, NewLayer, OpenError, Platform, Refusal, Settings, Start};
use serde_json::json;

use crate::callers::{deploy, error, invoke, new, response, settled, wait_until_ready, zip};

const ECHO: &str = "
import time
def handler(event, context):
    time.sleep(event.get('s', 0))
    return event
";

pub(crate) async fn idle_machines_may_be_killed(platform: Platform) {
    deploy(&platform, "killed-idle", ECHO, |_| ()).await;
    invoke(&platform, "killed-idle", json!({})).await.expect("it runs");
    let zygote = children(std::process::id())[0];
    for machine in children(zygote) {
        kill(machine);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let outcome = invoke(&platform, "killed-idle", json!({"a": 1})).await.expect("in another machine");
    assert_eq!((response(&outcome), outcome.start), (json!({"a": 1}), Start::Bound));
}

pub(crate) async fn running_machines_may_be_killed(platform: Platform) {
    deploy(&platform, "killed-running", ECHO, |_| ()).await;
    let caller = platform.clone();
    let running = tokio::spawn(async move { invoke(&caller, "killed-running", json!({"s": 2})).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    for machine in children(children(std::process::id())[0]) {
        kill(machine);
    }
    let lost = running.await.expect("no panic");
    assert!(matches!(lost, Err(Refusal::Platform(_))), "it is not run twice, and not for ever: {lost:?}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let outcome = invoke(&platform, "killed-running", json!({})).await.expect("the next one runs");
    assert_eq!(outcome.start, Start::Bound);
}

pub(crate) async fn the_zygote_may_be_killed(platform: Platform) {
    deploy(&platform, "killed-zygote", ECHO, |_| ()).await;
    invoke(&platform, "killed-zygote", json!({})).await.expect("it runs");
    let zygote = children(std::process::id())[0];
    kill(zygote);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Whether or not its machines have ended with it, everything goes on, with those of another.
    for _ in 0..3 {
        let outcome = invoke(&platform, "killed-zygote", json!({"a": 1})).await.expect("it runs");
        assert_eq!(response(&outcome), json!({"a": 1}));
    }
    deploy(&platform, "after-the-zygote", ECHO, |_| ()).await;
    invoke(&platform, "after-the-zygote", json!({})).await.expect("it runs");
    wait_until_ready(&platform).await;
    assert!(children(std::process::id()).iter().any(|&child| child != zygote), "there is another zygote");
}

pub(crate) async fn a_restart_loads_what_is_there(settings: Settings) {
    {
        let platform = reopened(&settings).await;
        deploy(&platform, "restarted", "print('imported')\ndef handler(event, context):\n    return event\n", |_| ())
            .await;
        deploy(&platform, "restarted-bad", "import nothing_of_that_name\n", |_| ()).await;
        platform.shutdown(Duration::from_secs(5)).await;
    }
    let platform = reopened(&settings).await;
    let before = Instant::now();
    let outcome = invoke(&platform, "restarted", json!({"a": 1})).await.expect("it runs");
    println!("  the first invocation after a restart took {:?}", before.elapsed());
    assert_eq!(response(&outcome), json!({"a": 1}));
    let log = platform.logs("restarted", 0, 100).expect("it has one");
    assert!(log.iter().all(|line| line.text != "imported"), "it was imported again: {log:?}");
    let bad = invoke(&platform, "restarted-bad", json!({})).await.expect("an answer");
    assert_eq!(error(&bad)["errorType"], "Runtime.ImportModuleError");
    platform.shutdown(Duration::from_secs(5)).await;
}

/// First argument of a process that is about to be killed; the second is its data directory.
pub(crate) const VICTIM: &str = "victim";
/// What it says once it may be killed.
const ACKNOWLEDGED: &str = "acknowledged";

/// Deploys a function with a layer that is deleted at once, says so, and waits for its end.
pub(crate) async fn victim(settings: Settings) -> ! {
    let platform = reopened(&settings).await;
    let package = zip(&[("python/shared.py", "def echo(event, context):\n    return event\n")]);
    for name in ["deleted", "kept"] {
        let layer = NewLayer { name: name.into(), about: AboutLayer::default(), package: package.clone() };
        platform.publish_layer(layer).await.expect("it is published");
    }
    let function =
        NewFunction { layers: vec![layer("deleted")], ..new("survivor", "from shared import echo as handler\n") };
    platform.create_function(function).await.expect("it is created");
    platform.delete_layer(layer("deleted")).await.expect("it is deleted");
    println!("{ACKNOWLEDGED}");
    std::future::pending().await
}

pub(crate) async fn what_was_acknowledged_survives_a_kill(settings: Settings) {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings { data_dir: directory.path().into(), ..settings };
    let mut child = Command::new(std::env::current_exe().expect("there is one"))
        .arg(VICTIM)
        .arg(directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let told = tokio::task::spawn_blocking(move || lines.map_while(Result::ok).any(|line| line == ACKNOWLEDGED));
    assert!(told.await.expect("no panic"), "it never said so");
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    let platform = reopened(&settings).await;
    settled(&platform, "survivor").await;
    assert_eq!(response(&invoke(&platform, "survivor", json!({"a": 1})).await.expect("it runs")), json!({"a": 1}));
    let kept = platform.layer(&layer("kept")).expect("it is there");
    assert!(platform.package(&kept.code.sha256_hex).await.is_ok());
    assert!(platform.layer(&layer("deleted")).is_err());
    let again = NewLayer { name: "deleted".into(), about: AboutLayer::default(), package: zip(&[("x", "y")]) };
    assert_eq!(platform.publish_layer(again).await.expect("it is published").id.version, 2);
    platform.shutdown(Duration::from_secs(5)).await;
}

fn layer(name: &str) -> LayerId {
    LayerId { name: name.into(), version: 1 }
}

/// A platform, as soon as the one before has let go of the directory.
pub(crate) async fn reopened(settings: &Settings) -> Platform {
    let start = Instant::now();
    loop {
        match Platform::open(settings.clone()).await {
            Ok(platform) => {
                wait_until_ready(&platform).await;
                return platform;
            }
            Err(OpenError::Locked { .. }) if start.elapsed() < Duration::from_secs(10) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Processes whose parent is `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("there is one");
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|&number| parent_of(number) == Some(parent)).collect()
}

fn parent_of(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; after it come state and parent.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let is_zombie = fields.next()? == "Z";
    fields.next()?.parse().ok().filter(|_| !is_zombie)
}

pub(crate) fn kill(process: u32) {
    let status = Command::new("kill").args(["-9", &process.to_string()]).status().expect("there is a kill");
    // One that has just ended by itself is as good.
    assert!(status.success() || parent_of(process).is_none(), "process {process} cannot be killed");
}
