//! Lines and limits over simulated time: one machine, arrivals by the book, every microsecond accounted for.

mod long;

use std::{cell::Cell, collections::BinaryHeap, rc::Rc};

use super::{
    order::{Called, Entered, Grant, Order, Ran, Waits},
    *,
};
use crate::refusal::ThrottleReason;

pub(super) const RULES: Rules = Rules {
    waiting_max: 1000,
    wait_max: Duration::from_secs(10),
    patience: 10,
    patience_max: Duration::from_millis(100),
    patience_min: Duration::from_millis(5),
    overloaded_after: Duration::from_millis(500),
    long: Duration::from_millis(50),
};

/// One who waits in a simulation.
#[derive(Debug, Clone)]
struct Caller {
    lane: LaneId,
    came_us: u64,
    work_us: u64,
    slept_us: u64,
    is_gone: Rc<Cell<bool>>,
}

impl Waits for Caller {
    fn is_gone(&self) -> bool {
        self.is_gone.get()
    }
}

/// A machine that carries out what it is told at its full speed, whatever runs beside it.
struct Simulation {
    order: Order<Caller>,
    limit_max: f64,
    /// Processors' worth of long ones that there may be beside that.
    long_max: f64,
    start: Instant,
    now_us: u64,
    /// What runs, by its end.
    running: BinaryHeap<(std::cmp::Reverse<u64>, usize)>,
    flights: Vec<Option<(Grant, Caller)>>,
    /// Lane, wait and end of what was carried out.
    done: Vec<(LaneId, u64, u64)>,
    refused: Vec<(LaneId, ThrottleReason, u64)>,
}

impl Simulation {
    fn new(limit: f64, weights: &[u64]) -> Simulation {
        let mut order = Order::new(RULES, limit);
        for (lane, &weight) in weights.iter().enumerate() {
            order.add(lane as LaneId, weight);
        }
        Simulation {
            order,
            limit_max: limit,
            long_max: 0.0,
            start: Instant::now(),
            now_us: 0,
            running: BinaryHeap::new(),
            flights: Vec::new(),
            done: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.now_us)
    }

    fn take_off(&mut self, grant: Grant, caller: Caller) {
        assert!(!caller.is_gone(), "who has gone does not run");
        let end = self.now_us + caller.work_us;
        self.done.push((caller.lane, self.now_us - caller.came_us, end));
        self.running.push((std::cmp::Reverse(end), self.flights.len()));
        self.flights.push(Some((grant, caller)));
    }

    fn refuse(&mut self, lane: LaneId, refusal: &Refusal) {
        let Refusal::Throttled { reason, .. } = refusal else { panic!("{refusal:?}") };
        self.refused.push((lane, *reason, self.now_us));
    }

    /// Ends what ends until then.
    fn run_until(&mut self, until_us: u64) {
        while let Some(&(std::cmp::Reverse(end), flight)) = self.running.peek()
            && end <= until_us
        {
            self.running.pop();
            self.now_us = end;
            let (grant, caller) = self.flights[flight].take().expect("it runs");
            let [all, slept] = [caller.work_us, caller.slept_us].map(Duration::from_micros);
            self.order.leave(grant, Ran { all, slept, ..Ran::default() });
            self.call();
        }
        self.now_us = until_us;
    }

    fn call(&mut self) {
        while let Some(Called { who, with }) = self.order.call(self.now()) {
            match with {
                Ok(grant) => self.take_off(grant, who),
                Err(refusal) => self.refuse(who.lane, &refusal),
            }
        }
        self.check();
    }

    fn arrive(&mut self, at_us: u64, lane: LaneId, work_us: u64, slept_us: u64) -> Rc<Cell<bool>> {
        self.run_until(at_us);
        let caller = Caller { lane, came_us: at_us, work_us, slept_us, is_gone: Rc::default() };
        let gone = caller.is_gone.clone();
        let waits = caller.clone();
        match self.order.enter(lane, self.now(), || waits) {
            Entered::Granted(grant) => self.take_off(grant, caller),
            Entered::Waits => self.call(),
            Entered::Refused(refusal) => self.refuse(lane, &refusal),
        }
        self.check();
        gone
    }

    fn check(&self) {
        let (_, used, running, _) = self.order.load();
        assert_eq!(running, self.running.len());
        let limit = self.limit_max;
        let limit = limit + self.long_max;
        assert!((running <= 1 || used < limit + 1.0) && used >= 0.0, "{used} of {limit}");
    }

