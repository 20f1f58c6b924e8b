//! Those who run for long.

use super::*;

#[test]
fn who_runs_for_long_holds_up_his_own_function_alone() {
    // Lane 0 is in a tight loop, 3 s each time, from eight clients; lane 1 takes 5 ms, 40 times a second. One processor.
    let mut simulation = Simulation::new(1.0, &[128, 128]);
    simulation.long_max = 7.0;
    for _ in 0..8 {
        simulation.arrive(0, 0, 3 * SECOND, 0);
    }
    for at in (25_000..12 * SECOND).step_by(25_000) {
        simulation.arrive(at, 1, 5000, 0);
        simulation.call();
        let loops = simulation.flights.iter().flatten().filter(|(_, caller)| caller.lane == 0).count();
        assert_eq!(loops, 1, "they take turns among themselves");
    }
    assert_eq!(simulation.count(0, 0..12 * SECOND), 3);
    assert!(simulation.refused.is_empty(), "{:?}", simulation.refused);
    let (first, later) = (0..2 * SECOND, 4 * SECOND..12 * SECOND);
    assert!(simulation.wait_us(1, 1.0, first) <= 50_000, "until it is found out");
    assert_eq!(simulation.wait_us(1, 1.0, later), 0, "then it is known");
}

#[test]
fn who_waits_for_an_instance_holds_up_nobody_else() {
    let mut simulation = Simulation::new(1.0, &[128, 128]);
    simulation.long_max = 7.0;
    simulation.arrive(0, 0, 30_000, 0);
    simulation.arrive(1000, 0, 30_000, 0);
    simulation.arrive(1000, 1, 5000, 0);
    assert_eq!(simulation.order.load().2, 1);
    let (binds, _) = simulation.flights[0].as_ref().expect("it runs");
    simulation.order.stand_aside(binds);
    simulation.call();
    let runs: Vec<LaneId> = simulation.flights.iter().flatten().map(|(_, caller)| caller.lane).collect();
    assert_eq!(runs, [0, 1], "and the second of the same function waits");
}

#[test]
fn who_waits_goes_before_who_comes_when_one_becomes_long() {
    let mut simulation = Simulation::new(1.0, &[128, 128, 128]);
    simulation.long_max = 7.0;
    simulation.arrive(0, 0, SECOND, 0);
    simulation.arrive(5000, 1, 10_000, 0);
    simulation.arrive(60_000, 2, 10_000, 0);
    simulation.run_until(SECOND);
    let in_turn: Vec<_> = simulation.done.iter().map(|&(lane, wait_us, _)| (lane, wait_us)).collect();
    assert_eq!(in_turn, [(0, 0), (1, 55_000), (2, 10_000)], "and that before anybody ends");
}

#[test]
fn many_long_ones_do_not_all_run() {
    let lanes = [128; 40];
    let mut simulation = Simulation::new(2.0, &lanes);
    // At first nothing is known of any.
    simulation.long_max = 40.0;
    for at in (0..20 * SECOND).step_by(100_000) {
        for lane in 0..lanes.len() as u64 {
            simulation.arrive(at, lane, SECOND, 0);
        }
        simulation.call();
    }
    assert_eq!(simulation.order.load().2, 14, "seven a processor");
    // And they hold up nobody who is not one of them.
    simulation.order.add(40, 128);
    for at in (20 * SECOND..21 * SECOND).step_by(50_000) {
        simulation.arrive(at, 40, 5000, 0);
    }
    simulation.run_until(22 * SECOND);
    assert_eq!(simulation.count(40, 0..22 * SECOND), 20);
    assert_eq!(simulation.wait_us(40, 1.0, 0..22 * SECOND), 0);
}

#[test]
fn it_is_known_who_runs_for_long_beside_whom() {
    let mut simulation = Simulation::new(1.0, &[128, 128, 128, 128]);
    simulation.long_max = 7.0;
    let lately = |simulation: &Simulation| {
        let mut lately = simulation.order.lately(simulation.now());
        lately.sort_unstable();
        lately
    };
    simulation.arrive(0, 0, 60 * SECOND, 0);
    simulation.arrive(40_000, 1, 5000, 0);
    assert!(lately(&simulation).is_empty(), "nobody is long yet");
    simulation.run_until(50_000);
    simulation.call();
    assert_eq!(lately(&simulation), [(0, true), (1, false)]);
    // One whose instance is being bound holds up nobody, but computes nothing either.
    simulation.run_until(SECOND);
    simulation.arrive(SECOND, 2, 3 * SECOND, 0);
    let (binds, _) = simulation.flights[2].as_ref().expect("it runs");
    simulation.order.stand_aside(binds);
    assert_eq!(lately(&simulation), [(0, true), (1, false), (2, false)]);
    simulation.run_until(SECOND + 15_000);
    simulation.call();
    assert_eq!(lately(&simulation), [(0, true), (1, false), (2, false)], "it waits still");
    let now = simulation.now();
    let (goes_on, _) = simulation.flights[2].as_ref().expect("it runs");
    simulation.order.go_on(goes_on, now);
    simulation.run_until(2 * SECOND);
    simulation.call();
    assert_eq!(lately(&simulation), [(0, true), (1, false), (2, true)], "now it computes");
    // The fourth has never run, and the others have not for long.
    simulation.run_until(30 * SECOND);
    assert!(lately(&simulation).is_empty(), "there is nobody for whom to stand back");
}

