//! Provisioned concurrency: what is refused, what is kept, and what is made of it.

use super::*;
use crate::{Provisioned, ProvisionedState, platform::tests::settled};

async fn there(platform: &Platform, name: &str, wanted: u32) -> Provisioned {
    for _ in 0..2000 {
        let function = platform.function(name).expect("it is there");
        let provisioned = platform.provisioned_concurrency(&function).expect("it was asked for");
        if provisioned.state == ProvisionedState::Ready && provisioned.requested == wanted {
            return provisioned;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not get ready: {:?}", platform.status());
}

fn text<T: std::fmt::Debug>(refused: Result<T, Refusal>) -> String {
    refused.expect_err("it cannot be").to_string()
}

#[tokio::test]
async fn it_is_made_and_survives_updates_and_restarts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, counts) = platform(&directory, ScriptedHost::default()).await;
    platform.create_function(new("f")).await.expect("it is created");
    // Before the deploy has ended: it is remembered.
    platform.set_provisioned_concurrency("f", Some(3)).await.expect("it can");
    settled(&platform, "f").await;
    let provisioned = there(&platform, "f", 3).await;
    assert_eq!((provisioned.allocated, provisioned.available), (3, 3));
    assert_eq!(platform.status().provisions.len(), 1);
    let invocation = || Invocation { function: "f".into(), payload: "{}".into(), ..Invocation::default() };
    assert_eq!(platform.invoke(invocation()).await.expect("it runs").start, Start::Warm);
    let before = Counts::get(&counts.binds);
    platform.update_code("f", zip("two"), None, false).await.expect("it begins");
    let updated = settled(&platform, "f").await;
    assert_eq!(platform.provisioned_concurrency(&updated).map(|of| of.state), Some(ProvisionedState::Ready));
    assert!(Counts::get(&counts.binds) >= before + 3, "those of the new revision");
    assert_eq!(platform.invoke(invocation()).await.expect("it runs").start, Start::Warm);
    assert_eq!(platform.status().instances_idle, 3, "those of the old one have gone");
    platform.shutdown(Duration::from_secs(1)).await;
    drop(platform);

    let (platform, _) = reopened(&directory).await;
    assert_eq!(there(&platform, "f", 3).await.modified_ms, provisioned.modified_ms);
    platform.set_provisioned_concurrency("f", None).await.expect("it can");
    let function = platform.function("f").expect("it is there");
    assert_eq!(platform.provisioned_concurrency(&function), None);
    assert!(platform.status().provisions.is_empty());
}

#[tokio::test]
async fn more_than_there_is_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = Settings { instances_per_function_max: 6, instances_max: 8, ..settings(&directory) };
    let host = Arc::new(ScriptedHost::default());
    let platform = open::open_with(settings, host, PROGRAM, Clock::System).await.expect("it opens");
    for name in ["f", "g"] {
        platform.create_function(new(name)).await.expect("it is created");
        settled(&platform, name).await;
    }
    let set = async |name: &str, count: u32| platform.set_provisioned_concurrency(name, Some(count)).await;
    assert!(matches!(set("none", 1).await, Err(Refusal::NotFound { .. })));
    assert!(text(set("f", 7).await).contains("at most 6 instances of a function"));
    set("f", 5).await.expect("it can");
    assert!(text(set("g", 4).await).contains("5 are provisioned for other functions"));
    set("g", 3).await.expect("it can");
    there(&platform, "f", 5).await;
    there(&platform, "g", 3).await;
    assert!(text(platform.set_reserved_concurrency("f", Some(4)).await).contains("provisioned concurrency [5]"));
    platform.set_reserved_concurrency("f", Some(6)).await.expect("it can");
    platform.delete_function("f").await.expect("it is there");
    set("g", 6).await.expect("there is room again");
    there(&platform, "g", 6).await;
}

#[tokio::test]
async fn a_function_that_cannot_be_loaded_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let failing = br#"{"errorMessage":"no","errorType":"Runtime.ImportModuleError","requestId":"","stackTrace":[]}"#;
    let host = ScriptedHost { init: Some((record::ERROR, failing.to_vec())), ..ScriptedHost::default() };
    let (platform, _) = platform(&directory, host).await;
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    let function = platform.set_provisioned_concurrency("f", Some(1)).await.expect("it can be asked for");
    let provisioned = platform.provisioned_concurrency(&function).expect("it was");
    assert_eq!(provisioned.state, ProvisionedState::Failed("FUNCTION_ERROR_INIT_FAILURE".into()));
    assert_eq!((provisioned.allocated, provisioned.available), (0, 0));
}