    /// Quantile of the waits of a lane in a time.
    fn wait_us(&self, lane: LaneId, quantile: f64, ended_us: std::ops::Range<u64>) -> u64 {
        let waits = self.done.iter().filter(|done| done.0 == lane && ended_us.contains(&done.2));
        let mut waits: Vec<u64> = waits.map(|done| done.1).collect();
        waits.sort_unstable();
        waits[((waits.len() - 1) as f64 * quantile) as usize]
    }

    fn count(&self, lane: LaneId, ended_us: std::ops::Range<u64>) -> usize {
        self.done.iter().filter(|done| done.0 == lane && ended_us.contains(&done.2)).count()
    }
}

/// A small generator of numbers that look random.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// A time between arrivals at random, with this mean.
    fn gap_us(&mut self, mean_us: f64) -> u64 {
        let uniform = (self.next() % (1 << 30)) as f64 / f64::from(1 << 30);
        (-(1.0 - uniform).ln() * mean_us) as u64
    }
}

const SECOND: u64 = 1_000_000;

#[test]
fn goodput_stays_at_the_peak_at_ten_times_the_load() {
    // 10 ms of work, one processor: 100 a second.
    for (times, seed) in [(1.07, 1), (2.0, 2), (5.0, 3), (10.0, 4)] {
        let mut simulation = Simulation::new(1.0, &[128]);
        let (mut noise, mut at) = (Noise(seed), 0);
        while at < 30 * SECOND {
            at += noise.gap_us(10_000.0 / times);
            simulation.arrive(at, 0, 10_000, 0);
        }
        // Between the first seconds and the last.
        let steady = 2 * SECOND..30 * SECOND;
        let done = simulation.count(0, steady.clone());
        assert!(done >= 2740, "{times} times the load: {done} of 2800");
        let wait = simulation.wait_us(0, 0.99, steady);
        assert!(wait <= 150_000, "{times} times the load: the 99th percentile waits {wait} µs");
        if times >= 2.0 {
            assert!(simulation.refused.len() > simulation.done.len() / 2);
        }
        // And at once back when that is over.
        let refused = simulation.refused.len();
        let over = at;
        while at < over + 10 * SECOND {
            at += noise.gap_us(10_000.0 / 0.7);
            simulation.arrive(at, 0, 10_000, 0);
            if at < over + SECOND / 2 {
                simulation.refused.truncate(refused);
            }
        }
        assert_eq!(simulation.refused.len(), refused, "nobody is refused at 0.7 times the load");
    }
}

#[test]
fn a_storm_of_retries_is_over_when_it_is_over() {
    // 100 a second can be carried out. For 10 s ten times as many come, and who is refused asks again after 10 ms, fifty times.
    const RETRY_US: u64 = 10_000;
    let mut simulation = Simulation::new(1.0, &[128]);
    let (mut noise, mut arrivals, mut at) = (Noise(5), BinaryHeap::new(), 0);
    while at < 20 * SECOND {
        let times = if at < 10 * SECOND { 10.0 } else { 0.7 };
        at += noise.gap_us(10_000.0 / times);
        arrivals.push(std::cmp::Reverse((at, 50)));
    }
    let mut attempts = 0;
    while let Some(std::cmp::Reverse((at, tries))) = arrivals.pop() {
        let refused = simulation.refused.len();
        simulation.arrive(at, 0, 10_000, 0);
        attempts += 1;
        // Who waited and was refused then asks again, too: which of them it is makes no difference.
        for (_, _, when) in simulation.refused[refused..].iter().filter(|_| tries > 1) {
            arrivals.push(std::cmp::Reverse((when.max(&at) + RETRY_US, tries - 1)));
        }
    }
    simulation.run_until(30 * SECOND);
    assert!(attempts > 200_000, "it was a storm: {attempts} attempts");
    let during = simulation.count(0, SECOND..10 * SECOND);
    assert!(during >= 880, "{during} of 900 during the storm");
    // The last retries of the storm come half a second after it.
    let last = simulation.refused.iter().map(|refused| refused.2).max().expect("there were many");
    assert!(last < 12 * SECOND, "the last refusal comes after {last} µs");
    let after = simulation.count(0, 12 * SECOND..20 * SECOND) as f64 / (8.0 * 70.0);
    assert!(after >= 0.95, "{after} of the load after it is carried out");
}

