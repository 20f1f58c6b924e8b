//! What is left of functions that are deleted while something goes on: nothing, but for what belongs to the next of that name.

use super::*;

async fn until(is_so: impl Fn() -> bool, what: &str) {
    for _ in 0..60_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it is never so that {what}");
}

/// How many logs and places there are.
fn left(platform: &Platform) -> (usize, usize) {
    (platform.inner.logs.len(), platform.inner.slots.lock().expect("not poisoned").len())
}

#[tokio::test]
async fn a_deploy_or_a_load_that_goes_on_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost { bind_ms: 100, ..ScriptedHost::default() }).await;
    platform.create_function(new("f")).await.expect("it is created");
    platform.delete_function("f").await.expect("it is there");
    until(|| platform.inner.deploys.load(Ordering::Relaxed) == 0, "the deploy has ended").await;
    until(|| left(&platform) == (0, 0), "nothing is left").await;

    platform.create_function(new("g")).await.expect("it is created");
    settled(&platform, "g").await;
    until(|| platform.inner.deploys.load(Ordering::Relaxed) == 0, "the deploy has ended").await;
    // As after a restart.
    platform.inner.slots.lock().expect("not poisoned").clear();
    let (invoked, deleted) = tokio::join!(invoke(&platform, "g", json!({})), platform.delete_function("g"));
    deleted.expect("it is there");
    drop(invoked);
    assert_eq!(left(&platform), (0, 0));
    assert!(matches!(platform.inner.clone().serving("g").await, Err(Refusal::NotFound { .. })));
    assert_eq!(left(&platform), (0, 0));
}

#[tokio::test]
async fn the_next_of_that_name_keeps_what_it_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    let mut delete = Box::pin(platform.delete_function("f"));
    // It begins, and hears of nothing until all else has been done.
    let ended = tokio::select! {
        biased;
        ended = &mut delete => Some(ended),
        () = std::future::ready(()) => None,
    };
    until(|| platform.function("f").is_err(), "it is gone").await;
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    platform.set_reserved_concurrency("f", Some(3)).await.expect("it can");
    match ended {
        Some(ended) => ended.expect("it was there"),
        None => delete.await.expect("it was there"),
    }
    assert_eq!(platform.inner.concurrency.reservations(), [("f".to_owned(), 3, 0)]);
    assert_eq!(left(&platform), (1, 1));
}

#[tokio::test]
async fn nobody_need_wait_for_a_delete() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    platform.set_reserved_concurrency("f", Some(3)).await.expect("it can");
    tokio::select! {
        biased;
        ended = platform.delete_function("f") => ended.expect("it was there"),
        () = std::future::ready(()) => {}
    }
    until(|| platform.function("f").is_err(), "it is gone").await;
    until(|| platform.inner.concurrency.reservations().is_empty(), "nothing is reserved").await;
    until(|| left(&platform) == (0, 0), "nothing is left").await;
}

#[tokio::test]
async fn nobody_need_wait_for_a_deploy() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    tokio::select! {
        biased;
        ended = platform.create_function(new("f")) => drop(ended.expect("it is created")),
        () = std::future::ready(()) => {}
    }
    until(|| platform.function("f").is_ok_and(|f| f.state == FunctionState::Active), "it is deployed").await;
}

#[tokio::test]
async fn of_many_changes_the_last_one_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    let mut changes = tokio::task::JoinSet::new();
    for wanted in 1..=10 {
        let platform = platform.clone();
        changes.spawn(async move { platform.set_reserved_concurrency("f", Some(wanted)).await });
    }
    changes.join_all().await.into_iter().for_each(|changed| drop(changed.expect("it can")));
    let recorded = platform.function("f").expect("it is there").reserved_concurrency.expect("it is reserved");
    assert_eq!(platform.inner.concurrency.reservations(), [("f".to_owned(), recorded, 0)]);
}
