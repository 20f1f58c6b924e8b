//! The first instance of a function that was deployed just now.

use super::*;

async fn start(platform: &Platform) -> Start {
    let invocation = Invocation { function: "f".into(), payload: "{}".into(), ..Invocation::default() };
    platform.invoke(invocation).await.expect("it runs").start
}

async fn until_one_is_idle(platform: &Platform) {
    for _ in 0..2000 {
        if platform.status().instances_idle == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("there is no spare: {:?}", platform.status());
}

#[tokio::test]
async fn a_function_with_a_large_snapshot_has_one_after_each_deploy() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = ScriptedHost { snapshot_bytes: limits::SPARE_FROM_BYTES + 1, ..ScriptedHost::default() };
    let (platform, _) = platform(&directory, host).await;
    platform.create_function(new("f")).await.expect("it is created");
    until_one_is_idle(&platform).await;
    assert_eq!(settled(&platform, "f").await.state, FunctionState::Active);
    assert_eq!(platform.status().invocations_total, 0, "nobody has called");
    assert_eq!(start(&platform).await, Start::Warm);
    platform.update_code("f", zip("two"), None, false).await.expect("it begins");
    settled(&platform, "f").await;
    until_one_is_idle(&platform).await;
    assert_eq!(start(&platform).await, Start::Warm);
}

#[tokio::test]
async fn others_are_bound_when_they_are_called() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = ScriptedHost { snapshot_bytes: limits::SPARE_FROM_BYTES, ..ScriptedHost::default() };
    let (platform, _) = platform(&directory, host).await;
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((platform.status().instances_idle, start(&platform).await), (0, Start::Bound));
}
