//! Order, bounds and ends of invocations, with machines that follow a script. Time is tokio's, stopped.

mod memory;
mod overload;
mod provisioned;
mod spares;

use std::{future::Future, sync::atomic::AtomicUsize};

use serde_json::json;
use tokio::task::JoinHandle;

use super::{concurrency::Concurrency, *};
use crate::{
    catalog::Revision,
    clock::Instant,
    function::Code,
    invocation::{Answer, Invocation, Outcome, Start},
    invoke::{self, Errand},
    logs::FunctionLog,
    machine::scripted::{Counts, ScriptedHost, binding},
    refusal::{Refusal, ThrottleReason},
    settings::StateMode,
    shares::Share,
};

struct Fixture {
    dispatcher: Arc<Dispatcher>,
    lane: Arc<Lane>,
    counts: Arc<Counts>,
    log: Arc<FunctionLog>,
    concurrency: Arc<Concurrency>,
    clock: Clock,
    mode: StateMode,
}

const BOUNDS: Bounds = Bounds {
    instances_max: 100,
    instances_per_function_max: 10,
    queue_per_function: 50,
    queue_wait_max: Duration::from_secs(5),
    idle_instance_ttl: Duration::from_secs(60),
    memory_reserve_bytes: 0,
    memory_bytes: u64::MAX,
    memory_promise_max_bytes: u64::MAX,
    processors: 1000.0,
};

async fn fixture(host: ScriptedHost, bounds: Bounds) -> Fixture {
    let counts = host.counts.clone();
    let clock = Clock::From(Instant::now());
    let dispatcher = Dispatcher::new(Arc::new(Pool::start(Arc::new(host), 2)), bounds, clock);
    let lane = Lane::new(dispatcher.clone(), binding("f"), Share::default());
    let concurrency = Arc::new(Concurrency::new(1000, None));
    let fixture = Fixture { dispatcher, lane, counts, log: Arc::default(), concurrency, clock, mode: StateMode::Reuse };
    ms(1).await;
    fixture
}

fn host() -> ScriptedHost {
    ScriptedHost { bind_ms: 5, reset_ms: 2, ..ScriptedHost::default() }
}

async fn ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

impl Fixture {
    fn invoke(&self, script: serde_json::Value) -> impl Future<Output = Result<Outcome, Refusal>> + use<> {
        let request_id = script["id"].as_str().unwrap_or("r").to_owned();
        let configuration = crate::Configuration { name: "f".into(), timeout_s: 3, ..Default::default() };
        let code = Code { sha256_base64: String::new(), sha256_hex: String::new(), bytes: 0, unzipped_bytes: 0 };
        let errand = Errand {
            invocation: Invocation { payload: script.to_string().into(), request_id, ..Default::default() },
            revision: Arc::new(Revision { configuration, code }),
            version: "$LATEST".into(),
            mode: self.mode,
            log: self.log.clone(),
            clock: self.clock,
            _permit: self.concurrency.admit("f", self.clock.now()).expect("1000 are enough"),
            accepted: self.clock.now(),
        };
        invoke::carry_out(errand, self.lane.clone())
    }

    fn spawn(&self, script: serde_json::Value) -> JoinHandle<Result<Outcome, Refusal>> {
        tokio::spawn(self.invoke(script))
    }

    fn count(&self, of: impl Fn(&Counts) -> &AtomicUsize) -> usize {
        Counts::get(of(&self.counts))
    }

    /// Idle, all.
    fn instances(&self) -> (usize, usize) {
        let load = self.lane.load();
        (load.idle, load.instances)
    }
}

fn error_type(outcome: &Outcome) -> String {
    let Answer::FunctionError(payload) = &outcome.answer else { panic!("no error: {:?}", outcome.answer) };
    let payload: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
    payload["errorType"].as_str().expect("a type").to_owned()
}

