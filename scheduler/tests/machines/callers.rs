//! What callers do: deploy, invoke, look at the answer.

use std::{
    collections::BTreeMap,
    io::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mayfly_scheduler::{
    Answer, Configuration, Function, FunctionState, Invocation, NewFunction, Outcome, Platform, Refusal, UpdateStatus,
};
use serde_json::Value;
use zip::{ZipWriter, write::SimpleFileOptions};

pub(crate) fn zip(files: &[(&str, &str)]) -> Bytes {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default()).expect("starts");
        writer.write_all(content.as_bytes()).expect("writes");
    }
    writer.finish().expect("ends").into_inner().into()
}

pub(crate) async fn settled(platform: &Platform, name: &str) -> Function {
    for _ in 0..6000 {
        let function = platform.function(name).expect("it is there");
        if function.state != FunctionState::Pending && function.last_update != Some(UpdateStatus::InProgress) {
            return function;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not settle: {:?}", platform.function(name));
}

/// A function of `handler.py` with a `handler`.
pub(crate) fn new(name: &str, source: &str) -> NewFunction {
    let configuration = Configuration {
        name: name.into(),
        runtime: "rustpython".into(),
        handler: "handler.handler".into(),
        ..Configuration::default()
    };
    let package = zip(&[("handler.py", source)]);
    NewFunction { configuration, layers: Vec::new(), package, tags: BTreeMap::new(), publish: false }
}

/// Deploys one, and waits until it is active.
pub(crate) async fn deploy(
    platform: &Platform,
    name: &str,
    source: &str,
    edit: impl FnOnce(&mut NewFunction),
) -> Function {
    let mut new = new(name, source);
    edit(&mut new);
    platform.create_function(new).await.expect("it is created");
    let function = settled(platform, name).await;
    assert_eq!(function.state, FunctionState::Active, "{function:?}");
    function
}

pub(crate) async fn invoke(platform: &Platform, name: &str, event: Value) -> Result<Outcome, Refusal> {
    let invocation = Invocation {
        function: name.into(),
        request_id: "8f3f9a5e-0000-4000-8000-000000000001".into(),
        payload: event.to_string().into(),
        invoked_arn: platform.arn(name),
        ..Invocation::default()
    };
    platform.invoke(invocation).await
}

pub(crate) fn response(outcome: &Outcome) -> Value {
    match &outcome.answer {
        Answer::Response(bytes) => serde_json::from_slice(bytes).expect("JSON"),
        Answer::FunctionError(bytes) => {
            panic!("{}\n{}", String::from_utf8_lossy(bytes), String::from_utf8_lossy(&outcome.log_tail))
        }
    }
}

pub(crate) fn error(outcome: &Outcome) -> Value {
    match &outcome.answer {
        Answer::FunctionError(bytes) => serde_json::from_slice(bytes).expect("JSON"),
        Answer::Response(bytes) => panic!("no error: {}", String::from_utf8_lossy(bytes)),
    }
}

pub(crate) async fn wait_until_ready(platform: &Platform) {
    let start = Instant::now();
    while !platform.status().ready {
        assert!(start.elapsed() < Duration::from_secs(60), "not ready: {:?}", platform.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
