//! The first instances of functions that were deployed just now.

use super::{memory::left, *};

fn another(fixture: &Fixture, name: &str) -> Arc<Lane> {
    Lane::new(fixture.dispatcher.clone(), binding(name), Share::default())
}

#[tokio::test(start_paused = true)]
async fn a_spare_serves_the_first_caller_and_is_not_replaced() {
    let fixture = fixture(host(), BOUNDS).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || left(u64::MAX), |_| 0));
    fixture.lane.bind_spare();
    ms(10).await;
    assert_eq!(fixture.instances(), (1, 1));
    ms(5000).await;
    assert_eq!(fixture.count(|c| &c.trims), 0, "it keeps what makes it fast");
    fixture.lane.bind_spare();
    let first = fixture.invoke(json!({})).await.expect("it runs");
    assert_eq!((first.start, first.timing.bind), (Start::Warm, Duration::ZERO));
    fixture.lane.bind_spare();
    ms(5000).await;
    assert_eq!((fixture.instances(), fixture.count(|c| &c.binds)), ((1, 1), 1));
    assert_eq!(fixture.count(|c| &c.trims), 1, "it is one like any other now");
    ms(61_000).await;
    assert_eq!((fixture.instances(), fixture.count(|c| &c.binds)), ((0, 0), 1), "and goes like any other");
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_it_is_bound_gets_it() {
    let fixture = fixture(host(), BOUNDS).await;
    fixture.lane.bind_spare();
    ms(2).await;
    let outcome = fixture.invoke(json!({})).await.expect("it runs");
    assert_eq!((outcome.start, fixture.count(|c| &c.binds)), (Start::Bound, 1));
}

#[tokio::test(start_paused = true)]
async fn a_few_functions_have_one_those_that_were_deployed_last() {
    let fixture = fixture(host(), BOUNDS).await;
    let lanes: Vec<_> = (0..limits::SPARES + 2).map(|index| another(&fixture, &format!("f{index}"))).collect();
    for lane in &lanes {
        lane.bind_spare();
        ms(10).await;
    }
    let there: Vec<_> = lanes.iter().map(|lane| lane.load().instances).collect();
    assert_eq!(there, [0, 0, 1, 1, 1, 1]);
    // One that was used is a spare no more, and stays.
    let fixture = Fixture { lane: lanes[2].clone(), ..fixture };
    fixture.invoke(json!({})).await.expect("it runs");
    fixture.lane.clone().bind_spare();
    for lane in &lanes[..1] {
        lane.bind_spare();
        ms(10).await;
    }
    let there: Vec<_> = lanes.iter().map(|lane| lane.load().instances).collect();
    assert_eq!(there, [1, 0, 1, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_for_a_spare() {
    let fixture = fixture(host(), Bounds { instances_max: 1, ..BOUNDS }).await;
    fixture.invoke(json!({})).await.expect("it runs");
    let other = another(&fixture, "g");
    other.bind_spare();
    ms(10).await;
    assert_eq!((fixture.instances(), other.load().instances), ((1, 1), 0));
    fixture.lane.retire();
    ms(1000).await;
    assert_eq!(other.load().instances, 0, "it is not made up for later");
    other.bind_spare();
    ms(10).await;
    assert_eq!(other.load().instances, 1);
    // A spare makes way for whoever has a caller.
    let fixture = Fixture { lane: another(&fixture, "h"), ..fixture };
    fixture.invoke(json!({})).await.expect("it runs");
    assert_eq!((fixture.instances(), other.load().instances), ((1, 1), 0));
}