#[test]
fn a_burst_is_served() {
    let mut simulation = Simulation::new(2.0, &[128]);
    simulation.arrive(0, 0, 10_000, 0);
    for _ in 0..90 {
        simulation.arrive(SECOND, 0, 10_000, 0);
    }
    simulation.run_until(3 * SECOND);
    assert_eq!((simulation.done.len(), simulation.refused.len()), (91, 0));
    assert_eq!(simulation.done.iter().map(|done| done.2).max(), Some(SECOND + 450_000), "two at a time");
}

#[test]
fn functions_get_processors_by_their_weight() {
    let mut simulation = Simulation::new(1.0, &[128, 512, 256]);
    // All of them much too often, the first one most, with work of different length.
    for ms in 0..20_000 {
        for _ in 0..3 {
            simulation.arrive(ms * 1000, 0, 2_000, 0);
        }
        simulation.arrive(ms * 1000, 1, 5_000, 0);
        simulation.arrive(ms * 1000, 2, 1_000, 0);
    }
    let steady = 2 * SECOND..20 * SECOND;
    let busy = [(0, 2), (1, 5), (2, 1)].map(|(lane, ms)| simulation.count(lane, steady.clone()) * ms);
    let all: usize = busy.iter().sum();
    for (busy, wanted) in busy.into_iter().zip([1.0 / 7.0, 4.0 / 7.0, 2.0 / 7.0]) {
        let share = busy as f64 / all as f64;
        assert!((share - wanted).abs() < 0.03, "{share} of the processors instead of {wanted}");
    }
}

#[test]
fn a_flood_does_not_delay_its_neighbour() {
    let mut simulation = Simulation::new(1.0, &[128, 128]);
    for ms in 0..20_000 {
        for _ in 0..10 {
            simulation.arrive(ms * 1000, 0, 10_000, 0);
        }
        if ms % 50 == 0 {
            simulation.arrive(ms * 1000 + 500, 1, 10_000, 0);
        }
    }
    simulation.run_until(21 * SECOND);
    assert_eq!(simulation.count(1, 0..22 * SECOND), 400, "all of the quiet one's");
    assert!(simulation.refused.iter().all(|refused| refused.0 == 0));
    let wait = simulation.wait_us(1, 1.0, 0..22 * SECOND);
    assert!(wait <= 20_000, "it waits for what runs, and perhaps for one more: {wait} µs");
}

#[test]
fn who_has_less_to_do_than_his_share_goes_first() {
    // Its arrivals are at random, a fifth of what can be carried out: sometimes there are some at once.
    let play = |seed: u64, has_flood: bool| {
        let mut simulation = Simulation::new(1.0, &[128, 128]);
        let (mut noise, mut at, mut ms) = (Noise(seed), 0, 0);
        while at < 60 * SECOND {
            at += noise.gap_us(50_000.0);
            while has_flood && ms * 1000 <= at {
                (0..10).for_each(|_| drop(simulation.arrive(ms * 1000, 0, 10_000, 0)));
                ms += 1;
            }
            simulation.arrive(at, 1, 10_000, 0);
        }
        simulation.run_until(70 * SECOND);
        assert!(simulation.refused.iter().all(|refused| refused.0 == 0));
        [0.5, 0.99].map(|quantile| simulation.wait_us(1, quantile, 0..70 * SECOND))
    };
    for seed in 1..=5 {
        for (alone, beside) in play(seed, false).into_iter().zip(play(seed, true)) {
            assert!(
                beside <= alone + 12_000,
                "it waits for what runs, not for one each time: {beside} µs, {alone} alone"
            );
        }
    }
}

#[test]
fn who_was_alone_owes_nothing_to_who_comes_later() {
    let mut simulation = Simulation::new(1.0, &[128, 128]);
    let begins = 60 * SECOND;
    for ms in 0..70_000 {
        if ms * 1000 >= begins {
            for _ in 0..10 {
                simulation.arrive(ms * 1000, 0, 10_000, 0);
            }
        }
        if ms % 50 == 0 {
            simulation.arrive(ms * 1000 + 500, 1, 10_000, 0);
        }
    }
    simulation.run_until(71 * SECOND);
    assert!(simulation.refused.iter().all(|refused| refused.0 == 0));
    let wait = simulation.wait_us(1, 1.0, 0..72 * SECOND);
    assert!(wait <= 20_000, "as if it had not been alone for a minute: {wait} µs");
}

