//! Who makes way, waits or is refused when there is too little memory.

use super::*;
use crate::{machine::Binding, memory::Look};

pub(super) fn left(bytes: u64) -> Look {
    Look { available_bytes: Some(bytes), is_stalling: false }
}

fn nothing(_: u32) -> u64 {
    0
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_a_while_gives_memory_back_once() {
    let fixture = fixture(host(), BOUNDS).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(u64::MAX), nothing));
    fixture.invoke(json!({})).await.expect("it runs");
    ms(1500).await;
    assert_eq!(fixture.count(|c| &c.trims), 0, "it may be called again soon");
    for (calls, trims) in [(0, 1), (0, 1), (1, 2)] {
        for _ in 0..calls {
            assert_eq!(fixture.invoke(json!({})).await.expect("it runs").start, Start::Warm);
        }
        ms(10_000).await;
        assert_eq!((fixture.count(|c| &c.trims), fixture.instances()), (trims, (1, 1)));
    }
    ms(51_000).await;
    assert_eq!(fixture.instances(), (0, 0), "it was idle all the time");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn instances_are_given_up_when_memory_is_low() {
    let fixture = fixture(host(), Bounds { memory_reserve_bytes: 100, ..BOUNDS }).await;
    let memory = Arc::new(AtomicU64::new(1 << 30));
    let seen = memory.clone();
    let keeper =
        tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), move || left(seen.load(Ordering::Relaxed)), nothing));
    fixture.invoke(json!({})).await.expect("it runs");
    memory.store(99, Ordering::Relaxed);
    ms(300).await;
    assert_eq!(fixture.instances(), (0, 0));
    let told = fixture.invoke(json!({})).await;
    assert!(matches!(told, Err(Refusal::Throttled { limit: 0, present: 128, .. })), "{told:?}");
    assert_eq!(throttle(told), ThrottleReason::Memory);
    memory.store(1 << 30, Ordering::Relaxed);
    ms(300).await;
    fixture.invoke(json!({})).await.expect("it runs once there is memory");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn what_was_bound_since_the_last_look_may_take_all_that_it_can() {
    let fixture = fixture(host(), BOUNDS).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(200 << 20), nothing));
    ms(260).await;
    let began = fixture.clock.now();
    let both = [fixture.spawn(json!({"ms": 300})), fixture.spawn(json!({"ms": 300}))];
    ms(20).await;
    assert_eq!(fixture.count(|c| &c.binds), 1, "200 MiB are not enough for two, should they take what they may");
    ms(240).await;
    assert_eq!(fixture.count(|c| &c.binds), 2, "the first one did not");
    for caller in both {
        caller.await.expect("no panic").expect("it runs");
    }
    assert!(began.elapsed() < Duration::from_millis(600));
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_makes_way_for_what_is_promised_to_others() {
    let mut fixture = fixture(host(), Bounds { memory_promise_max_bytes: 256 << 20, ..BOUNDS }).await;
    let both = [fixture.spawn(json!({"ms": 10})), fixture.spawn(json!({"ms": 20}))];
    for caller in both {
        caller.await.expect("no panic").expect("it runs");
    }
    assert_eq!(fixture.instances(), (2, 2));
    let before = std::mem::replace(
        &mut fixture.lane,
        Lane::new(fixture.dispatcher.clone(), Binding { memory_bytes: 200 << 20, ..binding("g") }, Share::default()),
    );
    let busy = fixture.spawn(json!({"ms": 100}));
    ms(50).await;
    assert_eq!((before.load().instances, fixture.lane.load().instances), (0, 1));
    let large = Binding { memory_bytes: 300 << 20, ..binding("h") };
    let other = std::mem::replace(&mut fixture.lane, Lane::new(fixture.dispatcher.clone(), large, Share::default()));
    let told = fixture.invoke(json!({})).await;
    assert!(matches!(told, Err(Refusal::Throttled { limit: 256, present: 300, .. })), "{told:?}");
    assert_eq!(other.load().instances, 1, "what is busy stays");
    busy.await.expect("no panic").expect("it runs");
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_idle_who_has_taken_most_goes_alone() {
    let bounds = Bounds { memory_reserve_bytes: 100 << 20, memory_bytes: 4 << 30, ..BOUNDS };
    let fixture = fixture(host(), bounds).await;
    let available = Arc::new(AtomicU64::new(1 << 30));
    let (seen, counts) = (available.clone(), fixture.counts.clone());
    // By the number of its process, in the order in which they were bound: the third has most. Who has ended has given that back.
    let taken = |pid: u32| [0, 20, 30, 60, 40, 8].get(pid as usize).copied().unwrap_or(0) << 20;
    let ended = counts.clone();
    let given_back = move || (1..=5).filter(|&pid| !ended.is_alive(pid)).map(taken).sum::<u64>();
    let look = move || left(seen.load(Ordering::Relaxed) + given_back());
    let alive = move |pid| if counts.is_alive(pid) { taken(pid) } else { 0 };
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), look, alive));
    let mut callers = Vec::new();
    for _ in 0..5 {
        callers.push(fixture.spawn(json!({"ms": 2000})));
        ms(20).await;
    }
    assert_eq!(fixture.instances(), (0, 5));
    available.store(80 << 20, Ordering::Relaxed);
    ms(300).await;
    assert_eq!(fixture.instances(), (0, 5), "nothing is idle; and it is not that bad");
    available.store(40 << 20, Ordering::Relaxed);
    ms(300).await;
    assert_eq!(fixture.instances(), (0, 4), "one is enough");
    let mut outcomes = Vec::new();
    for (number, caller) in callers.into_iter().enumerate() {
        outcomes.push((number, caller.await.expect("no panic").expect("it ran")));
    }
    let (ended, answered): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|(_, outcome)| matches!(outcome.answer, Answer::FunctionError(_)));
    assert_eq!((ended.len(), answered.len(), ended[0].0), (1, 4, 2), "all others have their answers");
    let Answer::FunctionError(payload) = &ended[0].1.answer else { unreachable!("it is one") };
    let text = String::from_utf8_lossy(payload);
    assert!(text.contains("Runtime.ExitError") && text.contains("short of memory") && text.contains("60 MB"), "{text}");
    fixture.invoke(json!({})).await.expect("another of the same function runs");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_for_what_others_of_the_host_have_taken() {
    let bounds = Bounds { memory_reserve_bytes: 100 << 20, memory_bytes: 4 << 30, ..BOUNDS };
    let fixture = fixture(host(), bounds).await;
    let available = Arc::new(AtomicU64::new(1 << 30));
    let seen = available.clone();
    let look = move || left(seen.load(Ordering::Relaxed));
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), look, |_| 15 << 20));
    let caller = fixture.spawn(json!({"ms": 2000, "answer": 1}));
    ms(100).await;
    available.store(1 << 20, Ordering::Relaxed);
    assert_eq!(caller.await.expect("no panic").expect("it runs").answer, Answer::Response("1".into()));
    keeper.abort();
}
