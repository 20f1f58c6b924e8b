//! Who makes way, waits or is refused when there is too little memory.

use super::*;
use crate::{dispatch::lane::Load, machine::Binding, memory::Look};

pub(super) fn left(bytes: u64) -> Look {
    Look { available_bytes: Some(bytes), is_stalling: false }
}

fn nothing(_: u32) -> u64 {
    0
}

/// Of another function, with instances of so many MiB.
fn lane(fixture: &Fixture, name: &str, memory_mib: u64) -> Arc<Lane> {
    let binding = Binding { memory_bytes: memory_mib << 20, ..binding(name) };
    Lane::new(fixture.dispatcher.clone(), binding, Share::default())
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
async fn what_is_not_bound_yet_counts_after_a_look_too() {
    let fixture = fixture(ScriptedHost { bind_ms: 300, ..host() }, BOUNDS).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(200 << 20), nothing));
    ms(260).await;
    let both = [fixture.spawn(json!({"ms": 1000})), fixture.spawn(json!({"ms": 1000}))];
    ms(260).await;
    assert_eq!(fixture.count(|c| &c.binds), 1, "nobody has seen yet what the first one takes");
    ms(250).await;
    assert_eq!(fixture.count(|c| &c.binds), 2);
    for caller in both {
        caller.await.expect("no panic").expect("it runs");
    }
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_place_takes_no_memory() {
    let mut fixture = fixture(host(), Bounds { instances_max: 1, ..BOUNDS }).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(200 << 20), nothing));
    fixture.invoke(json!({})).await.expect("it runs");
    ms(260).await;
    let busy = fixture.spawn(json!({"ms": 50}));
    ms(1).await;
    fixture.lane = lane(&fixture, "g", 128);
    let began = fixture.clock.now();
    fixture.invoke(json!({})).await.expect("it runs when the other has gone");
    assert!(began.elapsed() < Duration::from_millis(100), "without a look: {:?}", began.elapsed());
    busy.await.expect("no panic").expect("it runs");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_look_costs_nobody_an_instance() {
    let mut fixture = fixture(host(), BOUNDS).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(200 << 20), nothing));
    fixture.invoke(json!({})).await.expect("it runs");
    ms(260).await;
    let large = lane(&fixture, "large", 150);
    let small = std::mem::replace(&mut fixture.lane, large);
    let both = [fixture.spawn(json!({"ms": 100})), fixture.spawn(json!({"ms": 100}))];
    ms(10).await;
    assert_eq!(fixture.lane.load(), Load { idle: 0, instances: 1, waiting: 1 }, "one waits for the next look");
    fixture.lane = small;
    for _ in 0..3 {
        assert_eq!(fixture.invoke(json!({})).await.expect("it runs").start, Start::Warm);
        assert_eq!(fixture.instances(), (1, 1));
    }
    for caller in both {
        caller.await.expect("no panic").expect("it runs");
    }
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn after_a_look_all_who_waited_for_it_try_again() {
    let mut fixture = fixture(host(), BOUNDS).await;
    let dispatcher = fixture.dispatcher.clone();
    let available = Arc::new(AtomicU64::new(200 << 20));
    let seen = available.clone();
    let look = move || left(seen.load(Ordering::Relaxed));
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), look, nothing));
    ms(260).await;
    let all = || dispatcher.instances.load(Ordering::Relaxed);
    let mut callers = Vec::new();
    for index in 0..40 {
        fixture.lane = lane(&fixture, &format!("f{index}"), 128);
        callers.push(fixture.spawn(json!({"ms": 1000})));
    }
    ms(10).await;
    assert_eq!(all(), 1);
    available.store((11 * 128) << 20, Ordering::Relaxed);
    ms(250).await;
    assert_eq!(all(), 12, "as many as there is memory for");
    available.store(1 << 40, Ordering::Relaxed);
    ms(250).await;
    assert_eq!(all(), 40);
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn an_eighth_of_what_is_idle_goes_at_a_look_and_not_at_a_call() {
    let mut fixture = fixture(host(), Bounds { instances_per_function_max: 100, ..BOUNDS }).await;
    let available = Arc::new(AtomicU64::new(1 << 40));
    let seen = available.clone();
    let look = move || left(seen.load(Ordering::Relaxed));
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), look, nothing));
    let callers: Vec<_> = (0..64).map(|_| fixture.spawn(json!({"ms": 400}))).collect();
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    assert_eq!(fixture.instances(), (64, 64));
    available.store(200 << 20, Ordering::Relaxed);
    ms(260).await;
    // Of one function, and of several.
    let larger: Vec<_> = (0..5).map(|index| lane(&fixture, &format!("g{index}"), 300)).collect();
    let small = fixture.lane.clone();
    let mut callers = Vec::new();
    for index in 0..10 {
        fixture.lane = larger[index % larger.len()].clone();
        callers.push(fixture.spawn(json!({})));
    }
    ms(1).await;
    assert_eq!(small.load().idle, 64 - 8);
    ms(250).await;
    assert_eq!(small.load().idle, 64 - 8 - 7, "it was not enough");
    available.store(1 << 40, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic").expect("it runs once there is memory");
    }
    assert_eq!(small.load().idle, 64 - 8 - 7);
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