#[test]
fn who_is_held_up_by_others_does_not_run_for_long() {
    let mut simulation = Simulation::new(2.0, &[128, 128, 128]);
    simulation.long_max = 14.0;
    // Both take 80 ms in a crowd; lane 0 computes for 4 of them, lane 1 for 80.
    let ran = |computed| Ran {
        all: Duration::from_millis(80),
        computed: Some(Duration::from_millis(computed)),
        ..Ran::default()
    };
    let now = simulation.now();
    let enter = |simulation: &mut Simulation, lane| {
        let waits = Caller { lane, came_us: 0, work_us: 0, slept_us: 0, is_gone: Rc::default() };
        let Entered::Granted(grant) = simulation.order.enter(lane, now, || waits) else { panic!("it has its turn") };
        grant
    };
    for (lane, computed) in [(0, 4), (1, 80)] {
        let grant = enter(&mut simulation, lane);
        simulation.order.leave(grant, ran(computed));
    }
    let long = enter(&mut simulation, 1);
    let _ = simulation.order.call(now);
    // The next of lane 1 is in nobody's way at once; that of lane 0 is no long one before its time.
    let short = enter(&mut simulation, 0);
    let at = |ms| now + Duration::from_millis(ms);
    let lately = |simulation: &Simulation, ms| {
        let mut lately = simulation.order.lately(at(ms));
        lately.sort_unstable();
        lately
    };
    assert_eq!(lately(&simulation, 80), [(0, false), (1, true)]);
    assert_eq!(lately(&simulation, 499), [(0, false), (1, true)]);
    assert_eq!(lately(&simulation, 500), [(0, false), (1, true)], "it is known for short runs: the other holds it up");
    let third = enter(&mut simulation, 2);
    assert_eq!(lately(&simulation, 499), [(0, false), (1, true), (2, true)], "of one that never ran nothing is known");
    simulation.order.leave(third, ran(4));
    assert_eq!(lately(&simulation, 500), [(0, true), (1, true), (2, false)], "but so long is its own doing");
    simulation.order.leave(long, ran(80));
    simulation.order.leave(short, ran(4));
}

#[test]
fn a_minute_is_not_paid_for_with_a_minute() {
    // Lane 0 has a processor for a minute, when nobody else wants it; then it takes 10 ms now and then, and lane 1 all that it can get.
    for (weights, every_ms) in [([128, 128], 50), ([128, 10_240], 1000)] {
        let mut simulation = Simulation::new(1.0, &weights);
        simulation.long_max = 7.0;
        let begins = 60 * SECOND;
        simulation.arrive(0, 0, begins, 0);
        for ms in 60_000..80_000 {
            for _ in 0..5 {
                simulation.arrive(ms * 1000, 1, 10_000, 0);
            }
            if ms % every_ms == 0 {
                simulation.arrive(ms * 1000 + 500, 0, 10_000, 0);
            }
        }
        simulation.run_until(81 * SECOND);
        assert!(simulation.refused.iter().all(|refused| refused.0 == 1));
        let (first, later) = (begins..begins + 3 * SECOND, begins + 3 * SECOND..82 * SECOND);
        let wait = simulation.wait_us(0, 1.0, first);
        assert!(wait <= SECOND, "half a second is held against it, and no more: {wait} µs beside {weights:?}");
        let wait = simulation.wait_us(0, 1.0, later);
        assert!(wait <= 20_000, "then it is level: {wait} µs beside {weights:?}");
    }
}

#[test]
fn who_waits_without_room_does_not_stop_time() {
    // Lane 0 has one that runs for a minute and one that waits for it. Lane 1 takes 10 ms, 20 times a second; lane 2 comes later, with all that it can send.
    let mut simulation = Simulation::new(1.0, &[128, 128, 128]);
    simulation.long_max = 7.0;
    for _ in 0..2 {
        simulation.arrive(0, 0, 60 * SECOND, 0);
    }
    for ms in 100..50_000 {
        if ms >= 40_000 {
            for _ in 0..5 {
                simulation.arrive(ms * 1000, 2, 5000, 0);
            }
        }
        if ms % 50 == 0 {
            simulation.arrive(ms * 1000 + 500, 1, 10_000, 0);
        }
        simulation.call();
    }
    assert!(simulation.refused.iter().all(|refused| refused.0 == 2));
    let wait = simulation.wait_us(1, 1.0, 0..50 * SECOND);
    assert!(wait <= 20_000, "as if lane 2 had always been there: {wait} µs");
}