#[test]
fn what_let_more_run_is_forgotten_when_nothing_runs() {
    let mut simulation = Simulation::new(1.0, &[128]);
    simulation.limit_max = 3.0;
    simulation.arrive(0, 0, 10_000, 0);
    simulation.order.set_limit(3.0);
    simulation.arrive(1000, 0, 10_000, 0);
    assert_eq!(simulation.order.load().2, 2);
    simulation.run_until(10_500);
    assert_eq!(simulation.order.load().0, 3.0, "one runs still");
    simulation.run_until(SECOND);
    assert_eq!(simulation.order.load().0, 1.0);
}

#[test]
fn who_has_gone_never_runs() {
    let mut simulation = Simulation::new(1.0, &[128]);
    let mut noise = Noise(7);
    let mut gone = 0;
    for ms in 0..3000 {
        let caller = simulation.arrive(ms * 1000, 0, 5_000, 0);
        // `take_off` asserts that none of these is given a turn; those that have one finish.
        let waits = simulation.order.load().3 > 0;
        if waits && noise.next().is_multiple_of(2) && Rc::strong_count(&caller) > 1 {
            caller.set(true);
            gone += 1;
        }
    }
    simulation.run_until(60 * SECOND);
    assert!(gone > 100);
    assert_eq!(simulation.order.load().2, 0);
    assert_eq!(simulation.order.load().3, 0);
}

#[test]
fn sleepers_use_no_processor() {
    let mut simulation = Simulation::new(2.0, &[128]);
    simulation.arrive(0, 0, 500_000, 499_000);
    for _ in 0..60 {
        simulation.arrive(60 * SECOND, 0, 500_000, 499_000);
    }
    assert!(simulation.order.load().2 >= 60, "{:?}", simulation.order.load());
    assert!(simulation.refused.is_empty());
}

#[test]
fn a_line_has_an_end() {
    let mut simulation = Simulation::new(1.0, &[128]);
    for _ in 0..1100 {
        simulation.arrive(0, 0, 10, 0);
    }
    let reasons: Vec<_> = simulation.refused.iter().map(|refused| refused.1).collect();
    assert_eq!(reasons, [ThrottleReason::QueueFull; 99]);
}

/// Who has gone takes no place from those who come, wherever in the line he stood.
#[test]
fn a_line_of_those_who_have_gone_is_empty() {
    let mut simulation = Simulation::new(1.0, &[128]);
    simulation.arrive(0, 0, 60_000_000, 0);
    simulation.arrive(1, 0, 1000, 0);
    let gone: Vec<_> = (2..2001).map(|at_us| simulation.arrive(at_us, 0, 1000, 0)).collect();
    let refused = simulation.refused.len();
    assert_eq!(refused, 1000, "999 of them wait, and the line is full");
    gone.iter().for_each(|gone| gone.set(true));
    for at_us in [100_000, 100_001, 100_002] {
        simulation.arrive(at_us, 0, 1000, 0);
    }
    assert_eq!(simulation.refused.len(), refused);
    assert_eq!(simulation.order.load().3, 4, "one who has waited since the beginning, and three who came");
}

#[test]
fn nothing_is_lost_whatever_happens() {
    for seed in 0..20 {
        let mut noise = Noise(seed);
        let mut simulation = Simulation::new(1.0 + (seed % 4) as f64, &[128, 256, 1769, 10_240]);
        let (mut at, mut came, mut gone) = (0, 0, Vec::new());
        for _ in 0..5000 {
            at += noise.next() % 3000;
            let (lane, work) = (noise.next() % 4, 1 + noise.next() % 20_000);
            let caller = simulation.arrive(at, lane, work, noise.next() % (work + 1));
            came += 1;
            if noise.next().is_multiple_of(10) && Rc::strong_count(&caller) == 2 && simulation.order.load().3 > 0 {
                gone.push(caller);
            }
            if noise.next().is_multiple_of(50) {
                simulation.limit_max = 8.0;
                simulation.order.set_limit(1.0 + (noise.next() % 8) as f64);
            }
        }
        simulation.run_until(at + 1000 * SECOND);
        let (_, used, running, waiting) = simulation.order.load();
        assert_eq!((used, running, waiting), (0.0, 0, 0), "seed {seed}");
        assert_eq!(simulation.done.len() + simulation.refused.len(), came, "seed {seed}");
    }
}