fn throttle(result: Result<Outcome, Refusal>) -> ThrottleReason {
    match result {
        Err(Refusal::Throttled { reason, .. }) => reason,
        other => panic!("not throttled: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_bound_once_and_reused() {
    let fixture = fixture(host(), BOUNDS).await;
    let first = fixture.invoke(json!({"answer": 42, "log": "hello\n"})).await.expect("it runs");
    assert_eq!((first.answer, first.start), (Answer::Response("42".into()), Start::Bound));
    assert_eq!(first.timing.bind, Duration::from_millis(5));
    assert!(String::from_utf8_lossy(&first.log_tail).contains("\nhello\nEND RequestId: r\nREPORT"));
    let second = fixture.invoke(json!({"answer": null})).await.expect("it runs");
    assert_eq!((second.answer, second.start), (Answer::Response("null".into()), Start::Warm));
    assert_eq!((fixture.count(|c| &c.binds), fixture.instances()), (1, (1, 1)));
    assert_eq!(fixture.concurrency.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_log_lines_is_read_beside_the_path() {
    let fixture = fixture(host(), BOUNDS).await;
    let lines = "x\n".repeat(limits::LOG_AT_ONCE_BYTES);
    let outcome = fixture.invoke(json!({"answer": 1, "log": lines})).await.expect("it runs");
    assert_eq!(outcome.answer, Answer::Response("1".into()));
    let tail = String::from_utf8_lossy(&outcome.log_tail);
    assert!(tail.contains("\nx\nEND RequestId: r\nREPORT"), "{tail}");
    assert_eq!((fixture.instances(), fixture.dispatcher.turns.load().running), ((1, 1), 0));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_instance_is_busy_until_it_is_reset() {
    let mut fixture = fixture(host(), BOUNDS).await;
    fixture.mode = StateMode::Fresh;
    fixture.invoke(json!({})).await.expect("it runs");
    assert_eq!(fixture.instances(), (0, 1), "the answer does not wait for the reset");
    ms(3).await;
    assert_eq!((fixture.instances(), fixture.count(|c| &c.resets)), ((1, 1), 1));
    let second = fixture.invoke(json!({})).await.expect("it runs");
    assert_eq!(second.start, Start::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_burst_binds_no_more_than_can_run() {
    let fixture = fixture(host(), Bounds { processors: 3.0, ..BOUNDS }).await;
    let callers: Vec<_> = (0..20).map(|_| fixture.spawn(json!({"ms": 20}))).collect();
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    assert_eq!((fixture.count(|c| &c.binds), fixture.instances()), (3, (3, 3)));
    let begun = fixture.clock.now();
    let callers: Vec<_> = (0..30).map(|_| fixture.spawn(json!({"ms": 10}))).collect();
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    assert!(begun.elapsed() >= Duration::from_millis(100), "three at a time");
    assert_eq!(fixture.count(|c| &c.binds), 3);
}

#[tokio::test(start_paused = true)]
async fn the_next_one_waits_for_a_reset_and_not_for_a_bind() {
    let mut fixture = fixture(host(), Bounds { processors: 1.0, ..BOUNDS }).await;
    fixture.mode = StateMode::Fresh;
    let callers: Vec<_> = (0..5).map(|_| fixture.spawn(json!({"ms": 1}))).collect();
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    assert_eq!(fixture.count(|c| &c.binds), 1);
}

#[tokio::test(start_paused = true)]
async fn functions_that_sleep_do_not_keep_processors() {
    let fixture = fixture(host(), Bounds { processors: 1.0, instances_per_function_max: 100, ..BOUNDS }).await;
    fixture.invoke(json!({"ms": 10, "slept_ms": 10})).await.expect("it runs");
    let begun = fixture.clock.now();
    let callers: Vec<_> = (0..20).map(|_| fixture.spawn(json!({"ms": 1000, "slept_ms": 1000}))).collect();
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    assert!(begun.elapsed() < Duration::from_millis(1200), "all at once: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_length_and_time() {
    let bounds = Bounds { processors: 1.0, queue_per_function: 2, ..BOUNDS };
    let fixture = fixture(host(), bounds).await;
    fixture.invoke(json!({})).await.expect("it runs");
    let running = fixture.spawn(json!({"ms": 2900}));
    ms(1).await;
    let waiting = [fixture.spawn(json!({"ms": 2900})), fixture.spawn(json!({}))];
    ms(1).await;
    assert_eq!(throttle(fixture.invoke(json!({})).await), ThrottleReason::QueueFull);
    let [second, third] = waiting;
    running.await.expect("no panic").expect("it runs");
    assert_eq!(fixture.log.after(0, 100).iter().filter(|line| line.text.starts_with("START")).count(), 3);
    assert_eq!(throttle(third.await.expect("no panic")), ThrottleReason::QueueTimeout);
    second.await.expect("no panic").expect("it waited less than 5 s");
    assert_eq!(fixture.instances(), (1, 1));
    assert_eq!(fixture.concurrency.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_their_order() {
    let fixture = fixture(host(), Bounds { instances_per_function_max: 1, ..BOUNDS }).await;
    let ended = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for index in 0..5 {
        let (ended, work) = (ended.clone(), fixture.invoke(json!({"ms": 10})));
        callers.push(tokio::spawn(async move {
            work.await.expect("it runs");
            ended.lock().expect("not poisoned").push(index);
        }));
        ms(1).await;
    }
    for caller in callers {
        caller.await.expect("no panic");
    }
    assert_eq!(*ended.lock().expect("not poisoned"), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_program_ended_is_put_back() {
    let fixture = fixture(host(), BOUNDS).await;
    for (index, (stop, wanted)) in
        [("exit", "Runtime.ExitError"), ("killed", "Runtime.ExitError"), ("memory", "Runtime.OutOfMemory")]
            .into_iter()
            .enumerate()
    {
        let outcome = fixture.invoke(json!({"stop": stop})).await.expect("an answer");
        assert_eq!(error_type(&outcome), wanted, "{stop}");
        // Whoever comes meanwhile waits for it.
        let next = fixture.invoke(json!({"answer": 1})).await.expect("an answer");
        assert_eq!(next.start, Start::Fresh, "{stop}");
        assert_eq!((fixture.instances(), fixture.count(|c| &c.binds)), ((1, 1), 1), "{stop}");
        assert_eq!(fixture.count(|c| &c.resets), index + 1, "once: the function asks for no more");
    }
    assert_eq!(fixture.dispatcher.failures.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_ended_and_replaced() {
    let fixture = fixture(host(), BOUNDS).await;
    let violation = fixture.invoke(json!({"stop": "violation"})).await.expect("an answer");
    assert_eq!(error_type(&violation), "Runtime.ExitError");
    assert_eq!((fixture.instances(), fixture.count(|c| &c.binds)), ((0, 0), 1));
    let timed_out = fixture.invoke(json!({"ms": 3001})).await.expect("an answer");
    assert_eq!(error_type(&timed_out), "Sandbox.Timedout");
    assert_eq!(fixture.instances(), (0, 0));
    // A handler that raises has answered.
    let raised = fixture.invoke(json!({"stop": "error"})).await.expect("an answer");
    assert_eq!((error_type(&raised), fixture.instances()), ("ValueError".into(), (1, 1)));
    assert_eq!(fixture.dispatcher.failures.load(Ordering::Relaxed), 2);
    ms(50).await;
    assert_eq!(fixture.count(|c| &c.alive), 3, "one instance, two shells, nothing else");
}

#[tokio::test(start_paused = true)]
async fn a_function_that_ends_its_machines_gets_them_more_slowly() {
    let fixture = fixture(host(), BOUNDS).await;
    let violate = async |times: u32| {
        let begun = fixture.clock.now();
        for _ in 0..times {
            fixture.invoke(json!({"stop": "violation"})).await.expect("an answer");
        }
        fixture.clock.now() - begun
    };
    let free = violate(crate::limits::BACK_OFF_AFTER).await;
    violate(20).await;
    let paced = violate(crate::limits::BACK_OFF_AFTER).await;
    assert!(paced >= free + crate::limits::BACK_OFF_MAX * 3, "{paced:?} after {free:?}");
    fixture.invoke(json!({})).await.expect("an answer");
    assert!(violate(crate::limits::BACK_OFF_AFTER).await <= free, "one that went well");
    violate(20).await;
    let callers: Vec<_> = (0..5).map(|_| fixture.spawn(json!({}))).collect();
    ms(1).await;
    assert_eq!(fixture.instances(), (0, 1), "the others wait without room");
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_or_says_nothing_is_given_up() {
    let fixture = fixture(host(), BOUNDS).await;
    let start = fixture.clock.now();
    let silent = fixture.invoke(json!({"stop": "silent"})).await;
    assert!(matches!(silent, Err(Refusal::Platform(_))), "{silent:?}");
    let waited = start.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
    assert_eq!(fixture.instances(), (0, 0));
    let gone = fixture.invoke(json!({"stop": "gone"})).await;
    assert!(matches!(&gone, Err(Refusal::Platform(why)) if why.contains("killed from outside")), "{gone:?}");
    fixture.invoke(json!({})).await.expect("the next one runs");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_takes_no_instance_along() {
    let fixture = fixture(host(), Bounds { instances_per_function_max: 1, ..BOUNDS }).await;
    let running = fixture.spawn(json!({"ms": 100}));
    ms(20).await;
    let waiting = fixture.spawn(json!({"log": "never\n"}));
    ms(1).await;
    running.abort();
    waiting.abort();
    ms(1).await;
    assert_eq!((fixture.instances(), fixture.concurrency.in_flight()), ((0, 1), 1), "what has begun is finished");
    ms(200).await;
    assert_eq!((fixture.instances(), fixture.concurrency.in_flight()), ((1, 1), 0));
    assert_eq!(fixture.count(|c| &c.runs), 1, "who went before his turn is not run");
    let lines = fixture.log.after(0, 100);
    assert!(lines.iter().any(|line| line.text.starts_with("REPORT")), "it has its REPORT all the same");
}

#[tokio::test(start_paused = true)]
async fn binds_that_fail_are_told() {
    let fixture = fixture(ScriptedHost { binds_fail: true, ..host() }, BOUNDS).await;
    let callers: Vec<_> = (0..3).map(|_| fixture.spawn(json!({}))).collect();
    for caller in callers {
        let told = caller.await.expect("no panic");
        assert!(matches!(&told, Err(Refusal::Platform(why)) if why.contains("scripted so")), "{told:?}");
    }
    assert_eq!(fixture.instances(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_long_is_given_up() {
    let fixture = fixture(host(), BOUNDS).await;
    let keeper = tokio::spawn(keep(Arc::downgrade(&fixture.dispatcher), || memory::left(u64::MAX), |_| 0));
    let callers: Vec<_> = (0..3).map(|_| fixture.spawn(json!({"ms": 100}))).collect();
    for caller in callers {
        caller.await.expect("no panic").expect("it runs");
    }
    assert_eq!(fixture.instances(), (3, 3));
    for _ in 0..7 {
        ms(10_000).await;
        fixture.invoke(json!({})).await.expect("it runs");
    }
    assert_eq!(fixture.instances(), (1, 1), "the last one used is the first one used again");
    ms(62_000).await;
    assert_eq!((fixture.instances(), fixture.count(|c| &c.alive)), ((0, 0), 2));
    keeper.abort();
}

#[tokio::test(start_paused = true)]
async fn lanes_take_turns_for_room() {
    let mut one = fixture(host(), Bounds { instances_max: 1, ..BOUNDS }).await;
    one.invoke(json!({})).await.expect("it runs");
    let lane_one = one.lane.clone();
    let lane_two = Lane::new(one.dispatcher.clone(), binding("g"), Share::default());
    one.lane = lane_two.clone();
    one.invoke(json!({})).await.expect("the idle instance of the other makes room");
    assert_eq!((lane_one.load().instances, lane_two.load().instances), (0, 1));
    let busy = one.spawn(json!({"ms": 500}));
    ms(1).await;
    one.lane = lane_one.clone();
    let other = one.spawn(json!({}));
    ms(100).await;
    assert_eq!(lane_one.load().waiting, 1, "there is no room while the other is busy");
    busy.await.expect("no panic").expect("it runs");
    let freed = one.clock.now();
    other.await.expect("no panic").expect("then there is");
    assert_eq!(lane_two.load().instances, 0);
    assert!(freed.elapsed() < Duration::from_millis(10), "at once");
}

#[tokio::test(start_paused = true)]
async fn a_retired_lane_serves_who_waits_and_keeps_nothing() {
    let fixture = fixture(host(), Bounds { instances_per_function_max: 1, ..BOUNDS }).await;
    let running = fixture.spawn(json!({"ms": 50}));
    ms(10).await;
    let waiting = fixture.spawn(json!({}));
    ms(1).await;
    fixture.lane.retire();
    running.await.expect("no panic").expect("it runs");
    waiting.await.expect("no panic").expect("it runs");
    ms(10).await;
    assert_eq!((fixture.instances(), fixture.count(|c| &c.alive)), ((0, 0), 2));
}
