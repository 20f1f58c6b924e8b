//! The life of functions and layers, with machines that follow a script.

mod deleted;
mod layers;
mod provisioned;
mod spares;

use std::io::Write as _;

use mayfly_abi::record;
use serde_json::json;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::{
    Answer, Configuration, FunctionState, PackageError, Start, ThrottleReason, UpdateStatus,
    machine::scripted::{Counts, ScriptedHost},
};

const PROGRAM: &[u8] = b"not a program, but no machine looks";

fn zip(content: &str) -> Bytes {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("handler.py", SimpleFileOptions::default()).expect("starts");
    writer.write_all(content.as_bytes()).expect("writes");
    writer.finish().expect("ends").into_inner().into()
}

fn settings(directory: &tempfile::TempDir) -> Settings {
    Settings {
        data_dir: directory.path().into(),
        shells: 2,
        account_concurrency: 10,
        python: None,
        ..Settings::default()
    }
}

async fn platform(directory: &tempfile::TempDir, host: ScriptedHost) -> (Platform, Arc<Counts>) {
    let counts = host.counts.clone();
    let platform = open::open_with(settings(directory), Arc::new(host), PROGRAM, Clock::System).await;
    (platform.expect("it opens"), counts)
}

/// As after a restart: the catalog is closed with the last task of the platform before.
async fn reopened(directory: &tempfile::TempDir) -> (Platform, Arc<Counts>) {
    for _ in 0..1000 {
        let host = ScriptedHost::default();
        let counts = host.counts.clone();
        match open::open_with(settings(directory), Arc::new(host), PROGRAM, Clock::System).await {
            Ok(platform) => return (platform, counts),
            Err(OpenError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the platform before does not end");
}

fn new(name: &str) -> NewFunction {
    NewFunction {
        configuration: Configuration {
            name: name.into(),
            runtime: "python3.12".into(),
            handler: "handler.handler".into(),
            ..Configuration::default()
        },
        layers: Vec::new(),
        package: zip("one"),
        tags: BTreeMap::new(),
        publish: false,
    }
}

/// Waits as clients do.
async fn settled(platform: &Platform, name: &str) -> Function {
    for _ in 0..2000 {
        let function = platform.function(name).expect("it is there");
        if function.state != FunctionState::Pending && function.last_update != Some(UpdateStatus::InProgress) {
            return function;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not settle: {:?}", platform.function(name));
}

async fn invoke(platform: &Platform, name: &str, script: serde_json::Value) -> Result<Outcome, Refusal> {
    let invocation = Invocation {
        function: name.into(),
        request_id: "r".into(),
        payload: script.to_string().into(),
        ..Default::default()
    };
    platform.invoke(invocation).await
}

#[tokio::test]
async fn a_function_lives() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, counts) = platform(&directory, ScriptedHost::default()).await;
    let created = platform.create_function(new("f")).await.expect("it is created");
    assert_eq!((created.state, created.last_update), (FunctionState::Pending, None));
    assert_eq!(created.arn, "arn:aws:lambda:us-east-1:000000000000:function:f");
    let again = platform.create_function(new("f")).await.expect_err("taken").to_string();
    assert_eq!(again, "Function already exist: f");

    let active = settled(&platform, "f").await;
    assert_eq!((active.state, active.last_update), (FunctionState::Active, Some(UpdateStatus::Successful)));
    assert_ne!(active.revision_id, created.revision_id);
    let outcome = invoke(&platform, "f", json!({"answer": [1]})).await.expect("it runs");
    assert_eq!((outcome.answer, outcome.start), (Answer::Response("[1]".into()), Start::Bound));
    assert_eq!(invoke(&platform, "f", json!({})).await.expect("it runs").start, Start::Warm);
    let log = platform.logs("f", 0, 100).expect("it has one");
    assert!(log[0].text.contains("python3.12 runs on the built-in RustPython"), "{}", log[0].text);
    assert_eq!(log.iter().filter(|line| line.text.starts_with("REPORT")).count(), 2);
    assert_eq!(platform.package(&active.code.sha256_hex).await.expect("it is kept"), zip("one"));
    let status = platform.status();
    assert!(status.ready, "{status:?}");
    assert_eq!((status.functions, status.instances_idle, status.invocations_total), (1, 1, 2));

    platform.delete_function("f").await.expect("it is there");
    assert!(matches!(platform.function("f"), Err(Refusal::NotFound { .. })));
    assert!(matches!(invoke(&platform, "f", json!({})).await, Err(Refusal::NotFound { .. })));
    assert!(matches!(platform.delete_function("f").await, Err(Refusal::NotFound { .. })));
    // What stays are two empty shells, and two that are bound to the base.
    for _ in 0..400 {
        if platform.package(&active.code.sha256_hex).await.is_err() && Counts::get(&counts.alive) == 4 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("its files or machines are still there: {} machines", Counts::get(&counts.alive));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    let bad_zip = platform.create_function(NewFunction { package: "no zip".into(), ..new("f") }).await;
    assert!(matches!(bad_zip, Err(Refusal::InvalidPackage(PackageError::Unreadable { .. }))), "{bad_zip:?}");
    let mut bad_runtime = new("f");
    bad_runtime.configuration.runtime = "nodejs22.x".into();
    assert!(matches!(platform.create_function(bad_runtime).await, Err(Refusal::InvalidParameter(_))));
    assert!(matches!(platform.function("f"), Err(Refusal::NotFound { .. })), "nothing is left of it");
    let change = ConfigurationChange::default();
    assert!(matches!(platform.update_configuration("f", change, None).await, Err(Refusal::NotFound { .. })));
    assert!(matches!(platform.package("../../etc/passwd").await, Err(Refusal::PackageNotFound(_))));
    let large = Invocation { payload: vec![b' '; limits::PAYLOAD_BYTES + 1].into(), ..Default::default() };
    assert!(matches!(platform.invoke(large).await, Err(Refusal::PayloadTooLarge { .. })));
}

#[tokio::test]
async fn an_update_replaces_what_serves() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, counts) = platform(&directory, ScriptedHost::default()).await;
    platform.create_function(new("f")).await.expect("it is created");
    let one = settled(&platform, "f").await;
    invoke(&platform, "f", json!({})).await.expect("it runs");

    let wrong = platform.update_code("f", zip("two"), Some("other".into()), false).await;
    assert!(matches!(wrong, Err(Refusal::RevisionMismatch)));
    let dry = platform.update_code("f", zip("two"), None, true).await.expect("it could be");
    assert_ne!(dry.code, one.code);
    assert_eq!(platform.function("f").expect("it is there"), one, "nothing was done");

    let updating =
        platform.update_code("f", zip("two"), Some(one.revision_id.clone()), false).await.expect("it begins");
    assert_eq!((updating.state, updating.last_update), (FunctionState::Active, Some(UpdateStatus::InProgress)));
    let two = settled(&platform, "f").await;
    assert_eq!(two.last_update, Some(UpdateStatus::Successful));
    assert_eq!(invoke(&platform, "f", json!({})).await.expect("it runs").start, Start::Bound, "on another snapshot");

    let inits = Counts::get(&counts.inits);
    let change = ConfigurationChange { timeout_s: Some(9), description: Some("x".into()), ..Default::default() };
    platform.update_configuration("f", change, None).await.expect("it begins");
    assert_eq!(settled(&platform, "f").await.configuration.timeout_s, 9);
    assert_eq!(Counts::get(&counts.inits), inits, "the snapshot does not depend on the timeout");
    let change = ConfigurationChange { memory_mb: Some(256), ..Default::default() };
    platform.update_configuration("f", change, None).await.expect("it begins");
    settled(&platform, "f").await;
    assert_eq!(Counts::get(&counts.inits), inits + 1, "but on the memory");
    let files = |place: &str| std::fs::read_dir(directory.path().join(place)).expect("it lists").count();
    for _ in 0..400 {
        // The runtime's image and snapshot; the function's package, image and snapshot.
        if (files("packages"), files("images"), files("snapshots")) == (1, 2, 2) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("files of what was replaced are there: {}, {}, {}", files("packages"), files("images"), files("snapshots"));
}

#[tokio::test]
async fn a_handler_that_cannot_be_loaded_is_the_callers_to_hear() {
    let directory = tempfile::tempdir().expect("a directory");
    let payload = br#"{"errorMessage":"Unable to import module 'handler'","errorType":"Runtime.ImportModuleError"}"#;
    let host = ScriptedHost { init: Some((record::ERROR, payload.to_vec())), ..ScriptedHost::default() };
    let (platform, counts) = platform(&directory, host).await;
    platform.create_function(new("f")).await.expect("it is created");
    let active = settled(&platform, "f").await;
    assert_eq!(active.state, FunctionState::Active, "as on Lambda");
    for _ in 0..3 {
        let outcome = invoke(&platform, "f", json!({})).await.expect("an answer");
        assert_eq!(outcome.answer, Answer::FunctionError(Bytes::from_static(payload)));
        let tail = String::from_utf8_lossy(&outcome.log_tail).into_owned();
        assert!(tail.starts_with("START RequestId: r") && tail.contains("REPORT"), "{tail}");
    }
    assert_eq!(Counts::get(&counts.inits), 1, "it is not loaded again each time");
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let (platform, _) = platform(&directory, ScriptedHost::default()).await;
        platform.create_function(new("done")).await.expect("it is created");
        settled(&platform, "done").await;
        // As a crash would leave it: recorded, not deployed.
        let undone = Function { arn: "a".into(), ..settled(&platform, "done").await };
        let undone =
            Function { configuration: Configuration { name: "undone".into(), ..undone.configuration }, ..undone };
        platform.inner.catalog.change("undone", |_| Ok(Some(Record::created(undone)))).expect("it is written");
        platform.set_reserved_concurrency("done", Some(0)).await.expect("it can");
        std::fs::write(directory.path().join("images/orphan.img"), b"x").expect("it is written");
        std::fs::write(directory.path().join("images/orphan-layer-1.img"), b"x").expect("it is written");
        let layer = NewLayer { name: "l".into(), about: Default::default(), package: zip("layer") };
        platform.publish_layer(layer).await.expect("published");
        std::fs::write(directory.path().join("packages/x.1-1.unfinished"), b"x").expect("it is written");
        platform.shutdown(Duration::from_secs(1)).await;
        assert!(matches!(invoke(&platform, "done", json!({})).await, Err(Refusal::ShuttingDown)));
        // The catalog is closed with the last of the platform's tasks.
        drop(platform);
    }
    let (platform, counts) = reopened(&directory).await;
    assert_eq!(settled(&platform, "undone").await.state, FunctionState::Active);
    invoke(&platform, "undone", json!({})).await.expect("it runs");
    let throttled = invoke(&platform, "done", json!({})).await;
    assert!(
        matches!(throttled, Err(Refusal::Throttled { reason: ThrottleReason::ReservedConcurrency, .. })),
        "{throttled:?}"
    );
    platform.set_reserved_concurrency("done", None).await.expect("it can");
    invoke(&platform, "done", json!({})).await.expect("it runs");
    assert_eq!(
        Counts::get(&counts.inits),
        1,
        "the snapshot of `done` was there; `undone` has another name, so another one"
    );
    assert!(!directory.path().join("images/orphan.img").exists());
    assert!(!directory.path().join("images/orphan-layer-1.img").exists());
    let layer = platform.layer(&LayerId { name: "l".into(), version: 1 }).expect("it is there");
    assert!(platform.inner.directory.layer_image(&layer.code.sha256_hex).exists());
    assert_eq!(platform.package(&layer.code.sha256_hex).await.expect("it is there"), zip("layer"));
    assert!(!directory.path().join("packages/x.1-1.unfinished").exists());
}

#[tokio::test]
async fn tags_choose_the_state() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, counts) = platform(&directory, ScriptedHost::default()).await;
    let tags = BTreeMap::from([(StateMode::TAG.to_owned(), "fresh".to_owned())]);
    platform.create_function(NewFunction { tags, ..new("f") }).await.expect("it is created");
    settled(&platform, "f").await;
    invoke(&platform, "f", json!({})).await.expect("it runs");
    assert_eq!(invoke(&platform, "f", json!({})).await.expect("it runs").start, Start::Fresh);
    assert!(Counts::get(&counts.resets) >= 1);
    platform.change_tags("f", BTreeMap::new(), &[StateMode::TAG.to_owned()]).await.expect("it can");
    invoke(&platform, "f", json!({})).await.expect("it runs");
    assert_eq!(invoke(&platform, "f", json!({})).await.expect("it runs").start, Start::Warm);
    let wrong = BTreeMap::from([(StateMode::TAG.to_owned(), "stale".to_owned())]);
    assert!(matches!(platform.change_tags("f", wrong, &[]).await, Err(Refusal::InvalidParameter(_))));
}

#[tokio::test]
async fn of_what_an_import_prints_the_end_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    let log = platform.inner.logs.of("f");
    platform.inner.log_init(&log, &vec![b'\n'; limits::INVOCATION_LOG_BYTES], None);
    let kept = log.after(0, usize::MAX);
    assert_eq!((kept.len(), kept[0].sequence), (limits::FUNCTION_LOG_LINES, 1), "no others were ever added");
}
