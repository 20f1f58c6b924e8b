//! Instances that are there before anyone calls.

use super::{memory::left, *};
use crate::dispatch::lane::Progress;

fn is_there(fixture: &Fixture) -> (usize, usize, bool) {
    let Progress { allocated, available, trouble } = fixture.lane.progress();
    (allocated, available, trouble.is_some())
}

/// The keeper, with memory as `available` says.
fn kept(fixture: &Fixture, available: &Arc<AtomicU64>) -> JoinHandle<()> {
    let seen = available.clone();
    tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), move || left(seen.load(Ordering::Relaxed)), |_| 0))
}

fn plenty() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(1 << 40))
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_bound_ahead_a_few_at_a_time() {
    let fixture = fixture(host(), BOUNDS).await;
    fixture.lane.keep_ahead(5);
    ms(1).await;
    assert_eq!(is_there(&fixture), (limits::BINDS_AHEAD, 0, false));
    ms(6).await;
    assert_eq!(is_there(&fixture), (2 * limits::BINDS_AHEAD, limits::BINDS_AHEAD, false));
    ms(20).await;
    assert_eq!((is_there(&fixture), fixture.instances(), fixture.count(|c| &c.binds)), ((5, 5, false), (5, 5), 5));
    let first = fixture.invoke(json!({})).await.expect("it runs");
    assert_eq!((first.start, first.timing.bind), (Start::Warm, Duration::ZERO), "nobody waits for a bind");
    // Busy ones count; who comes when all are busy gets another.
    let callers: Vec<_> = (0..6).map(|_| fixture.spawn(json!({"ms": 20}))).collect();
    ms(10).await;
    assert_eq!((is_there(&fixture), fixture.lane.load().instances), ((5, 5, false), 6));
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_kept_and_what_ends_is_replaced() {
    let fixture = fixture(host(), BOUNDS).await;
    let keeper = kept(&fixture, &plenty());
    fixture.lane.keep_ahead(3);
    ms(30).await;
    let callers: Vec<_> = (0..5).map(|_| fixture.spawn(json!({"ms": 20}))).collect();
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    assert_eq!(fixture.instances(), (5, 5));
    ms(61_000).await;
    assert_eq!(fixture.instances(), (3, 3), "what is above goes as ever");
    assert!(fixture.count(|c| &c.trims) >= 3, "they give back what they need only to be fast");
    ms(600_000).await;
    assert_eq!((fixture.instances(), fixture.count(|c| &c.binds)), ((3, 3), 5));
    let ended = fixture.invoke(json!({"stop": "violation"})).await.expect("an answer");
    assert_eq!((error_type(&ended).as_str(), is_there(&fixture)), ("Runtime.ExitError", (3, 2, false)));
    ms(10).await;
    assert_eq!(is_there(&fixture), (3, 3, false));
    // Fewer are wanted.
    fixture.lane.keep_ahead(1);
    ms(61_000).await;
    assert_eq!(fixture.instances(), (1, 1));
    fixture.lane.retire();
    fixture.lane.keep_ahead(3);
    ms(100).await;
    assert_eq!((fixture.instances(), is_there(&fixture)), ((0, 0), (0, 0, false)));
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn others_do_not_push_them_out() {
    let mut fixture = fixture(host(), Bounds { instances_max: 3, ..BOUNDS }).await;
    fixture.lane.keep_ahead(2);
    ms(30).await;
    let other = Lane::new(fixture.dispatcher.clone(), binding("g"), Share::default());
    let wanted = std::mem::replace(&mut fixture.lane, other);
    let [first, second] = [fixture.spawn(json!({"ms": 100})), fixture.spawn(json!({"ms": 100}))];
    ms(50).await;
    assert_eq!((wanted.load().idle, fixture.lane.load().instances), (2, 1), "one is left for others");
    for caller in [first, second] {
        caller.await.expect("no panic").expect("they take turns");
    }
    // The other way round: what is idle makes way for what is wanted.
    wanted.keep_ahead(3);
    ms(30).await;
    assert_eq!((wanted.load().idle, fixture.lane.load().instances), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn they_are_the_last_to_go_when_memory_is_low() {
    let mut fixture = fixture(host(), Bounds { memory_reserve_bytes: 100, ..BOUNDS }).await;
    let memory = plenty();
    let keeper = kept(&fixture, &memory);
    fixture.invoke(json!({})).await.expect("it runs");
    let other =
        std::mem::replace(&mut fixture.lane, Lane::new(fixture.dispatcher.clone(), binding("g"), Share::default()));
    fixture.lane.keep_ahead(2);
    ms(30).await;
    assert_eq!((other.load().instances, fixture.instances()), (1, (2, 2)));
    memory.store(99, Ordering::Relaxed);
    ms(250).await;
    assert_eq!((other.load().instances, fixture.instances()), (0, (2, 2)), "nobody wants the other one");
    ms(1000).await;
    assert_eq!((fixture.instances(), is_there(&fixture)), ((0, 0), (0, 0, true)));
    ms(10_000).await;
    assert_eq!(is_there(&fixture), (0, 0, true), "it says so for as long as it lasts");
    memory.store(1 << 40, Ordering::Relaxed);
    ms(5000).await;
    assert_eq!(is_there(&fixture), (2, 2, false));
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_bound_is_said_and_tried_again_now_and_then() {
    let fixture = fixture(ScriptedHost { binds_fail: true, ..host() }, BOUNDS).await;
    let keeper = kept(&fixture, &plenty());
    fixture.lane.keep_ahead(3);
    ms(20).await;
    let progress = fixture.lane.progress();
    assert_eq!((progress.allocated, progress.available), (0, 0));
    assert!(progress.trouble.is_some_and(|why| why.contains("it is scripted so")));
    let before = fixture.count(|c| &c.spawned);
    ms(20_000).await;
    let tries = fixture.count(|c| &c.spawned) - before;
    assert!((8..=2 * 12).contains(&tries), "{tries} tries in 20 s");
    assert!(is_there(&fixture).2);
    keeper.abort();
}
