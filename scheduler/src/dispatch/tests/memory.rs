//! Who makes way, waits or is refused when there is too little memory.

use super::*;
use crate::{machine::Binding, memory::Look};

pub(super) fn left(bytes: u64) -> Look {
    Look { available_bytes: Some(bytes), is_stalling: false }
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_a_while_gives_memory_back_once() {
    let fixture = fixture(host(), BOUNDS).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(u64::MAX)));
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
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), move || left(seen.load(Ordering::Relaxed))));
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
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(200 << 20)));
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
